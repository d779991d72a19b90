"""The kernel of fast `analog` conversions: product, hash, noise, round, saturate, merge.

Lanes are iterations: neighbours in memory, alike in all but their sums and hashes.  All numbers
are whole, and all but results fit 32 bits.  Codes are counted from -BIAS on, so that rounding
meets no negative number.
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
from runtime.llvm import F32, F64, I1, I32, I64, NUMBER, POINTER, Cpu, Function, host
from runtime.noise import CENTRE, DITHER_BITS, DITHERS, HALF_MIX, SIGMA_BITS, UNIT, Words
from runtime.sampled_tiles import TALL
from runtime.whole_products import ARGUMENTS, shape, write_product

COLUMN_FIELDS = 3
"""Of a column, int64: hash of its place, factor, row of the results."""
PLANE_FIELDS = 3
"""Of a plane, int32: lowest and highest code, from -BIAS on; worth of a code in level steps."""
REACH = 1 << 29
"""Sums, noise included, stay below it."""
SIGMA_REACH = ((1 << 32) - (1 << SIGMA_BITS)) // CENTRE
"""Largest sigma: half of its product with `runtime.noise.normal` stays within 32 bits."""

_ARGUMENTS = {
    **ARGUMENTS,
    "columns": POINTER,  # int64 [columns, COLUMN_FIELDS]
    "count": NUMBER,  # of columns
    "tall": NUMBER,  # columns whose sums are formed before they are converted, a multiple of TALL
    "moments": POINTER,  # int32 [2, planes, stride]: halves of hashes, the lower ones first
    "planes": POINTER,  # int32 [planes, PLANE_FIELDS]
    "plane_count": NUMBER,
    "sigma": NUMBER,
    "start": NUMBER,  # what the codes of a column, counted from 0, are worth less than from -BIAS
    "stride": NUMBER,  # iterations of a plane, a multiple of the lanes
    "valid": NUMBER,  # iterations that are real
    "results": POINTER,  # double [rows, result_row], added to
    "result_row": NUMBER,
    "losses": POINTER,  # int64 [2]: saturated, rounded; added to
}


@dataclass(frozen=True, slots=True)
class Form:
    """What a kernel is compiled for.

    pairs  cells and lines are pairs of 16 bits, sums int32; else all are float32
    noise  there is read noise
    step   units in a code
    """

    pairs: bool
    noise: bool
    step: int

    @property
    def bias(self) -> int:
        """Codes: an even number, that of a sum of REACH or a little less."""
        return REACH // self.step // 2 * 2


def columns_of(places: Words, factors: Array, rows: Array) -> Array:
    """The table of columns that the kernel reads; each argument is [columns]."""
    return np.stack([places.view(np.int64), factors, rows], axis=1)


def convert_noisy(
    cells: Array,
    driven: Array,
    moments: Words,
    columns: Array,
    planes: Sequence[tuple[int, int, int]],
    lsb: int,
    sigma: int,
    tall: int,
    results: Array,
) -> Losses:
    """Add what conversions come to, in level steps, to `results`: float64 [rows, iterations].

    cells    [columns or more, a multiple of TALL, lines]: int16 or float32
    driven   see `packed`: the columns are those of [planes, stride]
    moments  [planes, iterations]
    columns  int64 [columns, COLUMN_FIELDS], see `columns_of`
    planes   (lowest code, highest code, weight)
    tall     columns whose sums are formed before they are converted, a multiple of TALL

    Sums and noise must stay below REACH, what the planes of a column come to below 2^31.
    """
    cpu, form = host(), Form(cells.dtype == np.int16, sigma > 0, lsb * UNIT)
    lanes, count = shape(cpu)[0], moments.shape[1]
    stride = -(-count // lanes) * lanes
    halves = np.zeros((2, len(planes), stride), np.uint32)
    halves[0, :, :count], halves[1, :, :count] = moments, moments >> np.uint64(32)
    sums = np.empty((min(tall, len(cells)), driven.shape[0] * driven.shape[2]), np.int32)
    last = 2 * form.bias
    ends = [(max(0, low + form.bias), min(last, high + form.bias)) for low, high, _ in planes]
    worth = np.array([(*end, lsb * plane[2]) for end, plane in zip(ends, planes, strict=True)], np.int32)
    start, losses = -form.bias * int(worth[:, 2].sum()), np.zeros(2, np.int64)
    kernel(form, cpu)(
        cells.ctypes.data, driven.shape[1], driven.ctypes.data, len(driven), sums.ctypes.data,
        columns.ctypes.data, len(columns), tall, halves.ctypes.data, worth.ctypes.data, len(worth),
        sigma, start, stride, count, results.ctypes.data, results.strides[0] // 8, losses.ctypes.data,
    )  # fmt: skip
    return Losses(*losses.tolist())


@functools.cache
def kernel(form: Form, cpu: Cpu) -> Callable[..., None]:
    """The machine code, to be called with the arguments of `_ARGUMENTS`; it lets go of the GIL."""
    return written(form, cpu).compiled(cpu)


def written(form: Form, cpu: Cpu) -> Function:
    """A kernel in LLVM's terms, with as many lanes as the CPU has."""
    return _Noisy(form, shape(cpu))


class _Noisy(Function):
    def __init__(self, form: Form, shape: tuple[int, int]) -> None:
        kind = I32 if form.pairs else F32
        entries = dict.fromkeys(("cells", "driven", "sums"), kind)
        super().__init__(_ARGUMENTS, entries | {"moments": I32, "planes": I32, "results": F64})
        self.form, self.lanes, b, a = form, shape[0], self.b, self.a
        self.words, self.doubles = (ir.VectorType(type_, self.lanes) for type_ in (I32, F64))
        self.sums = ir.VectorType(kind, self.lanes)
        name = f"v{self.lanes}i32"
        self.ones = self.intrinsic(f"llvm.ctpop.{name}", self.words, self.words)
        self.add_up = self.intrinsic(f"llvm.vector.reduce.add.{name}", I32, self.words)
        self.lost = [self.variable(self.words) for _ in range(2)]
        self.total = self.variable(self.words)
        self.sigma = self.splat(b.trunc(a["sigma"], I32), self.words)
        # floor((sigma (2 N - CENTRE) + 2^12) / 2^13), halved above and below: what halving the constant
        # loses, floor would lose.
        middle = b.sub(self.number(1 << SIGMA_BITS - 1), b.mul(a["sigma"], self.number(CENTRE)))
        self.middle = self.splat(b.trunc(b.ashr(middle, self.number(1)), I32), self.words)
        chunks = b.sdiv(b.add(a["count"], b.sub(a["tall"], self.number(1))), a["tall"])
        with self.loop(0, chunks) as chunk:
            first = b.mul(chunk, a["tall"])
            left = b.sub(a["count"], first)
            count = b.select(b.icmp_signed("<", left, a["tall"]), left, a["tall"])
            groups = b.sdiv(b.add(count, self.number(TALL - 1)), self.number(TALL))
            write_product(self, shape, kind, first, groups)
            for lost in self.lost:
                b.store(self.splat(0, self.words), lost)
            with self.loop(0, count) as row:
                self.column(row, b.add(first, row), shape[0] * shape[1])
            for number, lost in enumerate(self.lost):
                place = b.gep(a["losses"], [self.number(number)])
                b.store(b.add(b.load(place), b.zext(b.call(self.add_up, [b.load(lost)]), I64)), place)

    def column(self, sums: Any, column: Any, width: int) -> None:
        """All planes and iterations of one column; `sums` is the row of its sums."""
        b, a = self.b, self.a
        place, factor, row = (
            self.at("columns", self.index((column, COLUMN_FIELDS), field)) for field in range(COLUMN_FIELDS)
        )
        halves = [b.trunc(place, I32), b.trunc(b.lshr(place, self.number(32)), I32)]
        places = [self.splat(half, self.words) for half in halves]
        sums = self.index((sums, b.mul(a["blocks"], self.number(width))))
        lanes = ir.Constant(ir.VectorType(I64, self.lanes), list(range(self.lanes)))
        with self.loop(0, b.sdiv(a["stride"], self.number(self.lanes))) as vector:
            first = b.mul(vector, self.number(self.lanes))
            last = self.splat(b.sub(a["valid"], first), lanes.type)
            real = b.icmp_signed("<", lanes, last)
            b.store(self.splat(b.trunc(a["start"], I32), self.words), self.total)
            with self.loop(0, a["plane_count"]) as plane:
                here = self.index((plane, a["stride"]), first)
                found = self.vector("sums", b.add(sums, here), self.sums)
                if not self.form.pairs:
                    found = b.fptosi(found, self.words)
                if self.form.noise:
                    there = self.index(here, (a["plane_count"], a["stride"]))
                    moments = [self.vector("moments", where, self.words) for where in (here, there)]
                    found = b.add(found, self.noise(*map(b.xor, moments, places)))
                self.convert(found, plane, real)
            place = self.index((row, a["result_row"]), first)
            before = self.vector("results", place, self.doubles)
            worth = self.splat(b.sitofp(factor, F64), self.doubles)
            after = b.fadd(before, b.fmul(worth, b.sitofp(b.load(self.total), self.doubles)))
            b.store(after, self.pointer("results", place, self.doubles), align=8)

    def mixed(self, z: Any) -> Any:
        """runtime.noise.half_mixed"""
        b = self.b
        for shift, factor in ((HALF_MIX[0], HALF_MIX[1]), (HALF_MIX[2], HALF_MIX[3])):
            z = b.mul(b.xor(z, b.lshr(z, self.splat(shift, self.words))), self.splat(factor, self.words))
        return b.xor(z, b.lshr(z, self.splat(HALF_MIX[4], self.words)))

    def noise(self, low: Any, high: Any) -> Any:
        """runtime.noise.met, normal and scaled."""
        b = self.b
        upper = self.mixed(low)
        lower = self.mixed(b.xor(upper, high))
        total = b.add(
            b.call(self.ones, [upper]), b.call(self.ones, [b.lshr(lower, self.splat(1, self.words))])
        )
        total = b.shl(total, self.splat(DITHER_BITS, self.words))
        word = self.mixed(b.add(lower, upper))
        for start in DITHERS:
            dither = b.lshr(word, self.splat(start, self.words))
            total = b.add(total, b.and_(dither, self.splat((1 << DITHER_BITS) - 1, self.words)))
        product = b.add(b.mul(total, self.sigma), self.middle)
        return b.ashr(product, self.splat(SIGMA_BITS - 1, self.words))

    def convert(self, sums: Any, plane: Any, real: Any) -> None:
        """Round to codes, count what is lost, add the codes' worth to `total`."""
        b, step = self.b, self.form.step
        low, high, worth = (
            self.splat(self.at("planes", self.index((plane, PLANE_FIELDS), field)), self.words)
            for field in range(PLANE_FIELDS)
        )
        sums = b.add(sums, self.splat(self.form.bias * step, self.words))
        codes = b.udiv(sums, self.splat(step, self.words))
        left = b.sub(sums, b.mul(codes, self.splat(step, self.words)))
        odd = b.and_(codes, self.splat(1, self.words))  # half to even
        up = b.icmp_unsigned(">", b.add(left, odd), self.splat(step // 2, self.words))
        codes = b.add(codes, b.zext(up, self.words))
        kept = b.select(b.icmp_signed("<", codes, low), low, codes)
        kept = b.select(b.icmp_signed(">", kept, high), high, kept)
        outside = b.icmp_signed("!=", kept, codes)
        inside = b.xor(outside, ir.Constant(ir.VectorType(I1, self.lanes), [1] * self.lanes))
        rounded = b.and_(b.icmp_signed("!=", left, self.splat(0, self.words)), inside)
        for lost, which in zip(self.lost, (outside, rounded), strict=True):
            b.store(b.add(b.load(lost), b.zext(b.and_(which, real), self.words)), lost)
        b.store(b.add(b.load(self.total), b.mul(kept, worth)), self.total)
