"""The model's input ports: float32, and every dimension a number before anything else is done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx

from redc.errors import NeedsValue, UserError, did_you_mean, raise_all
from redc.frontend.elements import ELEMENTS, NAMES
from redc.frontend.nodes import Source
from redc.frontend.sizes import HINT, size_problem

CODED = ("i8", "u8", "i16", "u16", "i32")
"""Integers that may be codes, or sums of an integer operator."""

Dimension = int | str | None
"""A number, a symbol, or nothing at all."""


def input_types(source: Source) -> dict[str, str]:
    """The element type of every input, in the assembly's words."""
    return {v.name: NAMES.get(v.type.tensor_type.elem_type, "f32") for v in source.inputs}


def cast_ports(source: Source) -> frozenset[str]:
    """The inputs that only Casts to float32 read, and the outputs that a Cast to their type makes and no
    node reads."""
    inputs = {v.name for v in source.inputs}
    outputs = {v.name: v.type.tensor_type.elem_type for v in source.outputs}
    for node in source.nodes:
        to = node.attributes.get("to") if node.op == "Cast" else None
        if to != onnx.TensorProto.FLOAT:
            inputs.difference_update(node.reads)
        for name in (*node.reads, *(made for made in node.outputs if outputs.get(made) != to)):
            outputs.pop(name, None)
    return frozenset((*inputs, *outputs))


def input_shapes(
    source: Source, given: Mapping[str, Sequence[int]], *, hosts: bool = False
) -> dict[str, tuple[int, ...]]:
    """The shape of every input, from the model and from `given` (`--shape`).

    A symbol that `given` settles for one input holds for all.  An open first dimension of an
    input with two axes or more is the batch, and counts 1.  With `hosts` ports may have any
    numeric type and any shape.  Raises UserError (several at once)
    for a wrong type or name, a shape that contradicts the model, and open dimensions.
    """
    cast = frozenset() if hosts else cast_ports(source)
    wrong_types = [
        *(
            _type_error(source.place(f"graph input {v.name!r}"), v.type, hosts or v.name in cast, v.name)
            for v in source.inputs
        ),
        *(
            _type_error(source.place(f"graph output {v.name!r}"), v.type, hosts or v.name in cast)
            for v in source.outputs
        ),
    ]
    errors = [e for e in wrong_types if e]
    raise_all([*errors, *_unknown_names(source, given)])
    declared = {v.name: _declared(v.type.tensor_type) for v in source.inputs}
    for name, shape in given.items():
        errors.extend(_contradictions(source, name, declared[name], shape, hosts))
    raise_all(errors)
    symbols: dict[str, int] = {}
    for name, shape in given.items():
        for dimension, size in zip(declared[name] or (), shape, strict=False):
            if isinstance(dimension, str):
                symbols.setdefault(dimension, size)
    settled = {
        name: list(given[name]) if name in given else _settle(dimensions, symbols)
        for name, dimensions in declared.items()
    }
    _reject_open(source, settled)
    raise_all(
        [
            UserError(problem, place=source.place(f"graph input {name!r}"), hint=HINT)
            for name, dims in settled.items()
            if (problem := size_problem([d for d in dims or () if isinstance(d, int)]))
        ]
    )
    if not hosts:
        raise_all([e for name, dimensions in settled.items() for e in _empty(source, name, dimensions)])
    return {name: tuple(d for d in dims or () if isinstance(d, int)) for name, dims in settled.items()}


def _type_error(place: str, declared: onnx.TypeProto, hosts: bool, bindable: str = "") -> UserError | None:
    """The accelerator's ports speak float32 and codes, those of hosts numbers: anything else is an error.
    A port may leave its type open.

    `bindable` names an input: bound to a value, it would be no port.
    """
    kind = declared.WhichOneof("value")
    if kind not in (None, "tensor_type"):
        what = str(kind).removesuffix("_type").replace("_", " ")
        hint = "export the model with tensors in place of it"
        return UserError(f"it is of type {what}; only tensors are supported", place=place, hint=hint)
    element = declared.tensor_type.elem_type
    whole = NAMES.get(element) in CODED
    if (
        element in (onnx.TensorProto.FLOAT, onnx.TensorProto.UNDEFINED)
        or whole
        or (hosts and element in NAMES)
    ):
        return None
    name = onnx.TensorProto.DataType.Name(element).lower() if element in _TYPES else f"type {element}"
    if hosts:
        hint = "export the model with inputs and outputs of one of these"
        return UserError(f"it is {name}; ports are of {', '.join(ELEMENTS)}", place=place, hint=hint)
    message = f"it is {name}; the accelerator's ports speak float32"
    hint = "export the model with float32 inputs and outputs; weights may be of any float type"
    if bindable:
        hint = f"bind its value (--bind {bindable}={bindable}.npy), or {hint}"
        return NeedsValue(message, (bindable,), place=place, hint=hint)
    return UserError(message, place=place, hint=hint)


_TYPES = frozenset(onnx.TensorProto.DataType.values())


def _unknown_names(source: Source, given: Mapping[str, Sequence[int]]) -> list[UserError]:
    names = [v.name for v in source.inputs]
    known = "the inputs are " + ", ".join(repr(n) for n in names) if names else "the model has no inputs"
    return [
        UserError(
            f"a shape is given for {name!r}, which is no input of the model: {known}",
            place=source.title,
            hint=did_you_mean(name, names),
        )
        for name in given
        if name not in names
    ]


def _declared(tensor: onnx.TypeProto.Tensor) -> list[Dimension] | None:
    """The dimensions as the model has them; None if not even their number is known."""
    if not tensor.HasField("shape"):
        return None
    dimensions: list[Dimension] = []
    for dimension in tensor.shape.dim:
        if dimension.HasField("dim_value") and dimension.dim_value >= 0:
            dimensions.append(dimension.dim_value)
        else:
            dimensions.append(dimension.dim_param or None)
    return dimensions


def _contradictions(
    source: Source, name: str, declared: list[Dimension] | None, shape: Sequence[int], hosts: bool
) -> list[UserError]:
    """What is wrong with a given shape; only with `hosts` may it be of no elements (an empty cache)."""
    place = source.place(f"graph input {name!r}")
    text = "x".join(map(str, shape))
    if any(size < (not hosts) for size in shape) and list(shape) != declared:
        hint = "every size of an input is 1 or more"
        return [UserError(f"the shape {text} given for it has no elements", place=place, hint=hint)]
    if declared is None:
        return []
    takes = ",".join(str(size) if isinstance(size, int) else f"<{size or 'any'}>" for size in declared)
    hint = f"give --shape {name}={takes} with numbers for what stands in <>"
    if "<" not in takes:
        hint = f"the model says {takes}: give no shape for it"
    if len(declared) != len(shape):
        message = f"the shape {text} given for it has {len(shape)} axes, not {len(declared)}"
        return [UserError(message, place=place, hint=hint)]
    return [
        UserError(f"axis {axis} is {fixed} in the model, but {size} was given", place=place, hint=hint)
        for axis, (fixed, size) in enumerate(zip(declared, shape, strict=True))
        if isinstance(fixed, int) and fixed != size
    ]


def _settle(dimensions: list[Dimension] | None, symbols: Mapping[str, int]) -> list[Dimension] | None:
    if dimensions is None:
        return None
    settled = [symbols.get(d, d) if isinstance(d, str) else d for d in dimensions]
    if len(settled) > 1 and not isinstance(settled[0], int):
        settled[0] = 1
    return settled


def _reject_open(source: Source, settled: Mapping[str, Sequence[Dimension] | None]) -> None:
    """One error that lists every open dimension of every input."""
    lines, hints = [], []
    for name, dimensions in settled.items():
        if dimensions is None:
            lines.append(f"input {name!r} has no shape at all")
            hints.append(f"--shape {name}=1,3,64,64 (its real numbers)")
            continue
        gaps = {axis: d for axis, d in enumerate(dimensions) if not isinstance(d, int)}
        if gaps:
            axes = ", ".join(f"axis {axis} ({d!r})" if d else f"axis {axis}" for axis, d in gaps.items())
            lines.append(f"input {name!r} leaves open {axes}")
            text = ",".join(str(d) if isinstance(d, int) else f"<{d or '?'}>" for d in dimensions)
            hints.append(f"--shape {name}={text}")
    if lines:
        numbers = "numbers for the names in <>" if any("<" in h for h in hints) else "numbers"
        raise UserError(
            "not every dimension is known: " + "; ".join(lines),
            place=source.title,
            hint=f"give {' '.join(hints)} with {numbers}",
        )


def _empty(source: Source, name: str, dimensions: Sequence[Dimension] | None) -> list[UserError]:
    place = source.place(f"graph input {name!r}")
    if not dimensions:
        hint = f"bind its value: --bind {name}={name}.npy"
        return [
            NeedsValue(
                "it is a scalar; without host parts an input has an axis", (name,), place=place, hint=hint
            )
        ]
    if 0 in dimensions:
        message = f"its shape {'x'.join(map(str, dimensions))} has no elements"
        return [UserError(message, place=place, hint="every size of an input is 1 or more")]
    return []
