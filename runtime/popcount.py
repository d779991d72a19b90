"""The kernel of fast conversions: AND, count ones, round, saturate.

A sum along a column is a dot product of bits: of the lines, packed into words, and of the cells,
packed likewise, one word per column side by side.  Vectors of `LANES` columns are ANDed with a
word of the lines, and ones are counted per column: AVX-512 does so for 32 columns in one
instruction, other CPUs in a few.  `runtime/packed.py` lays out what the kernel works on.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from llvmlite import ir

from runtime.llvm import I32, I64, NUMBER, POINTER, Cpu, Function

LANES = 32
"""Columns of a block."""
FIELDS = 7
"""Of a block, int64: its first word of lines, words, first word of cells, column of the product,
tile, first factor, and how many ones a plane must have more of, or else it cannot lose anything."""
PLANE_FIELDS = 5
"""Of a plane, int64: lowest and highest code plus `zero`, worth, first bit, bit after the last."""


@dataclass(frozen=True, slots=True)
class Form:
    """What a kernel is compiled for.

    word   bits of a word of lines, and of a lane: 16 or 32
    out    bits of a difference: 32 or 64
    bits   bit planes of the cells; 0 for columns that merely follow their reference
    signed the top bit plane subtracts
    serial each plane is one bit of the lines, worth 1 in its digit
    lsb    the ADC's
    """

    word: int
    out: int
    bits: int
    signed: bool
    serial: bool
    lsb: int


@functools.cache
def kernel(form: Form, cpu: Cpu) -> Callable[..., None]:
    """The machine code, to be called with the arguments of `_ARGUMENTS`; it lets go of the GIL."""
    return written(form).compiled(cpu)


def written(form: Form) -> Function:
    """A kernel in LLVM's terms."""
    return _Converting(form)


_ARGUMENTS = {
    "blocks": POINTER,  # int64 [blocks, FIELDS]
    "count": NUMBER,  # of blocks
    "lines": POINTER,  # words [bits, iterations, words]
    "line_row": NUMBER,  # words of one iteration
    "line_bit": NUMBER,  # words of one bit
    "masses": POINTER,  # int32 [planes, iterations, tiles]: an upper bound of the sum of |digit|
    "mass_row": NUMBER,  # tiles
    "mass_plane": NUMBER,  # masses of one plane
    "steps": POINTER,  # out [iterations, tiles]: by how much the reference is off; for bits = 0
    "start": NUMBER,  # first iteration
    "stop": NUMBER,
    "cells": POINTER,  # words [blocks, words, bits, LANES]
    "factors": POINTER,  # out [...]: what a step of a column's sum is worth in its product
    "results": POINTER,  # out [iterations, columns], added to
    "result_row": NUMBER,  # columns
    "planes": POINTER,  # int64 [planes, PLANE_FIELDS]
    "plane_count": NUMBER,
    "digits": POINTER,  # int64 [bits]: what a bit is worth in its plane's digit
    "bias": NUMBER,  # zero * lsb, at least as large as any sum; zero is even
    "losses": POINTER,  # int64 [2]: saturated, and off at all; added to
}
"""The kernel's arguments, in order."""


class _Converting(Function):
    """Writes one kernel: for each block, each iteration, each plane."""

    def __init__(self, form: Form) -> None:
        self.form = form
        self.word, self.out = ir.IntType(form.word), ir.IntType(form.out)
        self.lane, self.wide = ir.VectorType(self.word, LANES), ir.VectorType(self.out, LANES)
        entries = {"lines": self.word, "cells": self.word, "masses": I32}
        entries |= dict.fromkeys(("steps", "factors", "results"), self.out)
        super().__init__(_ARGUMENTS, entries)
        lanes = f"v{LANES}i{form.word}"
        self.ones = self.intrinsic(f"llvm.ctpop.{lanes}", self.lane, self.lane)
        self.add_up = self.intrinsic(f"llvm.vector.reduce.add.v{LANES}i64", I64, ir.VectorType(I64, LANES))
        self.partial = [self.variable(self.lane) for _ in range(form.bits)]
        self.sum, self.saturated, self.lossy = (self.variable(self.lane) for _ in range(3))
        self.total, self.worked = self.variable(self.wide), self.variable(ir.IntType(1))
        with self.loop(0, self.a["count"]) as block:
            self.block([self.at("blocks", self.index((block, FIELDS), k)) for k in range(FIELDS)])

    def block(self, fields: list[Any]) -> None:
        word, words, cell, column, tile, factor, limit = fields
        for counter in (self.saturated, self.lossy):
            self.b.store(self.splat(0, self.lane), counter)
        factors = self.vector("factors", factor, self.wide)
        with self.loop(self.a["start"], self.a["stop"]) as i:
            if self.form.bits:
                self.differences(i, word, words, cell, tile, limit)
            else:
                step = self.at("steps", self.index((i, self.a["mass_row"]), tile))
                self.b.store(self.splat(step, self.wide), self.total)
                self.b.store(self.b.icmp_signed("!=", step, ir.Constant(self.out, 0)), self.worked)
            with self.b.if_then(self.b.load(self.worked)):
                place = self.index((i, self.a["result_row"]), column)
                known = self.vector("results", place, self.wide)
                more = self.b.mul(self.b.load(self.total), factors)
                self.b.store(self.b.add(known, more), self.pointer("results", place, self.wide), align=4)
        for position, counter in enumerate((self.saturated, self.lossy)):
            each = self.b.zext(self.b.load(counter), ir.VectorType(I64, LANES))
            place = self.b.gep(self.a["losses"], [self.number(position)])
            self.b.store(self.b.add(self.b.load(place), self.b.call(self.add_up, [each])), place)

    def differences(self, i: Any, word: Any, words: Any, cell: Any, tile: Any, limit: Any) -> None:
        """Into `total`: what conversions add to the sums of one iteration, planes shifted and added."""
        b = self.b
        b.store(self.splat(0, self.wide), self.total)
        b.store(ir.Constant(ir.IntType(1), 0), self.worked)
        least = b.trunc(limit, I32)
        with self.loop(0, self.a["plane_count"]) as plane:
            place = self.index((plane, self.a["mass_plane"]), (i, self.a["mass_row"]), tile)
            with b.if_then(b.icmp_signed(">", self.at("masses", place), least)):
                b.store(ir.Constant(ir.IntType(1), 1), self.worked)
                if self.form.serial:
                    self.count(self.place(plane, i, word), words, cell)
                    b.store(self.counted(), self.sum)
                else:
                    self.digits(plane, i, word, words, cell)
                # One-bit planes all have the same codes: read once, not every time.
                low, high = (self.code(0 if self.form.serial else plane, k) for k in range(2))
                self.converted(low, high, self.at("planes", self.index((plane, PLANE_FIELDS), 2)))

    def digits(self, plane: Any, i: Any, word: Any, words: Any, cell: Any) -> None:
        """Into `sum`: what a plane of several bits adds up to."""
        b = self.b
        b.store(self.splat(0, self.lane), self.sum)
        first, last = (self.at("planes", self.index((plane, PLANE_FIELDS), k)) for k in (3, 4))
        with self.loop(first, last) as bit:
            self.count(self.place(bit, i, word), words, cell)
            digit = self.splat(b.trunc(self.at("digits", bit), self.word), self.lane)
            b.store(b.add(b.load(self.sum), b.mul(self.counted(), digit)), self.sum)

    def place(self, bit: Any, i: Any, word: Any) -> Any:
        """Of the first word of a tile's lines."""
        return self.index((bit, self.a["line_bit"]), (i, self.a["line_row"]), word)

    def code(self, plane: Any, field: int) -> Any:
        """The lowest or highest code, in every lane."""
        code = self.at("planes", self.index((plane, PLANE_FIELDS), field))
        return self.splat(self.b.trunc(code, self.word), self.lane)

    def count(self, line: Any, words: Any, cell: Any) -> None:
        """Into `partial`: per bit plane of the cells, the ones that one bit of the lines meets."""
        b = self.b
        for partial in self.partial:
            b.store(self.splat(0, self.lane), partial)
        with self.loop(0, words) as w:
            lines = self.splat(self.at("lines", b.add(line, w)), self.lane)
            row = b.add(cell, b.mul(w, self.number(self.form.bits * LANES)))
            for k, partial in enumerate(self.partial):
                cells = self.vector("cells", b.add(row, self.number(k * LANES)), self.lane)
                found = b.call(self.ones, [b.and_(lines, cells)])
                b.store(b.add(b.load(partial), found), partial)

    def counted(self) -> Any:
        """The sum that the bit planes of the cells make up."""
        b, total = self.b, self.splat(0, self.lane)
        for k, partial in enumerate(self.partial):
            part = b.shl(b.load(partial), self.splat(k, self.lane))
            top = self.form.signed and k == self.form.bits - 1
            total = b.sub(total, part) if top else b.add(total, part)
        return total

    def converted(self, low: Any, high: Any, worth: Any) -> None:
        """Round and saturate `sum`; count what that loses, and add the difference to `total`."""
        b = self.b
        found = b.load(self.sum)
        code = found
        if self.form.lsb > 1:
            found = b.add(found, self.argument("bias"))
            code = self.rounded(found)
        kept = b.select(b.icmp_signed("<", code, low), low, code)
        kept = b.select(b.icmp_signed(">", kept, high), high, kept)
        self.tally(b.icmp_signed("!=", kept, code), self.saturated)
        value = b.mul(kept, self.splat(self.form.lsb, self.lane)) if self.form.lsb > 1 else kept
        off = b.sub(value, found)
        if self.form.lsb > 1:
            self.tally(b.icmp_signed("!=", off, self.splat(0, self.lane)), self.lossy)
        scale = worth if self.form.out == 64 else b.trunc(worth, self.out)
        wide = b.sext(off, self.wide) if self.form.out > self.form.word else off
        b.store(b.add(b.load(self.total), b.mul(wide, self.splat(scale, self.wide))), self.total)

    def rounded(self, positive: Any) -> Any:
        """rint(positive / lsb): floor((positive + lsb / 2) / lsb), but for halves the even one."""
        b, double = self.b, ir.VectorType(ir.IntType(2 * self.form.word), LANES)
        lsb, word = self.form.lsb, self.form.word
        moved = b.add(positive, self.splat(lsb // 2, self.lane))
        # The quotient by multiplication: Granlund and Montgomery, PLDI 1994.
        shift = (lsb - 1).bit_length()
        magic = -(-(1 << word - 1 + shift) // lsb)
        product = b.mul(b.zext(moved, double), self.splat(magic, double))
        quotient = b.trunc(b.lshr(product, self.splat(word, double)), self.lane)
        quotient = b.lshr(quotient, self.splat(shift - 1, self.lane))
        if lsb % 2:
            return quotient
        half = b.icmp_signed("==", moved, b.mul(quotient, self.splat(lsb, self.lane)))
        odd = b.trunc(quotient, ir.VectorType(ir.IntType(1), LANES))
        return b.add(quotient, b.sext(b.and_(half, odd), self.lane))

    def tally(self, which: Any, counter: Any) -> None:
        known = self.b.load(counter)
        self.b.store(self.b.select(which, self.b.add(known, self.splat(1, self.lane)), known), counter)

    def argument(self, name: str) -> Any:
        """A number among the arguments, in every lane."""
        return self.splat(self.b.trunc(self.a[name], self.word), self.lane)
