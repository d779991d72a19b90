"""What values every channel of a tensor takes: the statistics behind steps per channel.

The counts are those of `redc.histogram`, coarser, for there is one row of them per channel.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from redc.histogram import BINS as FINE_BINS
from redc.histogram import SMALLEST, Histogram, merged_bins, narrow

Array = npt.NDArray[Any]
F64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]

BINS = 128
"""On either side of zero: the largest value lies beyond the 64th."""
BLOCK = 1 << 20
"""Values counted at a time."""


@dataclass(frozen=True, eq=False, slots=True)
class Channels:
    """`lows` and `highs` (samples, C) are the ends of every sample, 0 included; `sums` and `squares`
    (C,) are sums of values and of their squares, over `values` values each; `counts[c, BINS + k]`
    values of channel c lie in [k, k + 1) * 2^exponents[c], those that are zero left out.
    """

    lows: F64
    highs: F64
    sums: F64
    squares: F64
    values: int
    exponents: Int64
    counts: Int64

    def as_one(self) -> Channels:
        """All samples as a single one."""
        lows, highs = self.lows.min(axis=0, keepdims=True), self.highs.max(axis=0, keepdims=True)
        return replace(self, lows=lows, highs=highs)

    @staticmethod
    def of(values: Array, axis: int, samples: int) -> Channels:
        """The statistics of finite values whose channels lie along `axis`, samples along axis 0.

        Where the channels lie along axis 0 themselves, all is one sample.
        """
        samples = samples if axis else 1
        rows = np.moveaxis(values, axis, -1)
        channels = rows.shape[-1]
        by_sample = rows.reshape(samples, -1, channels)
        lows, highs = by_sample.min(axis=1, initial=0.0), by_sample.max(axis=1, initial=0.0)
        flat = by_sample.reshape(-1, channels)
        largest = np.maximum(-lows.min(axis=0), highs.max(axis=0))
        exponents = np.maximum(SMALLEST, np.frexp(largest)[1].astype(np.int64) - int(math.log2(BINS)))
        counts = np.zeros(channels * 2 * BINS, np.int64)
        sums, squares = np.zeros(channels), np.zeros(channels)
        step = max(1, BLOCK // channels)
        first_bins = 2 * BINS * np.arange(channels) + BINS
        for first in range(0, len(flat), step):
            part = flat[first : first + step].astype(np.float64)
            sums += part.sum(axis=0)
            squares += (part * part).sum(axis=0)
            bins = np.floor(np.ldexp(part, -exponents)).astype(np.int64) + first_bins
            counts += np.bincount(bins[part != 0], minlength=counts.size)
        return Channels(
            lows.astype(np.float64),
            highs.astype(np.float64),
            sums,
            squares,
            len(flat),
            exponents,
            narrow(counts.reshape(channels, -1)),
        )

    def widen(self, other: Channels) -> Channels:
        """The same samples, seen elsewhere."""
        return self._joined(other, np.minimum(self.lows, other.lows), np.maximum(self.highs, other.highs))

    def merge(self, other: Channels) -> Channels:
        """Other samples."""
        return self._joined(
            other, np.concatenate([self.lows, other.lows]), np.concatenate([self.highs, other.highs])
        )

    def _joined(self, other: Channels, lows: F64, highs: F64) -> Channels:
        exponents = np.maximum(self.exponents, other.exponents)
        counts = self._widened(exponents) + other._widened(exponents)
        sums, squares = self.sums + other.sums, self.squares + other.squares
        return Channels(lows, highs, sums, squares, self.values + other.values, exponents, narrow(counts))

    def _widened(self, exponents: Int64) -> Int64:
        counts = self.counts.astype(np.int64)
        for by in np.unique(exponents - self.exponents):
            if by:
                rows = np.flatnonzero(exponents - self.exponents == by)
                counts[rows] = merged_bins(counts[rows], int(by))
        return counts

    @property
    def mean(self) -> F64:
        """The mean of every channel."""
        mean: F64 = self.sums / max(1, self.values)
        return mean

    @property
    def power(self) -> F64:
        """The mean square of every channel."""
        power: F64 = self.squares / max(1, self.values)
        return power

    def divided(self, steps: Int64) -> tuple[F64, F64, Histogram]:
        """(lows, highs, histogram) of the tensor whose channel c is divided by `steps[c]`."""
        lows, highs = (self.lows / steps).min(axis=1), (self.highs / steps).max(axis=1)
        channel, used = np.nonzero(self.counts)
        at = np.ldexp(used - BINS + 0.5, self.exponents[channel]) / steps[channel]
        counts = self.counts[channel, used]
        largest = float(np.abs(at).max(initial=0.0))
        exponent = max(SMALLEST, math.frexp(largest)[1] - int(math.log2(FINE_BINS)))
        bins = np.floor(np.ldexp(at, -exponent)).astype(np.int64) + FINE_BINS
        fine = np.bincount(bins, weights=counts, minlength=2 * FINE_BINS).astype(np.int64)
        filled = np.flatnonzero(fine)
        zeros = self.values * len(steps) - int(counts.sum())
        return lows, highs, Histogram(exponent, narrow(filled - FINE_BINS), narrow(fine[filled]), zeros)
