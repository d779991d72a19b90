"""A group of sub-crossbars as step sees it: word lines, cells, and products on the bit lines."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from isa.program import Array, Crossbar, Target

F32_SAFE = 1 << 24
F64_SAFE = 1 << 53


class Group:
    """The sub-crossbars of one `.xbar`, flattened to one axis of `count`.

    A sub-crossbar with `groups` G is block-diagonal, so everything here has an axis of G
    blocks: rows of a band split into G parts, and so do the columns of a band.

    latched   [count, G, row bands, rows/G]: what the word lines hold (`code - zero`); zero where
              no drive has latched since the last fire
    products  [count, column bands, columns]: int64, of the last fire
    """

    def __init__(self, crossbar: Crossbar, target: Target, weights: Array) -> None:
        g, count = crossbar.groups, crossbar.count
        rows, columns = crossbar.rows // g, crossbar.columns // g
        self.crossbar = crossbar
        self.dac = min(target.dac, crossbar.input_type.bits)
        self.planes = -(-crossbar.input_type.bits // self.dac)
        stacked = weights.reshape(count, crossbar.row_bands, g, rows, crossbar.column_bands * columns)
        stacked = stacked.transpose(0, 2, 1, 3, 4).reshape(count, g, crossbar.row_bands * rows, -1)
        self.cells: Array = np.ascontiguousarray(stacked, self._conversion_type(stacked))
        wide = np.int32 if crossbar.input_type.bits < 32 else np.int64
        self.latched = np.zeros((count, g, crossbar.row_bands, rows), wide)
        self.products = np.zeros((count, crossbar.column_bands, crossbar.columns), np.int64)

    def _conversion_type(self, weights: Array) -> type:
        """The type in which one plane's sum along a bit line is exact, however it is ordered.

        Every partial sum is at most (sum of |weight| of the column) * (largest digit of a plane).
        Matrix products in float32 and float64 are far faster than in int64.
        """
        column = np.abs(weights.astype(np.float64)).sum(axis=2).max(initial=0.0)
        bound = column * float(1 << self.dac)
        if bound < F32_SAFE:
            return np.float32
        return np.float64 if bound < F64_SAFE / 2 else np.int64

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

    def digits(self, rows: Array) -> Array:
        """Bit-serial input: int [n, G, R] -> [planes, n, G, R], the least significant plane first.

        Each plane holds `dac` bits of the two's complement code.  The top plane keeps the sign:
        for one-bit DACs its ones count as -1, that is, the top plane subtracts.
        """
        planes = np.empty((self.planes, *rows.shape), self.cells.dtype)
        rest = rows
        for plane in range(self.planes - 1):
            planes[plane] = rest & ((1 << self.dac) - 1)
            rest = rest >> self.dac
        planes[-1] = rest
        return planes

    def fire(self, driven: Sequence[int] | slice) -> None:
        """One round: the driven sub-crossbars multiply what is latched, plane by plane.

        Then shift-and-add merges the planes, from the top one down, and the latches are spent.
        """
        cells = self.cells[driven]
        rows = self.latched[driven].reshape(cells.shape[:3])
        planes = np.matmul(np.moveaxis(self.digits(rows), 0, 2), cells)  # [n, G, planes, columns]
        planes = planes.astype(np.int64)
        total = planes[:, :, -1]
        for plane in range(self.planes - 2, -1, -1):
            np.left_shift(total, self.dac, out=total)
            np.add(total, planes[:, :, plane], out=total)
        x = self.crossbar
        blocks = total.reshape(len(total), x.groups, x.column_bands, x.columns // x.groups)
        self.products[driven] = blocks.swapaxes(1, 2).reshape(len(total), x.column_bands, x.columns)
        self.latched.fill(0)
