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
F64 = npt.NDArray[np.float64]

BINS = 4096
"""On either side of zero."""
SMALLEST = -126
"""The narrowest bins are 2^SMALLEST wide: float32's smallest normal number."""
BLOCK = 1 << 20
"""Values counted at a time."""
SHRINK = 0.97
"""From one candidate interval of `least_error` to the next."""
CANDIDATES = 128
CACHED = 1 << 15
"""Values of a table that stays in the cache."""


@dataclass(frozen=True, eq=False, slots=True)
class Histogram:
    """`tallies[n]` values lie in [k, k + 1) * 2^exponent for k = `bins[n]`, ascending from -BINS to
    BINS - 1; `zeros` are exactly zero.  Bins without a value are left out: a network may have 100,000
    small tensors.
    """

    exponent: int
    bins: Int64
    tallies: Int64
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
            found = np.bincount(bins)
            counts[: len(found)] += found
        used = np.flatnonzero(counts)
        return Histogram(exponent, narrow(used - BINS), narrow(counts[used]), zeros)

    @property
    def counts(self) -> Int64:
        """All 2 * BINS bins: `counts[BINS + k]` is that of bin k."""
        counts = np.zeros(2 * BINS, np.int64)
        counts[self.bins.astype(np.int64) + BINS] = self.tallies
        return counts

    @property
    def values(self) -> int:
        """How many there are."""
        return int(self.tallies.sum()) + self.zeros

    @property
    def centres(self) -> F64:
        """The middle of every bin of `bins`."""
        middles: F64 = np.ldexp(self.bins.astype(np.float64) + 0.5, self.exponent)
        return middles

    def merge(self, other: Histogram) -> Histogram:
        """The values of both."""
        exponent = max(self.exponent, other.exponent)
        bins = [
            h.bins.astype(np.int64) >> min(exponent - h.exponent, BINS.bit_length()) for h in (self, other)
        ]
        used, place = np.unique(np.concatenate(bins), return_inverse=True)
        tallies = np.bincount(
            place, weights=np.concatenate([self.tallies, other.tallies]), minlength=len(used)
        )
        tallies = narrow(tallies.astype(np.int64))
        return Histogram(exponent, narrow(used), tallies, self.zeros + other.zeros)

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
        at = np.clip(self.centres, low, high)
        at = np.append(at, (low, high))
        counts = np.append(self.tallies.astype(np.float64), (samples, samples))
        shrinks: F64 = SHRINK ** np.arange(CANDIDATES, dtype=np.float64)
        errors = []
        step = max(1, CACHED // at.size)
        for first in range(0, CANDIDATES, step):
            part = shrinks[first : first + step, None]
            lows, highs = low * part, high * part
            width = _step(lows, highs, codes)
            beyond = np.maximum(np.maximum(lows - at, at - highs), 0.0)
            errors.append((counts * np.where(beyond > 0, beyond**2, width**2 / 12)).sum(axis=1))
        best = shrinks[int(np.argmin(np.concatenate(errors)))]
        return float(low * best), float(high * best)


def narrow(values: Int64) -> Int64:
    """The same integers in as few bytes as hold them: there are many histograms."""
    ends = int(values.min(initial=0)), int(values.max(initial=0))
    return values.astype(np.promote_types(*map(np.min_scalar_type, ends)))


def merged_bins(counts: Int64, by: int) -> Int64:
    """Counts (..., bins), half of the bins on either side of zero, in bins 2^`by` times as wide."""
    half = counts.shape[-1] // 2
    place = (np.arange(-half, half) >> min(by, half.bit_length())) + half
    starts = np.flatnonzero(np.diff(place, prepend=-1))
    merged = np.zeros_like(counts)
    merged[..., place[starts]] = np.add.reduceat(counts, starts, axis=-1)
    return merged


def _step(lows: F64, highs: F64, codes: int) -> F64:
    """The width of one of `codes` codes over intervals that hold zero."""
    return (highs - lows) / max(1, codes - 1)
