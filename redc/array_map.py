"""`redc map`: which kernel pixel sits where on the arrays of each layer, and how full they are."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from isa.geometry import Geometry, array_size, arrays_of, geometry
from isa.program import Crossbar, Target
from redc.compiler import Compiled
from redc.errors import UserError, did_you_mean
from redc.ir.graph import CrossbarOp
from redc.ir.text import coordinate_text
from redc.mapping.schedule import Schedule
from runtime.report import Cell, Column, percent, table
from runtime.room import EVERYTHING, Room

Index = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Tile:
    """One physical array's part of a sub-crossbar (of one diagonal block).

    rows, columns  first and last + 1, in logical lines of the matrix
    full           share of the array's cells that hold a weight, all the blocks that lie on it counted
    """

    rows: tuple[int, int]
    columns: tuple[int, int]
    full: float


@dataclass(frozen=True, slots=True)
class LayerMap:
    """The arrays of one layer: its table, its group of sub-crossbars, its target."""

    name: str
    op: str
    table: Schedule
    crossbar: Crossbar
    target: Target

    @property
    def arrays(self) -> int:
        return arrays_of(self.crossbar, self.target)

    @property
    def geometry(self) -> Geometry:
        return geometry(self.crossbar, self.target)

    @property
    def band(self) -> tuple[int, int]:
        """Logical rows and columns of one seat, in one diagonal block."""
        x = self.crossbar
        return x.rows // x.groups, x.columns // x.groups

    @property
    def matrix(self) -> tuple[int, int]:
        """Logical rows and columns of a sub-crossbar, in one diagonal block."""
        return self.crossbar.row_bands * self.band[0], self.crossbar.column_bands * self.band[1]

    @property
    def capacity(self) -> tuple[int, int]:
        """Logical rows and columns that one array holds."""
        return self.geometry.array_rows, self.geometry.array_columns

    @property
    def full(self) -> float:
        """Share of all cells of the layer's arrays that hold a weight."""
        weights = len(self.table.placements) * math.prod(self.band) * self.crossbar.groups
        return self.filled(weights) / self.arrays

    def filled(self, weights: int) -> float:
        """The share of one array's cells that so many weights take."""
        return weights * self.geometry.wires / math.prod(array_size(self.crossbar, self.target))

    def index(self, array: int) -> Index:
        return tuple(int(i) for i in np.unravel_index(array, self.crossbar.index_shape))

    def tiles(self, array: int) -> Iterator[Tile]:
        """The physical arrays of one sub-crossbar that hold weights, in order."""
        height, width = self.band
        seats = [s for s in self.table.placements if s.array == array]
        blocks = min(self.geometry.together, self.crossbar.groups)
        for top in range(0, self.matrix[0], self.capacity[0]):
            bottom = min(top + self.capacity[0], self.matrix[0])
            for left in range(0, self.matrix[1], self.capacity[1]):
                right = min(left + self.capacity[1], self.matrix[1])
                weights = sum(
                    _shared(seat.row_band * height, height, top, bottom)
                    * _shared(seat.column_band * width, width, left, right)
                    for seat in seats
                )
                if weights:
                    yield Tile((top, bottom), (left, right), self.filled(blocks * weights))

    def as_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "op": self.op,
            "mapping": self.table.mapping,
            "rounds": math.prod(self.table.rounds) * self.table.turns,
            "sub_crossbars": self.crossbar.count,
            "index_shape": list(self.crossbar.index_shape),
            "groups": self.crossbar.groups,
            "row_bands": self.crossbar.row_bands,
            "column_bands": self.crossbar.column_bands,
            "rows_per_band": self.band[0],
            "columns_per_band": self.band[1],
            "array_rows": self.capacity[0],
            "array_columns": self.capacity[1],
            "arrays": self.arrays,
            "full": self.full,
            "seats": [
                {
                    "kernel_pixel": list(seat.pixel.index),
                    "sub_crossbar": list(self.index(seat.array)),
                    "row_band": seat.row_band,
                    "column_band": seat.column_band,
                    "turn": seat.turn,
                    "reads": coordinate_text(seat.reads, self.table),
                    "writes": coordinate_text(seat.writes, self.table),
                }
                for seat in self.table.placements
            ],
            "tiles": [
                {"sub_crossbar": list(self.index(array)), "rows": list(tile.rows),
                 "columns": list(tile.columns), "full": tile.full}
                for array in range(self.crossbar.count)
                for tile in self.tiles(array)
            ],
        }  # fmt: skip


def _shared(start: int, size: int, first: int, last: int) -> int:
    return max(0, min(start + size, last) - max(start, first))


def layer_maps(compiled: Compiled, layer: str | None = None) -> list[LayerMap]:
    """The crossbar layers of a compiled model, or the one named.  Raises UserError for no such."""
    program = compiled.program
    ops = [op for op in compiled.graph.ops if isinstance(op, CrossbarOp)]
    maps = [
        LayerMap(op.name, op.op, op.schedule, crossbar, program.target)
        for op, crossbar in zip(ops, program.crossbars.values(), strict=True)
        if op.schedule is not None
    ]
    known = ", ".join(m.name for m in maps[:20]) + (", ..." if len(maps) > 20 else "")
    if not maps:
        hint = "redc compile lists its host parts, and why they are no crossbars'"
        raise UserError("no layer of this model runs on crossbars", place=compiled.graph.name, hint=hint)
    if layer is None:
        return maps
    found = [m for m in maps if m.name == layer]
    if not found:
        hint = did_you_mean(layer, [m.name for m in maps]) or f"there are {known}"
        raise UserError(f"no crossbar layer is named {layer!r}", place="--layer", hint=hint)
    return found


LAYERS = (
    Column("name", "layer"),
    Column("mapping", "mapping"),
    Column("sub", "sub-crossbars", "right"),
    Column("rows", "rows", "right", spare=3),
    Column("columns", "columns", "right", spare=3),
    Column("arrays", "arrays", "exact"),
    Column("of", "of weights", "right", spare=2),
    Column("full", "full", "right"),
)


def summary(maps: Sequence[LayerMap], room: Room = EVERYTHING) -> str:
    """A line per layer, and how full all their arrays are."""
    rows: list[dict[str, Cell]] = [
        {
            "name": m.name,
            "mapping": m.table.mapping,
            "sub": f"{m.crossbar.count:,}"
            + (f" x {m.crossbar.groups} groups" if m.crossbar.groups > 1 else ""),
            "rows": f"{m.crossbar.row_bands} x {m.band[0]}",
            "columns": f"{m.crossbar.column_bands} x {m.band[1]}",
            "arrays": m.arrays,
            "of": f"{m.capacity[0]} x {m.capacity[1]}",
            "full": percent(m.full),
        }
        for m in maps
    ]
    shown = room.first([-m.arrays for m in maps])
    lines = [table([rows[i] for i in shown], LAYERS, room), *room.about(len(maps), "those of most arrays")]
    return "\n".join(lines)


def grids(layer: LayerMap) -> str:
    """Every sub-crossbar as a grid: a line per row band, a kernel pixel or `-` per column band."""
    seats = {(s.array, s.row_band, s.column_band): s for s in layer.table.placements}
    width = max(len(pixel_text(s.pixel.index)) for s in layer.table.placements)
    lines: list[str] = []
    for array in range(layer.crossbar.count):
        index = list(layer.index(array))
        lines.append(f"sub-crossbar {index}" if index else "one matrix")
        for band in range(layer.crossbar.row_bands):
            row = [seats.get((array, band, c)) for c in range(layer.crossbar.column_bands)]
            held = [seat for seat in row if seat]
            cells = " ".join((pixel_text(seat.pixel.index) if seat else "-").ljust(width) for seat in row)
            reads = f"  reads {coordinate_text(held[0].reads, layer.table)}" if held else ""
            turn = f" in turn {held[0].turn}" if held and layer.table.turns > 1 else ""
            lines.append(f"  {cells}{reads}{turn}".rstrip())
    return "\n".join(lines)


def pixel_text(index: Index) -> str:
    """A kernel pixel's index, `1,0`; `all` of a weight that has no kernel axes."""
    return ",".join(map(str, index)) or "all"
