"""The instruction table: one declaration per instruction, and everything else derives from it.

A declaration is a function under `@instruction`.  Its docstring is the manual's text, its
decorator gives operands, attributes, the unit it occupies and the events one execution counts,
and its body is what the instruction means.  Parser checks, printer, verifier, both engines, the
cost counters and docs/ISA.md read this table; no other list of instructions exists.

Two families:

* a *value* instruction computes a register from values: its body is a pure function of arrays
  whose last axis is the vector, so one engine may hand it one vector and the other a whole
  loop nest at once;
* an *effect* instruction touches buffers or arrays: its body calls the `Machine`.
"""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt

from isa.program import Address, Array, BufferRef, ConstRef, Matrix
from isa.spec import (
    EVENTS,
    INSTRUCTIONS,
    Attribute,
    Events,
    Kind,
    Machine,
    Param,
    Sizes,
    Spec,
    Unit,
    instruction,
)

__all__ = [
    "EVENTS",
    "INSTRUCTIONS",
    "Attribute",
    "Events",
    "Kind",
    "Machine",
    "Param",
    "Sizes",
    "Spec",
    "Unit",
    "bound_of",
]

F32_EXACT = 1 << 24
"""Every integer of smaller magnitude is exact in float32."""

FURTHEST_CODE = 1 << 62
"""Of what `quant` makes, in magnitude: it fits 64 bits with room to spare."""

LARGEST_QUOTIENT = (1 << 62) - 1
"""What a division by zero gives; two of them still add up within 64 bits."""


def bound_of(code: int) -> int:
    """The bound of a `quant` for it: itself, or the next number towards zero that float32 holds."""
    spare = max(0, abs(code).bit_length() - F32_EXACT.bit_length() + 1)
    whole = abs(code) >> spare << spare
    return whole if code >= 0 else -whole


# ---------------------------------------------------------------- crossbars


@instruction(
    Param("band", Kind.ROW_BAND),
    Param("source", Kind.READ),
    unit=Unit.DRIVER,
    # Counted as drives, gated_drives or inserted_zeros, by where the address falls.  Only a
    # drive inside its buffer reads it.
    events=lambda s: {
        "drives": s.length * s.planes * s.drive.column_tiles,
        "cell_reads": s.length * s.planes * s.drive.cells,
        "register_writes": s.length * s.drive.register_bits,
        "buffer_reads": s.length * s.bits,
    },
)
def drive(machine: Machine, band: Matrix, source: Address) -> None:
    """Latch the vector at `source`, less the buffer's zero, on the word lines of one row band.

    An address outside the buffer (`?`) drives zeros: the drivers are gated and the buffer is
    not read; so does an address that falls between two pixels (an inserted zero). A gated
    drive keeps its slot. The next `fire` of the group, in the same block, uses the drive up; a
    band that was not driven contributes nothing.
    """
    machine.latch(band, source)


@instruction(
    Param("group", Kind.GROUP),
    unit=Unit.ARRAY,
    events=lambda s: {
        "rounds": 1,
        "fire_cycles": s.cycles,
        "activations": s.firing.arrays * s.planes,
        "conversions": s.firing.conversions,
        "shift_adds": s.firing.shift_adds,
        "sums": s.firing.tile_adds,
        "register_writes": s.firing.register_bits,
    },
)
def fire(machine: Machine, group: Matrix) -> None:
    """One round: every sub-crossbar of the group that was driven since its last fire
    multiplies the driven vector by its weights, plane by plane.

    The products can be summed until the next `fire` of the group or the end of the block. It
    takes planes x columns per ADC clock cycles.
    """
    machine.fire(group)


# ---------------------------------------------------------------- values


@instruction(
    Param("result", Kind.RESULT),
    Param("terms", Kind.TERM, repeated=True),
    unit=Unit.ADDER,
    events=lambda s: {"sums": (s.terms - 1) * s.length},
)
def sum_(*terms: Array) -> Array:
    """Add products of the last `fire`, registers and integer constants, value by value.

    All terms have one length; a constant of length 1 counts for every value.
    """
    total: Array = terms[0]
    for term in terms[1:]:
        total = total + term
    return total


@instruction(
    Param("result", Kind.RESULT),
    Param("value", Kind.VALUE),
    Param("factor", Kind.EITHER),
    unit=Unit.VECTOR,
    events=lambda s: {"vector_ops": s.length},
)
def mul(value: Array, factor: Array) -> Array:
    """Multiply by a register or an integer constant, value by value (or by one number)."""
    product: Array = value * factor
    return product


@instruction(
    Param("result", Kind.RESULT),
    Param("value", Kind.VALUE),
    Param("divisor", Kind.EITHER),
    attributes=(Attribute("fraction", "int", 0, 0, 61),),
    unit=Unit.VECTOR,
    events=lambda s: {"vector_ops": s.length},
)
def div(value: Array, divisor: Array, *, fraction: int) -> Array:
    """Divide by a register or an integer constant, value by value (or by one number).

    The quotient carries `fraction` bits below the point: it is value * 2^`fraction` / divisor,
    rounded, halves away from zero. By zero it is 2^62 - 1 with the sign of the value, and 0 by 0
    is 0.
    """
    dividend = np.abs(value) << fraction
    by = np.abs(divisor)
    quotient, rest = np.divmod(dividend, np.maximum(by, 1))
    quotient += rest >= by - rest
    quotient = np.where(by > 0, quotient, np.where(dividend > 0, LARGEST_QUOTIENT, 0))
    result: Array = np.where((value < 0) != (divisor < 0), -quotient, quotient)
    return result


@instruction(
    Param("result", Kind.RESULT),
    Param("terms", Kind.EITHER, repeated=True),
    unit=Unit.VECTOR,
    events=lambda s: {"vector_ops": (s.terms - 1) * s.length},
)
def max_(*terms: Array) -> Array:
    """The largest of registers and integer constants, value by value.

    All terms have one length; a constant of length 1 counts for every value.
    """
    return functools.reduce(np.maximum, terms)


@instruction(
    Param("result", Kind.RESULT),
    Param("terms", Kind.EITHER, repeated=True),
    unit=Unit.VECTOR,
    events=lambda s: {"vector_ops": (s.terms - 1) * s.length},
)
def min_(*terms: Array) -> Array:
    """The smallest of registers and integer constants, value by value; lengths as for `max`."""
    return functools.reduce(np.minimum, terms)


@instruction(
    Param("result", Kind.RESULT),
    Param("value", Kind.VALUE),
    Param("scale", Kind.FLOATS),
    attributes=(
        Attribute("zero", "int", 0, -F32_EXACT, F32_EXACT),
        Attribute("low", "int", None, -FURTHEST_CODE, FURTHEST_CODE),
        Attribute("high", "int", None, -FURTHEST_CODE, FURTHEST_CODE),
        Attribute("slope", "float", 1.0, 0.0, 3.4e38),
    ),
    unit=Unit.VECTOR,
    events=lambda s: {"vector_ops": s.length},
)
def quant(
    value: Array, scale: Array, *, zero: int, low: int, high: int, slope: float
) -> npt.NDArray[np.float32]:
    """Requantise: to float32 (round to nearest even), times `scale`, times `slope` where
    negative, round half to even, add `zero`, saturate to [`low`, `high`].

    Every step is one float32 operation, as in onnxruntime's QuantizeLinear; so `low` and `high`
    are numbers that float32 holds, and beyond 2^24 so is every result. Relu is `low=zero`;
    LeakyRelu its `slope`; Clip its `low` and `high`.
    """
    real = np.multiply(value, scale, dtype=np.float32, casting="unsafe")  # rounds `value` first
    if slope != 1.0:
        np.multiply(real, np.float32(slope), out=real, where=real < 0)
    np.rint(real, out=real)
    if zero:
        np.add(real, np.float32(zero), out=real)
    np.clip(real, np.float32(low), np.float32(high), out=real)
    return real


@instruction(
    Param("result", Kind.RESULT),
    Param("value", Kind.VALUE),
    Param("table", Kind.INTEGERS),
    attributes=(
        Attribute("low", "int", 0),
        Attribute("shift", "int", 0, 0, 32),
        Attribute("fraction", "int", 0, 0, 32),
    ),
    unit=Unit.VECTOR,
    events=lambda s: {"vector_ops": s.length},
)
def lookup(value: Array, table: Array, *, low: int, shift: int, fraction: int) -> Array:
    """A function by table, between entries by straight lines, all in integers.

    With u = value - `low`, i = u >> `shift` and r = u mod 2^`shift`, the result is
    (table[i] * 2^shift + (table[i+1] - table[i]) * r) / 2^(shift + fraction), rounded half up:
    entries lie 2^shift apart and carry `fraction` bits below the point. With `shift=0` it is
    table[u] / 2^fraction and table[i+1] is not read.
    """
    offset = value.astype(np.int64) - low
    index = offset >> shift
    entries = table.astype(np.int64, copy=False)
    wide = entries[index] << shift
    if shift:
        wide = wide + (entries[index + 1] - entries[index]) * (offset - (index << shift))
    drop = shift + fraction
    result: Array = (wide + ((1 << drop) >> 1)) >> drop
    return result


# ---------------------------------------------------------------- buffers


@instruction(
    Param("result", Kind.RESULT),
    Param("source", Kind.READ),
    unit=Unit.READ,
    events=lambda s: {"buffer_reads": s.length * s.bits},
)
def load(machine: Machine, source: Address) -> Array:
    """Read the vector at `source`, less the buffer's zero.

    An address outside the buffer (`?`), or between two pixels, gives zeros; it is counted all
    the same.
    """
    return machine.read(source)


@instruction(
    Param("target", Kind.WRITE),
    Param("value", Kind.VALUE),
    unit=Unit.WRITE,
    events=lambda s: {"buffer_writes": s.length * s.bits},
)
def store(machine: Machine, target: Address, value: Array) -> None:
    """Write codes to `target`. A write outside the buffer (`?`), or between two pixels, is
    dropped: that is the crop; it is counted all the same."""
    machine.write(target, value)


@instruction(
    Param("target", Kind.WRITE),
    Param("value", Kind.VALUE),
    unit=Unit.WRITE,
    events=lambda s: {
        "buffer_reads": s.length * s.bits,
        "buffer_writes": s.length * s.bits,
        "sums": s.length,
    },
)
def accum(machine: Machine, target: Address, value: Array) -> None:
    """Add to the vector at `target`, an accumulator buffer. Outside the buffer (`?`), or
    between two pixels, it is dropped; it is counted all the same."""
    machine.add(target, value)


@instruction(
    Param("target", Kind.TARGET),
    unit=Unit.WRITE,
    events=lambda s: {"buffer_writes": s.length * s.bits},
)
def clear(machine: Machine, target: BufferRef) -> None:
    """Fill a whole buffer with its zero. The write port takes all its bits."""
    machine.fill(target)


@instruction(
    Param("target", Kind.TARGET),
    Param("source", Kind.SOURCE),
    unit=Unit.WRITE,
    events=lambda s: {
        "buffer_reads": s.length * s.from_bits,
        "buffer_writes": s.length * s.bits,
    },
)
def reshape(machine: Machine, target: BufferRef, source: BufferRef) -> None:
    """Copy a whole buffer into one of another shape: equal codes in the order of the ONNX
    tensors (channels where their `axis` says, row-major).

    Both buffers have one type, scale, zero and number of values. All their bits go through the
    read port and the write port.
    """
    machine.reshape(target, source)


# ---------------------------------------------------------------- host


@instruction(
    Param("part", Kind.PART),
    Param("buffers", Kind.PORT, repeated=True),
    attributes=(Attribute("inputs", "int", None, 0, 1 << 16),),
    unit=Unit.HOST,
    events=lambda s: {"host_calls": 1, "host_bits": s.moved},
)
def host(machine: Machine, part: ConstRef, *buffers: BufferRef, inputs: int) -> None:
    """Let the host compute what the machine does not: `part` is an ONNX model (its bytes, a u8
    constant), run by onnxruntime.

    The first `inputs` buffers are read, the others written: in order, the model's graph inputs
    and outputs. A raw buffer is handed over as it is; of another the host reads the real values,
    `scale * (code - zero)`, and what it writes becomes codes as at an entrance. The host is
    outside of the clock: no cycles are counted, but calls and bits.
    """
    machine.host(part, buffers[:inputs], buffers[inputs:])
