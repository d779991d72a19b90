"""What a row of the instruction table says: operands, attributes, unit, events, meaning.

The rows stand in `isa.instructions`.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np

from isa.geometry import NO_DRIVE, NO_FIRE, Drive, Firing
from isa.program import Address, Array, BufferRef, ConstRef, Matrix


class Kind(enum.Enum):
    """What an operand may be; the value is how the manual writes it."""

    RESULT = "register"  # written
    VALUE = "register "  # read
    TERM = "register, sub-crossbar column band or integer constant"
    ROW_BAND = "sub-crossbar row band"
    GROUP = "crossbar group"
    READ = "address read"
    WRITE = "address written"
    SOURCE = "buffer read"
    TARGET = "buffer written"
    EITHER = "register or integer constant"
    INTEGERS = "integer constant"
    FLOATS = "f32 constant"
    PART = "host part"
    PORT = "buffer read, then written"


class Unit(enum.Enum):
    """The unit that carries an instruction out.  Units run in parallel (see docs/timing.md)."""

    DRIVER = "driver"  # one per row band: all bands latch in one cycle
    ARRAY = "array"  # one per sub-crossbar: all fire together
    ADDER = "adder"
    VECTOR = "vector"
    READ = "read"  # the buffers' read port
    WRITE = "write"  # the buffers' write port
    HOST = "host"  # outside of the clock


@dataclass(frozen=True, slots=True)
class Param:
    name: str
    kind: Kind
    repeated: bool = False  # only the last one: one or more operands


@dataclass(frozen=True, slots=True)
class Attribute:
    name: str
    type: Literal["int", "float"]
    default: int | float | None = None  # None: must be written
    low: float = -np.inf
    high: float = np.inf


@dataclass(frozen=True, slots=True)
class Sizes:
    """What the events of one execution depend on; all known before anything runs.

    length     values in the vector that is read, written or computed; for `clear` and
               `reshape` values in the whole destination buffer
    bits       bits of one value of the buffer that is touched (`reshape`: of the destination)
    from_bits  `reshape`: bits of one value of the source
    terms      number of terms of a `sum`, `max` or `min`
    planes     steps in which the driven crossbar streams its inputs
    drive      of a `drive`: what it reaches
    firing     of a `fire`: what the group does after the drives since its last fire
    cycles     of a `fire`: how long it takes
    moved      `host`: bits of all buffers it reads and writes
    """

    length: int = 0
    bits: int = 0
    from_bits: int = 0
    terms: int = 0
    planes: int = 0
    drive: Drive = NO_DRIVE
    firing: Firing = NO_FIRE
    cycles: int = 0
    moved: int = 0


EVENTS: Mapping[str, str] = {
    "instructions": "instructions executed",
    "rounds": "`fire`s executed",
    "fire_cycles": "clock cycles of those `fire`s; what a layer takes beyond them, its arrays wait",
    "drives": "word-line pulses of each drive inside its buffer: rows x planes x the column tiles in which "
    "the band holds weights",
    "gated_drives": "word-line pulses saved because the address lay outside its buffer",
    "inserted_zeros": "word-line pulses saved because the address fell between two pixels",
    "activations": "array reads: arrays with a driven word line that holds weights, x planes",
    "cell_reads": "cells read: rows x planes of each drive inside its buffer, times the cells of a row "
    "that hold weights or references",
    "conversions": "ADC conversions: planes x slices x columns x the row tiles in which a column "
    "meets a driven word line, and reference columns",
    "shift_adds": "shift-and-adds that merge planes and slices, in values",
    "sums": "additions of row tiles and of `sum` terms and `accum`s, in values",
    "register_writes": "bits written to the arrays' registers: inputs of drives, products of fires",
    "buffer_reads": "bits read from buffers",
    "buffer_writes": "bits written to buffers",
    "vector_ops": "operations of the vector unit, in values",
    "host_calls": "calls of the host",
    "host_bits": "bits moved to and from the host",
}
"""Every counted event, in the order reports show them."""


class Machine(Protocol):
    """What an effect instruction needs of an engine."""

    def latch(self, matrix: Matrix, source: Address) -> None: ...
    def fire(self, group: Matrix) -> None: ...
    def read(self, source: Address) -> Array: ...
    def write(self, target: Address, value: Array) -> None: ...
    def add(self, target: Address, value: Array) -> None: ...
    def fill(self, target: BufferRef) -> None: ...
    def reshape(self, target: BufferRef, source: BufferRef) -> None: ...
    def host(self, part: ConstRef, inputs: tuple[BufferRef, ...], outputs: tuple[BufferRef, ...]) -> None: ...


Events = Callable[[Sizes], Mapping[str, int]]


@dataclass(frozen=True, slots=True)
class Spec:
    """One row of the table."""

    mnemonic: str
    params: tuple[Param, ...]
    attributes: tuple[Attribute, ...]
    unit: Unit
    events: Events  # of one execution, `instructions` among them
    doc: str
    meaning: Callable[..., Any]
    is_value: bool  # its first parameter is a RESULT and `meaning` is pure


INSTRUCTIONS: dict[str, Spec] = {}
"""Mnemonic -> declaration, in the order of the manual."""


def instruction(
    *params: Param, unit: Unit, events: Events, attributes: tuple[Attribute, ...] = ()
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Declare the decorated function as an instruction of its name."""

    def declare(meaning: Callable[..., Any]) -> Callable[..., Any]:
        mnemonic = meaning.__name__.rstrip("_")
        doc = (meaning.__doc__ or "").strip()
        is_value = params[0].kind is Kind.RESULT and params[-1].kind is not Kind.READ

        def counted(sizes: Sizes) -> Mapping[str, int]:
            return {"instructions": 1, **events(sizes)}

        INSTRUCTIONS[mnemonic] = Spec(mnemonic, params, attributes, unit, counted, doc, meaning, is_value)
        return meaning

    return declare
