"""Random networks: importing, folding and fusing never change what onnxruntime computes."""

from __future__ import annotations

from typing import Any

import hypothesis
import numpy as np
import onnx
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from redc.frontend import import_graph
from redc.ir.text import to_text
from tests.redc.reference import agree


class Net:
    """A network under construction: every tensor so far, with its shape."""

    def __init__(self, shape: tuple[int, ...], seed: int) -> None:
        self.tensors: list[tuple[str, tuple[int, ...]]] = [("x", shape)]
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.rng = np.random.default_rng(seed)

    def constant(self, shape: tuple[int, ...], low: float = -1.0, dtype: Any = np.float32) -> str:
        name = f"w{len(self.weights)}"
        values = self.rng.uniform(low, 1.0, shape).astype(dtype)
        self.weights.append(numpy_helper.from_array(values, name))
        return name

    def integers(self, values: tuple[int, ...]) -> str:
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.array(values, np.int64), name))
        return name

    def node(self, op: str, inputs: list[str], shape: tuple[int, ...], **attributes: Any) -> None:
        name = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [name], **attributes))
        self.tensors.append((name, shape))

    def model(self, outputs: list[str]) -> onnx.ModelProto:
        ports = [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in self.tensors
        ]
        graph = helper.make_graph(
            self.nodes, "net", ports[:1], [p for p in ports if p.name in outputs], self.weights
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


PLAIN = ("Relu", "LeakyRelu", "Tanh", "Sigmoid", "Identity", "Dropout")


def extend(draw: st.DrawFn, net: Net) -> None:
    """One more random node that fits a tensor of `net`."""
    name, shape = net.tensors[draw(st.integers(max(0, len(net.tensors) - 3), len(net.tensors) - 1))]
    kinds = [*PLAIN, "Clip", "Add", "Sum", "Reshape", "MatMul", "Squeeze", "Mul", "Max", "Join", "Flip"]
    kinds += ["Over", "Tame"]
    kinds += ["Flatten", "BatchNormalization"] if len(shape) > 1 else []
    kinds += ["ConvTranspose", "Conv"] * 3 if len(shape) > 2 else []
    kind = draw(st.sampled_from(kinds))
    if kind in PLAIN:
        net.node(kind, [name], shape)
    elif kind == "Clip":
        net.node(kind, [name, net.constant(()), ""], shape)
    elif kind == "Add":
        axis = draw(st.integers(0, len(shape)))
        along = tuple(size if i == axis else 1 for i, size in enumerate(shape))
        net.node("Add", draw(st.permutations([name, net.constant(along)])), shape)
    elif kind == "Sum":
        same = [other for other, size in net.tensors if size == shape]
        net.node("Add", [name, draw(st.sampled_from(same))], shape)
    elif kind in ("Mul", "Max"):
        same = [other for other, size in net.tensors if size == shape]
        net.node(kind, [name, draw(st.sampled_from(same))], shape)
    elif kind == "Over":  # a constant of several axes
        spread = (1, *(size if draw(st.booleans()) else 1 for size in shape[1:]))
        operands = draw(st.permutations([name, net.constant(spread)]))
        net.node(draw(st.sampled_from(["Add", "Sub", "Mul", "Max"])), operands, shape)
    elif kind == "Tame":  # steep functions, away from 0
        net.node("Abs", [name], shape)
        net.node("Add", [net.tensors[-1][0], net.constant((), 1.0)], shape)
        below = net.tensors[-1][0]
        if draw(st.booleans()):
            net.node("Sqrt", [below], shape)
        net.node("Div", [name, net.tensors[-1][0]], shape)
    elif kind == "Join":
        same = [other for other, size in net.tensors if size == shape]
        axis = draw(st.integers(0, len(shape) - 1))
        joined = tuple(2 * size if i == axis else size for i, size in enumerate(shape))
        net.node("Concat", [name, draw(st.sampled_from(same))], joined, axis=axis)
    elif kind == "Flip":
        order = draw(st.permutations(range(len(shape))))
        net.node("Transpose", [name], tuple(shape[i] for i in order), perm=order)
    elif kind == "Reshape":
        to = (shape[0], -1) if draw(st.booleans()) else (shape[0], *shape[1:], 1)
        net.node("Reshape", [name, net.integers(to)], np.empty(shape).reshape(to).shape)
    elif kind == "Squeeze":
        squeezed = tuple(d for d in shape if d != 1)
        if squeezed:
            net.node("Squeeze", [name], squeezed)
    elif kind == "Flatten":
        net.node("Flatten", [name], (shape[0], int(np.prod(shape[1:]))))
    elif kind == "MatMul":
        columns = draw(st.integers(1, 3))
        net.node("MatMul", [name, net.constant((shape[-1], columns))], (*shape[:-1], columns))
    elif kind == "BatchNormalization":
        numbers = [net.constant(shape[1:2], low) for low in (-1.0, -1.0, -1.0, 0.1)]
        net.node(kind, [name, *numbers], shape)
    else:
        _window(draw, net, name, shape, kind)


def _window(draw: st.DrawFn, net: Net, name: str, shape: tuple[int, ...], kind: str) -> None:
    """Kernel 2, stride 2 or 1, so that sizes stay small and positive."""
    rank, outputs = len(shape) - 2, draw(st.integers(1, 3))
    if rank > 3 or (kind == "Conv" and min(shape[2:]) < 2) or max(shape[2:]) > 6:
        return
    stride = draw(st.integers(1, 2))
    bias = [net.constant((outputs,))] if draw(st.booleans()) else []
    if kind == "ConvTranspose":
        weight = net.constant((shape[1], outputs, *[2] * rank))
        size = tuple((n - 1) * stride + 2 for n in shape[2:])
    else:
        weight = net.constant((outputs, shape[1], *[2] * rank))
        size = tuple((n - 2) // stride + 1 for n in shape[2:])
    net.node(kind, [name, weight, *bias], (shape[0], outputs, *size), strides=[stride] * rank)


@st.composite
def networks(draw: st.DrawFn) -> onnx.ModelProto:
    shape = tuple(draw(st.lists(st.integers(1, 3), min_size=1, max_size=4)))
    net = Net(shape, draw(st.integers(0, 99)))
    for _ in range(draw(st.integers(1, 8))):
        extend(draw, net)
    hypothesis.assume(net.nodes)
    last = net.tensors[-1][0]
    others = draw(st.lists(st.sampled_from([n for n, _ in net.tensors[1:]]), max_size=2))
    return net.model([last, *others])


@hypothesis.given(networks())
@hypothesis.settings(max_examples=3 * hypothesis.settings().max_examples)
def test_random_networks_compute_what_onnxruntime_computes(model: onnx.ModelProto) -> None:
    graph = agree(model)
    assert to_text(graph) == to_text(agree(model))
    live = {name for op in import_graph(model).ops for name in op.nodes}
    assert {name for op in graph.ops for name in op.nodes} <= live
