"""Random single deconvolutions as ONNX models, over everything ConvTranspose allows."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

ACTIVATIONS = ("", "Relu", "LeakyRelu", "Tanh", "Sigmoid", "Clip")


@st.composite
def deconvolutions(draw: st.DrawFn) -> onnx.ModelProto:
    """ConvTranspose of rank 1 to 3, stride 1 to 4, dilation 1 to 3, kernel 1 to 5, asymmetric
    pads up to beyond the kernel, output padding, groups, batch, bias and an activation."""
    rank = draw(st.integers(1, 3))
    most = {1: 9, 2: 5, 3: 3}[rank]

    def each(low: int, high: int) -> list[int]:
        return draw(st.lists(st.integers(low, high), min_size=rank, max_size=rank))

    groups = draw(st.integers(1, 3))
    channels, width = groups * draw(st.integers(1, 3)), draw(st.integers(1, 3))
    size, kernel, stride, dilation = each(1, most), each(1, 5 if rank < 3 else 3), each(1, 4), each(1, 3)
    extra = [draw(st.integers(0, s - 1)) for s in stride]
    natural = [
        (n - 1) * s + (k - 1) * d + 1 + e
        for n, s, k, d, e in zip(size, stride, kernel, dilation, extra, strict=True)
    ]
    begin = [draw(st.integers(0, min(8, n - 1))) for n in natural]
    end = [draw(st.integers(0, min(8, n - 1 - b))) for n, b in zip(natural, begin, strict=True)]
    seed = draw(st.integers(0, 2**32 - 1))
    activation = draw(st.sampled_from(ACTIVATIONS))
    return deconvolution(
        (draw(st.integers(1, 2)), channels, *size),
        (channels, width, *kernel),
        seed=seed,
        bias=draw(st.booleans()),
        activation=activation,
        group=groups,
        strides=stride,
        dilations=dilation,
        output_padding=extra,
        pads=begin + end,
    )


def deconvolution(
    x: tuple[int, ...],
    w: tuple[int, ...],
    *,
    seed: int = 0,
    bias: bool = True,
    activation: str = "",
    **attributes: Any,
) -> onnx.ModelProto:
    """One ConvTranspose `ct` from "x" to "y" with seeded normal weights, and its activation."""
    rng = np.random.default_rng(seed)
    channels = w[1] * attributes.get("group", 1)
    weights = [numpy_helper.from_array(rng.standard_normal(w).astype(np.float32), "w")]
    if bias:
        weights.append(numpy_helper.from_array(rng.standard_normal(channels).astype(np.float32), "b"))
    inputs = ["x", *(t.name for t in weights)]
    nodes = [helper.make_node("ConvTranspose", inputs, ["t" if activation else "y"], "ct", **attributes)]
    if activation == "Clip":
        weights += [numpy_helper.from_array(np.array(v, np.float32), n) for v, n in ((-0.5, "lo"), (1, "hi"))]
        nodes.append(helper.make_node("Clip", ["t", "lo", "hi"], ["y"], "act"))
    elif activation:
        nodes.append(helper.make_node(activation, ["t"], ["y"], "act"))
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes, "one", [value("x", TensorProto.FLOAT, x)], [value("y", TensorProto.FLOAT, None)], weights
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def feed(model: onnx.ModelProto, seed: int = 0) -> dict[str, np.ndarray[Any, Any]]:
    """Standard normal values for the input "x"."""
    shape = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]
    return {"x": np.random.default_rng(seed).standard_normal(shape).astype(np.float32)}
