"""How large a tensor may be, and how much of one an importer takes apart: asked before it is done.

A number in a small file can ask for any amount of memory.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from redc.frontend.rejected import Broken, Rejected

MOST_VALUES = 1 << 38
"""Of a tensor: a terabyte of float32.  Beyond that a shape is damaged."""
MOST_AXES = 64
"""numpy's arrays have no more."""
MOST_ROWS = 1 << 23
"""Pixels along the axes of an output, and what they read there, that are listed one by one."""
MOST_TAPS = 1 << 20
"""Pixels that one output pixel is made of."""
HINT = "no machine holds that: is a shape or an attribute damaged?"


def size_problem(shape: Sequence[int]) -> str | None:
    """What is wrong with a shape that no machine holds."""
    if len(shape) > MOST_AXES:
        return f"its shape has {len(shape)} axes, more than {MOST_AXES}"
    if math.prod(shape) > MOST_VALUES:
        return f"its shape {'x'.join(map(str, shape))} has more than 2^{MOST_VALUES.bit_length() - 1} values"
    return None


def check_size(shape: Sequence[int], tensor: str) -> None:
    """Raise Broken for a shape that no machine holds."""
    problem = size_problem(shape)
    if problem:
        raise Broken(problem, tensor=tensor, hint=HINT)


def check_rows(shape: Sequence[int], tensor: str, changed: Iterable[int], taps: Sequence[int] = ()) -> None:
    """Before the rows of the `changed` axes of an output are listed: raise Broken for one that no machine
    holds, Rejected for one that is too large to be taken apart.

    `taps` says how many pixels each of those axes' rows read: one, where it says nothing.
    """
    check_size(shape, tensor)
    lengths = [shape[axis] for axis in changed]
    rows = sum(n * k for n, k in zip(lengths, taps, strict=True)) if taps else sum(lengths)
    if rows > MOST_ROWS:
        raise Rejected(f"its output of {'x'.join(map(str, shape))} is too large to be taken apart")
    if math.prod(taps) > MOST_TAPS:
        raise Rejected(f"an output pixel is made of {math.prod(taps)} pixels")
