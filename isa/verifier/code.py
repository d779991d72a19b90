"""Rules about code: one walk through every block, in program order, each instruction once.

Loops are never run: a loop variable is an interval, a register an interval and a length.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable

from isa.analysis import Interval, operand_kinds
from isa.instructions import INSTRUCTIONS, Kind
from isa.printer import operand_text
from isa.program import (
    Address,
    Array,
    Buffer,
    BufferRef,
    ConstRef,
    Crossbar,
    Instruction,
    IntType,
    Loop,
    Matrix,
    Node,
    Register,
)
from isa.verifier.addresses import repetitions
from isa.verifier.facts import Facts, fits
from isa.verifier.operands import Operands
from isa.verifier.products import Band, ColumnSums, products_by_type
from isa.verifier.scope import UNKNOWN, Drive, Products, Scope, Tally, Value, Writes
from isa.verifier.signature import check_signature
from isa.verifier.values import RULES, TABLES, Unsafe

MAX_ITERATIONS = 1 << 53
"""How often one instruction may run: counters of every kind stay exact."""

_VARIABLE = re.compile(r"(?!v[0-9]+\Z)[A-Za-z_][A-Za-z0-9_]*\Z")


class CodeCheck(Operands):
    """The walk.  One object checks one program."""

    def __init__(self, facts: Facts) -> None:
        super().__init__(facts)
        self._writes = Writes()
        self._tallies: dict[str, Tally] = {}
        self._cleared: set[str] = set()
        self._sums: dict[str, ColumnSums] = {}

    def run(self) -> None:
        """Check every layer; then that every output was written."""
        for layer in self.facts.program.layers:
            self.said.clear()
            self.facts.layer = layer.name
            self._block(layer.body, Scope())
        self.facts.layer = None
        for buffer in self.facts.program.outputs:
            if buffer.name not in self.written and not self.doubtful:
                self.facts.error(buffer, f"no instruction writes output %{buffer.name}")

    # ------------------------------------------------------------ blocks

    def _block(self, nodes: tuple[Node, ...], scope: Scope) -> None:
        for node in nodes:
            if isinstance(node, Loop):
                self._unfired(scope, "before the loop")
                self._loop(node, scope)
            elif check_signature(self.facts, node):
                CHECKS[node.mnemonic](self, node, scope)
            else:
                self.forget(node, scope)
                self.doubt(scope)
        self._unfired(scope, "in this block")

    def _loop(self, loop: Loop, scope: Scope) -> None:
        name, inner = loop.variable, scope.enter(loop, self._writes.of(loop))
        if not _VARIABLE.match(name):
            self.facts.error(loop, f"{name!r} is no name of a loop variable")
        if loop.first >= loop.last:
            self.facts.error(loop, f"this loop never runs: {loop.first} is not below {loop.last}")
        enclosing = dict(self.loops)
        if name in enclosing:
            self.facts.error(loop, f"a loop around this one has the variable {name} already")
        self.loops[name] = (loop.first, max(loop.first, loop.last - 1))
        runs = math.prod(last - first + 1 for first, last in self.loops.values())
        if runs > MAX_ITERATIONS:
            self.facts.error(loop, f"this body runs {runs} times; the limit is 2^53")
        self._block(loop.body, inner)
        self.loops = enclosing

    def _unfired(self, scope: Scope, where: str) -> None:
        for name, drives in scope.pending.items():
            if not scope.doubtful:
                first = next(iter(drives.values()))
                self.facts.error(first.instruction, f"no fire @{name} uses this drive up {where}")
                scope.products[name] = Products(None)  # said once
        scope.pending.clear()

    # ------------------------------------------------------------ crossbars

    def drive(self, node: Instruction, scope: Scope) -> None:
        band, source = node.operands
        assert isinstance(band, Matrix)
        assert isinstance(source, Address)
        x, buffer = self.crossbar(node, band, "row"), self.address(node, source)
        if x is None:
            self.doubt(scope)
        interval: Interval | None = None
        if buffer is not None:
            self.note_read(node, buffer.name, source)
            interval = (buffer.type.low - buffer.zero, buffer.type.high - buffer.zero)
        if x is not None and buffer is not None:
            length = source.length(buffer.vector)
            if length != x.rows:
                message = f"{_vector(source)} has {length} values, a band of @{x.name} {x.rows}"
                self.fail(node, f"{message} rows", source)
            if interval is not None and not fits(*interval, x.input_type):
                wanted = f"@{x.name} is driven with {x.input_type}"
                message = f"%{buffer.name} less its zero is {interval[0]} to {interval[1]}; {wanted}"
                self.fail(node, message, source, f"declare @{x.name} as `in {buffer.drive_type}`")
        drives = scope.pending.setdefault(band.name, {})
        place: Band = (band.index, band.band)
        if place in drives and not scope.doubtful:
            self.fail(node, f"{operand_text(band)} is driven twice before a fire", band)
        drives[place] = Drive(node, interval if x is not None else None)

    def fire(self, node: Instruction, scope: Scope) -> None:
        (group,) = node.operands
        assert isinstance(group, Matrix)
        x = self.crossbar(node, group, None)
        if x is None:
            self.doubt(scope)
        drives = scope.pending.pop(group.name, {})
        if not drives and not scope.doubtful:
            self.fail(node, f"nothing drives @{group.name} for this fire", group)
        known = bool(drives) and not scope.doubtful
        scope.products[group.name] = Products(
            {place: d.interval for place, d in drives.items()} if known else None
        )

    def _products(self, x: Crossbar, products: Products) -> dict[Band, Interval]:
        """Bounds of the products of a fire; empty where something about it is unknown."""
        if products.bounds is None and products.drives is not None:
            products.bounds = {}
            drives = {place: i for place, i in products.drives.items() if i is not None}
            if len(drives) == len(products.drives):
                known = self.facts.constant(x.data)
                if known is None:
                    products.bounds = products_by_type(x, drives)
                elif known.low is not None and known.shape == x.data_shape:
                    if x.name not in self._sums:
                        self._sums[x.name] = ColumnSums(x, self.facts.program.constant(x.data))
                    products.bounds = self._sums[x.name].products(drives)
        return products.bounds or {}

    def _product(self, node: Instruction, matrix: Matrix, scope: Scope) -> Value:
        x = self.crossbar(node, matrix, "column")
        if x is None:
            return UNKNOWN
        products = scope.products.get(x.name)
        if products is None:
            lost = scope.lost.get(x.name)
            hint = "products last until the end of the block of their fire, and to its next fire"
            if not scope.doubtful:
                self.fail(node, f"no fire @{x.name} comes before this", matrix, hint if lost else None)
            products = scope.products[x.name] = Products(None)  # said once, for its drives as well
            scope.pending.pop(x.name, None)
        if products.drives is None:
            return Value(x.columns, None)
        if not any(index == matrix.index for index, _ in products.drives):
            what = operand_text(Matrix(matrix.name, matrix.index))
            self.fail(node, f"{what} was not driven for the last fire @{x.name}", matrix)
            return Value(x.columns, None)
        return Value(x.columns, self._products(x, products).get((matrix.index, matrix.band)))

    # ------------------------------------------------------------ values

    def value(self, node: Instruction, scope: Scope) -> None:
        """Any instruction that computes a register from values."""
        spec = INSTRUCTIONS[node.mnemonic]
        values: list[Value] = []
        arrays: list[Array] = []
        unknown = False
        kinds = list(operand_kinds(spec, len(node.operands)))
        for kind, operand in zip(kinds[1:], node.operands[1:], strict=True):
            if isinstance(operand, Register):
                values.append(self.register(node, operand, scope))
            elif isinstance(operand, Matrix):
                values.append(self._product(node, operand, scope))
            elif isinstance(operand, ConstRef):
                floats = kind is Kind.FLOATS
                what = "a vector of f32" if floats else "a vector of integers"
                array = self.array(node, operand, "f" if floats else "iu", what)
                unknown |= array is None
                arrays += [array] if array is not None else []
        length = self._length(node, kinds, values, arrays)
        intervals = [v.interval for v in values if v.interval is not None]
        result = None
        if not unknown and len(intervals) == len(values):
            attributes = {a.name: node.attribute(a.name, a.default or 0) for a in spec.attributes}
            try:
                result = RULES[node.mnemonic](intervals, arrays, attributes)
            except Unsafe as error:
                self.fail(node, str(error))
        register = node.operands[0]
        assert isinstance(register, Register)
        scope.registers[register.number] = Value(length, result)

    def _length(
        self, node: Instruction, kinds: list[Kind], values: list[Value], arrays: list[Array]
    ) -> int | None:
        """The length of the result: that of every value.  Constants have it too, or one value."""
        lengths = {v.length for v in values if v.length is not None}
        if len(lengths) > 1:
            self.fail(node, f"values of lengths {' and '.join(map(str, sorted(lengths)))}")
            return None
        if len(lengths) < 1 and values:
            return None
        tables = node.mnemonic in TABLES
        sizes = set() if tables else {int(a.size) for a in arrays if a.size != 1}
        length = lengths.pop() if lengths else max(sizes, default=1)
        for size in sorted(sizes - {length}):
            self.fail(node, f"a constant of {size} values meets values of length {length}")
        return length

    # ------------------------------------------------------------ buffers

    def load(self, node: Instruction, scope: Scope) -> None:
        register, source = node.operands
        assert isinstance(register, Register)
        assert isinstance(source, Address)
        buffer = self.address(node, source)
        value = UNKNOWN
        if buffer is not None:
            self.note_read(node, buffer.name, source)
            interval = (buffer.type.low - buffer.zero, buffer.type.high - buffer.zero)
            value = Value(source.length(buffer.vector), interval)
        scope.registers[register.number] = value

    def _stored(self, node: Instruction, scope: Scope) -> tuple[Buffer | None, Interval | None]:
        """What `store` and `accum` share: (buffer, interval of the value)."""
        target, register = node.operands
        assert isinstance(target, Address)
        assert isinstance(register, Register)
        buffer, value = self.address(node, target), self.register(node, register, scope)
        if buffer is None:
            self.forget(node, scope)
            return None, None
        length = target.length(buffer.vector)
        if value.length is not None and value.length != length:
            message = f"v{register.number} has {value.length} values, {_vector(target)} {length}"
            self.fail(node, message, register)
        return buffer, value.interval

    def store(self, node: Instruction, scope: Scope) -> None:
        buffer, interval = self._stored(node, scope)
        if buffer is None:
            return
        self.note_write(node, buffer, node.operands[0])
        if interval is None:
            return
        if not fits(*interval, buffer.type):
            self.fail(
                node,
                f"the value is {interval[0]} to {interval[1]}, %{buffer.name} holds {_range(buffer.type)}",
            )
        tally = self._tallies.setdefault(buffer.name, Tally())
        tally.stored = (min(tally.stored[0], interval[0]), max(tally.stored[1], interval[1]))
        self._check_tally(node, buffer, tally)

    def accum(self, node: Instruction, scope: Scope) -> None:
        buffer, interval = self._stored(node, scope)
        if buffer is None:
            return
        target = node.operands[0]
        assert isinstance(target, Address)
        if buffer.scale is not None:
            hint = "an accumulator buffer is one without a scale"
            self.fail(node, f"%{buffer.name} is no accumulator buffer", target, hint)
        elif buffer.name not in self._cleared:
            if not self.doubtful:
                self.fail(node, f"%{buffer.name} is not cleared before this", target, f"clear %{buffer.name}")
            self._cleared.add(buffer.name)  # said once
        self.note_write(node, buffer, target)
        tally = self._tallies.setdefault(buffer.name, Tally())
        if interval is not None and buffer.scale is None:
            times = repetitions(target.indices, self.loops)
            low, high = tally.added
            tally.added = (low + times * min(0, interval[0]), high + times * max(0, interval[1]))
            self._check_tally(node, buffer, tally)

    def _check_tally(self, node: Instruction, buffer: Buffer, tally: Tally) -> None:
        if buffer.scale is None and not fits(*tally.interval, buffer.type):
            low, high = tally.interval
            self.fail(
                node, f"%{buffer.name} may come to hold {low} to {high}, its type {_range(buffer.type)}"
            )
            tally.added = (0, 0)  # said once

    def clear(self, node: Instruction, scope: Scope) -> None:
        buffer = self.whole(node, 0)
        if buffer is not None:
            self.note_write(node, buffer, node.operands[0])
            self._tallies[buffer.name] = Tally()
            self._cleared.add(buffer.name)

    def reshape(self, node: Instruction, scope: Scope) -> None:
        target, source = self.whole(node, 0), self.whole(node, 1)
        if source is not None:
            self.note_read(node, source.name, node.operands[1])
        if target is not None:
            self.note_write(node, target, node.operands[0])
        if source is None or target is None:
            return
        if source is target:
            self.fail(node, "a buffer is not reshaped into itself")
        for buffer in (source, target):
            if buffer.steps is not None:
                self.fail(node, f"%{buffer.name} has steps per channel, which another shape would mix up")
        for what, one, other in (
            ("type", source.type, target.type),
            ("scale", source.scale, target.scale),
            ("zero", source.zero, target.zero),
            ("number of values", math.prod(source.shape), math.prod(target.shape)),
        ):
            if one != other:
                self.fail(node, f"{what} of %{source.name} is {one}, of %{target.name} {other}")
        known = self._tallies.get(source.name, Tally())
        self._tallies[target.name] = Tally(known.stored, known.added)
        self._cleared.add(target.name)

    def host(self, node: Instruction, scope: Scope) -> None:
        part, *ports = node.operands
        assert isinstance(part, ConstRef)
        if self.loops:
            self.fail(node, "host takes whole buffers and stands outside of loops")
        known = self.facts.constant(part.name)
        if known is None:
            self.facts.missing_constant(node, part.name, part)
        elif known.dtype != "uint8" or len(known.shape) != 1:
            what = f"{known.dtype}{list(known.shape)}"
            self.fail(node, f"a host part is a vector of u8, {part.name!r} is {what}", part)
        inputs = int(node.attribute("inputs", 0))
        if inputs >= len(ports):
            self.fail(node, f"inputs={inputs} of {len(ports)} buffers leave nothing to write")
        written: set[str] = set()
        for position, port in enumerate(ports):
            assert isinstance(port, BufferRef)
            buffer = self.buffer(node, port.name, port)
            if buffer is None:
                continue
            if buffer.tensor is None or (buffer.scale is None and not buffer.raw):
                self.fail(node, f"%{buffer.name} holds no tensor that a host can read or write", port)
            if buffer.steps is not None:
                self.fail(node, f"%{buffer.name} has steps per channel, a host takes one scale", port)
            if position < inputs:
                self.note_read(node, buffer.name, port)
                continue
            if buffer.name in written:
                self.fail(node, f"%{buffer.name} is written twice", port)
            written.add(buffer.name)
            self.note_write(node, buffer, port)


def _vector(address: Address) -> str:
    return f"{'a vector' if address.part is None else 'this part of a vector'} of %{address.buffer}"


def _range(type_: IntType) -> str:
    return f"{type_.low} to {type_.high}"


CHECKS: dict[str, Callable[[CodeCheck, Instruction, Scope], None]] = {
    "drive": CodeCheck.drive,
    "fire": CodeCheck.fire,
    **dict.fromkeys(RULES, CodeCheck.value),
    "load": CodeCheck.load,
    "store": CodeCheck.store,
    "accum": CodeCheck.accum,
    "clear": CodeCheck.clear,
    "reshape": CodeCheck.reshape,
    "host": CodeCheck.host,
}
"""Mnemonic -> its rule (a test compares this with the instruction table)."""
