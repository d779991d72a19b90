"""Chains of scalar functions of one tensor are one function: one layer, one rounding."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

import redc
import runtime
from redc.compiler import compile_with
from redc.passes.context import Options
from tests.redc.reference import run_onnx

CONSTANTS = "float three = {3}, float six = {6}, float half = {0.5}, float one = {1}, float root = {1.414214}"


def parse(body: str, outputs: str = "float[1, 2, 3, 4] y") -> onnx.ModelProto:
    return onnx.parser.parse_model(
        f'<ir_version: 8, opset_import: ["" : 13]> g (float[1, 2, 3, 4] x) => ({outputs}) '
        f"<{CONSTANTS}> {{ {body} }}"
    )


HARD_SWISH = "a = Add(x, three) b = Clip(a, zero, six) c = Mul(x, b) y = Div(c, six)"
WRITTEN = {
    "hard swish": HARD_SWISH.replace("Clip(a, zero, six)", "Min(r, six)").replace(
        "b = Min", "r = Relu(a) b = Min"
    ),
    "gelu": "a = Div(x, root) b = Erf(a) c = Add(b, one) d = Mul(x, c) y = Mul(d, half)",
    "swish": "s = Sigmoid(x) y = Mul(x, s)",
    "mish": "s = Softplus(x) t = Tanh(s) y = Mul(t, x)",
    "affine": "a = Mul(x, three) b = Sub(one, a) y = Abs(b)",
}


@pytest.mark.parametrize("name", WRITTEN)
def test_a_function_written_with_many_nodes_is_one_layer(name: str) -> None:
    proto = parse(WRITTEN[name])
    feeds = {"x": np.random.default_rng(0).standard_normal((1, 2, 3, 4)).astype(np.float32) * 3}
    program = redc.compile(proto, weight_bits=16, input_bits=16, calibrate=feeds)
    (layer,) = program.layers
    assert len(layer.nodes) == len(proto.graph.node)
    (buffer,) = program.outputs
    error = np.abs(runtime.run(program, feeds).outputs["y"] - run_onnx(proto, feeds)["y"]).max()
    assert buffer.scale is not None
    assert error <= 4 * buffer.scale


def test_what_is_read_elsewhere_is_still_made() -> None:
    proto = parse(
        "s = Sigmoid(x) y = Mul(x, s) z = Concat<axis = 1>(s, y)",
        "float[1, 2, 3, 4] y, float[1, 4, 3, 4] z",
    )
    feeds = {"x": np.random.default_rng(0).standard_normal((1, 2, 3, 4)).astype(np.float32)}
    graph = compile_with(proto, Options(weight_bits=16, input_bits=16), calibrate=feeds).graph
    assert [op.output for op in graph.ops] == ["s", "y", "z"]
    assert [op.inputs for op in graph.ops] == [("x",), ("x",), ("s", "y")]
    got = runtime.run(redc.compile(proto, weight_bits=16, input_bits=16, calibrate=feeds), feeds).outputs
    for name, value in run_onnx(proto, feeds).items():
        np.testing.assert_allclose(got[name], value, atol=5e-4)
