"""onnxruntime sessions of models of any size, and runs of models that may never end.

A protocol buffer holds 2 GiB, and a model is copied at every step on its way into onnxruntime.
So large initializers are left out of the copy and handed over as arrays.

The time of a run is bounded by the sizes of its tensors, unless there is a Loop in it.  Such a run
has a thread of its own, which is told to stop when it has taken too long, or at Ctrl-C
(docs/decisions/0032-a-loop-has-a-time-limit.md).
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy.typing as npt
import onnx
from onnx import TensorProto, numpy_helper

from redc.errors import UserError

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


ROUNDING = "WeightBiasQuantization"
"""onnxruntime's optimiser that rounds float weights between quantisers to 8 bits, which no file asks for."""


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
        light.SerializeToString(),
        options,
        providers=["CPUExecutionProvider"],
        enable_fallback=False,
        disabled_optimizers=[ROUNDING],
    )
    session.held = list(values.values())  # it reads their memory, and does not own it
    return session


PATIENCE = 20.0
"""Seconds of one run of a model with a Loop in it."""
GRACE = 5.0
"""Seconds that onnxruntime has for stopping."""


def loops_of(model: onnx.ModelProto) -> list[str]:
    """The Loops of a model, those of its functions and subgraphs included, by name or by what they make."""
    found: list[str] = []
    pending: list[Iterable[onnx.NodeProto]] = [model.graph.node, *(f.node for f in model.functions)]
    while pending:
        for node in pending.pop():
            if node.op_type == "Loop":
                found.append(node.name or next(iter(node.output), ""))
            for attribute in node.attribute:
                pending += [g.node for g in ([attribute.g] if attribute.HasField("g") else [])]
                pending += [g.node for g in attribute.graphs]
    return found


def run_session(
    session: Any,
    names: Sequence[str],
    feeds: Mapping[str, npt.NDArray[Any]],
    loops: Sequence[str],
    title: str,
) -> list[Any]:
    """`session.run` of a model whose Loops are `loops` (`loops_of`); `title` names it in errors.

    Raises what onnxruntime raises, and UserError where a Loop did not end within PATIENCE seconds.
    """
    if not loops:
        return list(session.run(list(names), dict(feeds)))
    import onnxruntime

    options = onnxruntime.RunOptions()
    options.log_severity_level = 4  # that it was stopped is no news
    results: list[list[Any]] = []
    errors: list[BaseException] = []
    done = threading.Event()  # Thread.join takes a thread for dead where Ctrl-C interrupts it (Python 3.11)

    def work() -> None:
        try:
            results.append(session.run(list(names), dict(feeds), options))
        except BaseException as error:  # noqa: BLE001 # it is raised again, in the thread that waits
            errors.append(error)
        done.set()

    threading.Thread(target=work, daemon=True).start()
    try:
        in_time = done.wait(PATIENCE)
    finally:  # at Ctrl-C as well
        if not done.is_set():
            options.terminate = True
            done.wait(GRACE)
    if not in_time:
        shown = ", ".join(map(repr, loops[:4])) + (", ..." if len(loops) > 4 else "")
        raise UserError(
            f"onnxruntime ran it for {PATIENCE:g} s without coming to an end; it has a Loop: {shown}",
            place=title,
            hint="is its trip count meant to be that large, does its condition ever become false?",
        )
    if errors:
        raise errors[0]
    return results[0]
