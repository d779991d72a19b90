"""How much work there is in a network's nodes: what crossbars, vector unit and host share."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress

import onnx

Shapes = Mapping[str, tuple[int, ...]]

WEIGHT = {
    "Conv": 1, "ConvTranspose": 1, "Gemm": 1, "MatMul": 1, "ConvInteger": 1, "MatMulInteger": 1,
    "QLinearConv": 3, "QLinearMatMul": 3, "QGemm": 3,
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


def part_operations(content: bytes) -> int:
    """`operations` of all nodes of a host part; what only passes on constants or inputs is no work."""
    model = onnx.ModelProto.FromString(content)
    with suppress(onnx.shape_inference.InferenceError):  # what is known without it, then
        model = onnx.shape_inference.infer_shapes(model, data_prop=True)
    graph = model.graph
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    for value in (*graph.input, *graph.output, *graph.value_info):
        dims = value.type.tensor_type.shape.dim
        if value.type.tensor_type.HasField("shape") and all(d.HasField("dim_value") for d in dims):
            shapes[value.name] = tuple(d.dim_value for d in dims)
    held = {tensor.name for tensor in graph.initializer}
    given = held.union(value.name for value in graph.input)

    def passes(node: onnx.NodeProto) -> bool:
        if node.op_type == "Identity":
            return node.input[0] in given
        return bool(node.input) and held.issuperset(node.input)

    return sum(operations(node, shapes) for node in graph.node if not passes(node))
