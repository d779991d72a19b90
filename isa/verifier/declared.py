"""Rules about declarations: target, buffers, constants, crossbars and where they lie."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

import numpy as np

from isa.geometry import arrays_of
from isa.program import (
    CODED_TYPES,
    RAW_TYPES,
    VERSION,
    Array,
    Buffer,
    Constant,
    Crossbar,
    IntType,
    Layer,
    parse_type,
)
from isa.targets import FIELDS
from isa.verifier.facts import INT64, Facts, fits

MAX_VALUES = 1 << 36
"""Values in one buffer: far above any feature map, far below what overflows an address."""

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


def check_declarations(facts: Facts) -> None:
    """Report everything wrong above the first layer."""
    program = facts.program
    if program.version != VERSION:
        facts.problem(f".isa version {program.version} is not supported", f"supported: {VERSION}")
    for key, field in FIELDS.items():
        value = getattr(program.target, key)
        problem = field.problem("any" if value is None else value)
        if problem:
            facts.error(program.target, f"{key}: {problem}")
    for name, buffer in program.buffers.items():
        for message in _buffer_problems(buffer, name):
            facts.error(buffer, message)
        if buffer.steps is not None:
            _check_steps(facts, buffer, buffer.steps)
        if buffer.holds is not None:
            _check_held(facts, buffer, buffer.holds)
    _check_layer_names(facts)
    for layer in program.layers:
        if layer.correction is not None:
            _check_correction(facts, layer, layer.correction)
    _check_tensors(facts)
    for name, constant in program.constants.items():
        for message in _constant_problems(constant, name):
            facts.error(constant, message)
        if name in program.data:
            facts.error(constant, f"{name!r} stands in the data file as well")
    if not facts.report.diagnostics:  # a wrong target or constant makes no sense of these
        good = [x for name, x in program.crossbars.items() if _check_crossbar(facts, x, name)]
        _check_places(facts, good)


def _check_layer_names(facts: Facts) -> None:
    """Reports know a layer by its name, so there is one of each."""
    seen: set[str] = set()
    for layer in facts.program.layers:
        if layer.name in seen:
            facts.error(layer, f"two layers are called {layer.name!r}")
        seen.add(layer.name)
        for name in (layer.name, layer.tensor or "", *layer.nodes):
            if "\0" in name:
                facts.error(layer, f"the name {name!r} holds a zero byte")


def _buffer_problems(b: Buffer, name: str) -> Iterator[str]:
    if b.name != name or not NAME.match(name):
        yield f"%{name} is no name"
    if b.raw:
        yield from _raw_problems(b)
        return
    if not b.shape or min(b.shape) < 1:
        yield "every dimension of a buffer is at least 1, and there is one"
        return
    if math.prod(b.shape) > MAX_VALUES:
        yield f"a buffer holds at most 2^36 values, this one {math.prod(b.shape)}"
    if b.scale is None:
        if b.zero:
            yield "a buffer without a scale has no zero"
        if b.kind != "buffer":
            yield f"an {b.kind} has a scale"
    else:
        single = np.float32(b.scale) if abs(b.scale) < 3.4e38 else np.float32("nan")
        if not single > 0:
            yield "a scale is positive and finite, in float32 too"
    if not fits(b.zero, b.zero, b.type):
        yield f"zero {b.zero} is no code of {b.type}"
    elif not fits(b.type.low - b.zero, b.type.high - b.zero, INT64):
        yield f"codes of {b.type} less their zero do not fit 64-bit signed values"
    if b.tensor is not None and "\0" in b.tensor:
        yield f"the name {b.tensor!r} holds a zero byte"
    if b.tensor is None:
        if b.kind != "buffer":
            yield f'an {b.kind} names its tensor: onnx "name" f32[...] axis n'
        return
    if b.onnx_type not in CODED_TYPES:
        yield f"tensors of codes are of {', '.join(CODED_TYPES)}, not {b.onnx_type}"
    elif (held := CODED_TYPES[b.onnx_type]) is not None and not fits(b.type.low, b.type.high, held):
        yield f"{b.onnx_type} does not hold every code of {b.type}"
    shape = b.onnx_shape or (1,)  # a scalar lies there as a vector of one value
    if not 0 <= b.axis < len(shape):
        yield f"axis {b.axis} is no axis of a tensor of {len(b.onnx_shape)} dimensions"
        return
    moved = (*shape[: b.axis], *shape[b.axis + 1 :], shape[b.axis])
    if moved != b.shape:
        yield f"the tensor with axis {b.axis} at the end is {list(moved)}, the buffer {list(b.shape)}"


def _check_steps(facts: Facts, b: Buffer, name: str) -> None:
    """`steps` are whole, positive, one per channel, of a buffer inside."""
    if b.kind != "buffer" or b.scale is None:
        facts.error(b, "only a .buffer with a scale has steps")
    known = facts.constant(name)
    if known is None:
        facts.missing_constant(b, name)
    elif known.low is None or known.shape != (b.vector,):
        what = f"{known.dtype}{list(known.shape)}"
        facts.error(b, f"steps are {b.vector} integers, one per channel, {name!r} is {what}")
    elif known.low < 1:
        facts.error(b, f"steps are positive, {name!r} holds {known.low}")


def _check_held(facts: Facts, b: Buffer, name: str) -> None:
    """What a buffer holds are codes of its type, in its shape."""
    if b.kind != "buffer" or b.raw or b.scale is None:
        facts.error(b, "only a .buffer with a scale holds a constant")
        return
    known = facts.constant(name)
    if known is None:
        facts.missing_constant(b, name)
    elif known.low is None or known.high is None or known.shape != b.shape:
        what = f"{known.dtype}{list(known.shape)}"
        facts.error(b, f"%{b.name} holds integers of shape {list(b.shape)}, {name!r} is {what}")
    elif not fits(known.low, known.high, b.type):
        facts.error(b, f"{name!r} holds {_beyond(known.low, known.high, b.type)}, no {b.type}")


def _check_correction(facts: Facts, layer: Layer, name: str) -> None:
    """A correction is a vector of integers."""
    known = facts.constant(name)
    if known is None:
        facts.missing_constant(layer, name)
    elif known.low is None or len(known.shape) != 1:
        what = f"{known.dtype}{list(known.shape)}"
        facts.error(layer, f"a correction is integers, one per channel, {name!r} is {what}")


def _raw_problems(b: Buffer) -> Iterator[str]:
    if min(b.shape, default=0) < 0:
        yield "no dimension of a raw buffer is negative"
    elif math.prod(b.shape) > MAX_VALUES:
        yield f"a buffer holds at most 2^36 values, this one {math.prod(b.shape)}"
    if b.tensor is None:
        yield 'a raw buffer names its tensor: onnx "name" type[...]'
    elif b.onnx_type not in RAW_TYPES:
        yield f"{b.onnx_type} is no type of a tensor: {', '.join(RAW_TYPES)}"
    elif b.onnx_shape != b.shape:
        yield f"the tensor is {list(b.onnx_shape)}, the buffer {list(b.shape)}"
    if b.scale is not None or b.zero:
        yield "a raw buffer has neither scale nor zero"


def _check_tensors(facts: Facts) -> None:
    """No two inputs, and no two outputs, hold one tensor."""
    seen: dict[tuple[str, str | None], Buffer] = {}
    for buffer in facts.program.buffers.values():
        key = (buffer.kind, buffer.tensor)
        if buffer.kind != "buffer" and buffer.tensor is not None and key in seen:
            facts.error(
                buffer, f"%{seen[key].name} is the {buffer.kind} for tensor {buffer.tensor!r} already"
            )
        seen.setdefault(key, buffer)


def _constant_problems(c: Constant, name: str) -> Iterator[str]:
    if c.name != name:
        yield f"{name!r} names a constant that calls itself {c.name!r}"
    if not c.shape or min(c.shape) < 1:
        yield "every dimension of a constant is at least 1, and there is one"
        return
    if len(c.values) != math.prod(c.shape):
        yield f"{list(c.shape)} wants {math.prod(c.shape)} values, there are {len(c.values)}"
    if c.type == "f32":
        if not all(abs(v) <= 3.4028235e38 for v in c.values):
            yield "a value is no finite f32"
        return
    try:
        type_ = parse_type(c.type)
    except ValueError as error:
        yield str(error)
        return
    for value in c.values:
        if not isinstance(value, int) or not fits(value, value, type_):
            yield f"{value} is no {type_}: {type_.low} to {type_.high}"
            return


def _check_crossbar(facts: Facts, x: Crossbar, name: str) -> bool:
    """Report what is wrong with one crossbar group.  False where its arrays cannot be counted."""
    if x.name != name or not NAME.match(name):
        facts.error(x, f"@{name} is no name")
    sizes = (*x.index_shape, x.row_bands, x.rows, x.column_bands, x.columns, x.groups)
    if min(sizes) < 1:
        facts.error(x, "every size of a crossbar is at least 1")
        return False
    if x.rows % x.groups or x.columns % x.groups:
        facts.error(x, f"{x.groups} groups divide neither {x.rows} rows nor {x.columns} columns evenly")
        return False
    if x.place < 0:
        facts.error(x, "the first array is 0")
        return False
    if not _check_blanks(facts, x):
        return False
    _check_weights(facts, x)
    try:
        facts.arrays[name] = arrays_of(x, facts.program.target)
    except ValueError as error:
        facts.error(x, str(error))
        return False
    return True


def _check_blanks(facts: Facts, x: Crossbar) -> bool:
    sizes = (*x.index_shape, x.row_bands, x.column_bands)
    for blank in x.blank:
        if len(blank) != len(sizes) or not all(0 <= b < n for b, n in zip(blank, sizes, strict=True)):
            facts.error(x, f"blank {list(blank)} is no place of @{x.name}", f"places are below {list(sizes)}")
            return False
    if list(x.blank) != sorted(set(x.blank)):
        facts.error(x, "blanks come in order, each once")
        return False
    return True


def _check_weights(facts: Facts, x: Crossbar) -> None:
    known = facts.constant(x.data)
    if known is None:
        facts.missing_constant(x, x.data)
        return
    if known.low is None or known.high is None:
        facts.error(x, f"weights are integers, {x.data!r} is {known.dtype}")
    elif known.shape != x.data_shape:
        facts.error(x, f"{x.data!r} has shape {list(known.shape)}, @{x.name} wants {list(x.data_shape)}")
    elif not fits(known.low, known.high, x.weight_type):
        facts.error(
            x, f"{x.data!r} holds {_beyond(known.low, known.high, x.weight_type)}, no {x.weight_type}"
        )
    elif blank := _filled_blank(facts.program.constant(x.data), x):
        facts.error(x, f"{x.data!r} holds a weight in blank {list(blank)}")
    elif (
        facts.program.target.encoding == "differential"
        and x.weight_type.signed
        and x.weight_type.low == known.low
    ):
        facts.error(
            x,
            f"{x.data!r} holds {known.low}, which a differential pair of {x.weight_type} cannot",
            f"weights are {x.weight_type.low + 1} to {x.weight_type.high}",
        )


def _filled_blank(weights: Array, x: Crossbar) -> tuple[int, ...] | None:
    """A blank in which a weight is not zero."""
    shape = (*x.index_shape, x.row_bands, x.rows, x.column_bands, x.columns // x.groups)
    places = np.moveaxis(weights.reshape(shape), -3, -2)
    return next((b for b in x.blank if places[b].any()), None)


def _beyond(low: int, high: int, type_: IntType) -> int:
    return low if low < type_.low else high


def _check_places(facts: Facts, crossbars: list[Crossbar]) -> None:
    """No array is used twice, and all exist."""
    limit = facts.program.target.arrays
    last: tuple[int, Crossbar] | None = None
    for x in sorted(crossbars, key=lambda x: x.place):
        end = x.place + facts.arrays[x.name]
        if limit is not None and end > limit:
            facts.error(
                x,
                f"@{x.name} lies on arrays {x.place} to {end - 1}, {facts.program.target.name!r} has {limit}",
            )
        if last is not None and x.place < last[0]:
            facts.error(x, f"array {x.place} is taken by @{last[1].name}", f"the first free one is {last[0]}")
        if last is None or end > last[0]:
            last = (end, x)
