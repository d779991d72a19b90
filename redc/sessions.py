"""onnxruntime sessions of models of any size.

A protocol buffer holds 2 GiB, and a model is copied at every step on its way into onnxruntime.
So large initializers are left out of the copy and handed over as arrays.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import onnx
from onnx import TensorProto, numpy_helper

LARGE = 1 << 20
"""Bytes of an initializer that is handed over as an array."""

PLAIN: Mapping[int, int] = {
    **dict.fromkeys((TensorProto.BOOL, TensorProto.INT8, TensorProto.UINT8), 1),
    **dict.fromkeys((TensorProto.FLOAT16, TensorProto.INT16, TensorProto.UINT16), 2),
    **dict.fromkeys((TensorProto.FLOAT, TensorProto.INT32, TensorProto.UINT32), 4),
    **dict.fromkeys((TensorProto.DOUBLE, TensorProto.INT64, TensorProto.UINT64), 8),
}
"""Bytes of a value of the element types that numpy has."""


def exposing(
    model: onnx.ModelProto, graph: onnx.GraphProto, outputs: Sequence[str] | None = None
) -> tuple[onnx.ModelProto, Mapping[str, onnx.TensorProto]]:
    """`graph` as a model of `model`'s versions and functions, and its large initializers, which the
    model names and does not hold.  `outputs` are its outputs instead of its own."""
    light = onnx.ModelProto(ir_version=model.ir_version)
    light.opset_import.extend(model.opset_import)
    light.functions.extend(model.functions)
    large: dict[str, onnx.TensorProto] = {}
    for field, value in graph.ListFields():
        if field.name == "initializer":
            for tensor in value:
                light.graph.initializer.append(_without_values(tensor, large))
        elif field.name == "output" and outputs is not None:
            pass
        elif isinstance(value, str):
            setattr(light.graph, field.name, value)
        else:
            getattr(light.graph, field.name).extend(value)
    if outputs is not None:
        declared = {value.name: value for value in graph.output}
        light.graph.output.extend(declared.get(name, onnx.ValueInfoProto(name=name)) for name in outputs)
    return light, large


def _without_values(tensor: onnx.TensorProto, large: dict[str, onnx.TensorProto]) -> onnx.TensorProto:
    """The tensor itself, or, if it is noted among the `large`, its name, type and shape."""
    width = PLAIN.get(tensor.data_type, 0)
    if math.prod(tensor.dims) * width < LARGE or not tensor.HasField("raw_data"):
        return tensor
    large[tensor.name] = tensor
    outline = onnx.TensorProto(name=tensor.name, data_type=tensor.data_type, dims=tensor.dims)
    outline.data_location = TensorProto.EXTERNAL
    outline.external_data.add(key="location", value="memory")
    return outline


def make_session(light: onnx.ModelProto, large: Mapping[str, onnx.TensorProto], options: Any) -> Any:
    """The onnxruntime session of what `exposing` gave.  Raises what onnxruntime raises."""
    import onnxruntime

    values = {
        name: onnxruntime.OrtValue.ortvalue_from_numpy(numpy_helper.to_array(tensor))
        for name, tensor in large.items()
    }
    if values:
        options.add_external_initializers(list(values), list(values.values()))
    # enable_fallback: it would try again, and say so on standard output
    session = onnxruntime.InferenceSession(
        light.SerializeToString(), options, providers=["CPUExecutionProvider"], enable_fallback=False
    )
    session.held = list(values.values())  # it reads their memory, and does not own it
    return session
