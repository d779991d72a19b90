"""What hardware a program needs: how many of each component, and how full its arrays are.

Arrays, drivers and converters are those of the arrays the program is placed on, whole arrays
even where a matrix fills only a part.  Adders and vector lanes are as many as the busiest layer
keeps going: events of the layer over its cycles, rounded up.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from isa.geometry import ceil_div, geometry, weight_columns
from isa.program import Crossbar, Program, Target
from runtime.counters import Counters


@dataclass(frozen=True, slots=True)
class Inventory:
    """Counts of one program on its target.

    parts         component (of `isa.costs.COMPONENTS`) -> how many of it
    arrays        physical arrays
    cells_owned   cells of those arrays
    cells_used    cells that hold a weight; a block (row band x column band) of zeros holds none
    cells_written cells that are programmed: the used ones, and reference columns
    """

    parts: Mapping[str, int]
    arrays: int
    cells_owned: int
    cells_used: int
    cells_written: int


def inventory(program: Program, counters: Sequence[tuple[str, Counters]]) -> Inventory:
    """Of a verified program; `counters` per layer, as `runtime.count.count` gives them."""
    parts = dict.fromkeys(("driver", "array", "sample_hold", "adc", "shift_add", "register"), 0)
    arrays = used = written = 0
    for crossbar in program.crossbars.values():
        here = _crossbar(program, crossbar)
        for name in parts:
            parts[name] += here.parts[name]
        arrays += here.arrays
        used += here.cells_used
        written += here.cells_written
    parts["adder"] = _lanes([(c.sums, c.cycles) for _, c in counters])
    parts["vector"] = _lanes([(c.vector_ops, c.cycles) for _, c in counters])
    parts["buffer"] = sum(math.prod(b.shape) * b.type.bits for b in program.buffers.values() if not b.raw)
    parts["control"] = 1
    return Inventory(parts, arrays, parts["array"], used, written)


def _crossbar(program: Program, crossbar: Crossbar) -> Inventory:
    target = program.target
    shape = geometry(crossbar, target)
    arrays = crossbar.count * shape.arrays
    rows, columns = array_size(crossbar, target)
    converted = columns
    if target.encoding == "differential":
        converted = columns // 2  # a pair of columns is one current, or two conversions in turn
    samples = converted * (2 if target.pair == "separate" and target.encoding == "differential" else 1)
    adcs = ceil_div(converted, target.share)
    used = _cells_used(program, crossbar)
    driven = crossbar.row_bands * crossbar.rows * shape.input_bits
    parts = {
        "driver": arrays * rows,
        "array": arrays * rows * columns,
        "sample_hold": arrays * samples,
        "adc": arrays * adcs,
        "shift_add": arrays * adcs,
        "register": crossbar.count * (driven * shape.column_tiles + shape.result_bits),
    }
    references = crossbar.row_bands * crossbar.rows * shape.column_tiles if target.encoding == "offset" else 0
    return Inventory(parts, arrays, parts["array"], used, used + crossbar.count * references)


def array_size(crossbar: Crossbar, target: Target) -> tuple[int, int]:
    """Word lines and bit lines of the arrays that `crossbar` lies on; without a limit, as it needs."""
    _, physical = weight_columns(crossbar, target)
    reference = 1 if target.encoding == "offset" else 0
    rows = target.rows or crossbar.row_bands * crossbar.rows
    columns = target.columns or crossbar.column_bands * crossbar.columns * physical + reference
    return rows, columns


def _cells_used(program: Program, crossbar: Crossbar) -> int:
    _, physical = weight_columns(crossbar, program.target)
    width = crossbar.columns // crossbar.groups
    weights = program.constant(crossbar.data).reshape(
        crossbar.count, crossbar.row_bands, crossbar.rows, crossbar.column_bands, width
    )
    blocks = int(np.count_nonzero(weights.any(axis=(2, 4))))
    return blocks * crossbar.rows * width * physical


def _lanes(work: Sequence[tuple[int, int]]) -> int:
    return max((ceil_div(events, cycles) for events, cycles in work if cycles), default=0)
