"""How far codes should reach: rules held against samples that they have not seen.

Codes that reach further are coarser, codes that reach less far lose what a sample has beyond their
ends.  What a rule costs shows on the samples that were left out when it was applied.  It is counted in
decibels, whose mean no single odd sample decides.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from redc.histogram import Histogram

F64 = npt.NDArray[np.float64]
Ends = tuple[float, float]
Rules = Callable[[F64, F64], F64]
"""From the ends (folds, samples) of samples, 0 for those left out, to the intervals (rules, folds, 2)
that codes are to span."""

FOLDS = 8
"""The rules are applied so many times, or once for every sample where there are fewer."""
TINY = 1e-300
"""Noise or signal: less is none."""


def best_interval(rules: Rules, lows: F64, highs: F64, histogram: Histogram, codes: int) -> Ends:
    """That of the rule with the least noise over signal on samples left out, for `codes` codes; of equal
    ones the first.

    `lows` and `highs` (samples,), two at least, are the ends of every sample, 0 included, and
    `histogram` the values of all.  A sample's signal goes with the square of its largest value; without
    any it does not count.  Its noise is step^2 / 12 for each value, and what it loses beyond the ends.
    """
    fold = np.arange(len(lows)) % FOLDS
    kept = fold != np.arange(min(len(lows), FOLDS))[:, None]
    found = rules(lows * kept, highs * kept)
    values = max(1, histogram.values) / len(lows)
    rounded = values * ((found[..., 1] - found[..., 0]) / (codes - 1)) ** 2 / 12
    noise = (_lost(found, lows, highs, histogram) + rounded[..., None])[:, fold, np.arange(len(lows))]
    signal = values * _squares(lows, highs)
    some = signal > TINY
    decibels = np.log(np.maximum(noise[:, some], TINY) / signal[some]).sum(axis=1)
    low, high = rules(lows[None], highs[None])[int(np.argmin(decibels.round(9))), 0]
    return float(low), float(high)


def lost_share(ends: Ends, lows: F64, highs: F64, histogram: Histogram) -> float:
    """The part of its energy that a sample has beyond `ends`, on average over the samples.

    The energy of all is shared out among them with the square of their largest values.
    """
    squares = _squares(lows, highs)
    energy = _energies(np.zeros((1, 2)), histogram)[0] * squares / max(float(squares.sum()), TINY)
    share = _lost(np.array([ends]), lows, highs, histogram)[0] / np.maximum(energy, TINY)
    return float(np.minimum(share, 1.0).mean())


def _squares(lows: F64, highs: F64) -> F64:
    """The square of every sample's largest value."""
    largest: F64 = np.maximum(-lows, highs) ** 2
    return largest


def _energies(ends: F64, histogram: Histogram) -> F64:
    """(...,): the energy of all values beyond each of the intervals `ends` (..., 2)."""
    at, tallies = histogram.centres, histogram.tallies
    beyond = np.maximum(np.maximum(ends[..., :1] - at, at - ends[..., 1:]), 0.0)
    found: F64 = beyond**2 @ tallies
    return found


def _lost(ends: F64, lows: F64, highs: F64, histogram: Histogram) -> F64:
    """(..., samples): the energy that each sample has beyond each of the intervals `ends` (..., 2).  Of
    that of all samples the part that goes with the square of how far its own ends lie beyond."""
    beyond = np.maximum(ends[..., :1] - lows, 0.0) ** 2 + np.maximum(highs - ends[..., 1:], 0.0) ** 2
    share: F64 = beyond / np.maximum(beyond.sum(axis=-1, keepdims=True), TINY)
    return _energies(ends, histogram)[..., None] * share
