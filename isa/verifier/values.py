"""Bounds of what value instructions compute; one rule per instruction, none of them runs anything.

A rule takes the intervals of the operands that are registers or products, the constants, and
the attributes; it yields what may go wrong and ends by returning the interval of the result.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from isa.analysis import Interval
from isa.instructions import LARGEST_QUOTIENT
from isa.program import Array
from isa.verifier.facts import INT64, fits

F32_MAX = float(np.finfo(np.float32).max)

MAX_SHIFT = 62
"""`shift` and `fraction` of a lookup together: its rounding constant fits 64 bits."""


class Unsafe(Exception):
    """The instruction may leave what the machine can hold; the message says how."""


Attributes = dict[str, int | float]
Rule = Callable[[list[Interval], list[Array], Attributes], Interval]


def sum_interval(terms: list[Interval], constants: list[Array], attributes: Attributes) -> Interval:
    """The ends add up."""
    low, high = sum(t[0] for t in terms), sum(t[1] for t in terms)
    for array in constants:
        low, high = low + int(array.min()), high + int(array.max())
    return _in_register(low, high, "this sum")


def mul_interval(values: list[Interval], constants: list[Array], attributes: Attributes) -> Interval:
    """One of the four corners."""
    one, other = _terms(values, constants)
    corners = [value * factor for value in one for factor in other]
    return _in_register(min(corners), max(corners), "this product")


def div_interval(values: list[Interval], constants: list[Array], attributes: Attributes) -> Interval:
    """The largest dividend by the smallest divisor, on either side that the signs allow."""
    (low, high), (first, last) = _terms(values, constants)
    largest = max(abs(low), abs(high)) << int(attributes["fraction"])
    if largest > LARGEST_QUOTIENT:
        raise Unsafe(f"the value times 2^fraction may reach {largest}, beyond 2^62 - 1")
    _in_register(-first, -last, "the divisor's magnitude")
    smallest = max(first, -last, 1)
    top = LARGEST_QUOTIENT if first <= 0 <= last else (2 * largest + smallest) // (2 * smallest)
    never_negative = (low >= 0 and first >= 0) or (high <= 0 and last < 0)
    never_positive = (low >= 0 and last < 0) or (high <= 0 and first >= 0)
    return (0 if never_negative else -top), (0 if never_positive else top)


def max_interval(values: list[Interval], constants: list[Array], attributes: Attributes) -> Interval:
    """Either end is the largest of the terms' ends."""
    terms = _terms(values, constants)
    return max(t[0] for t in terms), max(t[1] for t in terms)


def min_interval(values: list[Interval], constants: list[Array], attributes: Attributes) -> Interval:
    """Either end is the smallest of the terms' ends."""
    terms = _terms(values, constants)
    return min(t[0] for t in terms), min(t[1] for t in terms)


def _terms(values: list[Interval], constants: list[Array]) -> list[Interval]:
    return [*values, *((int(array.min()), int(array.max())) for array in constants)]


def quant_interval(values: list[Interval], constants: list[Array], attributes: Attributes) -> Interval:
    """Saturation bounds it; before that it must stay finite."""
    scales, low, high = constants[0], int(attributes["low"]), int(attributes["high"])
    if not bool(np.isfinite(scales).all()) or float(scales.min()) < 0:
        raise Unsafe("scales are finite and not negative")
    if low > high:
        raise Unsafe(f"low={low} is above high={high}")
    for key, bound in (("low", low), ("high", high)):
        if int(np.float32(bound)) != bound:
            raise Unsafe(f"{key}={bound} is no number that float32 holds, {int(np.float32(bound))} is")
    largest = max(abs(values[0][0]), abs(values[0][1])) * float(scales.max())
    if largest * max(1.0, float(attributes["slope"])) > F32_MAX * 0.99:
        raise Unsafe("a value times its scale may leave float32")
    return low, high


def lookup_interval(values: list[Interval], constants: list[Array], attributes: Attributes) -> Interval:
    """Between the smallest and the largest entry that can be reached."""
    low, shift, fraction = (int(attributes[key]) for key in ("low", "shift", "fraction"))
    table = constants[0]
    if shift + fraction > MAX_SHIFT:
        raise Unsafe(f"shift + fraction is at most {MAX_SHIFT}")
    first, last = values[0][0] - low, values[0][1] - low
    _in_register(first, last, "the value less low")
    first, last = first >> shift, (last >> shift) + (1 if shift else 0)
    if first < 0 or last >= table.size:
        raise Unsafe(
            f"values from {values[0][0]} to {values[0][1]} reach entries {first} to {last}, "
            f"the table has 0 to {table.size - 1}"
        )
    bottom, top = int(table[first : last + 1].min()), int(table[first : last + 1].max())
    half = (1 << (shift + fraction)) >> 1
    for wide in (bottom << shift, (top << shift) + half, (top - bottom) << shift):
        _in_register(wide, wide, "an entry times 2^shift")
    drop = shift + fraction
    return ((bottom << shift) + half) >> drop, ((top << shift) + half) >> drop


def _in_register(low: int, high: int, what: str) -> Interval:
    if not fits(low, high, INT64):
        raise Unsafe(f"{what} may reach {low if low < INT64.low else high}, beyond 64 bits")
    return low, high


RULES: dict[str, Rule] = {
    "sum": sum_interval,
    "mul": mul_interval,
    "div": div_interval,
    "max": max_interval,
    "min": min_interval,
    "quant": quant_interval,
    "lookup": lookup_interval,
}
"""Mnemonic of each value instruction of the table -> its rule (a test compares the two)."""

TABLES = frozenset({"lookup"})
"""Instructions whose constant is a table: its length is not that of the value."""
