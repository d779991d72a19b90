"""Which input pixels an output pixel is made of, axis by axis: pooling, moving, resizing.

Along one axis an operator is a list of *rows*, one per output pixel: the input pixels it reads,
each with a weight.  `runs` finds the regular stretches in such a list, which become loops.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

Row = tuple[tuple[int, float], ...]
"""(input pixel, weight) of everything one output pixel reads; nothing: it is filled."""
Part = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Run:
    """Along one axis of the output: for 0 <= i < count, pixel `to * i + first` reads pixel
    `step * i + at` of input axis `axis`, times `weight`, for every tap (at, weight)."""

    count: int
    first: int
    to: int
    axis: int
    step: int
    taps: Row

    def targets(self) -> range:
        return range(self.first, self.first + self.to * self.count, self.to)


@dataclass(frozen=True, slots=True)
class Region:
    """A box of output pixels that all gather alike: one run per axis of the output's buffer but
    the last.  `source` and `target` are the parts of the vectors that are read and written;
    `base` is added to the input's coordinates.  Without an input the box holds `fill`.
    """

    input: int | None
    runs: tuple[Run, ...]
    source: Part
    target: Part
    base: tuple[int, ...]
    fill: float = 0.0

    def taps(self) -> Iterator[tuple[tuple[int, ...], float]]:
        """(what each run's tap adds to its input coordinate, product of the weights)."""
        for taps in itertools.product(*(run.taps for run in self.runs)):
            yield tuple(at for at, _ in taps), math.prod(weight for _, weight in taps)

    @property
    def size(self) -> int:
        """Values that it writes."""
        return math.prod(run.count for run in self.runs) * (self.target[1] - self.target[0])


def runs(rows: Sequence[Row], axis: int, period: int = 1) -> list[Run]:
    """The fewest regular stretches of `rows` that a greedy walk finds, looking at every
    `period`-th row."""
    found: list[Run] = []
    for phase in range(period):
        start = phase
        while start < len(rows):
            step, stop = _stretch(rows, start, period)
            found.append(Run((stop - start) // period, start, period, axis, step, rows[start]))
            start = stop
    return found


def _stretch(rows: Sequence[Row], start: int, period: int) -> tuple[int, int]:
    """(step, first row that does not belong) of the stretch that begins with row `start`."""
    step: int | None = None
    at = start + period
    while at < len(rows):
        before, row = rows[at - period], rows[at]
        if [w for _, w in before] != [w for _, w in row]:
            break
        moved = {p - q for (p, _), (q, _) in zip(row, before, strict=True)}
        if len(moved) > 1 or (moved and step is not None and moved != {step}):
            break
        if moved:
            step = moved.pop()
        at += period
    return step or 0, at


def identity(size: int) -> list[Row]:
    """Every pixel is itself."""
    return [((pixel, 1.0),) for pixel in range(size)]
