"""How many iterations of a loop nest put an address inside its buffer, without visiting them.

An address is *outside* when in any axis the undivided expression is not in
[0, (size - 1) * divisor]; else *inserted* when in any axis the division leaves a remainder;
else *inside*.  Axes that share no loop variable are independent: their counts multiply.  Within
axes that do share, the variable of the longest loop is solved for (an interval and residue
classes) for every combination of the others, so one variable costs nothing, however long its
loop is, and only the others are enumerated.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from isa.program import Address, Affine, Array, Buffer

CHUNK = 1 << 16
"""Combinations looked at together."""

LIMIT = 1 << 27
"""Combinations beyond which counting is refused: it would take too long."""

Ranges = Mapping[str, tuple[int, int]]
"""Loop variable -> (first, last), last excluded, as in `loop`."""


class TooMany(ValueError):
    """The addresses of one instruction cannot be counted in reasonable time."""


@dataclass(frozen=True, slots=True)
class Where:
    """Iterations by where an address falls."""

    inside: int
    inserted: int
    outside: int


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis of an address: the expression and the largest undivided value inside."""

    affine: Affine
    high: int

    @property
    def variables(self) -> frozenset[str]:
        return frozenset(name for name, _ in self.affine.terms)

    def factor(self, variable: str) -> int:
        return dict(self.affine.terms).get(variable, 0)


def classify(address: Address, buffer: Buffer, ranges: Ranges) -> Where:
    """Count the iterations of the loops in `ranges` by where `address` falls.

    Raises TooMany where several axes share variables of enormous loops.
    """
    axes = [
        Axis(affine, (size - 1) * affine.divisor)
        for affine, size in zip(address.indices, buffer.shape[:-1], strict=True)
    ]
    used = frozenset().union(*(axis.variables for axis in axes))
    free = math.prod(last - first for name, (first, last) in ranges.items() if name not in used)
    total = math.prod(last - first for first, last in ranges.values())
    whole = within = free
    for component in components(axes):
        near, hit = count(component, ranges)
        within *= near
        whole *= hit
    return Where(inside=whole, inserted=within - whole, outside=total - within)


def components(axes: Sequence[Axis]) -> list[list[Axis]]:
    """Axes grouped by the loop variables they share, directly or through others."""
    groups: list[tuple[frozenset[str], list[Axis]]] = []
    for axis in axes:
        names, members = axis.variables, [axis]
        apart = []
        for group in groups:
            if group[0] & names:
                names, members = names | group[0], group[1] + members
            else:
                apart.append(group)
        groups = [*apart, (names, members)]
    return [members for _, members in groups]


def count(axes: Sequence[Axis], ranges: Ranges) -> tuple[int, int]:
    """(iterations with every axis in range, those of them without remainder)."""
    names = sorted(frozenset().union(*(axis.variables for axis in axes)))
    if not names:
        inside = all(0 <= axis.affine.constant <= axis.high for axis in axes)
        divisible = all(axis.affine.constant % axis.affine.divisor == 0 for axis in axes)
        return int(inside), int(inside and divisible)
    solved = max(names, key=lambda name: ranges[name][1] - ranges[name][0])
    others = [name for name in names if name != solved]
    sizes = [ranges[name][1] - ranges[name][0] for name in others]
    combinations = math.prod(sizes)
    period = math.lcm(*(axis.affine.divisor for axis in axes if axis.factor(solved)))
    if combinations * period > LIMIT:
        raise TooMany(f"{combinations * period} combinations of loop variables share the axes of one address")
    dtype = np.int64 if _magnitude(axes, ranges) * period < 1 << 44 else np.dtype(object)
    within = hit = 0
    for first in range(0, combinations, CHUNK):
        flat = np.arange(first, min(first + CHUNK, combinations))
        indices = np.unravel_index(flat, sizes) if others else ()
        chosen = {
            name: index.astype(dtype) + ranges[name][0] for name, index in zip(others, indices, strict=True)
        }
        near, exact = _solve(axes, solved, ranges[solved], chosen, len(flat), period, dtype)
        within, hit = within + near, hit + exact
    return within, hit


def _magnitude(axes: Sequence[Axis], ranges: Ranges) -> int:
    """A bound on every number that counting these axes computes."""
    return max(
        axis.high
        + abs(axis.affine.constant)
        + sum(abs(factor) * max(map(abs, ranges[name])) for name, factor in axis.affine.terms)
        for axis in axes
    ) + max(max(map(abs, ranges[name])) for axis in axes for name in axis.variables)


def _solve(
    axes: Sequence[Axis],
    solved: str,
    interval: tuple[int, int],
    chosen: Mapping[str, Array],
    size: int,
    period: int,
    dtype: np.dtype[np.object_] | type[np.int64],
) -> tuple[int, int]:
    """Count values of `solved`, for each combination of the others: all in range, and exact."""
    low = np.full(size, interval[0], dtype)
    high = np.full(size, interval[1] - 1, dtype)
    rests = []
    for axis in axes:
        rest = np.full(size, axis.affine.constant, dtype)
        for name, factor in axis.affine.terms:
            if name != solved:
                rest = rest + factor * chosen[name]
        rests.append(rest)
        factor = axis.factor(solved)
        if factor == 0:
            high = np.where((rest >= 0) & (rest <= axis.high), high, low - 1)
            continue
        # 0 <= factor * v + rest <= axis.high, with floor divisions for either sign of factor
        ends = (-rest, axis.high - rest) if factor > 0 else (rest - axis.high, rest)
        low = np.maximum(low, -(-ends[0] // abs(factor)))
        high = np.minimum(high, ends[1] // abs(factor))
    near = np.maximum(high - low + 1, 0)
    exact = 0
    for value in range(interval[0], min(interval[1], interval[0] + period)):
        residue = value % period
        fits = near > 0
        for axis, rest in zip(axes, rests, strict=True):
            fits = fits & ((axis.factor(solved) * residue + rest) % axis.affine.divisor == 0)
        if fits.any():
            # values v of [low, high] with v mod period == residue
            members = (high - residue) // period - (low - 1 - residue) // period
            exact += int(np.where(fits, members, 0).sum())
    return int(near.sum()), exact
