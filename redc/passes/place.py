"""Pass: give every matrix its first physical array."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np

from isa.geometry import arrays_of as group_arrays
from isa.program import Crossbar, IntType, Program
from redc.errors import UserError
from redc.ir.graph import CrossbarOp, Graph
from redc.mapping.schedule import Schedule
from redc.passes.context import Context


def place_on_arrays(graph: Graph, context: Context) -> Graph:
    """Place the layers one after the other.

    Pre: `schedule` and `weight_codes` are set.  Post: `place` is set; no array is used twice.
    Raises UserError if the target has too few arrays, or none that holds one weight.
    """
    target = context.target
    free = 0
    ops = []
    for op in graph.ops:
        if isinstance(op, CrossbarOp):
            crossbar = crossbar_of(graph, op, "x", place=free)
            try:
                arrays = group_arrays(crossbar, target)
            except ValueError as error:
                raise UserError(str(error), place=f"layer {op.name!r}") from error
            op = replace(op, place=free)
            free += arrays
        ops.append(op)
    if target.arrays is not None and free > target.arrays:
        raise UserError(
            f"the network needs {free} arrays of {target.rows or 'any'} x {target.columns or 'any'} cells, "
            f"target {target.name!r} has {target.arrays}",
            place=graph.name,
            hint="fold it (--fold), use fewer bits, or give the target more arrays",
        )
    return replace(graph, ops=tuple(ops))


def crossbar_of(graph: Graph, op: CrossbarOp, name: str, place: int) -> Crossbar:
    """The declaration of `op`'s matrix group."""
    table, codes = op.schedule, graph.tensors[op.input].codes
    assert table is not None
    assert codes is not None
    assert op.weight_bits is not None
    crossbar = Crossbar(
        name=name,
        index_shape=table.index_shape,
        row_bands=table.row_bands,
        rows=op.in_channels,
        column_bands=table.column_bands,
        columns=op.out_channels,
        groups=op.groups,
        weight_type=IntType(True, op.weight_bits),
        input_type=codes.drive_type,
        data=f"{name}.weight",
        place=place,
        blank=_blanks(table),
    )
    assert math.prod(table.index_shape) > max(seat.array for seat in table.placements)
    return crossbar


def _blanks(table: Schedule) -> tuple[tuple[int, ...], ...]:
    """The places of a row band and a column band where no kernel pixel sits."""
    seats = {(seat.array, seat.row_band, seat.column_band) for seat in table.placements}
    places = itertools.product(
        range(math.prod(table.index_shape)), range(table.row_bands), range(table.column_bands)
    )
    return tuple(
        (*map(int, np.unravel_index(array, table.index_shape)), row, column)
        for array, row, column in places
        if (array, row, column) not in seats
    )


def arrays_of(program: Program) -> dict[str, int]:
    """Physical arrays of each crossbar group."""
    return {name: group_arrays(x, program.target) for name, x in program.crossbars.items()}
