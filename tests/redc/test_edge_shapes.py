"""Edge shapes of ConvTranspose, end to end: onnxruntime's shape and values, or its refusal and ours."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

import redc
from tests.redc.frontend.test_random_operators import single

SQNR = 70.0
"""Decibels at 16 bits for weights and inputs."""

# (input, weight (C, M/g, kernel...), bias or None, attributes)
Shape = tuple[list[int], tuple[int, ...], bool, dict[str, Any]]
EDGES: dict[str, Shape] = {
    "output_shape, odd padding": (
        [1, 2, 5, 5], (2, 3, 4, 4), False, {"strides": [2, 2], "output_shape": [9, 11]}
    ),
    "output_shape, odd padding, SAME_UPPER": (
        [1, 2, 5, 5], (2, 3, 4, 4), False,
        {"strides": [2, 2], "output_shape": [9, 11], "auto_pad": "SAME_UPPER"},
    ),
    "output_shape, odd padding, SAME_LOWER": (
        [1, 2, 5, 5], (2, 3, 4, 4), False,
        {"strides": [2, 2], "output_shape": [9, 11], "auto_pad": "SAME_LOWER"},
    ),
    "output_shape beyond the kernel's reach": (
        [1, 1, 4, 4], (1, 1, 2, 2), True, {"strides": [3, 3], "output_shape": [12, 13]}
    ),
    "output_shape and output_padding": (
        [1, 1, 3, 3], (1, 2, 3, 3), True,
        {"strides": [3, 2], "output_shape": [10, 8], "output_padding": [1, 1]},
    ),
    "SAME_UPPER": ([1, 3, 5, 4], (3, 2, 3, 3), True, {"strides": [2, 2], "auto_pad": "SAME_UPPER"}),
    "SAME_LOWER": ([1, 3, 5, 4], (3, 2, 3, 3), True, {"strides": [2, 2], "auto_pad": "SAME_LOWER"}),
    "SAME_UPPER, even kernel": (
        [1, 1, 3, 3], (1, 1, 4, 4), False, {"strides": [3, 1], "auto_pad": "SAME_UPPER"}
    ),
    "VALID": ([1, 3, 5, 4], (3, 2, 3, 3), True, {"strides": [2, 2], "auto_pad": "VALID"}),
    "stride > kernel": ([1, 2, 3, 4], (2, 3, 2, 1), True, {"strides": [4, 3]}),
    "stride > kernel, cropped between pixels": (
        [1, 2, 3, 4], (2, 3, 2, 1), True, {"strides": [4, 3], "pads": [3, 2, 1, 0]}
    ),
    "pads > kernel": ([1, 2, 6, 6], (2, 2, 3, 2), True, {"strides": [2, 2], "pads": [4, 3, 5, 4]}),
    "pads > kernel on one side": ([1, 2, 6, 6], (2, 2, 2, 2), False, {"pads": [3, 0, 0, 3]}),
    "output_padding on every axis": (
        [1, 2, 3, 3], (2, 2, 3, 3), True, {"strides": [2, 3], "output_padding": [1, 2]}
    ),
    "dilation and stride with a common factor": (
        [1, 2, 4, 4], (2, 2, 3, 3), True, {"strides": [2, 4], "dilations": [2, 2]}
    ),
    "depthwise with bias": (
        [1, 6, 5, 5], (6, 1, 4, 4), True, {"group": 6, "strides": [2, 2], "pads": [1] * 4}
    ),
    "group with M/g > 1": ([1, 6, 5, 5], (6, 3, 3, 3), True, {"group": 2, "strides": [2, 2]}),
    "group with M/g > 1, one channel each": (
        [1, 3, 5, 5], (3, 4, 2, 2), True, {"group": 3, "strides": [2, 2]}
    ),
    "1-D k20 s5": ([1, 4, 30], (4, 2, 20), True, {"strides": [5], "pads": [7, 8]}),
    "3-D": ([1, 2, 3, 2, 4], (2, 3, 3, 2, 3), True, {"strides": [2, 2, 1], "pads": [1, 0, 1, 1, 0, 0]}),
    "batch 3": ([3, 2, 4, 4], (2, 3, 4, 4), True, {"strides": [2, 2], "pads": [1] * 4}),
    "1x1 input and kernel": ([1, 3, 1, 1], (3, 2, 1, 1), True, {}),
}  # fmt: skip
REFUSED: dict[str, tuple[Shape, str]] = {
    "output_padding not below the stride": (
        ([1, 1, 3, 3], (1, 1, 3, 3), False, {"strides": [2, 2], "output_padding": [2, 0]}),
        "output_padding 2 on spatial axis 0 is not below the stride 2",
    ),
    "pads that leave nothing": (
        ([1, 1, 2, 2], (1, 1, 2, 2), False, {"pads": [2, 2, 2, 2]}), "nothing is left",
    ),
    "channels that do not divide into groups": (
        ([1, 3, 2, 2], (3, 1, 2, 2), False, {"group": 2}), "do not divide into 2 groups",
    ),
    "weights for other channels": (
        ([1, 3, 2, 2], (2, 1, 2, 2), False, {}), "for 2 channels, its input has 3",
    ),
    "a kernel_shape that is not the weight's": (
        ([1, 1, 4, 4], (1, 1, 3, 3), False, {"kernel_shape": [2, 2]}), "kernel_shape",
    ),
    "too few strides": (([1, 1, 4, 4], (1, 1, 3, 3), False, {"strides": [2]}), "strides"),
}  # fmt: skip


def made(shape: Shape) -> tuple[onnx.ModelProto, dict[str, np.ndarray[Any, Any]]]:
    size, weight, bias, attributes = shape
    rng = np.random.default_rng([*size, *weight])
    constants = [rng.standard_normal(weight).astype(np.float32)]
    if bias:
        constants.append(rng.standard_normal(weight[1] * attributes.get("group", 1)).astype(np.float32))
    model = single("ConvTranspose", size, constants, 13, **attributes)
    return model, {"x": rng.standard_normal(size).astype(np.float32)}


def by_onnxruntime(model: onnx.ModelProto, inputs: dict[str, np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    value: np.ndarray[Any, Any] = onnxruntime.InferenceSession(model.SerializeToString(), options).run(
        None, inputs
    )[0]
    return value


@pytest.mark.parametrize("edge", EDGES)
def test_an_edge_shape_has_onnxruntimes_shape_and_values(edge: str) -> None:
    model, inputs = made(EDGES[edge])
    report = redc.diff(model, inputs=inputs, weight_bits=16, input_bits=16)
    assert report.passed
    (output,) = report.outputs
    assert tuple(output.shape) == by_onnxruntime(model, inputs).shape
    assert output.sqnr_db is None or output.sqnr_db >= SQNR


@pytest.mark.parametrize("edge", REFUSED)
def test_where_onnxruntime_refuses_so_do_we_saying_why(edge: str) -> None:
    shape, why = REFUSED[edge]
    model, inputs = made(shape)
    with pytest.raises(Exception):  # noqa: B017  # onnxruntime's classes are direct Exceptions
        by_onnxruntime(model, inputs)
    with pytest.raises(redc.UserError) as caught:
        redc.compile(model, calibrate=inputs)
    assert why in str(caught.value)
