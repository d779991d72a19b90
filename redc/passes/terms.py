"""The integer multipliers of an elementwise operator's terms, on a step that all of them share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from redc.ir.graph import Activation, Codes
from redc.passes.tables import SATURATING

F64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]

MULTIPLIER_BITS = 15
"""At least so many has the largest multiplier (or as many as the output), and a sign."""

ROUNDING = 1 / 16
"""Steps of the output by which the rounded multipliers of all terms together may move it."""

TERM_BITS = 60
"""A sum of all terms stays below so many: the accumulators hold 63 and a sign."""

NO_TERM = 2.0**-16
"""The step of a channel whose terms are all zero: it just has to carry the bias."""


@dataclass(frozen=True, eq=False, slots=True)
class Terms:
    """`multipliers` are int64 and one per input; `step` is what one of their products is worth, and
    `bias` the real value that is added or compared, both float64.  All of them: one per channel or
    one for all."""

    multipliers: tuple[Int64, ...]
    bias: F64
    step: F64


def common_terms(
    combine: str,
    real: Sequence[F64],
    bias: F64,
    sources: Sequence[Codes],
    out: Codes,
    activation: Activation | None,
) -> Terms:
    """A step so small that the finest of the terms keeps its bits beside the coarsest, as far as all of
    them together stay in TERM_BITS.

    `real` is what one step of each input's codes is worth in the operator's result, before
    `activation`.
    """
    unit, reach = window(out, activation)
    extents = [float(max(codes.high - codes.zero, codes.zero - codes.low)) for codes in sources]
    real, bias = _bounded(combine, real, bias, extents, reach)
    largest = np.maximum.reduce([np.abs(r) for r in np.broadcast_arrays(*real, bias)[:-1]])
    one = 1 << max(MULTIPLIER_BITS, out.bits)
    step = np.where(largest > 0, largest / one, NO_TERM)
    finest = step
    for r, extent in zip(real, extents, strict=True):
        allowed = ROUNDING / len(real) * unit / extent
        missed = np.abs(np.rint(r / step) * step - r)
        halvings = np.ceil(np.log2(np.maximum(step / (2 * allowed), 1.0)))
        finest = np.minimum(finest, np.where(missed > allowed, step / 2.0**halvings, step))
    total = np.abs(bias) + sum(np.abs(r) * extent for r, extent in zip(real, extents, strict=True))
    least = total / 2.0**TERM_BITS
    doubled = step * 2.0 ** np.ceil(np.log2(np.maximum(least / step, 1.0)))
    step = np.where(doubled > step, doubled, np.maximum(finest, least))
    return Terms(tuple(np.rint(r / step).astype(np.int64) for r in real), bias, step)


def window(out: Codes, activation: Activation | None) -> tuple[F64, F64]:
    """(unit, reach) of what the activation is given, per channel or for all: how far it may be off
    to move the output by one step, and beyond what magnitude it changes nothing any more."""
    if activation is not None and activation.kind in SATURATING:
        function = SATURATING[activation.kind]
        unit = out.scale / function.steepest
        return np.array(unit), np.array(function.reach(min(out.scale / 8, 0.25)) + unit)
    reach = (max(out.high - out.zero, out.zero - out.low) + 1) * out.scales
    if activation is not None and activation.kind == "leaky" and activation.alpha:
        reach = reach / min(1.0, abs(activation.alpha))
        return out.scales / max(1.0, abs(activation.alpha)), reach
    return out.scales, reach


def _bounded(
    combine: str, real: Sequence[F64], bias: F64, extents: Sequence[float], reach: F64
) -> tuple[list[F64], F64]:
    """Terms of which one step alone leaves what the output can tell need not be larger than that."""
    if combine in ("max", "min"):
        return [np.clip(r, -reach, reach) for r in real], np.clip(bias, -reach, reach)
    bounded = []
    for at, r in enumerate(real):
        others = [np.abs(o) * n for i, (o, n) in enumerate(zip(real, extents, strict=True)) if i != at]
        beyond = reach + np.abs(bias) + sum(others)
        bounded.append(np.clip(r, -beyond, beyond))
    return bounded, bias
