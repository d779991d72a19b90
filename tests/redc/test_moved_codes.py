"""Codes that pools and moves hand on: `diff` compares them as the real numbers they stand for."""

from __future__ import annotations

import numpy as np
import onnx.parser
import pytest

import redc

MOVES = {
    "MaxPool": "b = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (a)",
    "Transpose": "b = Transpose <perm = [0, 1, 3, 2]> (a)",
    "Pad": "b = Pad (a, pads)",
    "Resize": 'b = Resize <mode = "nearest", coordinate_transformation_mode = "asymmetric", '
    'nearest_mode = "floor"> (a, , scales)',
}


@pytest.mark.parametrize("op", MOVES)
def test_moved_codes_of_a_quantised_model_are_exact(op: str) -> None:
    model = onnx.parser.parse_model(f"""
        <ir_version: 8, opset_import: ["" : 17]>
        moved (float[1, 2, 4, 4] x) => (float[A, B, C, D] y)
        <float s = {{0.02}}, uint8 z = {{128}}, float ws = {{0.1}}, int8 wz = {{0}}, float os = {{0.05}},
         float ys = {{0.2}}, int8[2, 2, 1, 1] w = {{3, -7, 10, 21}},
         int64[8] pads = {{0, 0, 1, 1, 0, 0, 1, 1}}, float[4] scales = {{1.0, 1.0, 2.0, 2.0}}>
        {{
            q = QuantizeLinear (x, s, z)
            a = QLinearConv (q, s, z, w, ws, wz, os, z)
            {MOVES[op]}
            c = QLinearConv (b, os, z, w, ws, wz, ys, z)
            y = DequantizeLinear (c, ys, z)
        }}
    """)
    x = np.random.default_rng(3).uniform(-2, 2, (1, 2, 4, 4)).astype(np.float32)
    report = redc.diff(model, inputs={"x": x})
    assert report.passed
    assert all(layer.closeness is None or layer.closeness.max_abs_err == 0 for layer in report.layers)
    assert all(output.max_abs_err == 0 for output in report.outputs)
    assert not report.notes
