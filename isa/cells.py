"""What the cells of a crossbar's arrays hold, and what an ADC makes of a column (docs/fidelity.md).

A *level* is what one cell stores, from 0 to 2^cell - 1.  Everything here follows from the
program alone: weights, target, types.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from isa.geometry import ceil_div, geometry
from isa.program import Array, Crossbar, IntType, Target

WIDE = 1 << 62
"""No sum of a program that verifies comes near it; an ADC of more bits is cut to it."""


@dataclass(frozen=True, slots=True, eq=False)
class ArrayCells:
    """One physical array: the tile of a sub-crossbar that it holds, and its cells.

    blocks    diagonal blocks: one, or several whole small ones
    rows      rows of a block: its row bands, one after the other
    columns   columns of a block: its column bands, one after the other
    levels    int32 [polarities, slices, blocks * rows, blocks * columns]; polarities are 2
              (positive, negative) for differential encoding, else 1
    flipped   bool [slices, blocks * columns]: columns that hold 2^cell - 1 less the level

    The reference column of an array holds ones and is not among its levels.
    """

    blocks: range
    rows: range
    columns: range
    levels: Array
    flipped: Array


@dataclass(frozen=True, slots=True)
class Plane:
    """One step of the bit-serial input: digits from `low` to `high`, each worth `weight`."""

    low: int
    high: int
    weight: int

    @property
    def both_polarities(self) -> bool:
        return self.low < 0


def planes_of(input_type: IntType, dac: int) -> tuple[Plane, ...]:
    """The planes of an input, the least significant first."""
    step = min(dac, input_type.bits)
    count = ceil_div(input_type.bits, step)
    left = input_type.bits - step * (count - 1)
    planes = [Plane(0, (1 << step) - 1, 1 << step * p) for p in range(count - 1)]
    top = 1 << step * (count - 1)
    if not input_type.signed:
        return (*planes, Plane(0, (1 << left) - 1, top))
    if left == 1:
        return (*planes, Plane(0, 1, -top))
    return (*planes, Plane(-(1 << left - 1), (1 << left - 1) - 1, top))


def by_digits(planes: tuple[Plane, ...]) -> tuple[Plane, ...]:
    """One plane for every range of digits: what planes of other weights can add up to is the same."""
    return tuple({(plane.low, plane.high): plane for plane in planes}.values())


def digits_of(values: Array, planes: tuple[Plane, ...], dtype: type = np.int64) -> Array:
    """The digits of integers, one more axis in front: [planes, ...]."""
    digits = np.empty((len(planes), *values.shape), dtype)
    for p, plane in enumerate(planes):
        shift = abs(plane.weight).bit_length() - 1
        span = plane.high - plane.low
        digits[p] = values >> shift if plane.low < 0 else (values >> shift) & span
    return digits


def blocks_of(crossbar: Crossbar, weights: Array) -> Array:
    """The weights of a whole group, a diagonal block at a time.

    Returns [sub-crossbars, groups, row bands * rows / groups, column bands * columns / groups].
    """
    g = crossbar.groups
    rows, columns = crossbar.rows // g, crossbar.columns // g
    split = weights.reshape(crossbar.count, crossbar.row_bands, g, rows, crossbar.column_bands * columns)
    blocks = split.transpose(0, 2, 1, 3, 4).reshape(crossbar.count, g, crossbar.row_bands * rows, -1)
    return np.ascontiguousarray(blocks)


def array_cells(crossbar: Crossbar, target: Target, blocks: Array) -> Iterator[ArrayCells]:
    """The arrays of one sub-crossbar.  `blocks` is its part of `blocks_of`: [groups, rows, columns]."""
    g = geometry(crossbar, target)
    groups, rows, columns = blocks.shape
    for block in range(0, groups, g.together):
        held = range(block, min(groups, block + g.together))
        for row in range(0, rows, g.array_rows):
            for column in range(0, columns, g.array_columns):
                tall = range(row, min(rows, row + g.array_rows))
                wide = range(column, min(columns, column + g.array_columns))
                tile = blocks[block : held.stop, row : tall.stop, column : wide.stop]
                levels = _levels(_diagonal(tile), crossbar.weight_type, target, g.slices)
                flipped = np.zeros((levels.shape[1], levels.shape[3]), bool)
                if target.encoding == "flip":
                    top = (1 << target.cell) - 1
                    flipped = 2 * levels[0].sum(axis=1, dtype=np.int64) > top * levels.shape[2]
                    levels[0] = np.where(flipped[:, None, :], top - levels[0], levels[0])
                yield ArrayCells(held, tall, wide, levels, flipped)


def _diagonal(tiles: Array) -> Array:
    """[blocks, rows, columns] -> [blocks * rows, blocks * columns], zero off the diagonal."""
    count, rows, columns = tiles.shape
    wide = np.zeros((count, rows, count, columns), tiles.dtype)
    for block in range(count):
        wide[block, :, block] = tiles[block]
    return wide.reshape(count * rows, count * columns)


def _levels(weights: Array, type_: IntType, target: Target, slices: int) -> Array:
    wide = weights.astype(np.int64)
    if target.encoding == "differential":
        codes = np.stack([np.maximum(wide, 0), np.maximum(-wide, 0)])
    else:
        codes = wide[None] + code_offset(type_)
    shifts = target.cell * np.arange(slices)[:, None, None]
    levels: Array = ((codes[:, None] >> shifts) & ((1 << target.cell) - 1)).astype(np.int32)
    return levels


def code_offset(type_: IntType) -> int:
    """What offset encoding adds to a weight."""
    return 1 << type_.bits - 1 if type_.signed else 0


def code_range(target: Target, plane: Plane) -> tuple[int, int]:
    """The lowest and highest code that one conversion of a sum gives in this plane."""
    signed = plane.both_polarities or (target.encoding == "differential" and target.pair == "shared")
    low, high = (-(1 << target.adc - 1), (1 << target.adc - 1) - 1) if signed else (0, (1 << target.adc) - 1)
    return max(low, -WIDE), min(high, WIDE)


def sums_of(levels: Array, target: Target) -> Array:
    """The weight of each row in the sums that are converted: [conversions, slices, rows, columns].

    One conversion per slice, of the difference where a pair is subtracted before it; else one
    per polarity.
    """
    if target.encoding == "differential" and target.pair == "shared":
        return levels[:1] - levels[1:]
    return levels


def sum_bounds(sums: Array, plane: Plane) -> tuple[Array, Array]:
    """The lowest and highest sum a column can give in a plane; rows are axis -2 of `sums`."""
    wide = sums.astype(np.int64)
    up, down = np.maximum(wide, 0).sum(axis=-2), np.minimum(wide, 0).sum(axis=-2)
    return down * plane.high + up * plane.low, up * plane.high + down * plane.low


def adc_bits_needed(crossbar: Crossbar, target: Target, weights: Array) -> int:
    """The fewest ADC bits with which no conversion of this group can lose anything, with an lsb of 1.

    `weights` are those of the whole group.  Raises ValueError where one weight does not fit an array.
    """
    planes = dict.fromkeys(planes_of(crossbar.input_type, target.dac))
    needed = 1
    for blocks in blocks_of(crossbar, weights):
        for array in array_cells(crossbar, target, blocks):
            sums = sums_of(array.levels, target)
            reference = np.ones((1, 1, sums.shape[2], 1), np.int64)
            converted = [sums] if target.encoding == "differential" else [sums, reference]
            for plane in planes:
                signed = code_range(target, plane)[0] < 0
                for one in converted:
                    down, up = sum_bounds(one, plane)
                    low, high = int(down.min(initial=0)), int(up.max(initial=0))
                    needed = max(needed, _bits(low, high, signed))
    return needed


def _bits(low: int, high: int, signed: bool) -> int:
    return 1 + max(high.bit_length(), (-low - 1).bit_length() if low else 0) if signed else high.bit_length()
