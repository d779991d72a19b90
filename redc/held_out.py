"""How far codes should reach: rules held against samples that they have not seen.

Codes that reach further are coarser, codes that reach less far lose what a sample has beyond their
ends.  What a rule costs shows on the samples that were left out when it was applied.  It is counted in
decibels, whose mean no single odd sample decides.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from redc.histogram import Histogram

F64 = npt.NDArray[np.float64]
Ends = tuple[float, float]
Rule = Callable[[F64, F64], Ends]
"""From the ends (samples,) of some samples to the interval that codes are to span."""

FOLDS = 8
"""Every rule is applied so many times, or once for every sample where there are fewer."""
TINY = 1e-300
"""Noise or signal: less is none."""


def best_rule(rules: Sequence[Rule], lows: F64, highs: F64, histogram: Histogram, codes: int) -> Rule:
    """The one with the least noise over signal on samples left out, for `codes` codes; of equal ones
    the first.

    `lows` and `highs` (samples,), two at least, are the ends of every sample, 0 included, and
    `histogram` the values of all.  A sample's signal goes with the square of its largest value.  Its
    noise is step^2 / 12 for each value, and what it loses beyond the ends.
    """
    samples = len(lows)
    values = max(1, histogram.values) / samples
    signal = values * np.maximum(_squares(lows, highs), TINY)
    fold = np.arange(samples) % FOLDS

    def decibels(rule: Rule) -> float:
        total = 0.0
        for new in (fold == number for number in range(min(samples, FOLDS))):
            low, high = rule(lows[~new], highs[~new])
            rounded = values * ((high - low) / (codes - 1)) ** 2 / 12
            noise = np.maximum(_lost((low, high), lows, highs, histogram) + rounded, TINY)
            total += float(np.log(noise / signal)[new].sum())
        return total

    return min(rules, key=decibels)


def lost_share(ends: Ends, lows: F64, highs: F64, histogram: Histogram) -> float:
    """The part of its energy that a sample has beyond `ends`, on average over the samples.

    The energy of all is shared out among them with the square of their largest values.
    """
    squares = _squares(lows, highs)
    energy = histogram.lost(0.0, 0.0) * squares / max(float(squares.sum()), TINY)
    share = _lost(ends, lows, highs, histogram) / np.maximum(energy, TINY)
    return float(np.minimum(share, 1.0).mean())


def _squares(lows: F64, highs: F64) -> F64:
    """The square of every sample's largest value."""
    largest: F64 = np.maximum(-lows, highs) ** 2
    return largest


def _lost(ends: Ends, lows: F64, highs: F64, histogram: Histogram) -> F64:
    """The energy that each sample has beyond `ends`: of that of all the part that goes with the square
    of how far its own ends lie beyond."""
    low, high = ends
    beyond = np.maximum(low - lows, 0.0) ** 2 + np.maximum(highs - high, 0.0) ** 2
    share: F64 = histogram.lost(low, high) * beyond / max(float(beyond.sum()), TINY)
    return share
