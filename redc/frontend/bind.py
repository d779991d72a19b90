"""Graph inputs whose values are known before the program runs: weights that arrive as inputs.

A crossbar holds constants, so such an input becomes an initializer, and the program compiled
then no longer takes it: one program per binding.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from redc.declared import shape_text
from redc.errors import NeedsValue, UserError, did_you_mean, raise_all
from redc.frontend.constants import FOLDED
from redc.frontend.importer import import_graph

Array = npt.NDArray[Any]
SEPARATE_INITIALIZERS = 4
"""The IR version from which an initializer need not be a graph input as well."""


def graph_inputs(model: onnx.ModelProto) -> dict[str, onnx.ValueInfoProto]:
    """The graph inputs that are no initializers, in order."""
    constant = {tensor.name for tensor in model.graph.initializer}
    return {value.name: value for value in model.graph.input if value.name not in constant}


def bind_inputs(
    model: onnx.ModelProto, values: Mapping[str, Array], *, title: str | None = None
) -> onnx.ModelProto:
    """`model` with the graph inputs `values` as initializers; itself where there are none.

    A size that a bound input gives to a symbol holds for the symbol in every other input.
    Raises UserError (several at once) for a name that is no input, and for a shape or type
    that the model does not declare.
    """
    if not values:
        return model
    inputs = graph_inputs(model)
    where = title or model.graph.name or "model"
    errors, tensors, symbols = [], [], {}
    for name, value in values.items():
        try:
            tensors.append(_initializer(inputs, name, np.asarray(value)))
        except UserError as error:
            place = f"{where}: {error.place}" if error.place else where
            errors.append(UserError(error.message, place=place, hint=error.hint))
            continue
        for dim, size in zip(inputs[name].type.tensor_type.shape.dim, np.shape(value), strict=False):
            if dim.dim_param:
                symbols[dim.dim_param] = size
    raise_all(errors)
    bound = onnx.ModelProto()
    bound.CopyFrom(model)
    bound.graph.initializer.extend(tensors)
    for position in reversed(range(len(bound.graph.input))):
        entry = bound.graph.input[position]
        if entry.name in values and model.ir_version >= SEPARATE_INITIALIZERS:
            del bound.graph.input[position]
            continue
        for dim in entry.type.tensor_type.shape.dim:
            if dim.dim_param in symbols:
                dim.dim_value = symbols[dim.dim_param]
    return bound


def needed_values(
    model: onnx.ModelProto,
    values: Mapping[str, Array],
    *,
    already: Mapping[str, Array] | None = None,
    hosts: bool = False,
) -> dict[str, Array]:
    """Those of `values` that must be bound before `model` can be compiled for them.

    `already` are bound whatever the model needs, and are not returned.  What must be bound
    is what an importer asks for as a constant, and ports that the accelerator does not speak:
    of another type, or scalars.  With `hosts` these go to the host, and only weights of crossbars
    must be bound.  Other errors are left for whoever compiles the model.
    """
    bound: dict[str, Array] = {}
    if not _could_need(model, values):
        return bound
    while True:
        trial = bind_inputs(model, {**(already or {}), **bound})
        free = graph_inputs(trial)
        shapes = {name: np.shape(value) for name, value in values.items() if name in free and np.ndim(value)}
        try:
            import_graph(trial, shapes, hosts=hosts)
        except UserError as error:
            asked = {name for e in error.errors if isinstance(e, NeedsValue) for name in e.inputs}
            more = [name for name in values if name in asked and name in free]
            if not more or len(more) == len(free):  # a program without inputs computes nothing
                return bound
            bound.update((name, values[name]) for name in more)
        else:
            return bound


def _could_need(model: onnx.ModelProto, names: Iterable[str]) -> bool:
    """Whether one is read as more than a node's first operand, or is no float32 tensor."""
    inputs = graph_inputs(model)
    wanted = {name for name in names if name in inputs}
    types = [inputs[name].type.tensor_type for name in wanted]
    if any(t.elem_type != onnx.TensorProto.FLOAT or not t.shape.dim for t in types):
        return True
    reach = set(wanted)
    for node in model.graph.node:
        if reach.intersection(node.input[1:]):
            return True
        if node.op_type in FOLDED and reach.intersection(node.input):
            reach.update(node.output)
    return False


def _initializer(inputs: Mapping[str, onnx.ValueInfoProto], name: str, value: Array) -> onnx.TensorProto:
    """`value` as the tensor that the input `name` declares."""
    if name not in inputs:
        known = ", ".join(map(repr, inputs)) or "none"
        hint = did_you_mean(name, inputs) or f"the inputs are {known}"
        raise UserError(f"a value is bound to {name!r}, which is no input of the model", hint=hint)
    place = f"graph input {name!r}"
    declared = inputs[name].type.tensor_type
    wanted = np.dtype(np.float32)
    if declared.elem_type != onnx.TensorProto.UNDEFINED:
        wanted = helper.tensor_dtype_to_np_dtype(declared.elem_type)
    if not np.can_cast(value.dtype, wanted, "safe"):
        raise UserError(
            f"the value bound to it is {value.dtype}, the model takes {wanted}",
            place=place,
            hint=f"convert it with .astype(numpy.{wanted})",
        )
    if declared.HasField("shape"):
        dims = [d.dim_value if d.HasField("dim_value") else None for d in declared.shape.dim]
        if not _fits(dims, value.shape):
            raise UserError(
                f"the value bound to it has the shape {list(value.shape)}, "
                f"the model takes {shape_text(declared)}",
                place=place,
                hint="bind a value of the shape that the model declares",
            )
    return numpy_helper.from_array(np.ascontiguousarray(value, wanted).reshape(value.shape), name)


def _fits(declared: Sequence[int | None], shape: Sequence[int]) -> bool:
    return len(declared) == len(shape) and all(d in (None, s) for d, s in zip(declared, shape, strict=True))
