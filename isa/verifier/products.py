"""How large the products of a `fire` can get: from the weights themselves, column by column."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from isa.analysis import Interval
from isa.program import Array, Crossbar

Band = tuple[tuple[int, ...], int]
"""(index of a sub-crossbar, row or column band)."""

SAFE_BITS = 62
"""Sums that need no more bits are made in int64, others in Python integers."""


class ColumnSums:
    """Sums of positive and of negative weights of each column, by row band.

    With an input in [low, high] the column's product is at most
    `high * positive + low * negative` and at least `low * positive + high * negative`.
    """

    def __init__(self, crossbar: Crossbar, weights: Array) -> None:
        x = crossbar
        blocks = weights.reshape(
            x.count, x.row_bands, x.groups, x.rows // x.groups, x.column_bands, x.columns // x.groups
        )
        self._crossbar = x
        bits = x.weight_type.bits + (x.row_bands * x.rows).bit_length()
        self._wide = bits + x.input_type.bits + 1 > SAFE_BITS
        exact = np.dtype(object) if self._wide else np.dtype(np.int64)
        if self._wide:
            blocks = blocks.astype(object)
        zero = blocks.dtype.type(0) if not self._wide else 0
        self._positive = np.maximum(blocks, zero).sum(axis=3, dtype=exact)
        self._negative = np.minimum(blocks, zero).sum(axis=3, dtype=exact)
        self._known: dict[tuple[tuple[Band, Interval], ...], dict[Band, Interval]] = {}

    def products(self, drives: Mapping[Band, Interval]) -> dict[Band, Interval]:
        """The interval of every column band of every sub-crossbar that is driven."""
        key = tuple(sorted(drives.items()))
        if key not in self._known:
            self._known[key] = self._products(drives)
        return self._known[key]

    def _products(self, drives: Mapping[Band, Interval]) -> dict[Band, Interval]:
        x = self._crossbar
        positions = sorted({index for index, _ in drives})
        place = {index: n for n, index in enumerate(positions)}
        flat = [int(np.ravel_multi_index(index, x.index_shape)) if index else 0 for index in positions]
        low = np.zeros((len(positions), x.row_bands, 1, 1, 1), dtype=self._positive.dtype)
        high = np.zeros_like(low)
        for (index, band), (smallest, largest) in drives.items():
            low[place[index], band], high[place[index], band] = smallest, largest
        positive, negative = self._positive[flat], self._negative[flat]
        top = (high * positive + low * negative).sum(axis=1).max(axis=(1, 3))
        bottom = (low * positive + high * negative).sum(axis=1).min(axis=(1, 3))
        return {
            (index, band): (int(bottom[n, band]), int(top[n, band]))
            for n, index in enumerate(positions)
            for band in range(x.column_bands)
        }


def products_by_type(crossbar: Crossbar, drives: Mapping[Band, Interval]) -> dict[Band, Interval]:
    """As `ColumnSums.products`, for weights that cannot be seen: all that their type allows."""
    x = crossbar
    corners = (x.weight_type.low, x.weight_type.high)
    found: dict[Band, Interval] = {}
    for (index, _), (low, high) in drives.items():
        values = [value * weight * (x.rows // x.groups) for value in (low, high) for weight in corners]
        for band in range(x.column_bands):
            bottom, top = found.get((index, band), (0, 0))
            found[index, band] = (bottom + min(0, *values), top + max(0, *values))
    return found
