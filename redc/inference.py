"""The types of what operators make: ONNX's inference, and onnxruntime's for operators that it alone knows."""

from __future__ import annotations

from collections.abc import Mapping

import onnx
from onnx import TensorProto

Types = Mapping[str, onnx.TypeProto]

SMALL = 1 << 12
"""Values of a constant that inference may look at."""

UNINFERABLE = (
    onnx.defs.SchemaError,
    onnx.shape_inference.InferenceError,
    onnx.checker.ValidationError,
    ValueError,
    TypeError,
)
"""What is raised for a node whose operator ONNX does not know, or that is damaged."""

_TENSOR, _END = "tensor(", ")"
_ELEMENTS = {
    name.lower(): value for name, value in TensorProto.DataType.items() if value != TensorProto.UNDEFINED
}


def inferred(
    node: onnx.NodeProto, types: Types, data: Mapping[str, TensorProto], model: onnx.ModelProto
) -> Types:
    """The types of a node's outputs, as far as they follow from those of its inputs, of which `data` holds
    some values; `model` says the versions."""
    version = next((o.version for o in model.opset_import if _plain(o.domain) == _plain(node.domain)), 1)
    try:
        schema = onnx.defs.get_schema(node.op_type, version, _plain(node.domain))
        return onnx.shape_inference.infer_node_outputs(
            schema, node, dict(types), dict(data),
            opset_imports=list(model.opset_import), ir_version=model.ir_version,
        )  # fmt: skip
    except onnx.defs.SchemaError:
        return _by_onnxruntime(node, types, data, model)
    except UNINFERABLE:
        return {}  # onnxruntime will have the last word on it


def _by_onnxruntime(
    node: onnx.NodeProto, types: Types, data: Mapping[str, TensorProto], model: onnx.ModelProto
) -> Types:
    """What onnxruntime says of a model of this one node; nothing of an operator that it does not know."""
    import onnxruntime  # for few models, and slow to import

    names = dict.fromkeys(name for name in node.input if name)
    inputs = [onnx.ValueInfoProto(name=name, type=types[name]) for name in names if name not in data]
    outputs = [onnx.ValueInfoProto(name=name) for name in node.output if name]
    held = [_called(data[name], name) for name in names if name in data]
    graph = onnx.helper.make_graph([node], "one", inputs, outputs, held)
    alone = onnx.helper.make_model(
        graph, opset_imports=list(model.opset_import), functions=list(model.functions)
    )
    alone.ir_version = model.ir_version
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        session = onnxruntime.InferenceSession(
            alone.SerializeToString(), options, providers=["CPUExecutionProvider"], enable_fallback=False
        )
    except Exception:  # noqa: BLE001 # onnxruntime raises its own classes, all direct Exceptions
        return {}
    found = {port.name: _type(port.type, port.shape) for port in session.get_outputs()}
    return {name: kind for name, kind in found.items() if kind is not None}


def _called(tensor: TensorProto, name: str) -> TensorProto:
    if tensor.name == name:
        return tensor
    named = TensorProto()
    named.CopyFrom(tensor)
    named.name = name
    return named


def _type(word: str, shape: list[int | str | None]) -> onnx.TypeProto | None:
    """onnxruntime's `tensor(uint8)` and its dimensions as ONNX's type; None for other things than tensors."""
    element = (
        _ELEMENTS.get(word.removeprefix(_TENSOR).removesuffix(_END)) if word.startswith(_TENSOR) else None
    )
    return None if element is None else onnx.helper.make_tensor_type_proto(element, shape)


def _plain(domain: str) -> str:
    return "" if domain == "ai.onnx" else domain
