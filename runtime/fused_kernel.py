"""The kernel of fused results: a whole expression for some values at a time, from codes to codes.

numpy computes one instruction of an expression after the other, each through memory and in the
widest type.  Here the values of a vector stay in registers from the first read to the last write.
`runtime/fused_forms.py` says what a kernel is compiled for.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from llvmlite import ir

from isa.instructions import LARGEST_QUOTIENT
from runtime.fused_forms import HEAD, WORDS, Form, Op, words_of
from runtime.llvm import I32, I64, NUMBER, POINTER, Function

F32 = ir.FloatType()
_FLOATS = {"float32": ir.FloatType(), "float64": ir.DoubleType()}


def compiled(form: Form) -> Callable[..., None]:
    """The machine code of a form, see `fused_forms.kernel`."""
    return _Fused(form).compiled(widen=False)


class _Fused(Function):
    """One form's kernel."""

    def __init__(self, form: Form) -> None:
        super().__init__({"words": POINTER, "first": NUMBER, "last": NUMBER}, {})
        self.form, b = form, self.b
        # Words are read once: later the compiler could not know that results leave them alone.
        count = HEAD + words_of(form.value)
        self.words = [self.at("words", self.number(i)) for i in range(count)]
        base, indices, stride, length, total = self.words[:HEAD]
        with self.loop(self.a["first"], self.a["last"]) as row:
            place = self._row(indices, row)
            with b.if_then(b.icmp_signed(">=", place, self.number(0))):
                self.target = b.add(base, b.mul(place, stride))
                left = b.sub(total, b.mul(row, length))
                self._row_of(row, b.select(b.icmp_signed("<", left, length), left, length))

    def _row_of(self, row: Any, length: Any) -> None:
        b = self.b
        count = self.form.lanes
        lanes = self.number(count)
        rows = self._addresses(self.form.value, iter(self.words[HEAD:]), row)
        wide = b.icmp_signed(">=", length, lanes)
        with b.if_else(wide) as (then, otherwise):
            with then:
                # The last vector overlaps the one before it, unless what it adds must be added once.
                more = self.number(0 if self.form.add else count - 1)
                whole = b.sdiv(b.add(length, more), lanes)
                with self.loop(0, whole) as turn:
                    here, most = b.mul(turn, lanes), b.sub(length, lanes)
                    self._values(rows, b.select(b.icmp_signed("<", here, most), here, most), count)
                if self.form.add:
                    with self.loop(b.mul(whole, lanes), length) as value:
                        self._values(rows, value, 1)
            with otherwise, self.loop(0, length) as value:
                self._values(rows, value, 1)

    def _row(self, indices: Any, row: Any) -> Any:
        """The row that an index names; `row` itself without indices."""
        b = self.b
        before = b.block
        with b.if_then(b.icmp_signed("!=", indices, self.number(0))):
            named = b.sext(self._read(indices, row, I32, 1), I64)
            inside = b.block
        found = b.phi(I64)
        found.add_incoming(row, before)
        found.add_incoming(named, inside)
        return found

    def _addresses(self, op: Op, words: Iterator[Any], row: Any) -> _Node:
        """The words of an operation, where the row of its codes begins in place of its base."""
        arguments = [self._addresses(argument, words, row) for argument in op.arguments]
        own = [next(words) for _ in range(WORDS[op.kind])]
        if op.kind == "codes":
            own[0] = self._place(own, self._row(own[1], row))
        if op.kind in ("taps", "dots"):
            own[1] = self.b.add(own[1], self.b.mul(self.b.mul(row, own[5]), self.number(4)))
        return _Node(op, own, arguments)

    def _place(self, words: Sequence[Any], index: Any) -> Any:
        """The address of a row; the blank one for -1."""
        b = self.b
        inside = b.icmp_signed(">=", index, self.number(0))
        return b.select(inside, b.add(words[0], b.mul(index, words[2])), words[3])

    # ------------------------------------------------------------ values

    def _values(self, rows: _Node, value: Any, lanes: int) -> None:
        """Compute and write `lanes` values from number `value` of a row on."""
        b, form = self.b, self.form
        result = self._evaluate(rows, value, lanes)
        type_ = _integer(form.target)
        result = self._resized(result, type_.width, lanes)
        pointer = self._pointer(self.target, value, type_, lanes)
        if form.add:
            result = b.add(result, b.load(pointer, align=type_.width // 8))
        b.store(result, pointer, align=type_.width // 8)

    def _evaluate(self, node: _Node, value: Any, lanes: int) -> Any:
        b, op, words = self.b, node.op, node.words
        width = max([op.bits, *(argument.op.bits for argument in node.arguments)])
        arguments = [
            self._resized(self._evaluate(argument, value, lanes), width, lanes) for argument in node.arguments
        ]
        match op.kind:
            case "codes":
                codes = self._integers(op, words[0], value, lanes)
                return b.sub(codes, self._all(words[4], op.bits, lanes))
            case "taps":
                return self._taps(node, value, lanes)
            case "dots":
                return self._dots(node, value, lanes)
            case "constant":
                return self._integers(op, words[0], value, lanes)
            case "sum":
                result = functools.reduce(b.add, arguments)
            case "mul":
                result = functools.reduce(b.mul, arguments)
            case "div":
                dividend, divisor = (self._resized(argument, 64, lanes) for argument in arguments)
                result = self._div(dividend, divisor, self._all(words[0], 64, lanes), lanes)
            case "max" | "min":
                sign = ">" if op.kind == "max" else "<"
                result = functools.reduce(
                    lambda one, other: b.select(b.icmp_signed(sign, one, other), one, other), arguments
                )
            case "quant":
                return self._quant(op, arguments[0], words, value, lanes)
            case "table":
                place = b.sub(arguments[0], self._all(words[1], width, lanes))
                return self._resized(self._entries(op.entry, op.bits, words[0], place, lanes), op.bits, lanes)
            case "lookup":
                return self._resized(self._lookup(op, arguments[0], words, lanes), op.bits, lanes)
            case _:
                raise AssertionError(op.kind)
        return self._resized(result, op.bits, lanes)

    def _taps(self, node: _Node, value: Any, lanes: int) -> Any:
        b, op, words = self.b, node.op, node.words
        taps, length = words[5], self.words[3]
        place = self._zeros(op, lanes)
        with self.loop(0, taps) as tap:
            index = b.sext(self._read(words[1], tap, I32, 1), I64)
            codes = self._integers(op, self._place(words, index), value, lanes)
            codes = b.sub(codes, self._all(words[4], op.bits, lanes))
            self._weighted(place, node, codes, b.add(b.mul(tap, length), value), lanes)
        return b.load(place)

    def _dots(self, node: _Node, value: Any, lanes: int) -> Any:
        b, op, words = self.b, node.op, node.words
        taps, depth, length = words[5], words[7], self.words[3]
        place = self._zeros(op, lanes)
        with self.loop(0, taps) as tap:
            vector = self._place(words, b.sext(self._read(words[1], tap, I32, 1), I64))
            with self.loop(0, depth) as line:
                code = b.sub(self._integers(op, vector, line, 1), self._all(words[4], op.bits, 1))
                codes = code if lanes == 1 else self.splat(code, _vector(_sized(op.bits), lanes))
                row = b.mul(b.add(b.mul(tap, depth), line), length)
                self._weighted(place, node, codes, b.add(row, value), lanes)
        return b.load(place)

    def _zeros(self, op: Op, lanes: int) -> Any:
        """A place for a sum that begins at 0."""
        with self.b.goto_entry_block():
            place = self.b.alloca(_vector(_sized(op.bits), lanes))
        self.b.store(self._all(self.number(0), op.bits, lanes), place)
        return place

    def _weighted(self, place: Any, node: _Node, codes: Any, weight: Any, lanes: int) -> None:
        """Add codes times the weights from number `weight` on to a sum."""
        b, constant = self.b, Op("constant", node.op.bits, f"int{node.op.bits}")
        weights = self._integers(constant, node.words[6], weight, lanes)
        b.store(b.add(b.load(place), b.mul(codes, weights)), place)

    def _div(self, value: Any, divisor: Any, fraction: Any, lanes: int) -> Any:
        """isa.instructions.div, step for step."""
        b = self.b
        none, one, largest = (self._all(self.number(n), 64, lanes) for n in (0, 1, LARGEST_QUOTIENT))
        below, under = b.icmp_signed("<", value, none), b.icmp_signed("<", divisor, none)
        dividend = b.shl(b.select(below, b.sub(none, value), value), fraction)
        by = b.select(under, b.sub(none, divisor), divisor)
        some = b.icmp_signed(">", by, none)
        whole = b.select(some, by, one)
        quotient = b.udiv(dividend, whole)
        rest = b.sub(dividend, b.mul(quotient, whole))
        up = b.icmp_signed(">=", rest, b.sub(by, rest))
        nearest = b.add(quotient, b.zext(up, none.type))
        by_zero = b.select(b.icmp_signed(">", dividend, none), largest, none)
        quotient = b.select(some, nearest, by_zero)
        return b.select(b.xor(below, under), b.sub(none, quotient), quotient)

    def _quant(self, op: Op, argument: Any, words: Sequence[Any], value: Any, lanes: int) -> Any:
        """isa.instructions.quant, step for step."""
        b = self.b
        type_ = _vector(F32, lanes)
        zero, low, high, slope = (self._all_floats(word, lanes) for word in words[1:])
        real = b.fmul(b.sitofp(argument, type_), self._read(words[0], value, F32, lanes))
        below = b.fcmp_ordered("<", real, self._floats(0.0, lanes))
        real = b.select(below, b.fmul(real, slope), real)
        real = b.call(self._rint(type_, lanes), [real])
        real = b.fadd(real, zero)
        real = b.select(b.fcmp_ordered(">", real, low), real, low)
        real = b.select(b.fcmp_ordered("<", real, high), real, high)
        return b.fptosi(real, _vector(_sized(op.bits), lanes))

    def _rint(self, type_: Any, lanes: int) -> Any:
        name = f"llvm.rint.v{lanes}f32" if lanes > 1 else "llvm.rint.f32"
        known = self.module.globals.get(name)
        return known or self.intrinsic(name, type_, type_)

    def _lookup(self, op: Op, argument: Any, words: Sequence[Any], lanes: int) -> Any:
        """isa.instructions.lookup, step for step."""
        b = self.b
        table, (low, shift, fraction) = words[0], (self._all(word, 64, lanes) for word in words[1:])
        one = self._all(self.number(1), 64, lanes)
        offset = b.sub(self._resized(argument, 64, lanes), low)
        index = b.ashr(offset, shift)
        entry = self._entries(op.entry, 64, table, index, lanes)
        # With shift=0 the entry after is not there to be read; the rest of the division is 0 then.
        none = b.sub(one, one)
        after = b.select(b.icmp_signed(">", shift, none), one, none)
        rise = b.sub(self._entries(op.entry, 64, table, b.add(index, after), lanes), entry)
        wide = b.add(b.shl(entry, shift), b.mul(rise, b.sub(offset, b.shl(index, shift))))
        drop = b.add(shift, fraction)
        return b.ashr(b.add(wide, b.ashr(b.shl(one, drop), one)), drop)

    def _entries(self, entry: str, bits: int, table: Any, index: Any, lanes: int) -> Any:
        """Entries of a table, one per lane."""
        b, type_ = self.b, _integer(entry)
        if lanes == 1:
            read = self._read(table, self._resized(index, 64, 1), type_, 1)
            return self._extended(read, entry, bits, 1)
        found = ir.Constant(_vector(type_, lanes), ir.Undefined)
        for lane in range(lanes):
            place = self._resized(b.extract_element(index, ir.Constant(I32, lane)), 64, 1)
            found = b.insert_element(found, self._read(table, place, type_, 1), ir.Constant(I32, lane))
        return self._extended(found, entry, bits, lanes)

    # ------------------------------------------------------------ memory and types

    def _integers(self, op: Op, base: Any, value: Any, lanes: int) -> Any:
        """Values from `base`, as integers of the operation's bits."""
        if op.entry in _FLOATS:
            read = self._read(base, value, _FLOATS[op.entry], lanes)
            return self.b.fptosi(read, _vector(_sized(op.bits), lanes))
        return self._extended(self._read(base, value, _integer(op.entry), lanes), op.entry, op.bits, lanes)

    def _read(self, base: Any, value: Any, type_: Any, lanes: int) -> Any:
        bytes_ = 8 if isinstance(type_, ir.DoubleType) else 4 if type_ == F32 else type_.width // 8
        return self.b.load(self._pointer(base, value, type_, lanes), align=bytes_)

    def _pointer(self, base: Any, value: Any, type_: Any, lanes: int) -> Any:
        start = self.b.gep(self.b.inttoptr(base, ir.PointerType(type_)), [value])
        return start if lanes == 1 else self.b.bitcast(start, ir.PointerType(_vector(type_, lanes)))

    def _extended(self, read: Any, entry: str, bits: int, lanes: int) -> Any:
        type_ = _vector(_sized(bits), lanes)
        if _integer(entry).width >= bits:
            return self._resized(read, bits, lanes)
        return self.b.zext(read, type_) if entry.startswith("u") else self.b.sext(read, type_)

    def _resized(self, value: Any, bits: int, lanes: int) -> Any:
        type_ = value.type.element if lanes > 1 else value.type
        if type_.width == bits:
            return value
        change = self.b.sext if type_.width < bits else self.b.trunc
        return change(value, _vector(_sized(bits), lanes))

    def _all(self, word: Any, bits: int, lanes: int) -> Any:
        """An int64 in every lane."""
        one = word if bits == 64 else self.b.trunc(word, _sized(bits))
        return one if lanes == 1 else self.splat(one, _vector(_sized(bits), lanes))

    def _all_floats(self, word: Any, lanes: int) -> Any:
        one = self.b.bitcast(self.b.trunc(word, I32), F32)
        return one if lanes == 1 else self.splat(one, _vector(F32, lanes))

    def _floats(self, value: float, lanes: int) -> Any:
        return ir.Constant(F32, value) if lanes == 1 else ir.Constant(_vector(F32, lanes), [value] * lanes)


@dataclass(slots=True)
class _Node:
    """An operation in the row at hand."""

    op: Op
    words: list[Any]
    arguments: list[_Node]


def _vector(type_: Any, lanes: int) -> Any:
    return type_ if lanes == 1 else ir.VectorType(type_, lanes)


def _sized(bits: int) -> Any:
    return ir.IntType(bits)


def _integer(entry: str) -> Any:
    """The type of numpy's `int8` to `uint64`."""
    return ir.IntType(int(entry.removeprefix("u").removeprefix("int")))
