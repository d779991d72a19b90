"""How much work there is in a network's nodes: what crossbars, vector unit and host share."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress

import onnx

from redc.inference import SMALL, inferred

Shapes = Mapping[str, tuple[int, ...]]

WEIGHT = {
    "Conv": 1, "ConvTranspose": 1, "Gemm": 1, "MatMul": 1, "ConvInteger": 1, "MatMulInteger": 1,
    "QLinearConv": 3, "QLinearMatMul": 3, "QGemm": 3, "FusedMatMul": 1, "FusedConv": 1,
}  # fmt: skip
"""Operators that multiply by a matrix -> which input that is."""


def operations(node: onnx.NodeProto, shapes: Shapes) -> int:
    """Multiply-accumulates of `node`; of what multiplies by no matrix its output values.

    Padding counts as if it were pixels.  A tensor whose shape is not in `shapes` counts 0, and
    so do the bodies of If, Loop and Scan.
    """
    made = sum(math.prod(shapes.get(name, (0,))) for name in node.output if name)
    if node.op_type in ("GRU", "LSTM", "RNN"):
        steps = math.prod(shapes.get(node.input[0], (0,))[:2])
        return steps * sum(math.prod(shapes.get(name, (0,))) for name in node.input[1:3])
    if node.op_type.endswith("Attention"):
        return made + _attention(node, shapes)
    if node.op_type not in WEIGHT:
        return made
    return multiplications(node, shapes, math.prod(shapes.get(node.output[0], (0,))))


def multiplications(node: onnx.NodeProto, shapes: Shapes, made: int) -> int:
    """Multiply-accumulates of an operator of `WEIGHT` that makes `made` values."""
    weight = shapes.get(node.input[WEIGHT[node.op_type]], ())
    if not weight:
        return 0
    if node.op_type == "ConvTranspose":
        return math.prod(shapes.get(node.input[0], (0,))) * math.prod(weight[1:])
    if "Conv" in node.op_type:
        return made * math.prod(weight[1:])
    transposed = any(a.name == "transB" and a.i for a in node.attribute)
    return made * (weight[-1] if transposed or len(weight) == 1 else weight[-2])


def _attention(node: onnx.NodeProto, shapes: Shapes) -> int:
    """Of queries by keys and of weights by values; of the one with a matrix of its own, that product too."""
    x, second = (shapes.get(name, (0, 0)) for name in node.input[:2])
    if node.op_type == "Attention" and node.domain == "com.microsoft":
        return math.prod(x) * second[-1] + 2 * math.prod(x[:-1]) * x[-2] * (second[-1] // 3)
    return (math.prod(x) + math.prod(shapes.get(node.output[0], (0,)))) * second[-2]


def part_operations(content: bytes) -> int:
    """`operations` of all nodes of a host part; what only passes on constants or inputs is no work."""
    model = onnx.ModelProto.FromString(content)
    graph = model.graph
    shapes = _shapes(model)
    held = {tensor.name for tensor in graph.initializer}
    given = held.union(value.name for value in graph.input)

    def passes(node: onnx.NodeProto) -> bool:
        if node.op_type == "Identity":
            return node.input[0] in given
        return bool(node.input) and held.issuperset(node.input)

    return sum(operations(node, shapes) for node in graph.node if not passes(node))


def _shapes(model: onnx.ModelProto) -> Shapes:
    """Of all tensors of a model, as far as they can be told without a run."""
    with suppress(onnx.shape_inference.InferenceError):  # what is known without it, then
        model = onnx.shape_inference.infer_shapes(model, data_prop=True)
    graph = model.graph
    data = {tensor.name: tensor for tensor in graph.initializer}
    types = {name: _type(tensor) for name, tensor in data.items()}
    types |= {value.name: value.type for value in (*graph.input, *graph.output, *graph.value_info)}
    small = {name: tensor for name, tensor in data.items() if sum(tensor.dims) <= SMALL}
    for node in graph.node:
        if any(_shape(types.get(name)) is None for name in node.output if name) and all(
            name in types for name in node.input if name
        ):
            types |= inferred(node, types, {name: small[name] for name in node.input if name in small}, model)
    known = ((name, _shape(kind)) for name, kind in types.items())
    return {name: shape for name, shape in known if shape is not None}


def _type(tensor: onnx.TensorProto) -> onnx.TypeProto:
    return onnx.helper.make_tensor_type_proto(tensor.data_type, list(tensor.dims))


def _shape(kind: onnx.TypeProto | None) -> tuple[int, ...] | None:
    if kind is None or not kind.tensor_type.HasField("shape"):
        return None
    dims = kind.tensor_type.shape.dim
    return tuple(d.dim_value for d in dims) if all(d.HasField("dim_value") for d in dims) else None
