"""How a group of sub-crossbars lies on physical arrays: tiles, slices, planes, and what one fire does.

Terms: a *plane* is one step of the bit-serial input stream; a *slice* the part of a weight that
one cell holds; a *tile* the part of a matrix that one array holds.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass

from isa.program import Crossbar, Target


def ceil_div(numerator: int, denominator: int) -> int:
    """The quotient, rounded up."""
    return -(-numerator // denominator)


@dataclass(frozen=True, slots=True)
class Geometry:
    """The physical shape of one sub-crossbar of a group on one target.

    planes          conversion steps of one fire: input bits / DAC bits, rounded up
    slices          cells per weight (of one polarity)
    wires           physical columns per weight: slices, twice that for differential pairs
    reference       columns of ones per array, with offset and flip encoding
    array_rows      logical rows that one array holds
    array_columns   logical columns that one array holds
    row_tiles       arrays that share one output column (of one diagonal block)
    column_tiles    arrays that share one input row (of one diagonal block)
    together        diagonal blocks that one array holds
    twice           2 where the columns of a differential pair are converted separately, else 1
    fire_cycles     clock cycles of one fire: planes x columns per ADC (x twice)
    """

    planes: int
    slices: int
    wires: int
    reference: int
    array_rows: int
    array_columns: int
    row_tiles: int
    column_tiles: int
    together: int
    twice: int
    fire_cycles: int


@dataclass(frozen=True, slots=True)
class Firing:
    """What one fire does.  An array none of whose driven word lines holds a weight stays off.

    arrays         physical arrays that are read
    conversions    ADC conversions, reference columns included
    shift_adds     shift-and-adds that merge planes and slices, in values
    tile_adds      additions that merge row tiles, in values
    register_bits  bits left in the output registers: as many as a product can need
    """

    arrays: int = 0
    conversions: int = 0
    shift_adds: int = 0
    tile_adds: int = 0
    register_bits: int = 0

    def __add__(self, other: Firing) -> Firing:
        return Firing(
            self.arrays + other.arrays,
            self.conversions + other.conversions,
            self.shift_adds + other.shift_adds,
            self.tile_adds + other.tile_adds,
            self.register_bits + other.register_bits,
        )


@dataclass(frozen=True, slots=True)
class Drive:
    """What one drive of a row band reaches.

    column_tiles   arrays, side by side, in which its word lines hold weights
    cells          cells on one of its word lines, those of reference columns included
    register_bits  bits that one row latches in the input registers of those arrays
    """

    column_tiles: int = 0
    cells: int = 0
    register_bits: int = 0


NO_FIRE = Firing()
NO_DRIVE = Drive()


def weight_columns(crossbar: Crossbar, target: Target) -> tuple[int, int]:
    """(slices, physical columns) of one logical column."""
    bits = crossbar.weight_type.bits
    if target.encoding == "differential":
        magnitude = bits - 1 if crossbar.weight_type.signed else bits
        slices = ceil_div(max(1, magnitude), target.cell)
        return slices, 2 * slices
    slices = ceil_div(bits, target.cell)
    return slices, slices


@functools.lru_cache(maxsize=1 << 12)
def geometry(crossbar: Crossbar, target: Target) -> Geometry:
    """Tile one sub-crossbar.  Raises ValueError if one weight does not fit a row of an array."""
    slices, wires = weight_columns(crossbar, target)
    rows = crossbar.row_bands * crossbar.rows // crossbar.groups
    columns = crossbar.column_bands * crossbar.columns // crossbar.groups
    reference = 0 if target.encoding == "differential" else 1
    array_rows = target.rows or max(1, rows * crossbar.groups)
    array_columns = (target.columns - reference) // wires if target.columns else columns * crossbar.groups
    if array_columns < 1:
        raise ValueError(
            f"a weight of {crossbar.weight_type} needs {wires + reference} columns, "
            f"an array of {target.name!r} has {target.columns}"
        )
    row_tiles, column_tiles = ceil_div(rows, array_rows), ceil_div(columns, array_columns)
    planes = ceil_div(crossbar.input_type.bits, target.dac)
    twice = 2 if target.encoding == "differential" and target.pair == "separate" else 1
    return Geometry(
        planes=planes,
        slices=slices,
        wires=wires,
        reference=reference,
        array_rows=array_rows,
        array_columns=array_columns,
        row_tiles=row_tiles,
        column_tiles=column_tiles,
        together=min(array_rows // rows, array_columns // columns) if row_tiles * column_tiles == 1 else 1,
        twice=twice,
        fire_cycles=planes * target.share * twice,
    )


def array_size(crossbar: Crossbar, target: Target) -> tuple[int, int]:
    """Word lines and bit lines of the arrays that `crossbar` lies on; without a limit, as it needs."""
    g = geometry(crossbar, target)
    return g.array_rows, target.columns or g.array_columns * g.wires + g.reference


def arrays_of(crossbar: Crossbar, target: Target) -> int:
    """Physical arrays of a whole group: the tiles that hold a weight, in every sub-crossbar."""
    bands = tuple(range(crossbar.row_bands))
    if not crossbar.blank:
        return crossbar.count * firing(crossbar, target, (), bands).arrays
    return sum(firing(crossbar, target, index, bands).arrays for index in crossbar.indices())


def fire_of(crossbar: Crossbar, target: Target, driven: Iterable[tuple[tuple[int, ...], int]]) -> Firing:
    """What a fire does after the drives of `driven`: (index of a sub-crossbar, row band)."""
    bands: dict[tuple[int, ...], set[int]] = {}
    for index, band in driven:
        bands.setdefault(index, set()).add(band)
    total = NO_FIRE
    for index, chosen in bands.items():
        total = total + firing(crossbar, target, index if crossbar.blank else (), tuple(sorted(chosen)))
    return total


@functools.lru_cache(maxsize=1 << 14)
def firing(crossbar: Crossbar, target: Target, index: tuple[int, ...], driven: tuple[int, ...]) -> Firing:
    """What one sub-crossbar does in a fire after drives of the row bands `driven`."""
    g = geometry(crossbar, target)
    rows, columns = crossbar.rows // crossbar.groups, crossbar.columns // crossbar.groups
    blank = crossbar.blanks_of(index)
    tiles: set[tuple[int, int]] = set()
    outputs = tile_adds = 0
    for band in range(crossbar.column_bands):
        on = {t for r in driven if (r, band) not in blank for t in _tiles(r, rows, g.array_rows)}
        tiles.update((t, u) for t in on for u in _tiles(band, columns, g.array_columns))
        outputs += len(on) * crossbar.columns
        tile_adds += max(0, len(on) - 1) * crossbar.columns
    arrays = ceil_div(crossbar.groups, g.together) * len(tiles)
    values = g.planes * outputs * g.slices * g.twice
    return Firing(
        arrays=arrays,
        conversions=values + g.planes * g.reference * arrays,
        shift_adds=values,
        tile_adds=tile_adds,
        register_bits=outputs * product_bits(crossbar),
    )


@functools.lru_cache(maxsize=1 << 14)
def drive_of(crossbar: Crossbar, target: Target, index: tuple[int, ...], band: int) -> Drive:
    """What a drive of one row band reaches."""
    g = geometry(crossbar, target)
    columns = crossbar.columns // crossbar.groups
    blank = crossbar.blanks_of(index)
    held = [c for c in range(crossbar.column_bands) if (band, c) not in blank]
    tiles = len({u for c in held for u in _tiles(c, columns, g.array_columns)})
    return Drive(
        column_tiles=tiles,
        cells=len(held) * columns * g.wires + tiles * g.reference,
        register_bits=tiles * crossbar.input_type.bits,
    )


def product_bits(crossbar: Crossbar) -> int:
    """Bits that hold any product of a column: those of an input, a weight and a carry per row."""
    rows = crossbar.row_bands * crossbar.rows // crossbar.groups
    return crossbar.input_type.bits + crossbar.weight_type.bits + (rows - 1).bit_length()


def _tiles(band: int, size: int, tile: int) -> range:
    """The tiles, `tile` lines each, over which band number `band` of `size` lines lies."""
    return range(band * size // tile, ceil_div((band + 1) * size, tile))
