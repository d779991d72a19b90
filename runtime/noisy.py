"""The kernel of fast `analog` conversions: hash, noise, round, saturate, merge.

Lanes are iterations: neighbours in memory, alike in all but their sums and hashes.  All numbers
are whole and below 2^53, so double precision holds them exactly.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from llvmlite import ir

from isa.program import Array
from runtime.counters import Losses
from runtime.llvm import I1, I32, I64, NUMBER, POINTER, Function
from runtime.noise import MIX, QUANTILES, SIGMA_BITS, UNIT, UNIT_BITS, Words

LANES = 8
F32, F64 = ir.FloatType(), ir.DoubleType()
NUMBERS, DOUBLES = ir.VectorType(I64, LANES), ir.VectorType(F64, LANES)
COLUMN_FIELDS = 4
"""Of a column, int64: segment, word, factor, row of the results."""
PLANE_FIELDS = 3
"""Of a plane, double: lowest and highest code, worth of a code in level steps."""

_ARGUMENTS = {
    "sums": POINTER,  # float [columns, sum_row], of which [planes, stride] are used
    "sum_row": NUMBER,
    "starts": POINTER,  # int64 [segments, planes, stride]
    "columns": POINTER,  # int64 [columns, COLUMN_FIELDS]
    "count": NUMBER,  # of columns
    "planes": POINTER,  # double [planes, PLANE_FIELDS]
    "plane_count": NUMBER,
    "numbers": POINTER,  # double [3]: sigma, units in one code, its reciprocal
    "table": POINTER,  # int32: quantiles
    "stride": NUMBER,  # iterations of a plane, a multiple of LANES
    "valid": NUMBER,  # iterations that are real
    "results": POINTER,  # double [rows, result_row], added to
    "result_row": NUMBER,
    "losses": POINTER,  # int64 [2]: saturated, rounded; added to
}
_ENTRIES = {"sums": F32, "planes": F64, "numbers": F64, "table": I32, "results": F64}


@dataclass(frozen=True, slots=True)
class Form:
    """What a kernel is compiled for.

    noise   there is read noise
    exact   the reciprocal of the units in a code is exact: they are a power of two
    """

    noise: bool
    exact: bool


def columns_of(segments: Array, words: Words, factors: Array, rows: Array) -> Array:
    """The table of columns that the kernel reads; each argument is [columns]."""
    return np.stack([segments, words.view(np.int64), factors, rows], axis=1)


def convert_noisy(
    sums: Array,
    starts: Words,
    columns: Array,
    planes: Sequence[tuple[int, int, int]],
    lsb: int,
    sigma: int,
    count: int,
    results: Array,
) -> Losses:
    """Add what conversions come to, in level steps, to `results`: float64 [rows, at least stride].

    sums     float32 [columns, at least planes * stride]
    starts   [segments, planes, stride]: hashes to which a column's word is added
    columns  int64 [columns, COLUMN_FIELDS], see `columns_of`
    planes   (lowest code, highest code, weight)
    count    iterations that are real, of the stride
    """
    step = lsb * UNIT
    worth = np.array([(low, high, lsb * weight) for low, high, weight in planes], np.float64)
    numbers, losses = np.array([sigma, step, 1 / step], np.float64), np.zeros(2, np.int64)
    kernel(Form(sigma > 0, step & step - 1 == 0))(
        sums.ctypes.data, sums.strides[0] // 4, starts.ctypes.data, columns.ctypes.data, len(columns),
        worth.ctypes.data, len(worth), numbers.ctypes.data, QUANTILES.ctypes.data, starts.shape[2], count,
        results.ctypes.data, results.strides[0] // 8, losses.ctypes.data,
    )  # fmt: skip
    return Losses(*losses.tolist())


@functools.cache
def kernel(form: Form) -> Callable[..., None]:
    """The machine code, to be called with the arguments of `_ARGUMENTS`; it lets go of the GIL."""
    return _Noisy(form).compiled()


class _Noisy(Function):
    def __init__(self, form: Form) -> None:
        super().__init__(_ARGUMENTS, _ENTRIES)
        self.form, b, a = form, self.b, self.a
        self.rint = self.intrinsic(f"llvm.rint.v{LANES}f64", DOUBLES, DOUBLES)
        self.floor = self.intrinsic(f"llvm.floor.v{LANES}f64", DOUBLES, DOUBLES)
        self.sigma = self.splat(self.at("numbers", self.number(0)), DOUBLES)
        self.step = self.splat(self.at("numbers", self.number(1)), DOUBLES)
        self.inverse = self.splat(self.at("numbers", self.number(2)), DOUBLES)
        self.lost = [b.alloca(NUMBERS) for _ in range(2)]
        total = b.alloca(DOUBLES)
        for lost in self.lost:
            b.store(self.splat(0, NUMBERS), lost)
        lanes = ir.Constant(NUMBERS, list(range(LANES)))
        vectors = b.sdiv(a["stride"], self.number(LANES))
        with self.loop(0, a["count"]) as column:
            segment, word, factor, row = (
                self.at("columns", self.index((column, COLUMN_FIELDS), field))
                for field in range(COLUMN_FIELDS)
            )
            words = self.splat(word, NUMBERS)
            with self.loop(0, vectors) as vector:
                first = b.mul(vector, self.number(LANES))
                real = b.icmp_signed(
                    "<", b.add(self.splat(first, NUMBERS), lanes), self.splat(a["valid"], NUMBERS)
                )
                b.store(ir.Constant(DOUBLES, [0.0] * LANES), total)
                with self.loop(0, a["plane_count"]) as plane:
                    here = self.index((column, a["sum_row"]), (plane, a["stride"]), first)
                    there = self.index((b.add(b.mul(segment, a["plane_count"]), plane), a["stride"]), first)
                    sums = b.fpext(self.many("sums", here, F32, 4), DOUBLES)
                    if form.noise:
                        sums = b.fadd(sums, self.noise(b.add(self.many("starts", there, I64, 8), words)))
                    self.convert(sums, plane, real, total)
                place = self.index((row, a["result_row"]), first)
                before = self.many("results", place, F64, 8)
                worth = self.splat(b.sitofp(factor, F64), DOUBLES)
                after = b.fadd(before, b.fmul(worth, b.load(total)))
                b.store(after, self.pointer("results", place, DOUBLES), align=8)
        for number, lost in enumerate(self.lost):
            place = b.gep(a["losses"], [self.number(number)])
            sums = b.load(lost)
            for lane in range(LANES):
                b.store(b.add(b.load(place), b.extract_element(sums, ir.Constant(I32, lane))), place)

    def many(self, name: str, place: Any, entry: Any, size: int) -> Any:
        """LANES neighbouring entries of `size` bytes."""
        return self.b.load(self.pointer(name, place, ir.VectorType(entry, LANES)), align=size)

    def noise(self, z: Any) -> Any:
        """mix(z), four quantiles, times sigma, rounded half up."""
        b = self.b
        for shift, factor in ((MIX[0], MIX[1]), (MIX[2], MIX[3])):
            z = b.mul(b.xor(z, b.lshr(z, self.splat(shift, NUMBERS))), self.splat(factor, NUMBERS))
        z = b.xor(z, b.lshr(z, self.splat(MIX[4], NUMBERS)))
        total: Any = None
        for i in range(4):
            entry = b.lshr(z, self.splat(UNIT_BITS * i, NUMBERS)) if i else z
            value = self.quantiles(b.and_(entry, self.splat(UNIT - 1, NUMBERS)))
            total = value if total is None else b.add(total, value)
        product = b.fmul(b.sitofp(total, DOUBLES), self.sigma)
        half = ir.Constant(DOUBLES, [float(1 << SIGMA_BITS - 1)] * LANES)
        unit = ir.Constant(DOUBLES, [2.0**-SIGMA_BITS] * LANES)
        return b.call(self.floor, [b.fmul(b.fadd(product, half), unit)])

    def quantiles(self, places: Any) -> Any:
        """Entries of the table, one per lane."""
        b, found = self.b, ir.Constant(ir.VectorType(I32, LANES), ir.Undefined)
        for lane in range(LANES):
            index = ir.Constant(I32, lane)
            found = b.insert_element(found, self.at("table", b.extract_element(places, index)), index)
        return found

    def convert(self, sums: Any, plane: Any, real: Any, total: Any) -> None:
        """Round to codes, count what is lost, add the codes' worth to `total`."""
        b = self.b
        low, high, worth = (
            self.splat(self.at("planes", self.index((plane, PLANE_FIELDS), field)), DOUBLES)
            for field in range(PLANE_FIELDS)
        )
        quotient = b.fmul(sums, self.inverse) if self.form.exact else b.fdiv(sums, self.step)
        codes = b.call(self.rint, [quotient])
        below, above = b.fcmp_ordered("<", codes, low), b.fcmp_ordered(">", codes, high)
        outside = b.or_(below, above)
        off = b.fcmp_ordered("!=", b.fmul(codes, self.step), sums)
        rounded = b.and_(off, b.xor(outside, ir.Constant(ir.VectorType(I1, LANES), [1] * LANES)))
        for lost, which in zip(self.lost, (outside, rounded), strict=True):
            b.store(b.add(b.load(lost), b.zext(b.and_(which, real), NUMBERS)), lost)
        codes = b.select(below, low, b.select(above, high, codes))
        b.store(b.fadd(b.load(total), b.fmul(codes, worth)), total)
