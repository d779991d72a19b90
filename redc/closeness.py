"""How near a tensor is to the float model's."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Closeness:
    """How near a tensor is to the float model's.  Equal infinities, and two NaN, are no difference.

    `sqnr_db` is 10 log10(sum reference^2 / sum error^2): infinite where both are equal, minus
    infinity where the reference is all zero and the tensor is not.  `cosine` is None where one
    of the two is all zero and the other is not.
    """

    sqnr_db: float
    max_abs_err: float
    cosine: float | None

    @property
    def exact(self) -> bool:
        """Nothing differs."""
        return self.sqnr_db == math.inf

    @staticmethod
    def of(value: Array, reference: Array) -> Closeness:
        got, wanted = (np.asarray(a, np.float64).ravel() for a in (value, reference))
        with np.errstate(all="ignore"):
            error = got - wanted
            noise, signal, power = (_squares(a) for a in (error, wanted, got))
        if not math.isfinite(noise + signal + power):
            return _with_infinities(got, wanted)
        largest = float(np.abs(error).max(initial=0.0))
        if largest == 0.0:
            return Closeness(math.inf, 0.0, 1.0)
        if noise == 0.0 and signal == 0.0:
            return _with_infinities(got, wanted)
        noise = noise or largest**2 or sys.float_info.min  # below the smallest square
        length = math.sqrt(signal) * math.sqrt(power)
        cosine = float(np.einsum("i,i->", got, wanted)) / length if length else None
        return Closeness(10 * math.log10(signal / noise) if signal else -math.inf, largest, cosine)

    @staticmethod
    def worst(
        values: Mapping[str, Array], references: Mapping[str, Array]
    ) -> tuple[str, Closeness] | tuple[None, None]:
        """The tensor of the lowest SQNR, the first of equals; (None, None) where there is none."""
        found = [(name, Closeness.of(value, references[name])) for name, value in values.items()]
        return min(found, key=lambda pair: pair[1].sqnr_db, default=(None, None))


def _squares(values: Array) -> float:
    """The sum of squares.  (A threaded product waits for threads longer than it computes.)"""
    return float(np.einsum("i,i->", values, values))


def _with_infinities(got: Array, wanted: Array) -> Closeness:
    """The same for values whose squares overflow or vanish."""
    same = (got == wanted) | (np.isnan(got) & np.isnan(wanted))
    finite = np.isfinite(got) & np.isfinite(wanted)
    if same.all():
        return Closeness(math.inf, 0.0, 1.0)
    if not (finite | same).all():
        return Closeness(-math.inf, math.inf, None)
    unit = float(max(np.abs(got[finite]).max(), np.abs(wanted[finite]).max()))
    scaled = Closeness.of(got[finite] / unit, wanted[finite] / unit)
    return Closeness(scaled.sqnr_db, scaled.max_abs_err * unit, scaled.cosine)


def finite(value: float) -> float | None:
    """For a JSON document, which has no infinities: they are null."""
    return value if math.isfinite(value) else None
