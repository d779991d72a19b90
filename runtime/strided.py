"""Rows of a buffer that lie on a grid: what a loop nest's address names, as one numpy view."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from isa.program import Array


@dataclass(frozen=True, slots=True)
class Grid:
    """Row `base + sum of step * (index - first)` for the iterations in a box of loop indices.

    Iterations outside the box name no row.
    """

    first: tuple[int, ...]
    last: tuple[int, ...]
    base: int
    steps: tuple[int, ...]

    @staticmethod
    def of(rows: npt.NDArray[np.intp]) -> Grid | None:
        """The grid of `rows`, one per iteration with an axis per loop, -1 for none; None where
        they are no grid, or one row is named twice."""
        inside = rows >= 0
        if not inside.any():
            return Grid((0,) * rows.ndim, (0,) * rows.ndim, 0, (0,) * rows.ndim)
        hit = np.nonzero(inside)
        first = tuple(int(axis.min()) for axis in hit)
        last = tuple(int(axis.max()) + 1 for axis in hit)
        box = rows[tuple(map(slice, first, last))]
        origin = box[(0,) * rows.ndim]
        steps = tuple(
            int(np.take(box, 1, axis)[(0,) * (rows.ndim - 1)] - origin) if size > 1 else 0
            for axis, size in enumerate(box.shape)
        )
        exact = sum(
            (step * np.arange(size).reshape([-1] + [1] * (rows.ndim - 1 - axis))
             for axis, (step, size) in enumerate(zip(steps, box.shape, strict=True))),
            np.asarray(origin),
        )  # fmt: skip
        if len(hit[0]) != math.prod(box.shape) or not np.array_equal(box, exact):
            return None
        if len(np.unique(box)) != box.size:
            return None
        return Grid(first, last, int(origin), steps)

    def at(self, index: tuple[int, ...]) -> Grid:
        """The grid of the inner loops, with the outermost held at `index`."""
        here = self
        for i in index:
            empty = not here.first[0] <= i < here.last[0]
            base = here.base + here.steps[0] * (i - here.first[0])
            last = here.first[1:] if empty else here.last[1:]
            here = Grid(here.first[1:], last, base, here.steps[1:])
        return here

    def add(self, target: Array, value: Array, start: int) -> None:
        """Add `value` to the rows of `target` [row, vector], in place.

        value  [loop indices..., vector], its first axis from index `start` on
        """
        begin, end = max(self.first[0], start), min(self.last[0], start + len(value))
        if begin >= end:
            return
        shape = (end - begin, *(b - a for a, b in zip(self.first[1:], self.last[1:], strict=True)))
        row = self.base + self.steps[0] * (begin - self.first[0])
        width = target.strides[0]
        strides = (*(step * width for step in self.steps), target.strides[1])
        view = np.lib.stride_tricks.as_strided(target[row:], (*shape, target.shape[1]), strides)
        inner = tuple(map(slice, self.first[1:], self.last[1:]))
        view += value[(slice(begin - start, end - start), *inner)]
