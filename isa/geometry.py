"""How a group of sub-crossbars lies on physical arrays: tiles, slices, planes, and what one fire does.

Terms: a *plane* is one step of the bit-serial input stream; a *slice* the part of a weight that
one cell holds; a *tile* the part of a matrix that one array holds.
"""

from __future__ import annotations

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
    row_tiles       arrays that share one output column (of one diagonal block)
    column_tiles    arrays that share one input row (of one diagonal block)
    arrays          physical arrays of one sub-crossbar
    conversions     ADC conversions of one sub-crossbar in one fire, reference columns included
    shift_adds      shift-and-adds that merge planes and slices in one fire
    tile_adds       additions that merge row tiles in one fire, in values
    fire_cycles     clock cycles of one fire: planes x columns per ADC (x 2 for separate pairs)
    row_cells       cells that one driven row reads in one plane: over its column tiles, both
                    cells of a pair, reference columns included
    input_bits      bits that one row latches in the input register of each of its column tiles
    result_bits     bits that one fire leaves in the output registers: as many as a product can need
    """

    planes: int
    slices: int
    row_tiles: int
    column_tiles: int
    arrays: int
    conversions: int
    shift_adds: int
    tile_adds: int
    fire_cycles: int
    row_cells: int
    input_bits: int
    result_bits: int


def weight_columns(crossbar: Crossbar, target: Target) -> tuple[int, int]:
    """(slices, physical columns) of one logical column."""
    bits = crossbar.weight_type.bits
    if target.encoding == "differential":
        magnitude = bits - 1 if crossbar.weight_type.signed else bits
        slices = ceil_div(max(1, magnitude), target.cell)
        return slices, 2 * slices
    slices = ceil_div(bits, target.cell)
    return slices, slices


def geometry(crossbar: Crossbar, target: Target) -> Geometry:
    """Tile one sub-crossbar.  Raises ValueError if one weight does not fit a row of an array."""
    slices, physical = weight_columns(crossbar, target)
    rows = crossbar.row_bands * crossbar.rows // crossbar.groups
    columns = crossbar.column_bands * crossbar.columns // crossbar.groups
    reference = 1 if target.encoding == "offset" else 0
    array_rows = target.rows or max(1, rows * crossbar.groups)
    array_columns = (target.columns - reference) // physical if target.columns else columns * crossbar.groups
    if array_columns < 1:
        raise ValueError(
            f"a weight of {crossbar.weight_type} needs {physical + reference} columns, "
            f"an array of {target.name!r} has {target.columns}"
        )
    row_tiles, column_tiles = ceil_div(rows, array_rows), ceil_div(columns, array_columns)
    together = min(array_rows // rows, array_columns // columns) if row_tiles * column_tiles == 1 else 1
    arrays = ceil_div(crossbar.groups, together) * row_tiles * column_tiles
    planes = ceil_div(crossbar.input_type.bits, target.dac)
    outputs = columns * crossbar.groups * row_tiles
    twice = 2 if target.encoding == "differential" and target.pair == "separate" else 1
    values = planes * outputs * slices * twice
    return Geometry(
        planes=planes,
        slices=slices,
        row_tiles=row_tiles,
        column_tiles=column_tiles,
        arrays=arrays,
        conversions=values + planes * reference * arrays,
        shift_adds=values,
        tile_adds=(row_tiles - 1) * columns * crossbar.groups,
        fire_cycles=planes * target.share * twice,
        row_cells=columns * physical + reference * column_tiles,
        input_bits=crossbar.input_type.bits,
        result_bits=outputs * product_bits(crossbar),
    )


def product_bits(crossbar: Crossbar) -> int:
    """Bits that hold any product of a column: those of an input, a weight and a carry per row."""
    rows = crossbar.row_bands * crossbar.rows // crossbar.groups
    return crossbar.input_type.bits + crossbar.weight_type.bits + (rows - 1).bit_length()
