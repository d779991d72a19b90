"""The forms of fused results: what a kernel is compiled for, and when it pays to compile it.

What differs between expressions of one form (constants, zeros, bounds, addresses) is read from a
list of words, so that few kernels serve a network: `WORDS` says what they are, `runtime/fused.py`
writes them and `runtime/fused_kernel.py` reads them.
"""

from __future__ import annotations

import functools
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

HEAD = 5
"""Words about the target: base, indices (0: one row after the other), bytes from row to row, values
of a row, values of all rows (the last row may be shorter)."""
WORDS = {
    "codes": 5,  # base, indices or 0, bytes from row to row, a row for index -1, zero
    "taps": 7,  # as of codes with `taps` indices a row; then taps, and weights [taps, values of a row]
    "dots": 8,  # as of taps, of vectors of `depth` codes: weights [taps, depth, values of a row]; depth
    "constant": 1,  # values of a row
    "sum": 0,
    "mul": 0,
    "div": 1,  # fraction
    "max": 0,
    "min": 0,
    "quant": 5,  # scales; bits of zero, low, high, slope as float32
    "table": 2,  # entries, the value of the first
    "lookup": 4,  # entries (int64), low, shift, fraction
}
"""Words of an operation, in the order of its arguments first, then its own."""


@dataclass(frozen=True, slots=True)
class Op:
    """An operation on values of a row.

    kind       one of WORDS
    bits       of its results, 32 or 64; sums and products wrap, so only the results must fit
    entry      numpy's name for what it reads from memory: codes, entries of a table, constants
    arguments  what it works on
    """

    kind: str
    bits: int
    entry: str = ""
    arguments: tuple[Op, ...] = ()


@dataclass(frozen=True, slots=True)
class Form:
    """What a kernel is compiled for: an expression, the type of codes it goes to, whether it is added
    to them, and how many values are computed at a time."""

    value: Op
    target: str
    add: bool
    lanes: int


WORTH = 1 << 21
"""Values that numpy computes before a kernel for their form pays for itself."""


BEGIN = 1 << 12
"""Values that numpy computes in the time that it takes to begin."""


def worth(values: int) -> bool:
    """Whether a kernel for so many values pays at once."""
    return values > WORTH


_seen: Counter[Form] = Counter()
_paid: set[Form] = set()
_lock = threading.Lock()


def kernel(form: Form, values: int) -> Callable[..., None] | None:
    """The kernel of a form that is about to compute so many values (0: is asked for it): called with
    the address of its words, the first row and the row after the last.  None while it would not pay,
    or without llvmlite."""
    with _lock:
        _seen[form] += values + (BEGIN if values else 0)
        if _seen[form] <= WORTH:
            return None
        _paid.add(form)
        return _compiled(form)


def paid() -> int:
    """How many forms have their kernel by now."""
    return len(_paid)


@functools.cache
def _compiled(form: Form) -> Callable[..., None] | None:
    try:
        from runtime.fused_kernel import compiled
    except ImportError:
        return None
    return compiled(form)


def words_of(op: Op) -> int:
    """How many words it has with its arguments."""
    return WORDS[op.kind] + sum(map(words_of, op.arguments))
