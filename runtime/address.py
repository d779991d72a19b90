"""Where an address points, while loops run.

A buffer is seen as a list of vectors; an address is a position in that list, or a negative
number: `OUTSIDE` where some axis leaves the buffer, `INSERTED` where none does but some axis
falls between two pixels.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from isa.program import Address, Affine, Buffer

INSERTED = -(1 << 64)
OUTSIDE = -(1 << 72)
"""Far below every position, and 64 axes of INSERTED still above one OUTSIDE: so sums classify."""

TABLE_LIMIT = 1 << 12
"""Loops longer than this are evaluated by arithmetic instead of by table."""


@dataclass(frozen=True, slots=True)
class LoopVariable:
    """A loop around an instruction: its values, and its slot in the list of current values."""

    first: int
    last: int
    slot: int


Locate = Callable[[], int]


def is_inserted(position: int) -> bool:
    """Of a negative position: does it fall between two pixels, inside the buffer?"""
    return position > OUTSIDE // 2


def part(affine: Affine, value: int, size: int, stride: int) -> int:
    """What one axis adds to the position, given the value of its undivided expression."""
    if not 0 <= value <= (size - 1) * affine.divisor:
        return OUTSIDE
    pixel, remainder = divmod(value, affine.divisor)
    return INSERTED if remainder else pixel * stride


def locator(
    address: Address, buffer: Buffer, loops: dict[str, LoopVariable], values: Sequence[int]
) -> Locate:
    """A function that gives the position of `address` for the current `values`.

    An axis with one loop variable becomes a table over that variable; constants are added up
    now.  Only an axis of several variables, or of a very long loop, is computed each time.
    """
    base = 0
    tables: dict[tuple[int, int], list[int]] = {}  # (slot, first) -> position by value - first
    computed: list[Locate] = []
    stride = 1
    for affine, size in reversed(list(zip(address.indices, buffer.shape[:-1], strict=True))):
        if not affine.terms:
            base += part(affine, affine.constant, size, stride)
        elif len(affine.terms) == 1 and _length(loops[affine.terms[0][0]]) <= TABLE_LIMIT:
            loop = loops[affine.terms[0][0]]
            table = _table(affine, size, stride, loop.first, loop.last)
            key = (loop.slot, loop.first)
            known = tables.get(key)
            tables[key] = [a + b for a, b in zip(known, table, strict=True)] if known else table
        else:
            computed.append(_axis(affine, size, stride, loops, values))
        stride *= size
    return _join(base, [(slot, first, table) for (slot, first), table in tables.items()], computed, values)


@functools.lru_cache(maxsize=1 << 10)
def _table(affine: Affine, size: int, stride: int, first: int, last: int) -> list[int]:
    """`part` for each value of the one variable.  Cached: many addresses of a layer share theirs."""
    factor = affine.terms[0][1]
    return [part(affine, factor * value + affine.constant, size, stride) for value in range(first, last)]


def _length(loop: LoopVariable) -> int:
    return loop.last - loop.first


def _axis(
    affine: Affine, size: int, stride: int, loops: dict[str, LoopVariable], values: Sequence[int]
) -> Locate:
    terms = [(loops[name].slot, factor) for name, factor in affine.terms]

    def locate() -> int:
        expression = affine.constant
        for slot, factor in terms:
            expression += factor * values[slot]
        return part(affine, expression, size, stride)

    return locate


def _join(
    base: int,
    tables: list[tuple[int, int, list[int]]],
    computed: list[Locate],
    values: Sequence[int],
) -> Locate:
    """Add the parts up; the common cases of up to two tables without a Python loop."""
    if computed:
        rest = _join(base, tables, [], values)
        return lambda: rest() + sum(locate() for locate in computed)
    if not tables:
        return lambda: base
    *outer, (slot, first, table) = tables
    last = [base + entry for entry in table] if base else table
    # Index by the value itself where the loop starts at 0, as nearly all do.
    if not outer:
        if first == 0:
            return lambda: last[values[slot]]
        return lambda: last[values[slot] - first]
    if len(outer) == 1:
        slot0, first0, table0 = outer[0]
        if first == first0 == 0:
            return lambda: table0[values[slot0]] + last[values[slot]]
        return lambda: table0[values[slot0] - first0] + last[values[slot] - first]
    inner = _join(0, outer, [], values)
    return lambda: inner() + last[values[slot] - first]
