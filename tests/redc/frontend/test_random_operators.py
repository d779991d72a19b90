"""Random attributes of the crossbar operators: onnxruntime is the judge of shapes and values."""

from __future__ import annotations

from typing import Any

import hypothesis
import numpy as np
import onnx
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from tests.redc.reference import agree, judged_alike

MANY = 3 * hypothesis.settings().max_examples
AUTO_PADS = ("SAME_UPPER", "SAME_LOWER", "VALID")


def single(
    op: str, shape: list[int], weights: list[np.ndarray[Any, Any]], opset: int, **attributes: Any
) -> onnx.ModelProto:
    """A model of one node `op` with input x of `shape` and constants w0, w1..."""
    names = [f"w{i}" for i in range(len(weights))]
    node = helper.make_node(op, ["x", *names], ["y"], **attributes)
    graph = helper.make_graph(
        [node],
        "single",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(w, n) for w, n in zip(weights, names, strict=True)],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


@st.composite
def windows(draw: st.DrawFn, transposed: bool) -> onnx.ModelProto:
    rank, groups = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    few = 5 - rank

    def each(low: int, high: int) -> list[int]:
        return draw(st.lists(st.integers(low, high), min_size=rank, max_size=rank))

    channels, width = groups * draw(st.integers(1, 2)), draw(st.integers(1, 2))
    size, kernel, stride = each(1, few), each(1, few), each(1, 3)
    attributes: dict[str, Any] = {"group": groups, "strides": stride}
    style = draw(st.sampled_from(("pads", "output_shape", *AUTO_PADS)))
    dilation = each(1, 3) if draw(st.booleans()) else [1] * rank
    attributes["dilations"] = dilation
    if style in AUTO_PADS:
        attributes["auto_pad"] = style
    elif style == "pads" or not transposed:
        attributes["pads"] = each(0, 3) + each(0, 3)
    if transposed:
        if draw(st.booleans()):
            attributes["output_padding"] = each(0, 2)
        if style == "output_shape":
            extra = attributes.get("output_padding", [0] * rank)
            natural = [
                (n - 1) * s + (k - 1) * d + 1 + e
                for n, s, k, d, e in zip(size, stride, kernel, dilation, extra, strict=True)
            ]
            attributes["output_shape"] = [draw(st.integers(max(1, n - 4), n + 2)) for n in natural]
            if draw(st.booleans()):
                attributes["auto_pad"] = draw(st.sampled_from(AUTO_PADS))
    rng = np.random.default_rng(draw(st.integers(0, 9)))
    outer = (channels, width) if transposed else (groups * width, channels // groups)
    weights = [rng.standard_normal((*outer, *kernel)).astype(np.float32)]
    if draw(st.booleans()):
        weights.append(rng.standard_normal(groups * width).astype(np.float32))
    op = "ConvTranspose" if transposed else "Conv"
    batch = draw(st.integers(1, 2))
    return single(op, [batch, channels, *size], weights, draw(st.sampled_from((7, 11, 13, 22))), **attributes)


@hypothesis.given(windows(transposed=True))
@hypothesis.settings(max_examples=MANY)
def test_every_conv_transpose_has_onnxruntimes_shape_and_values(model: onnx.ModelProto) -> None:
    hypothesis.event(f"runs: {judged_alike(model)}")


@hypothesis.given(windows(transposed=False))
@hypothesis.settings(max_examples=MANY)
def test_every_conv_has_onnxruntimes_shape_and_values(model: onnx.ModelProto) -> None:
    hypothesis.event(f"runs: {judged_alike(model)}")


@st.composite
def gemms(draw: st.DrawFn) -> onnx.ModelProto:
    rows, depth, columns = (draw(st.integers(1, 4)) for _ in range(3))
    flipped = draw(st.booleans())
    rng = np.random.default_rng(draw(st.integers(0, 9)))
    weights = [rng.standard_normal((columns, depth) if flipped else (depth, columns)).astype(np.float32)]
    shape = draw(st.sampled_from([None, (columns,), (1, columns), (1,), ()]))
    opset = 13 if shape is None else draw(st.sampled_from((7, 9, 11, 13)))
    if shape is not None:
        weights.append(rng.standard_normal(shape).astype(np.float32))
    attributes = {"alpha": draw(st.sampled_from((1.0, 0.3))), "beta": draw(st.sampled_from((1.0, -2.5)))}
    return single("Gemm", [rows, depth], weights, opset, transB=int(flipped), **attributes)


@hypothesis.given(gemms())
def test_every_gemm_has_onnxruntimes_values(model: onnx.ModelProto) -> None:
    agree(model)


@hypothesis.given(st.lists(st.integers(1, 3), min_size=1, max_size=4), st.integers(1, 3))
def test_matmul_multiplies_the_last_axis_of_any_rank(shape: list[int], columns: int) -> None:
    weight = np.random.default_rng(0).standard_normal((shape[-1], columns)).astype(np.float32)
    agree(single("MatMul", shape, [weight], 13))
