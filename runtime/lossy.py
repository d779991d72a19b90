"""Which conversions of a fire can lose anything, and the plain way to perform them.

Whether a column's sums always come through an ADC unharmed follows from its cells alone.  Only
the others are computed, in `strips`: columns of one tile, one slice and one polarity, wherever
they stand.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from isa.cells import Plane, by_digits, code_offset, code_range, digits_of, planes_of, sum_bounds
from isa.program import Array, Crossbar, Matrix, Program, Target
from runtime.converted import Columns, ConvertedGroup, convert
from runtime.counters import Losses
from runtime.crossbar import exact_type
from runtime.lines import Lines
from runtime.rounds import Seats
from runtime.symbols import Fire


@dataclass(frozen=True, slots=True, eq=False)
class Strip:
    """Columns that are converted alike.

    sums     int [lines of the tile, columns]: what a line adds to each sum
    factors  int64 [columns]: what one step of the sum is worth in the product
    seats    intp [columns]: the products' columns, in ascending order
    lossy    bool [columns]: whether a conversion can lose anything
    """

    tile: int
    sums: Array
    factors: Array
    seats: Array
    lossy: Array


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """The reference columns of all arrays on one tile: one sum, converted `arrays` times with an lsb of 1.

    factors  int64 [columns]: what one step of it is worth in the products at `seats`
    """

    tile: int
    lines: int
    arrays: int
    factors: Array
    seats: Array


@dataclass(frozen=True)
class Conversions:
    """All that a fire converts and that can lose something."""

    target: Target
    planes: tuple[Plane, ...]
    strips: list[Strip]
    references: list[Reference]
    columns: int

    @functools.cached_property
    def largest(self) -> int:
        """No sum exceeds it in magnitude."""
        bounds = [b for s in self.strips for p in by_digits(self.planes) for b in sum_bounds(s.sums, p)]
        digit = max(max(p.high, -p.low) for p in self.planes)
        return max(
            [digit * r.lines for r in self.references] + [int(np.abs(b).max(initial=0)) for b in bounds]
        )

    @functools.cached_property
    def bound(self) -> int:
        """No difference of a product exceeds it in magnitude."""
        total = np.zeros(self.columns, np.float64)
        for strip in self.strips:
            np.add.at(total, strip.seats, np.abs(strip.factors).astype(np.float64))
        for reference in self.references:
            np.add.at(total, reference.seats, np.abs(reference.factors).astype(np.float64))
        weight = sum(abs(p.weight) for p in self.planes)
        return int(total.max(initial=0)) * weight * (self.largest + self.target.lsb)


def conversions(
    program: Program, fire: Fire, lines: Lines, seats: Seats, group: ConvertedGroup
) -> Conversions | None:
    """What a fire converts; None if no conversion can lose anything."""
    target, crossbar = program.target, program.crossbars[fire.group]
    planes = planes_of(crossbar.input_type, target.dac)
    found: dict[tuple[int, int, int], list[tuple[Columns, Array]]] = {}
    references: dict[int, list[tuple[Columns, Array]]] = {}
    for index, driven in fire.driven.items():
        for columns in group.columns_read(group.flat(index), [band for band, _ in driven]):
            tile, where = lines.tile(index, columns.array), places(crossbar, index, columns, seats)
            for polarity, slice_ in np.ndindex(columns.sums.shape[:2]):
                found.setdefault((tile, polarity, slice_), []).append((columns, where))
            references.setdefault(tile, []).append((columns, where))
    strips = [_strip(target, planes, *key, members) for key, members in found.items()]
    strips = [strip for strip in strips if strip.lossy.any()]
    kept = []
    if target.encoding != "differential":
        for tile, arrays in references.items():
            rows = arrays[0][0].sums.shape[2]
            if lossy(np.ones((rows, 1), np.int64), planes, target, 1)[0]:
                offset = code_offset(crossbar.weight_type)
                kept.append(_reference(target, offset, tile, rows, arrays))
    if not strips and not kept:
        return None
    return Conversions(target, planes, strips, kept, max(seats.values()) + crossbar.columns)


def places(crossbar: Crossbar, index: tuple[int, ...], columns: Columns, seats: Seats) -> Array:
    """The columns of the products to which the columns of an array of sub-crossbar `index` add."""
    width = crossbar.columns // crossbar.groups
    block, inner = np.divmod(columns.outputs, crossbar.column_bands * width)
    band, column = np.divmod(inner, width)
    starts = np.array([seats[Matrix(crossbar.name, index, b)] for b in range(crossbar.column_bands)])
    found: Array = starts[band] + block * width + column
    return found


def lossy(sums: Array, planes: tuple[Plane, ...], target: Target, lsb: int) -> Array:
    """Per column, whether some sum of its lines is not converted to itself.  `sums` is [lines, columns]."""
    wide = sums.astype(np.int64)
    found: Array = (wide % lsb != 0).any(axis=0)
    for plane in by_digits(planes):
        low, high = code_range(target, plane)
        down, up = sum_bounds(wide, plane)
        found |= (down < low * lsb) | (up > high * lsb)
    return found


def _strip(
    target: Target,
    planes: tuple[Plane, ...],
    tile: int,
    polarity: int,
    slice_: int,
    members: Sequence[tuple[Columns, Array]],
) -> Strip:
    sums = np.concatenate([c.sums[polarity, slice_].astype(np.int32) for c, _ in members], axis=1)
    flipped = np.concatenate([c.flipped[slice_] for c, _ in members])
    seats = np.concatenate([where for _, where in members])
    sign = 1 - 2 * (flipped ^ bool(polarity))
    order = np.argsort(seats, kind="stable")
    return Strip(
        tile,
        sums[:, order],
        (sign.astype(np.int64) << target.cell * slice_)[order],
        seats[order],
        lossy(sums, planes, target, target.lsb)[order],
    )


def _reference(
    target: Target, offset: int, tile: int, lines: int, arrays: Sequence[tuple[Columns, Array]]
) -> Reference:
    top = (1 << target.cell) - 1
    factors = []
    for columns, _ in arrays:
        worth = 1 << target.cell * np.arange(len(columns.flipped), dtype=np.int64)
        factors.append(top * (worth @ columns.flipped) - offset)
    seats = np.concatenate([where for _, where in arrays])
    return Reference(tile, lines, len(arrays), np.concatenate(factors), seats)


class PlainConverter:
    """Matrix products in numpy, a plane of a strip at a time; for sums of any size."""

    padding = 0
    dtype: np.dtype[np.generic] = np.dtype(np.int64)

    def __init__(self, todo: Conversions, lines: Lines) -> None:
        self.todo, self.starts, self.bound = todo, lines.starts, todo.bound
        self.cost = 8 * lines.width * len(todo.planes)
        self.cost += 24 * max([len(s.seats) for s in todo.strips], default=0)
        self.type = exact_type(todo.largest)
        self.strips: list[tuple[int, Array, Array, Array]] = []
        for strip in todo.strips:
            chosen = strip.lossy
            sums: Array = strip.sums[:, chosen].astype(self.type)
            self.strips.append((strip.tile, sums, strip.factors[chosen], strip.seats[chosen]))

    def __call__(self, lines: Array, first: int, differences: Array) -> Losses:
        losses = Losses()
        digits = digits_of(lines.astype(np.int64), self.todo.planes)
        for tile, sums, factors, seats in self.strips:
            span = slice(self.starts[tile], self.starts[tile] + len(sums))
            for plane, digit in zip(self.todo.planes, digits[:, :, span], strict=True):
                found = np.matmul(digit.astype(self.type), sums).astype(np.int64)
                values, lost = self._convert(found, plane, self.todo.target.lsb)
                losses += lost
                np.add.at(differences.T, seats, ((values - found) * (plane.weight * factors)).T)
        for reference in self.todo.references:
            span = slice(self.starts[reference.tile], self.starts[reference.tile] + reference.lines)
            for plane, digit in zip(self.todo.planes, digits[:, :, span], strict=True):
                found = digit.sum(axis=1)
                values, lost = self._convert(found, plane, 1)
                losses += Losses(lost.saturated * reference.arrays, 0)
                steps = plane.weight * (values - found)
                np.add.at(differences.T, reference.seats, np.multiply.outer(reference.factors, steps))
        return losses

    def _convert(self, sums: Array, plane: Plane, lsb: int) -> tuple[Array, Losses]:
        return convert(sums, lsb, *code_range(self.todo.target, plane))
