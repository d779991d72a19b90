"""Where the arrays of a layer lie in its picture: every array, diagonal block and seat, in lines.

A *field* is the arrays that one sub-crossbar takes, or where it is of diagonal blocks as many of
these as one array holds (see isa/geometry.py).  Fields lie in a grid, sub-crossbar by sub-crossbar.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from isa.geometry import ceil_div
from redc.array_map import LayerMap
from redc.mapping.schedule import Placement

LEAN = 0.3
"""Height over width, or width over height, below which a picture is not drawn to scale."""
Box = tuple[float, float, float, float]
"""Left, top, width, height; downwards."""


@dataclass(frozen=True, slots=True)
class Seat:
    """A kernel pixel's seat in one diagonal block."""

    placement: Placement
    block: int
    box: Box


@dataclass(frozen=True, slots=True)
class Layout:
    """Everything to be drawn of one layer.

    size    width and height of it all
    arrays  those that hold weights
    blocks  each sub-crossbar's diagonal blocks; without groups it is one
    seats   all that hold weights
    """

    size: tuple[float, float]
    arrays: tuple[Box, ...]
    blocks: tuple[Box, ...]
    seats: tuple[Seat, ...]

    @property
    def to_scale(self) -> bool:
        return LEAN < self.size[0] / self.size[1] < 1 / LEAN


def layout(layer: LayerMap) -> Layout:
    """Lay out one layer."""
    groups, together = layer.crossbar.groups, layer.geometry.together
    fields = ceil_div(groups, together)
    array_high, array_wide = layer.capacity
    matrix_high, matrix_wide = layer.matrix
    band_high, band_wide = layer.band
    high = ceil_div(matrix_high, array_high) * array_high
    wide = ceil_div(matrix_wide, array_wide) * array_wide
    down, across = _grid(layer, fields, wide / high)
    gap = 0.08 * min(high, wide) if layer.crossbar.count * fields > 1 else 0.0
    arrays: list[Box] = []
    blocks: list[Box] = []
    seats: list[Seat] = []
    for array in range(layer.crossbar.count):
        tiles = list(layer.tiles(array))
        held = [seat for seat in layer.table.placements if seat.array == array]
        for field in range(fields):
            row, column = divmod(array * fields + field, across)
            x, y = column * (wide + gap), row * (high + gap)
            arrays += [(x + t.columns[0], y + t.rows[0], array_wide, array_high) for t in tiles]
            for block in range(field * together, min(groups, (field + 1) * together)):
                left = x + block % together * matrix_wide
                top = y + block % together * matrix_high
                blocks.append((left, top, matrix_wide, matrix_high))
                for seat in held:
                    seat_at = left + seat.column_band * band_wide, top + seat.row_band * band_high
                    seats.append(Seat(seat, block, (*seat_at, band_wide, band_high)))
    size = across * (wide + gap) - gap, down * (high + gap) - gap
    return Layout(size, tuple(arrays), tuple(blocks), tuple(seats))


def _grid(layer: LayerMap, fields: int, lean: float) -> tuple[int, int]:
    """Fields down and across, each so much wider than high: by the sub-crossbars' index where it has
    two axes, or a line per sub-crossbar, where that looks well; else in a shape twice as wide as high."""
    count = layer.crossbar.count
    shape = layer.crossbar.index_shape if fields == 1 else (count, fields)
    if len(shape) == 2 and LEAN < shape[1] / shape[0] * lean < 1 / LEAN:
        return shape[0], shape[1]
    across = min(count * fields, max(1, round(math.sqrt(2 * count * fields / lean))))
    return ceil_div(count * fields, across), across
