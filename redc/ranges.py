"""The values that one tensor takes, and what codes are to span of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from redc.channels import Channels
from redc.held_out import Ends, best_interval, lost_share
from redc.histogram import Histogram

Array = npt.NDArray[Any]
F64 = npt.NDArray[np.float64]
Method = Literal["log-normal", "min-max", "percentile", "mse"]
METHODS: tuple[Method, ...] = get_args(Method)
"""How the interval that codes span follows from the values seen (docs/quantisation.md)."""

TAILS = 1e-4
"""The share of values that `percentile` lets saturate."""

SATURATED = 0.1
"""The share of a channel's values that saturate in a sample where some do: a guess."""

GROWTH = 1.25
"""How far a new sample's ends go beyond those of the only one seen: a guess."""

BEYOND = 4
"""How far past the largest value seen codes may reach: two bits' worth."""

FEW_BITS = 8
"""So many and fewer reach as far as is best on samples held out; more leave room."""

MOST_LOST = 1 / 50
"""The part of a sample's energy that codes of FEW_BITS may lose on average; 0.75 dB less with each bit."""

TIMES = (1.0, 1.1, 1.2)
"""How many times as far as what was seen codes of few bits may reach."""


@dataclass(frozen=True, eq=False, slots=True)
class Range:
    """The values one tensor took: the smallest and largest of every sample, and how often each came.

    `method` says what codes are to span of them; `channels` what each channel took, if asked for;
    `own` that there will be no others.
    """

    lows: F64
    highs: F64
    histogram: Histogram
    method: Method = "mse"
    channels: Channels | None = None
    own: bool = False

    @staticmethod
    def of(values: Array, samples: int = 1, axis: int | None = None) -> Range:
        """The range of `samples` samples along axis 0; with `axis` also that of each channel there.

        Raises ValueError for NaN or infinity.
        """
        rows = values.reshape(samples, -1)
        lows, highs = rows.min(axis=1, initial=0.0), rows.max(axis=1, initial=0.0)
        if not (np.isfinite(lows).all() and np.isfinite(highs).all()):
            raise ValueError("not a number, or infinite")
        channels = None if axis is None else Channels.of(values, axis, samples)
        lows, highs = lows.astype(np.float64), highs.astype(np.float64)
        return Range(lows, highs, Histogram.of(values), channels=channels)

    @staticmethod
    def unit(channels: int | None = None) -> Range:
        """-1 to 1, in each of so many channels: for whom values do not matter."""
        values = np.repeat([[-1.0], [1.0]], channels or 1, axis=1)
        return Range.of(values, axis=None if channels is None else 1)

    def widen(self, other: Range) -> Range:
        """The same samples, seen elsewhere."""
        lows, highs = np.minimum(self.lows, other.lows), np.maximum(self.highs, other.highs)
        channels = self.channels and other.channels and self.channels.widen(other.channels)
        return Range(lows, highs, self.histogram.merge(other.histogram), self.method, channels)

    def merge(self, other: Range) -> Range:
        """Other samples."""
        lows, highs = np.append(self.lows, other.lows), np.append(self.highs, other.highs)
        channels = self.channels and other.channels and self.channels.merge(other.channels)
        return Range(lows, highs, self.histogram.merge(other.histogram), self.method, channels)

    def as_one(self) -> Range:
        """All samples as a single one, which says nothing about others: there are none."""
        channels = self.channels and self.channels.as_one()
        lows, highs = self.lows.min(keepdims=True), self.highs.max(keepdims=True)
        return replace(self, lows=lows, highs=highs, channels=channels, own=True)

    def divided(self, steps: npt.NDArray[np.int64]) -> Range:
        """The range of the tensor whose channel c is divided by `steps[c]`."""
        assert self.channels is not None
        return Range(*self.channels.divided(steps), self.method)

    def reaches(self, bits: int) -> F64:
        """How far from zero codes of `bits` bits should span each channel, before any clipping."""
        return self._reaches(bits, slice(None))

    def _reaches(self, bits: int, samples: slice) -> F64:
        """The same by some of the samples."""
        assert self.channels is not None
        extremes = np.maximum(-self.channels.lows[samples], self.channels.highs[samples])
        if self.method in ("min-max", "percentile"):
            return np.asarray(extremes.max(axis=0))
        return _typical_extremes(extremes, bits)

    def bounds(self, bits: int) -> Ends:
        """The interval, 0 included, that codes of `bits` bits should span."""
        low, high = self._with_room(self.lows, self.highs, bits)
        if self.method == "percentile":
            tails = self.histogram.tails(TAILS)
            return max(low, tails[0]), min(high, tails[1])
        if self.method == "mse":
            if bits <= FEW_BITS and len(self.lows) > 1:
                rules = partial(_candidates, bits=bits)
                low, high = best_interval(rules, self.lows, self.highs, self.histogram, 1 << bits)
            lost = lost_share((low, high), self.lows, self.highs, self.histogram)
            if lost > MOST_LOST * 2 ** ((FEW_BITS - bits) / 4):
                low, high = min(low, float(self.lows.min())), max(high, float(self.highs.max()))
            return self.histogram.least_error(low, high, 1 << bits, len(self.lows))
        return low, high

    def interval(self, steps: npt.NDArray[np.int64], bits: int) -> Ends:
        """What codes of `bits` bits should span of the channels divided by `steps`, before clipping."""
        assert self.channels is not None
        lows, highs = self.channels.lows / steps, self.channels.highs / steps
        return self._with_room(lows.min(axis=1), highs.max(axis=1), bits)

    def beyond(self, steps_of: Callable[[F64], npt.NDArray[np.int64]], bits: int) -> F64:
        """(new samples, C): the mean square of what saturates in each channel, with the steps that
        `steps_of` makes of the channels' `reaches`.

        Every sample is new to the other half of them, whose steps and interval it is held against.
        It may reach `_room` times as far as it does; and of a channel that goes beyond, SATURATED of
        the values do, or the only one there is.  A single sample of few bits is held against itself:
        another goes GROWTH times as far, with one value of a channel.  Zeros for other single samples,
        and where there are no new ones.
        """
        assert self.channels is not None
        every, width = self.channels.lows.shape
        if self.own or (every < 2 and bits > FEW_BITS):
            return np.zeros((1, width))
        even, odd = slice(0, None, 2), slice(1, None, 2)
        halves, share = [(even, odd), (odd, even)], every / max(1, self.channels.values)
        if every < 2:
            halves, room = [(even, even)], GROWTH
        else:
            room, share = _room(bits, every // 2), max(SATURATED, share)
        found = []
        for fit, new in halves:
            steps = steps_of(self._reaches(bits, fit))
            lows, highs = self.channels.lows / steps, self.channels.highs / steps
            low, high = self._ends(lows[fit].min(axis=1), highs[fit].max(axis=1), bits)
            excess = np.maximum(np.maximum(low - room * lows[new], room * highs[new] - high), 0.0)
            found.append(share * (excess * steps) ** 2)
        return np.concatenate(found)

    def _with_room(self, lows: F64, highs: F64, bits: int) -> tuple[float, float]:
        """The interval before any clipping, from the ends of every sample: `_room` times as far as
        new ends probably lie, where more than one sample says where that is."""
        low, high = self._ends(lows, highs, bits)
        if self.method in ("min-max", "percentile") or len(lows) < 2:
            return low, high
        room = _room(bits, len(lows))
        return max(room * low, BEYOND * float(lows.min())), min(room * high, BEYOND * float(highs.max()))

    def _ends(self, lows: F64, highs: F64, bits: int) -> tuple[float, float]:
        """Where the ends of a new sample probably lie, from those of every sample."""
        if self.method in ("min-max", "percentile"):
            return float(lows.min()), float(highs.max())
        low, high = _typical_extremes(np.stack([-lows, highs], axis=1), bits)
        return -float(low), float(high)


def _candidates(lows: F64, highs: F64, bits: int) -> F64:
    """(candidates, folds, 2): what a few bits may span, from the ends (folds, samples) of samples."""
    seen = np.stack([lows.min(axis=1), highs.max(axis=1)], axis=1)
    below, above = np.split(_typical_extremes(np.concatenate([-lows, highs]).T, bits), 2)
    typical = np.stack([-below, above], axis=1)
    return np.concatenate([seen * np.array(TIMES)[:, None, None], typical[None]])


def _room(bits: int, samples: int) -> float:
    """How many times as far as `samples` samples let expect a new one may reach.

    They say the less of others the fewer they are.  A bit of 16 is little to pay for not saturating,
    one of 8 is much.
    """
    return 1.0 + max(0, bits - 8) / (4 * math.sqrt(samples))


def _typical_extremes(extremes: F64, bits: int) -> F64:
    """Where a new sample's largest value will probably lie, for each column of (samples, columns).

    Largest values of trained networks' samples spread like a log-normal variable, with outliers
    that one calibration set has and the next has not.  So take the median of their logarithms
    and go up by (bits + 2) / 5 times the distance from there to the 84 % quantile (one standard
    deviation of a normal variable, unmoved by outliers): few bits are better spent on what is common,
    many on never saturating.  Samples with nothing on that side of zero do not say how far others go
    there.  One sample is its own extreme, and nothing goes further than BEYOND times what was seen:
    two samples 1000 times apart are no distribution.
    """
    deviations = (bits + 2) / 5
    most: F64 = extremes.max(axis=0)
    if len(extremes) < 2:
        return most
    some = most > 0
    seen = extremes[:, some]
    logs = np.sort(np.log(seen, where=seen > 0, out=np.full_like(seen, np.inf)), axis=0)
    middle, upper = _quantiles(logs, (seen > 0).sum(axis=0), MIDDLE_AND_UPPER)
    most[some] = np.minimum(np.exp(middle + deviations * (upper - middle)), BEYOND * most[some])
    return most


MIDDLE_AND_UPPER = np.array([[0.5], [0.8413]])


def _quantiles(ascending: F64, counts: npt.NDArray[np.int64], shares: F64) -> F64:
    """The quantiles `shares` (quantiles, 1) of the first `counts[c]` values of every column c, which
    ascend: (quantiles, columns).

    numpy's nanquantile does so column by column: minutes for a network of many channels.
    """
    place = shares * (counts - 1)
    low = place.astype(np.int64)
    high, columns = np.minimum(low + 1, counts - 1), np.arange(len(counts))
    below = ascending[low, columns]
    found: F64 = below + (ascending[high, columns] - below) * (place - low)
    return found
