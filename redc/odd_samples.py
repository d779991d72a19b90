"""Samples that go beyond what is typical: whether codes are to span them too.

Codes that span one odd sample of many are coarser for all the others; codes that do not lose what it
has beyond their ends.  What counts is the mean over the samples of the decibels that either costs: the
mean error would give up all others for the odd one.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from redc.histogram import Histogram

F64 = npt.NDArray[np.float64]

TINY = 1e-300
"""Noise or signal: less is none."""


def all_or_typical(
    lows: F64, highs: F64, histogram: Histogram, typical: tuple[float, float], codes: int
) -> tuple[float, float]:
    """The interval `typical`, or all that was seen where that is better on average for `codes` codes.

    `lows` and `highs` (samples,) are the ends of every sample, 0 included, and `histogram` the values of
    all.  A sample's signal goes with the square of its largest value.  Its noise is step^2 / 12 for each
    value, and what it loses beyond the ends: of the loss of all samples the part that goes with the
    square of how far its own ends lie beyond.
    """
    whole = min(typical[0], float(lows.min())), max(typical[1], float(highs.max()))
    if whole == typical:
        return whole
    values = max(1, histogram.values) / len(lows)
    signal = values * np.maximum(np.maximum(-lows, highs) ** 2, TINY)

    def noise(low: float, high: float) -> float:
        beyond = np.maximum(low - lows, 0.0) ** 2 + np.maximum(highs - high, 0.0) ** 2
        lost = histogram.lost(low, high) * beyond / max(float(beyond.sum()), TINY)
        rounded = values * ((high - low) / (codes - 1)) ** 2 / 12
        return float(np.log(np.maximum(lost + rounded, TINY) / signal).mean())

    return min(typical, whole, key=lambda ends: noise(*ends))
