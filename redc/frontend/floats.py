"""Models of float16, bfloat16 and double as float32 models.

Exporters halve a model's floats to halve its file, or leave them as wide as Python's.  The accelerator rounds
to codes of its own either way, so compiler and oracle both see the model in float32, its inputs and outputs
apart: a Cast stands behind every float16 and double one (decision 0046).
"""

from __future__ import annotations

from collections.abc import Container

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from redc.frontend.nodes import DEFAULT_DOMAINS
from redc.frontend.scopes import captured, rename, subgraphs

HALVES = frozenset({TensorProto.FLOAT16, TensorProto.BFLOAT16})
PORTS = frozenset({TensorProto.FLOAT16, TensorProto.DOUBLE})
"""Types that an input or output of a program may keep: numpy has no bfloat16."""
WEIGHTED = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
TYPE_ATTRIBUTES = frozenset({"to", "dtype", "output_dtype", "output_datatype", "precision", "stash_type"})
"""Attributes of ONNX's own operators that number an element type."""

Kinds = Container[int]


def in_float32(model: onnx.ModelProto) -> onnx.ModelProto:
    """`model` with float32 in place of float16 and bfloat16, and of double where that is what its weights
    are; itself if there is nothing to do.

    Inputs and outputs of float16 and double keep their type, those of bfloat16 become float32.  Names
    stay as they are, but behind a port: `x` is read as "x as float32".
    """
    kinds = HALVES | ({TensorProto.DOUBLE} if _is_double(model.graph) else set())
    if not _has(model.graph, kinds) or _at_ports_alone(model.graph, kinds):
        return model
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    given = {tensor.name for tensor in graph.initializer}
    taken = {name for node in graph.node for name in (*node.input, *node.output)}
    ports = {v.name for v in graph.input}
    made = {name for node in graph.node for name in node.output} | (given - ports)
    kept = PORTS & kinds
    inputs = [v for v in graph.input if _type(v) in kept and v.name not in given and _is_text(v)]
    outputs = [v for v in graph.output if _type(v) in kept and v.name in made and _is_text(v)]
    types = {v.name: _type(v) for v in (*inputs, *outputs)}
    fresh = {name: _fresh(name, taken) for name in types}
    _convert(graph, kinds)
    rename(graph.node, fresh)
    for tensor in graph.initializer:
        tensor.name = fresh.get(tensor.name, tensor.name)
    before = [helper.make_node("Cast", [v.name], [fresh[v.name]], to=TensorProto.FLOAT) for v in inputs]
    after = [helper.make_node("Cast", [fresh[v.name]], [v.name], to=types[v.name]) for v in outputs]
    for value in (*inputs, *outputs):
        value.type.tensor_type.elem_type = types[value.name]
    nodes = [*before, *graph.node, *after]
    del graph.node[:]
    graph.node.extend(nodes)
    return result


def _is_double(graph: onnx.GraphProto) -> bool:
    """Whether the weights that crossbars would hold are doubles, all of them."""
    types = {tensor.name: tensor.data_type for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant":
            held = [a.t.data_type for a in node.attribute if a.name == "value"]
            types.update(zip(node.output, held, strict=False))
    weights = [name for node in graph.node if node.op_type in WEIGHTED for name in node.input[1:2]]
    return {types[name] for name in weights if name in types} == {TensorProto.DOUBLE}


def _has(graph: onnx.GraphProto, kinds: Kinds) -> bool:
    """Whether anything in `graph` is of these types."""
    if any(_type(v) in kinds for v in (*graph.input, *graph.output)):
        return True
    if any(tensor.data_type in kinds for tensor in graph.initializer):
        return True
    return any(_mentions(node, kinds) for node in graph.node)


def _mentions(node: onnx.NodeProto, kinds: Kinds) -> bool:
    own = node.domain in DEFAULT_DOMAINS
    for attribute in node.attribute:
        if own and attribute.name in TYPE_ATTRIBUTES and attribute.i in kinds:
            return True
        if attribute.t.data_type in kinds or any(t.data_type in kinds for t in attribute.tensors):
            return True
    return any(_has(graph, kinds) for graph in subgraphs(node))


def _at_ports_alone(graph: onnx.GraphProto, kinds: Kinds) -> bool:
    """Whether these types are those of inputs and outputs alone, with a Cast behind each."""
    ports = {v.name: _type(v) for v in (*graph.input, *graph.output) if _type(v) in kinds}
    others = any(kind not in PORTS for kind in ports.values())
    if others or any(tensor.data_type in kinds for tensor in graph.initializer):
        return False
    for node in graph.node:
        to = next((a.i for a in node.attribute if a.name == "to"), None) if node.op_type == "Cast" else None
        enters = to == TensorProto.FLOAT
        reads = ports.keys() & {*node.input, *captured(node)}
        leaves = to is not None and not reads and [ports.get(name) for name in node.output] == [to]
        inside = bool(reads) or _mentions(node, kinds)
        if inside and not enters and not leaves:
            return False
    return True


def _type(value: onnx.ValueInfoProto) -> int:
    return int(value.type.tensor_type.elem_type)


def _is_text(value: onnx.ValueInfoProto) -> bool:
    return isinstance(value.name, str)  # protobuf hands out damaged names as bytes


def _fresh(name: str, taken: Container[str]) -> str:
    made = f"{name} as float32"
    while made in taken:
        made += "'"
    return made


# ---------------------------------------------------------------- types


def _convert(graph: onnx.GraphProto, kinds: Kinds) -> None:
    """Every element type in `graph` and its subgraphs that is one of `kinds`, in place."""
    for value in (*graph.input, *graph.output, *graph.value_info):
        _convert_type(value.type, kinds)
    for tensor in (*graph.initializer, *(sparse.values for sparse in graph.sparse_initializer)):
        _convert_tensor(tensor, kinds)
    for node in graph.node:
        own = node.domain in DEFAULT_DOMAINS
        for attribute in node.attribute:
            if own and attribute.name in TYPE_ATTRIBUTES and attribute.i in kinds:
                attribute.i = TensorProto.FLOAT
            if attribute.HasField("t"):
                _convert_tensor(attribute.t, kinds)
            if attribute.HasField("tp"):
                _convert_type(attribute.tp, kinds)
            for tensor in attribute.tensors:
                _convert_tensor(tensor, kinds)
        for inner in subgraphs(node):
            _convert(inner, kinds)


def _convert_type(kind: onnx.TypeProto, kinds: Kinds) -> None:
    case = kind.WhichOneof("value")
    if case in ("tensor_type", "sparse_tensor_type"):
        tensor = getattr(kind, case)
        if tensor.elem_type in kinds:
            tensor.elem_type = TensorProto.FLOAT
    elif case in ("sequence_type", "optional_type"):
        _convert_type(getattr(kind, case).elem_type, kinds)


def _convert_tensor(tensor: onnx.TensorProto, kinds: Kinds) -> None:
    if tensor.data_type not in kinds or tensor.data_location == TensorProto.EXTERNAL:
        return
    try:
        with np.errstate(over="ignore"):  # a double beyond float32 is infinite
            values = np.asarray(numpy_helper.to_array(tensor), np.float32)
    except (ValueError, TypeError):
        return  # damaged: whoever reads it says so
    for named, _ in tensor.ListFields():
        if named.name.endswith("_data"):
            tensor.ClearField(named.name)
    tensor.data_type = TensorProto.FLOAT
    tensor.raw_data = numpy_helper.from_array(values).raw_data
