"""A function of codes so many that one table of equal segments would be too coarse where it bends.

The codes are cut into pieces with a table each: fine where the function bends, wide where it is
nearly straight.  Each table but the first is of how far the function has moved since its piece
began, so that the sum of all, each of the code moved into its piece, is the function.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from redc.ir.graph import Codes, Table

F64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]
Entries = Callable[[Int64], F64]
"""What the function makes of codes of its input (less their zero), in steps of what it makes."""

POINTS_BITS = 16
"""So many codes of a piece are looked at, as far apart as it takes (more of one that has over 2^48)."""
MOST_BITS = 20
"""And so many where the function bends everywhere."""
NEAR_BITS = 6
"""Its codes around zero, one in 2^NEAR_BITS of them on either side, become pieces of their own."""
PART = 1 << 6
"""Pieces begin and end at every so manieth of them, so that wide segments end there too."""
MOST_SPANS = 3
"""Of codes of a piece that become pieces of their own."""
LINE = 1.0
"""Steps by which a straight line may miss the function."""
WIDEST = 32
"""A segment has at most 2^WIDEST codes: what `lookup` takes."""
REGISTER_BITS = 62
"""An entry times the codes of a segment stays below so many."""
SERIES = 513
"""Codes near zero that are looked at besides, in a geometric series on either side: what functions do,
they do near zero."""


def pieces(function: Callable[[F64], F64], source: Codes, fine: Codes) -> tuple[Table, ...]:
    """The tables of `function`, from every code of `source` (less its zero) into the codes `fine`.

    `error` of each is the largest deviation from float64 over the codes looked at, in steps of `fine`.
    """

    def entries(codes: Int64) -> F64:
        with np.errstate(all="ignore"):
            real = function(codes * np.float64(source.scale)) / fine.scale + fine.zero
        return np.clip(np.nan_to_num(real, nan=fine.zero), fine.low, fine.high)

    low, high = source.low - source.zero, source.high - source.zero
    cut = _cut(entries, low, high)
    return tuple(_moved([_table(entries, *piece, last=piece is cut[-1]) for piece in cut]))


def _cut(entries: Entries, low: int, high: int) -> list[tuple[int, int, int]]:
    """(first code, last code, bits between codes looked at) of pieces from `low` to `high`.  They share
    their ends, which are looked at."""
    codes = high - low + 1
    coarse = min(max(0, (codes - 1).bit_length() - POINTS_BITS), WIDEST)
    if not coarse:
        return [(low, high, 0)]
    count = -(-codes >> coarse)
    at = low + (np.arange(count + 1) << coarse)
    values = np.rint(entries(at))
    between = np.append(at[:-1] + (1 << coarse - 1), _series(low, high))
    index, rest = np.divmod(between - low, 1 << coarse)
    lines = values[index] + (values[index + 1] - values[index]) * (rest / (1 << coarse))
    bends = index[np.abs(lines - entries(between)) > LINE]
    if not bends.size:
        return [(low, high, coarse)]
    bent = _spans(bends, count)
    if 2 * sum(last - first for first, last in bent) > count:
        return _everywhere(entries, low, high)
    found, begin = [], low
    for first, last in bent:
        if begin < at[first]:
            found.append((begin, int(at[first]), coarse))
        end = min(int(at[last]), high)
        found += _cut(entries, int(at[first]), end)
        begin = end
    return [*found, (begin, high, coarse)] if begin < high else found


def _everywhere(entries: Entries, low: int, high: int) -> list[tuple[int, int, int]]:
    """Pieces of a function that bends everywhere: those around zero are cut again, for a root of small
    values is lost in the first segment of a table that reaches far."""
    bits = (high - low).bit_length()
    coarse, near = max(0, bits - MOST_BITS), 1 << max(0, bits - NEAR_BITS)
    first, last = max(low, -near), min(high, near)
    if not coarse or first >= last or (first - low) % (1 << coarse):
        return [(low, high, coarse)]
    found = [(low, first, coarse)] if low < first else []
    found += _cut(entries, first, last)
    return [*found, (last, high, coarse)] if last < high else found


def _spans(bends: Int64, count: int) -> list[tuple[int, int]]:
    """(first, after the last) of the parts, of `count`, that those in `bends` lie in: the MOST_SPANS
    that are furthest apart from each other."""
    bends = np.unique(bends)
    gaps = np.diff(bends)
    apart = np.sort(np.argsort(gaps)[1 - MOST_SPANS :])
    apart = apart[gaps[apart] > 4 * PART]
    firsts = np.maximum(np.append(bends[0], bends[apart + 1]) - 1, 0) // PART * PART
    lasts = np.minimum(-(-(np.append(bends[apart], bends[-1]) + 2) // PART) * PART, count)
    return [(int(first), int(last)) for first, last in zip(firsts, lasts, strict=True)]


def _series(low: int, high: int) -> Int64:
    """Codes from `low` to `high` that lie in geometric series around zero."""
    ends = (end for end in (low, high) if end)
    series = [np.copysign(np.geomspace(1, abs(end), SERIES), end) for end in ends]
    found = np.unique(np.concatenate([[0], *series]).astype(np.int64))
    return found[(low <= found) & (found <= high)]


def _table(entries: Entries, low: int, high: int, coarse: int, *, last: bool) -> Table:
    """With segments as wide as keeps every code looked at within LINE; but for the last piece's they end
    with the piece, whose end every code beyond it adds."""
    count = (high - low >> coarse) + 1
    exact = entries(low + (np.arange(2 * count) << coarse))
    whole = np.rint(exact).astype(np.int64)

    def held(shift: int) -> Int64:
        some: Int64 = whole[:: 1 << shift][: ((count - 1) >> shift) + 2]
        return some

    def error(shift: int) -> float:
        some = held(shift)
        index, rest = np.divmod(np.arange(count), 1 << shift)
        lines = some[index] + (some[index + 1] - some[index]) * (rest / (1 << shift))
        return float(np.abs(lines - exact[:count]).max())

    room = min(WIDEST, REGISTER_BITS - 1 - int(np.abs(whole).max()).bit_length())
    if not last:
        room = min(room, (high - low & low - high).bit_length() - 1)
    shift, beyond = (
        0,
        min(count.bit_length(), room - coarse + 1),
    )  # the widest that serves lies between the two
    while beyond - shift > 1:
        middle = (shift + beyond) // 2
        shift, beyond = (middle, beyond) if error(middle) <= LINE else (shift, middle)
    return Table(low, high, shift + coarse, 0, held(shift).copy(), error(shift))  # a view would keep all


def _moved(tables: list[Table]) -> Iterator[Table]:
    """Each from what it begins with, the first from what the function does; none that stays there."""
    base = int(tables[0].entries[0])
    for table in [each for each in tables if (each.entries != each.entries[0]).any()] or tables[-1:]:
        yield replace(table, entries=table.entries - int(table.entries[0]) + base)
        base = 0
