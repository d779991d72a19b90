"""A group of sub-crossbars as step sees it: word lines, cells, and products on the bit lines."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from isa.cells import blocks_of, digits_of, planes_of
from isa.program import Array, Crossbar, Target
from runtime.counters import Losses

F32_SAFE = 1 << 24
F64_SAFE = 1 << 53


def exact_type(bound: int) -> type:
    """The fastest type in which sums are exact, in any order, that `bound` bounds in magnitude.

    Matrix products in float32 and float64 are far faster than in int64.
    """
    if bound < F32_SAFE:
        return np.float32
    return np.float64 if bound < F64_SAFE else np.int64


class Group:
    """The sub-crossbars of one `.xbar`, flattened to one axis of `count`.

    A sub-crossbar with `groups` G is block-diagonal, so everything here has an axis of G
    blocks: rows of a band split into G parts, and so do the columns of a band.

    latched   [count, G, row bands, rows/G]: what the word lines hold (`code - zero`); zero where
              no drive has latched since the last fire
    products  [count, column bands, columns]: int64, of the last fire
    losses    what conversions lost so far: here nothing
    """

    losses = Losses()

    def __init__(self, crossbar: Crossbar, target: Target, weights: Array) -> None:
        g, count = crossbar.groups, crossbar.count
        self.crossbar = crossbar
        self.planes = planes_of(crossbar.input_type, target.dac)
        blocks = blocks_of(crossbar, weights)
        # Of one plane, every partial sum is at most (sum of |weight| of the column) * (largest digit).
        # In double precision: exact where it matters, and 64 bits could overflow.
        column = int(np.abs(blocks.astype(np.float64)).sum(axis=2).max(initial=0))
        digit = max(max(plane.high, -plane.low) for plane in self.planes)
        self.cells: Array = blocks.astype(exact_type(column * digit))
        wide = np.int32 if crossbar.input_type.bits < 32 else np.int64
        self.latched = np.zeros((count, g, crossbar.row_bands, crossbar.rows // g), wide)
        self.products = np.zeros((count, crossbar.column_bands, crossbar.columns), np.int64)

    def take_losses(self) -> Losses:
        """What was lost since the last call."""
        losses, self.losses = self.losses, Losses()
        return losses

    def flat(self, index: Sequence[int]) -> int:
        """Position of sub-crossbar `index` in the flattened axis."""
        position = 0
        for i, size in zip(index, self.crossbar.index_shape, strict=True):
            position = position * size + i
        return position

    def word_lines(self, index: Sequence[int], band: int) -> Array:
        """The latches of one row band, shape [G, rows/G]: a view to write to."""
        view: Array = self.latched[self.flat(index), :, band, :]
        return view

    def bit_lines(self, index: Sequence[int], band: int) -> Array:
        """The products of one column band, shape [columns]: a view that every fire refills."""
        view: Array = self.products[self.flat(index), band]
        return view

    def round(self, driven: Mapping[int, Sequence[int]], layer: int = 0) -> Callable[[int], None]:
        """One fire after drives of these row bands (sub-crossbar -> bands), as a function to call with
        the number of fires that its layer has executed before.

        The driven sub-crossbars multiply what is latched, plane by plane; shift-and-add merges
        the planes; the latches are spent.
        """
        x = self.crossbar
        chosen: list[int] | slice = sorted(driven)
        if chosen == list(range(x.count)):
            chosen = slice(None)
        cells = self.cells[chosen]

        def fire(number: int) -> None:
            rows = self.latched[chosen].reshape(cells.shape[:3])
            digits = np.moveaxis(digits_of(rows, self.planes, cells.dtype.type), 0, 2)
            sums = np.matmul(digits, cells).astype(np.int64)  # [n, G, planes, columns]
            total = np.zeros_like(sums[:, :, 0])
            for plane, weighted in zip(self.planes, np.moveaxis(sums, 2, 0), strict=True):
                total += plane.weight * weighted
            blocks = total.reshape(len(total), x.groups, x.column_bands, x.columns // x.groups)
            self.products[chosen] = blocks.swapaxes(1, 2).reshape(len(total), x.column_bands, x.columns)
            self.latched.fill(0)

        return fire
