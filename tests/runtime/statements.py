"""Statements of random programs: every instruction with operands that the verifier accepts."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from isa.instructions import bound_of
from isa.program import (
    Address,
    Affine,
    Buffer,
    BufferRef,
    ConstRef,
    Crossbar,
    Instruction,
    IntType,
    Matrix,
    Node,
    Operand,
    Register,
)
from tests.runtime.declarations import Declarations

REGISTERS = 6

BIG = 1 << 40
"""Register values stay below this, far from the edge of int64."""


@dataclass(frozen=True)
class Value:
    """What is known of a register or product: its length and bounds."""

    length: int
    low: int
    high: int

    @property
    def magnitude(self) -> int:
        return max(abs(self.low), abs(self.high))


@dataclass
class Block:
    """A scope: what can be read, what may be written, and the loops around it."""

    depth: int = 0
    loops: dict[str, tuple[int, int]] = field(default_factory=dict)
    registers: dict[int, Value] = field(default_factory=dict)
    products: dict[str, dict[tuple[int, ...], list[Value]]] = field(default_factory=dict)
    writable: frozenset[int] = frozenset(range(REGISTERS))
    may_fire: bool = True
    nodes: list[Node] = field(default_factory=list)

    @property
    def iterations(self) -> int:
        return math.prod(last - first for first, last in self.loops.values())


class Statements(Declarations):
    """Writes instructions into blocks, drawing every decision."""

    def __init__(self, draw: Any) -> None:
        super().__init__(draw)
        self.readable: set[str] = set()
        self.cleared: set[str] = set()
        self.accumulated: dict[str, int] = {}
        self.tidy = False
        self.sources: frozenset[str] | None = None  # what a tidy nest reads; it writes others
        self.stored: set[str] = set()  # by the current nest

    # ------------------------------------------------------------ addresses

    def address(self, block: Block, buffer: Buffer, length: int | None = None) -> Address:
        """Any address with `?`, or one without that stays inside for all iterations.

        It names `length` values, of the vector or of a part of it; None: as many as it likes.
        """
        if length is None:
            length = self.pick(1, buffer.vector) if self.chance(30) else buffer.vector
        part = None
        if length < buffer.vector or self.chance(5):
            first = self.pick(0, buffer.vector - length)
            part = (first, first + length)
        outside = self.chance(60)
        place = self.anywhere if outside else self.within
        indices = tuple(place(block, size) for size in buffer.shape[:-1])
        return Address(buffer.name, indices, outside, part)

    def anywhere(self, block: Block, size: int) -> Affine:
        coefficients = {name: self.choose([1, 1, 2, -1, 3, -2]) for name in block.loops if self.chance(45)}
        divisor = self.choose([1, 1, 2, 3])
        return Affine.of(coefficients, self.pick(-3, size * divisor + 1), divisor)

    def within(self, block: Block, size: int) -> Affine:
        coefficients: dict[str, int] = {}
        low = high = 0
        for name, (first, last) in block.loops.items():
            factor = self.choose([1, -1, 2])
            ends = (factor * first, factor * (last - 1))
            if high + max(ends) - low - min(ends) < size and self.chance(70):
                coefficients[name] = factor
                low, high = low + min(ends), high + max(ends)
        return Affine.of(coefficients, self.pick(-low, size - 1 - high))

    # ------------------------------------------------------------ instructions

    def emit(self, block: Block, mnemonic: str, *operands: Operand, **attributes: int | float) -> None:
        block.nodes.append(Instruction(mnemonic, operands, tuple(sorted(attributes.items()))))

    def write_register(self, block: Block, value: Value) -> Register:
        number = self.choose(sorted(block.writable))
        block.registers[number] = value
        return Register(number)

    def registers(self, block: Block, length: int | None = None) -> list[int]:
        return sorted(n for n, v in block.registers.items() if length in (None, v.length))

    def reads(self) -> list[Buffer]:
        """What may be read here."""
        return [
            self.buffers[name] for name in sorted(self.readable if self.sources is None else self.sources)
        ]

    def writes(self, buffer: Buffer) -> bool:
        """May `buffer` be written here?"""
        if buffer.kind == "input" or buffer.holds:
            return False
        return self.sources is None or buffer.name not in self.sources

    def load(self, block: Block) -> None:
        buffer = self.choose(self.reads())
        source = self.address(block, buffer)
        low, high = buffer.type.low - buffer.zero, buffer.type.high - buffer.zero
        length = source.length(buffer.vector)
        result = self.write_register(block, Value(length, min(0, low), max(0, high)))
        self.emit(block, "load", result, source)

    def round(self, block: Block) -> None:
        """Drives, sometimes with other instructions in between, and their fire."""
        sources = [b for b in self.reads() if b.drive_type.bits <= 12]
        if not sources or not block.may_fire:
            return
        source = self.choose(sources)
        known = [x for x in self.crossbars.values() if fits(source, x)]
        crossbar = self.choose(known) if known and self.chance(60) else self.make_crossbar(source)
        places = [
            (index, band) for index in np.ndindex(*crossbar.index_shape) for band in range(crossbar.row_bands)
        ]
        everything = self.chance(50)
        driven = [p for p in places if everything or self.chance(50)] or [self.choose(places)]
        for index, band in driven:
            vectors = [b for b in sources if fits(b, crossbar)]
            address = self.address(block, self.choose(vectors), crossbar.rows)
            self.emit(block, "drive", Matrix(crossbar.name, index, band), address)
            if self.chance(10):
                self.simple(block)
        self.emit(block, "fire", Matrix(crossbar.name))
        block.products[crossbar.name] = {
            index: self.product(crossbar) for index in dict.fromkeys(index for index, _ in driven)
        }
        for _ in range(self.pick(0, 3)):
            self.sum(block)
            self.store(block)

    def product(self, crossbar: Crossbar) -> list[Value]:
        """Safe bounds of one sub-crossbar's column bands."""
        weight = max(abs(crossbar.weight_type.low), crossbar.weight_type.high)
        drive = max(abs(crossbar.input_type.low), crossbar.input_type.high)
        bound = weight * drive * crossbar.row_bands * crossbar.rows
        return [Value(crossbar.columns, -bound, bound)] * crossbar.column_bands

    def sum(self, block: Block) -> None:
        terms = self.terms(block)
        if not terms:
            return
        length = self.choose(sorted({value.length for _, value in terms}))
        terms = [(operand, value) for operand, value in terms if value.length == length]
        count = self.pick(1, 4)
        # Products first: they are what a sum is for.
        chosen = [terms[self.pick(0, len(terms) - 1)] for _ in range(count)]
        low = sum(value.low for _, value in chosen)
        high = sum(value.high for _, value in chosen)
        operands: list[Operand] = [operand for operand, _ in chosen]
        if self.chance(40):
            constant, values = self.integers(length, -1000, 1000)
            operands.insert(self.pick(0, len(operands)), constant)
            low, high = low + int(values.min()), high + int(values.max())
        if max(abs(low), abs(high)) < BIG:
            self.emit(block, "sum", self.write_register(block, Value(length, low, high)), *operands)

    def terms(self, block: Block) -> list[tuple[Operand, Value]]:
        products: list[tuple[Operand, Value]] = [
            (Matrix(name, index, band), value)
            for name, fired in block.products.items()
            for index, bands in fired.items()
            for band, value in enumerate(bands)
        ]
        return products + [(Register(n), block.registers[n]) for n in self.registers(block)]

    def mul(self, block: Block) -> None:
        number = self.choose(self.registers(block))
        value = block.registers[number]
        if value.magnitude * 100 >= BIG:
            return
        others = self.registers(block, value.length)
        factor: Operand = Register(self.choose(others))
        bound = value.magnitude * block.registers[factor.number].magnitude
        if bound >= BIG or self.chance(60):
            factor, _ = self.integers(value.length, -99, 99)
            bound = value.magnitude * 99
        result = self.write_register(block, Value(value.length, -bound, bound))
        self.emit(block, "mul", result, Register(number), factor)

    def quotient(self, block: Block) -> None:
        """div of a register by another one, zeros included, or by a constant."""
        number = self.choose(self.registers(block))
        value, fraction = block.registers[number], self.choose([0, 0, 3, 9])
        bound = value.magnitude << fraction
        if bound >= BIG:
            return
        divisor: Operand = Register(self.choose(self.registers(block, value.length)))
        by = block.registers[divisor.number]
        by_zero = by.low <= 0 <= by.high
        if self.chance(50):
            divisor, values = self.integers(value.length, *self.choose([(1, 9), (-99, -1), (-2, 2)]))
            by_zero = values.min() <= 0 <= values.max()
        bound = (1 << 62) - 1 if by_zero else bound
        attributes = {"fraction": fraction} if fraction else {}
        result = self.write_register(block, Value(value.length, -bound, bound))
        self.emit(block, "div", result, Register(number), divisor, **attributes)

    def extreme(self, block: Block) -> None:
        """max or min of registers and perhaps a constant."""
        length = block.registers[self.choose(self.registers(block))].length
        chosen = [self.choose(self.registers(block, length)) for _ in range(self.pick(1, 3))]
        bound = max(block.registers[number].magnitude for number in chosen)
        operands: list[Operand] = [Register(number) for number in chosen]
        if self.chance(40):
            constant, values = self.integers(length, -300, 300)
            bound = max(bound, int(np.abs(values).max()))
            operands.insert(self.pick(0, len(operands)), constant)
            if values.size == length and self.chance(20):
                operands = [constant]
        result = self.write_register(block, Value(length, -bound, bound))
        self.emit(block, self.choose(["max", "min"]), result, *operands)

    def quant(self, block: Block, number: int | None = None, kind: IntType | None = None) -> int:
        """Requantise a register, to within `kind` if given; gives the result's number."""
        number = self.choose(self.registers(block)) if number is None else number
        value = block.registers[number]
        reach = self.choose([1, 1, 1, 2**20, 2**40, 2**50])
        low, high = (-reach * self.pick(0, 20), reach * self.pick(0, 20))
        if kind:
            low, high = kind.low, bound_of(kind.high)
        attributes: dict[str, int | float] = {"low": low, "high": high}
        if self.chance(40):
            attributes["zero"] = self.choose([-3, 5, 128])
        if self.chance(30):
            attributes["slope"] = self.choose([0.0, 0.1, 2.0])
        scale = self.scale(value.length, value.magnitude, reach)
        result = self.write_register(block, Value(value.length, low, high))
        self.emit(block, "quant", result, Register(number), scale, **attributes)
        return result.number

    def lookup(self, block: Block) -> None:
        number = self.choose(self.registers(block))
        if block.registers[number].high - block.registers[number].low > 300:
            number = self.quant(block, number, IntType(True, self.pick(2, 6)))
        value = block.registers[number]
        low, shift, fraction = value.low - self.pick(0, 2), self.pick(0, 3), self.pick(0, 3)
        size = ((value.high - low) >> shift) + 2
        least, most = self.choose([(-500, 500), (0, 8), (0, 900)])
        entries = self.rng.integers(least, most, size)
        name = f"t{len(self.data)}"
        self.data[name] = entries.astype(np.int16)
        bounds = (int(entries.min()) >> fraction) - 1, (int(entries.max()) >> fraction) + 1
        attributes = {"low": low, "shift": shift, "fraction": fraction}
        given = {key: number for key, number in attributes.items() if number}
        result = self.write_register(block, Value(value.length, *bounds))
        self.emit(block, "lookup", result, Register(number), ConstRef(name), **given)

    def store(self, block: Block) -> None:
        number = self.choose(self.registers(block))
        buffer = self.written_buffer(block.registers[number].length)
        value = block.registers[number]
        if value.low < buffer.type.low or value.high > buffer.type.high:
            number = self.quant(block, number, buffer.type)
        self.emit(block, "store", self.address(block, buffer, value.length), Register(number))
        self.stored.add(buffer.name)
        self.readable.add(buffer.name)

    def written_buffer(self, length: int) -> Buffer:
        """A buffer to store vectors of `length` into: known, or new."""
        known = [b for b in self.buffers.values() if self.writes(b) and b.scale and b.vector >= length]
        if self.sources is not None and self.chance(70):
            known = [b for b in known if b.name not in self.stored]
        if known and self.chance(75):
            chosen: Buffer = self.choose(known)
            return chosen
        return self.make_buffer(self.choose(["buffer", "output"]), length + self.choose([0, 0, 1, 2]))

    def accum(self, block: Block) -> None:
        number = self.choose(self.registers(block))
        value = block.registers[number]
        targets = [b for b in (self.buffers[n] for n in sorted(self.cleared)) if b.vector >= value.length]
        targets = [b for b in targets if self.writes(b)]
        if not targets:
            return
        buffer = self.choose(targets)
        total = self.accumulated.get(buffer.name, 0) + value.magnitude * block.iterations
        if total >= buffer.type.high:
            return
        self.accumulated[buffer.name] = total
        self.emit(block, "accum", self.address(block, buffer, value.length), Register(number))

    def clear(self, block: Block) -> None:
        known = [b for b in self.buffers.values() if b.kind != "input" and not b.holds]
        if known and self.chance(30):
            buffer = self.choose(known)
        else:
            buffer = self.make_buffer("buffer", self.choose(self.lengths), accumulator=True)
        self.emit(block, "clear", BufferRef(buffer.name))
        self.readable.add(buffer.name)
        if buffer.scale is None:
            self.cleared.add(buffer.name)

    def reshape(self, block: Block) -> None:
        sources = [self.buffers[n] for n in sorted(self.readable) if self.buffers[n].tensor]
        if not sources:
            return
        source = self.choose(sources)
        size = math.prod(source.shape)
        vectors = [n for n in range(1, size + 1) if size % n == 0]
        vector = self.choose(vectors)
        name = f"b{len(self.buffers)}"
        target = self.onnx(
            replace(source, name=name, kind="buffer", shape=(size // vector, vector), holds=None)
        )
        self.buffers[name] = target
        self.emit(block, "reshape", BufferRef(name), BufferRef(source.name))
        self.readable.add(name)

    def simple(self, block: Block) -> None:
        """One instruction (or a few) other than a round, a loop or a whole-buffer one."""
        if not block.registers:
            return self.load(block)
        kinds = [
            self.store,
            self.load,
            self.sum,
            self.quant,
            self.mul,
            self.quotient,
            self.lookup,
            self.extreme,
        ]
        if self.cleared:
            kinds += [self.accum, self.accum]
        self.choose(kinds)(block)
        return None


def fits(buffer: Buffer, crossbar: Crossbar) -> bool:
    """Can vectors of `buffer` be driven into `crossbar`?"""
    drive, takes = buffer.drive_type, crossbar.input_type
    return buffer.vector >= crossbar.rows and takes.low <= drive.low and drive.high <= takes.high
