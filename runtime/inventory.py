"""What hardware a program needs: how many of each component, and how full its arrays are.

Arrays, drivers and converters are those of the arrays the program is placed on, whole arrays
even where a matrix fills only a part.  Adders and vector lanes are as many as the busiest layer
keeps going: events of the layer over its cycles, rounded up.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from isa.geometry import array_size, arrays_of, ceil_div, drive_of, firing, geometry
from isa.program import Crossbar, Program, Target
from runtime.counters import Counters


@dataclass(frozen=True, slots=True)
class Inventory:
    """Counts of one program on its target.

    parts         component (of `isa.costs.COMPONENTS`) -> how many of it
    arrays        physical arrays
    cells_owned   cells of those arrays
    cells_used    cells that hold a weight; blanks hold none
    cells_written cells that are programmed: the used ones, and reference columns
    rows          word lines of the tallest array
    """

    parts: Mapping[str, int]
    arrays: int
    cells_owned: int
    cells_used: int
    cells_written: int
    rows: int

    @property
    def full(self) -> float | None:
        """Cells that hold a weight / cells owned."""
        return self.cells_used / self.cells_owned if self.cells_owned else None


def inventory(program: Program, counters: Sequence[tuple[str, Counters]]) -> Inventory:
    """Of a verified program; `counters` per layer, as `runtime.count.count` gives them."""
    parts = dict.fromkeys(("driver", "array", "sample_hold", "adc", "shift_add", "register"), 0)
    arrays = used = written = tallest = 0
    for crossbar in program.crossbars.values():
        here = _crossbar(program, crossbar)
        for name in parts:
            parts[name] += here.parts[name]
        arrays += here.arrays
        used += here.cells_used
        written += here.cells_written
        tallest = max(tallest, here.rows)
    parts["adder"] = _lanes([(c.sums, c.cycles) for _, c in counters])
    parts["vector"] = _lanes([(c.vector_ops, c.cycles) for _, c in counters])
    parts["buffer"] = sum(math.prod(b.shape) * b.type.bits for b in program.buffers.values() if not b.raw)
    parts["control"] = 1
    return Inventory(parts, arrays, parts["array"], used, written, tallest)


def _crossbar(program: Program, crossbar: Crossbar) -> Inventory:
    target = program.target
    shape = geometry(crossbar, target)
    arrays = arrays_of(crossbar, target)
    rows, columns = array_size(crossbar, target)
    converted = columns
    if target.encoding == "differential":
        converted = columns // 2  # a pair of columns is one current, or two conversions in turn
    adcs = ceil_div(converted, target.share)
    latched, results, references = _lines(crossbar, target)
    blocks = crossbar.count * crossbar.row_bands * crossbar.column_bands - len(crossbar.blank)
    used = blocks * crossbar.rows * (crossbar.columns // crossbar.groups) * shape.wires
    parts = {
        "driver": arrays * rows,
        "array": arrays * rows * columns,
        "sample_hold": arrays * converted * shape.twice,
        "adc": arrays * adcs,
        "shift_add": arrays * adcs,
        "register": latched + results,
    }
    return Inventory(parts, arrays, parts["array"], used, used + references, rows)


def _lines(crossbar: Crossbar, target: Target) -> tuple[int, int, int]:
    """(bits of input registers, bits of output registers, reference cells) of the group."""
    bands = range(crossbar.row_bands)
    indices, times = (list(crossbar.indices()), 1) if crossbar.blank else ([()], crossbar.count)
    latched = results = references = 0
    reference = geometry(crossbar, target).reference
    for index in indices:
        results += firing(crossbar, target, index, tuple(bands)).register_bits
        for band in bands:
            reached = drive_of(crossbar, target, index, band)
            latched += crossbar.rows * reached.register_bits
            references += crossbar.rows * reached.column_tiles * reference
    return times * latched, times * results, times * references


def _lanes(work: Sequence[tuple[int, int]]) -> int:
    return max((ceil_div(events, cycles) for events, cycles in work if cycles), default=0)
