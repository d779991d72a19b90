"""How often a tensor takes which values, in bounded memory and whatever the order of the samples.

Bins are a power of two wide, 2 * BINS of them around zero.  A value beyond them doubles the width:
two neighbours become one, exactly, for the borders of wide bins are borders of narrow ones.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Int64 = npt.NDArray[np.int64]

BINS = 4096
"""On either side of zero."""
SMALLEST = -126
"""The narrowest bins are 2^SMALLEST wide: float32's smallest normal number."""
BLOCK = 1 << 20
"""Values counted at a time."""
SHRINK = 0.97
"""From one candidate interval of `least_error` to the next."""
CANDIDATES = 128


@dataclass(frozen=True, eq=False, slots=True)
class Histogram:
    """`counts[BINS + k]` values lie in [k, k + 1) * 2^exponent; `zeros` are exactly zero."""

    exponent: int
    counts: Int64
    zeros: int

    @staticmethod
    def of(values: Array) -> Histogram:
        """The histogram of finite values."""
        flat = values.reshape(-1)
        largest = float(np.abs(flat).max(initial=0.0))
        exponent = max(SMALLEST, math.frexp(largest)[1] - int(math.log2(BINS)))  # largest < 2^(e + log2 BINS)
        counts = np.zeros(2 * BINS, np.int64)
        zeros = 0
        for first in range(0, flat.size, BLOCK):
            part = flat[first : first + BLOCK]
            part = part[part != 0].astype(np.float64)
            zeros += min(BLOCK, flat.size - first) - part.size
            bins = np.floor(np.ldexp(part, -exponent)).astype(np.int64) + BINS
            counts += np.bincount(bins, minlength=2 * BINS)
        return Histogram(exponent, counts, zeros)

    def merge(self, other: Histogram) -> Histogram:
        """The values of both."""
        exponent = max(self.exponent, other.exponent)
        counts = self._widened(exponent).counts + other._widened(exponent).counts
        return Histogram(exponent, counts, self.zeros + other.zeros)

    def _widened(self, exponent: int) -> Histogram:
        """The same values in bins of 2^exponent."""
        by = exponent - self.exponent
        if by == 0:
            return self
        return Histogram(exponent, merged_bins(self.counts, by), self.zeros)

    def tails(self, share: float) -> tuple[float, float]:
        """The interval, 0 included, outside which about `share` of the values lie, half on each side."""
        below = np.cumsum(self.counts) + np.where(np.arange(-BINS, BINS) >= 0, self.zeros, 0)
        total = int(self.counts.sum()) + self.zeros
        first = int(np.searchsorted(below, total * share / 2, side="right"))
        last = int(np.searchsorted(below, total * (1 - share / 2), side="left"))
        width = math.ldexp(1.0, self.exponent)
        return min(0.0, (first - BINS) * width), max(0.0, (last + 1 - BINS) * width)

    def least_error(self, low: float, high: float, codes: int, samples: int) -> tuple[float, float]:
        """The part of [`low`, `high`] for which `codes` codes have the least mean square error.

        What lies inside errs by step^2 / 12, what lies outside by its distance squared, but counts
        as [`low`, `high`]'s end where it is beyond that.  Either end counts as one value more in each
        of `samples`: what another sample may reach.  Zeros err by nothing.
        """
        used = np.flatnonzero(self.counts)
        at = np.clip((used - BINS + 0.5) * math.ldexp(1.0, self.exponent), low, high)
        at = np.append(at, (low, high))
        counts = np.append(self.counts[used].astype(np.float64), (samples, samples))
        best, bounds = math.inf, (low, high)
        for shrink in SHRINK ** np.arange(CANDIDATES):
            ends = (low * shrink, high * shrink)
            step = _step(ends, codes)
            beyond = np.maximum(np.maximum(ends[0] - at, at - ends[1]), 0.0)
            error = float((counts * np.where(beyond > 0, beyond**2, step**2 / 12)).sum())
            if error < best:
                best, bounds = error, ends
        return bounds


def merged_bins(counts: Int64, by: int) -> Int64:
    """Counts (..., bins), half of the bins on either side of zero, in bins 2^`by` times as wide."""
    half = counts.shape[-1] // 2
    place = (np.arange(-half, half) >> min(by, half.bit_length())) + half
    starts = np.flatnonzero(np.diff(place, prepend=-1))
    merged = np.zeros_like(counts)
    merged[..., place[starts]] = np.add.reduceat(counts, starts, axis=-1)
    return merged


def _step(ends: tuple[float, float], codes: int) -> float:
    """The width of one of `codes` codes over an interval that holds zero."""
    return (ends[1] - ends[0]) / max(1, codes - 1)
