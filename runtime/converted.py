"""A group of sub-crossbars whose sums pass through ADCs: docs/fidelity.md, to the letter.

This is the definition that the fast engine is held to, so it is written to be read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from isa.cells import (
    ArrayCells,
    Plane,
    array_cells,
    blocks_of,
    by_digits,
    code_offset,
    code_range,
    digits_of,
    planes_of,
    sum_bounds,
    sums_of,
)
from isa.program import Array, Crossbar, Target
from runtime.counters import Losses
from runtime.crossbar import Group, exact_type


def convert(sums: Array, lsb: int, low: int, high: int) -> tuple[Array, Losses]:
    """What an ADC makes of integer sums: clip(rint(S / lsb), low, high) * lsb, and what that lost."""
    codes, left = np.divmod(sums, lsb)
    codes += (2 * left > lsb) | ((2 * left == lsb) & (codes % 2 == 1))  # half to even
    outside = (codes < low) | (codes > high)
    losses = Losses(int(np.count_nonzero(outside)), int(np.count_nonzero((left != 0) & ~outside)))
    return np.clip(codes, low, high) * lsb, losses


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """The columns of one array that one kind of fire converts.

    number     of the array in its group
    chosen     which of the array's columns, and `outputs` where they go in [groups * columns]
    sums       [conversions, slices, rows, chosen columns]: see `isa.cells.sums_of`
    flipped    [slices, chosen columns]
    reference  [rows]: what the reference column adds
    """

    array: ArrayCells
    number: int
    chosen: Array
    outputs: Array
    sums: Array
    flipped: Array
    reference: Array


class ConvertedGroup(Group):
    """As `Group`, but every sum passes through an ADC.

    Sums are whole multiples of 1 / `unit` of a level step.
    """

    unit = 1

    def __init__(self, crossbar: Crossbar, target: Target, weights: Array) -> None:
        super().__init__(crossbar, target, weights)
        self.target = target
        self.steps = planes_of(crossbar.input_type, target.dac)
        blocks = blocks_of(crossbar, weights)
        self.arrays = [tuple(array_cells(crossbar, target, one)) for one in blocks]

    def round(self, driven: Mapping[int, Sequence[int]], layer: int = 0) -> Callable[[int], None]:
        """One fire after drives of these row bands (sub-crossbar -> bands): see `Group.round`."""
        plan = [(position, self.columns_read(position, bands)) for position, bands in driven.items()]

        def fire(number: int) -> None:
            self.begin(layer, number)
            for position, arrays in plan:
                block_rows = self.latched[position].reshape(self.crossbar.groups, -1)
                total = np.zeros(self.products[position].size, np.int64)
                for columns in arrays:
                    blocks, rows = columns.array.blocks, columns.array.rows
                    lines = block_rows[blocks.start : blocks.stop, rows.start : rows.stop].ravel()
                    total[columns.outputs] += self.product(columns, lines)
                x = self.crossbar
                by_block = total.reshape(x.groups, x.column_bands, x.columns // x.groups)
                self.products[position] = by_block.swapaxes(0, 1).reshape(x.column_bands, x.columns)
            self.latched.fill(0)

        return fire

    def columns_read(self, position: int, bands: Sequence[int]) -> list[Columns]:
        """What a fire converts: columns in whose row tile a driven band holds weights for them."""
        x, index = self.crossbar, np.unravel_index(position, self.crossbar.index_shape or (1,))
        blank = x.blanks_of(tuple(int(i) for i in index) if x.index_shape else ())
        rows, columns = x.rows // x.groups, x.columns // x.groups
        found = []
        for count, array in enumerate(self.arrays[position]):
            held = [b for b in bands if b * rows < array.rows.stop and (b + 1) * rows > array.rows.start]
            read = np.array([any((b, c // columns) not in blank for b in held) for c in array.columns])
            if not read.any():
                continue
            chosen = np.flatnonzero(np.tile(read, len(array.blocks)))
            first = np.array(array.blocks)[:, None] * x.column_bands * columns
            outputs = (first + np.array(array.columns)).ravel()[chosen]
            number = position * len(self.arrays[position]) + count
            cells, reference = self.cells_of(number, array)
            sums = sums_of(cells, self.target)[..., chosen]
            up = max(
                int(np.abs(b).max(initial=0)) for p in by_digits(self.steps) for b in sum_bounds(sums, p)
            )
            sums, flipped = sums.astype(exact_type(up)), array.flipped[:, chosen]
            found.append(Columns(array, number, chosen, outputs, sums, flipped, reference))
        return found

    def product(self, columns: Columns, lines: Array) -> Array:
        """Planes, slices and polarities of one array, converted and merged; int64 [chosen columns]."""
        digits = digits_of(lines, self.steps)
        total = np.zeros(len(columns.chosen), np.int64)
        for number, (plane, digit) in enumerate(zip(self.steps, digits, strict=True)):
            sums = np.matmul(digit.astype(columns.sums.dtype), columns.sums).astype(np.int64)
            values = self.converted(sums + self.noise(columns, number, len(sums)), plane, self.target.lsb)
            reference = None
            if self.target.encoding != "differential":
                ones = np.array([digit @ columns.reference + self.reference_noise(columns, number)])
                reference = int(self.converted(ones, plane, 1)[0])
            total += plane.weight * self.merged(values, reference, columns.flipped)
        return total

    # What `analog` does otherwise (runtime/analog.py).

    def cells_of(self, number: int, array: ArrayCells) -> tuple[Array, Array]:
        """What the cells of an array add to sums: (as its `levels`; of the reference column, [rows])."""
        return array.levels, np.ones(array.levels.shape[2], np.int64)

    def begin(self, layer: int, number: int) -> None:
        """A fire begins, after `number` others of the layer of that number."""

    def noise(self, columns: Columns, plane: int, conversions: int) -> Array | int:
        """What reading adds to the sums of a plane: [conversions, slices, chosen columns]."""
        return 0

    def reference_noise(self, columns: Columns, plane: int) -> int:
        """The same of the reference column."""
        return 0

    def converted(self, sums: Array, plane: Plane, lsb: int) -> Array:
        values, losses = convert(sums, lsb * self.unit, *code_range(self.target, plane))
        self.losses += losses
        return values // self.unit

    def merged(self, values: Array, reference: int | None, flipped: Array) -> Array:
        """Slices and polarities of one plane: [conversions, slices, columns] -> [columns]."""
        weights = 1 << self.target.cell * np.arange(values.shape[1])
        if reference is None:
            pair = values[0] - values[1] if len(values) == 2 else values[0]
            total: Array = weights @ pair
            return total
        top = (1 << self.target.cell) - 1
        restored = np.where(flipped, top * reference - values[0], values[0])
        total = weights @ restored - code_offset(self.crossbar.weight_type) * reference
        return total
