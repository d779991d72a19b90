"""The word lines of a fire, for many iterations at a time.

Arrays whose lines are driven by the same values share a *tile*: the parts of vectors that lie on
its lines, one after the other.  Sub-crossbars of one tap, arrays side by side and the polarities
of a pair all share.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from isa.cells import ArrayCells
from isa.program import Address, Array, Crossbar, Program
from runtime.gather import Gather, Iterations, Sources
from runtime.products import Operand
from runtime.symbols import Fire


@dataclass(frozen=True, slots=True)
class Part:
    """`length` lines, driven by the values of `source` from `first` on; by nothing where it is None."""

    source: Address | None
    first: int
    length: int


class Lines:
    """What lies on the lines of every array of one fire.

    width  lines of all tiles, each tile padded to a multiple of `align`
    """

    def __init__(self, program: Program, fire: Fire, iterations: Iterations, align: int) -> None:
        self.program, self.fire, self.iterations, self.align = program, fire, iterations, align
        self.crossbar = program.crossbars[fire.group]
        self.width = 0
        self.starts: list[int] = []
        self._tiles: dict[tuple[Part, ...], int] = {}
        self._gathers: dict[Address, Gather] = {}
        self._copies: dict[Address, list[tuple[int, int, int]]] = {}

    def tile(self, index: tuple[int, ...], array: ArrayCells) -> int:
        """The number of the tile on which an array of sub-crossbar `index` lies."""
        parts = tuple(_parts(self.crossbar, dict(self.fire.driven[index]), array))
        if parts not in self._tiles:
            self._tiles[parts] = len(self.starts)
            self.starts.append(self.width)
            self._add(parts)
        return self._tiles[parts]

    def _add(self, parts: tuple[Part, ...]) -> None:
        line = self.width
        for part in parts:
            if part.source is not None:
                if part.source not in self._gathers:
                    buffer = self.program.buffers[part.source.buffer]
                    operand = Operand(self.crossbar.input_type.dtype, -buffer.zero, 0)
                    self._gathers[part.source] = Gather(self.iterations, buffer, [part.source], operand)
                self._copies.setdefault(part.source, []).append((line, part.first, part.length))
            line += part.length
        self.width += -(-(line - self.width) // self.align) * self.align

    def __call__(self, sources: Sources, start: int, stop: int) -> Array:
        """[iterations, width]: `code - zero` in the input's own type; 0 where nothing drives."""
        lines = np.zeros((stop - start, self.width), self.crossbar.input_type.dtype)
        for address, gather in self._gathers.items():
            vectors = gather(sources, start, stop)
            for line, first, length in self._copies[address]:
                lines[:, line : line + length] = vectors[:, first : first + length]
        return lines


def _parts(crossbar: Crossbar, driven: dict[int, Address], array: ArrayCells) -> list[Part]:
    """The lines of an array: of each of its diagonal blocks, a range of the rows of all row bands."""
    rows = crossbar.rows // crossbar.groups
    parts: list[Part] = []
    for block in array.blocks:
        line = array.rows.start
        while line < array.rows.stop:
            band, row = divmod(line, rows)
            length = min(rows - row, array.rows.stop - line)
            parts.append(Part(driven.get(band), block * rows + row, length))
            line += length
    return parts
