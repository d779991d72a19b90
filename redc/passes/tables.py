"""Functions as tables, with straight lines between entries.

tanh and sigmoid end other operators: their table lies over a fine grid of pre-activations.  Any
other function stands alone: its table lies over the codes of its input.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from redc.ir.graph import Codes, CrossbarOp, Op, Table, VectorOp

F64 = npt.NDArray[np.float64]

GRID = 16
"""Grid points of the pre-activation per output step, where the function is steepest."""
FRACTION = 8
"""Bits below the point of a table entry."""
EPSILON = 2.0**-53
"""1 less this is the largest number below 1."""
WIDEST = 20
"""A segment of a table has at most 2^WIDEST points of its grid."""
FARTHEST = 15 << 20
"""Magnitude of the last point of a grid that ends where codes do: there `quant` names every point."""
FARTHER = 1 << 34
"""Of one that ends where its function hardly moves any more: every point that float32 holds."""
LARGEST = (1 << 40) - 1
"""Magnitude of the largest of finer codes: one of them times the codes of a segment fits 64 bits."""
LINE = 1 / 16
"""Steps of the output by which a straight line may miss the function."""
SAMPLED_BITS = 20
"""A function of more codes than so many bits tell apart is cut into pieces (redc/passes/pieces.py)."""


@dataclass(frozen=True, slots=True)
class Saturating:
    """A function that is constant, to any precision that matters, beyond +-reach(tolerance)."""

    function: Callable[[F64], F64]
    reach: Callable[[float], float]
    steepest: float
    curvature: float
    inverse: Callable[[float], float]
    low: float
    high: float


SATURATING = {
    # max |tanh''| = 4 / (3 sqrt 3); max |sigmoid''| = 1 / (6 sqrt 3)
    "tanh": Saturating(
        np.tanh,
        lambda t: math.atanh(1 - max(t, 2.0**-53)),
        1.0,
        4 / (3 * math.sqrt(3)),
        math.atanh,
        -1.0,
        1.0,
    ),
    "sigmoid": Saturating(
        lambda x: 1 / (1 + np.exp(-x)),
        lambda t: math.log((1 - t) / t),
        0.25,
        1 / (6 * math.sqrt(3)),
        lambda y: math.log(y / (1 - y)),
        0.0,
        1.0,
    ),
}


def saturating(op: Op | None) -> Saturating | None:
    """The function that ends an operator, where it bounds the output."""
    activation = op.activation if isinstance(op, CrossbarOp | VectorOp) else None
    return SATURATING.get(activation.kind) if activation is not None else None


def saturates(op: Op | None) -> bool:
    """Whether the function that ends an operator bounds its output."""
    return saturating(op) is not None


def build_table(kind: str, codes: Codes) -> tuple[Table, float]:
    """The table of `kind` into `codes`, and the real size of one grid step of its input.

    The grid has GRID points per output step (fewer where FARTHEST forbids), so quantising
    the pre-activation moves the output by at most 1/32 step.  It ends where the function is within
    an eighth of a step of its limit, or where it leaves the codes: a line across that knee would fall
    short of both sides.
    Entries lie so close that a straight line between two errs by at most 1/16 step.  `error`
    is measured against float64 at eight points of every segment and includes both, before the
    final rounding (at most half a step more).
    """
    function = SATURATING[kind]
    step = codes.scale
    reach = function.reach(min(step / 8, 0.25))
    first, last = _ends(function, codes, reach)
    saturated = first <= -reach and reach <= last
    grid = max(step / (GRID * function.steepest), max(-first, last) / (FARTHER if saturated else FARTHEST))
    spacing = math.sqrt(8 * (step / 16) / function.curvature)
    shift = min(max(0, math.floor(math.log2(spacing / grid))), WIDEST)
    if not saturated:
        segments = max(1, math.ceil((last - first) / grid / 2**shift))
        grid = (last - first) / (segments << shift)
        low = round(first / grid)
        high = low + (segments << shift)
    else:
        high = -(-math.ceil(reach / grid) >> shift) << shift  # whole segments on either side
        low = -high
    count = (high - low >> shift) + 2
    at = (np.arange(count, dtype=np.float64) * 2**shift + low) * grid

    def exact(x: F64) -> F64:
        return np.clip(function.function(x) / step + codes.zero, codes.low, codes.high)

    entries = np.rint(exact(at) * 2**FRACTION).astype(np.int64)
    points = np.linspace(0, 1, 8, endpoint=False)
    left, right = entries[:-2, None] / 2**FRACTION, entries[1:-1, None] / 2**FRACTION
    line = left + (right - left) * points
    error = float(np.abs(line - exact(at[:-2, None] + points * grid * 2**shift)).max(initial=0.0))
    error += grid * function.steepest / (2 * step)
    return Table(low, high, shift, FRACTION, entries, error), grid


def _ends(function: Saturating, codes: Codes, reach: float) -> tuple[float, float]:
    """From where to where `function` moves within the codes; -reach to reach if it never does."""

    def inverse(code: int) -> float:
        value = (code - codes.zero) * codes.scale
        if value <= function.low:
            return -reach
        return min(max(function.inverse(value), -reach), reach) if value < function.high else reach

    first, last = inverse(codes.low), inverse(codes.high)
    return (first, last) if first < last else (-reach, reach)


def finer(codes: Codes) -> Codes:
    """Codes of one step for all channels, GRID for one of the finest channel of `codes`, that go twice as
    far: a line may cross the knee where `codes` end.  The steps are coarser where LARGEST forbids."""
    reach = 2 * max(codes.high - codes.zero, codes.zero - codes.low) * float(codes.scales.max())
    step = max(float(codes.scales.min()) / GRID, reach / LARGEST)
    return Codes(math.ceil(reach / step).bit_length() + 1, True, step)


def tabulate(
    function: Callable[[F64], F64],
    source: Codes,
    codes: Codes,
    *,
    line: float = LINE,
    fraction: int = FRACTION,
) -> Table:
    """The table of `function` from every code of `source` (less its zero) into `codes`.

    Entries carry `fraction` bits below the point and lie as far apart as keeps every code's straight
    line within `line` steps of the function.  `error` is the largest deviation from float64, over all
    codes of the input and before the final rounding; that the input itself is rounded is not part of it.
    """
    low, high = source.low - source.zero, source.high - source.zero
    count = high - low + 1
    at = (low + np.arange(2 * count, dtype=np.float64)) * source.scale
    with np.errstate(all="ignore"):
        real = np.nan_to_num(function(at) / codes.scale + codes.zero, nan=codes.zero)
    exact = np.clip(real, codes.low, codes.high)
    fine = np.rint(exact * 2**fraction).astype(np.int64)

    def entries(shift: int) -> npt.NDArray[np.int64]:
        some: npt.NDArray[np.int64] = fine[:: 1 << shift][: ((count - 1) >> shift) + 2]
        return some

    def error(shift: int) -> float:
        held = entries(shift)
        index, rest = np.divmod(np.arange(count), 1 << shift)
        between = held[index] + (held[index + 1] - held[index]) * (rest / (1 << shift))
        return float(np.abs(between / 2**fraction - exact[:count]).max())

    shift, beyond = 0, count.bit_length()  # the widest that serves lies between the two
    while beyond - shift > 1:
        middle = (shift + beyond) // 2
        shift, beyond = (middle, beyond) if error(middle) <= line else (shift, middle)
    held = entries(shift).copy()  # a view would keep all
    return Table(low, high, shift, fraction, held, error(shift))
