"""Models of float16 and bfloat16 as the float32 models that they abbreviate.

Exporters halve a model's floats to halve its file.  The accelerator rounds to codes of its own, and
onnxruntime's kernels on a CPU compute most of them in float32 anyway, so compiler and oracle both see the
model in float32, its inputs and outputs apart: a Cast stands behind every float16 one.
"""

from __future__ import annotations

from collections.abc import Container

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from redc.frontend.nodes import DEFAULT_DOMAINS
from redc.frontend.scopes import captured, rename, subgraphs

HALVES = (TensorProto.FLOAT16, TensorProto.BFLOAT16)
TYPE_ATTRIBUTES = frozenset({"to", "dtype", "output_dtype", "output_datatype", "precision", "stash_type"})
"""Attributes of ONNX's own operators that number an element type."""


def widened(model: onnx.ModelProto) -> onnx.ModelProto:
    """`model` with float32 in place of float16 and bfloat16; itself if it has neither.

    Inputs and outputs of float16 keep their type, those of bfloat16, which numpy does not have, become
    float32.  Names stay as they are, but behind a port: `x` is read as "x as float32".
    """
    if not _has_halves(model.graph) or _at_ports_alone(model.graph):
        return model
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    given = {tensor.name for tensor in graph.initializer}
    taken = {name for node in graph.node for name in (*node.input, *node.output)}
    made = {name for node in graph.node for name in node.output}
    inputs = [v for v in graph.input if _is_half_port(v) and v.name not in given]
    outputs = [v for v in graph.output if _is_half_port(v) and v.name in made]
    fresh = {v.name: _fresh(v.name, taken) for v in (*inputs, *outputs)}
    _widen(graph)
    rename(graph.node, fresh)
    before = [helper.make_node("Cast", [v.name], [fresh[v.name]], to=TensorProto.FLOAT) for v in inputs]
    after = [helper.make_node("Cast", [fresh[v.name]], [v.name], to=TensorProto.FLOAT16) for v in outputs]
    for value in (*inputs, *outputs):
        value.type.tensor_type.elem_type = TensorProto.FLOAT16
    nodes = [*before, *graph.node, *after]
    del graph.node[:]
    graph.node.extend(nodes)
    return result


def _has_halves(graph: onnx.GraphProto) -> bool:
    values = (*graph.input, *graph.output)
    if any(v.type.tensor_type.elem_type in HALVES for v in values):
        return True
    if any(tensor.data_type in HALVES for tensor in graph.initializer):
        return True
    return any(_mentions_halves(node) for node in graph.node)


def _mentions_halves(node: onnx.NodeProto) -> bool:
    own = node.domain in DEFAULT_DOMAINS
    for attribute in node.attribute:
        if own and attribute.name in TYPE_ATTRIBUTES and attribute.i in HALVES:
            return True
        if attribute.t.data_type in HALVES or any(t.data_type in HALVES for t in attribute.tensors):
            return True
    return any(_has_halves(graph) for graph in subgraphs(node))


def _at_ports_alone(graph: onnx.GraphProto) -> bool:
    """Whether halves are nothing but inputs and outputs, with a Cast behind each."""
    types = {v.name: v.type.tensor_type.elem_type for v in (*graph.input, *graph.output)}
    halves = {name for name, kind in types.items() if kind in HALVES}
    if TensorProto.BFLOAT16 in types.values() or any(t.data_type in HALVES for t in graph.initializer):
        return False
    for node in graph.node:
        to = next((a.i for a in node.attribute if a.name == "to"), None) if node.op_type == "Cast" else None
        enters = to == TensorProto.FLOAT
        leaves = to == TensorProto.FLOAT16 and node.output[0] in halves and halves.isdisjoint(node.input)
        inside = _mentions_halves(node) or not halves.isdisjoint((*node.input, *captured(node)))
        if inside and not enters and not leaves:
            return False
    return True


def _is_half_port(value: onnx.ValueInfoProto) -> bool:
    return value.type.tensor_type.elem_type == TensorProto.FLOAT16 and isinstance(value.name, str)


def _fresh(name: str, taken: Container[str]) -> str:
    made = f"{name} as float32"
    while made in taken:
        made += "'"
    return made


# ---------------------------------------------------------------- types


def _widen(graph: onnx.GraphProto) -> None:
    """Every element type in `graph` and its subgraphs that is a half, in place."""
    for value in (*graph.input, *graph.output, *graph.value_info):
        _widen_type(value.type)
    for tensor in (*graph.initializer, *(sparse.values for sparse in graph.sparse_initializer)):
        _widen_tensor(tensor)
    for node in graph.node:
        own = node.domain in DEFAULT_DOMAINS
        for attribute in node.attribute:
            if own and attribute.name in TYPE_ATTRIBUTES and attribute.i in HALVES:
                attribute.i = TensorProto.FLOAT
            if attribute.HasField("t"):
                _widen_tensor(attribute.t)
            if attribute.HasField("tp"):
                _widen_type(attribute.tp)
            for tensor in attribute.tensors:
                _widen_tensor(tensor)
        for inner in subgraphs(node):
            _widen(inner)


def _widen_type(kind: onnx.TypeProto) -> None:
    case = kind.WhichOneof("value")
    if case in ("tensor_type", "sparse_tensor_type"):
        tensor = getattr(kind, case)
        if tensor.elem_type in HALVES:
            tensor.elem_type = TensorProto.FLOAT
    elif case in ("sequence_type", "optional_type"):
        _widen_type(getattr(kind, case).elem_type)


def _widen_tensor(tensor: onnx.TensorProto) -> None:
    if tensor.data_type not in HALVES:
        return
    try:
        values = np.asarray(numpy_helper.to_array(tensor), np.float32)
    except (ValueError, TypeError):
        return  # damaged: whoever reads it says so
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
