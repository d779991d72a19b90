"""Counting where addresses fall equals visiting every iteration."""

from __future__ import annotations

import itertools
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isa.program import Address, Affine, Buffer, IntType
from runtime.lattice import TooMany, Where, classify

NAMES = ["n", "q0", "q1"]
RANGES = st.fixed_dictionaries(
    {
        name: st.tuples(st.integers(-4, 4), st.integers(1, 6)).map(lambda r: (r[0], r[0] + r[1]))
        for name in NAMES
    }
)
AXES = st.tuples(
    st.dictionaries(st.sampled_from(NAMES), st.integers(-3, 3)), st.integers(-6, 12), st.integers(1, 4)
)


def buffer(*sizes: int) -> Buffer:
    return Buffer("b", "input", IntType(False, 8), (*sizes, 1), 1.0)


def visit(address: Address, sizes: tuple[int, ...], ranges: dict[str, tuple[int, int]]) -> Where:
    inside = inserted = outside = 0
    for values in itertools.product(*(range(*ranges[name]) for name in ranges)):
        now = dict(zip(ranges, values, strict=True))
        expressions = [(a.constant + sum(c * now[n] for n, c in a.terms), a.divisor) for a in address.indices]
        if any(not 0 <= e <= (size - 1) * d for (e, d), size in zip(expressions, sizes, strict=True)):
            outside += 1
        elif any(e % d for e, d in expressions):
            inserted += 1
        else:
            inside += 1
    return Where(inside, inserted, outside)


@settings(max_examples=max(300, settings().max_examples))
@given(st.lists(AXES, max_size=3), st.lists(st.integers(1, 6), min_size=3, max_size=3), RANGES)
def test_the_closed_form_equals_visiting(
    axes: list[tuple[dict[str, int], int, int]], sizes: list[int], ranges: dict[str, tuple[int, int]]
) -> None:
    address = Address("b", tuple(Affine.of(*axis) for axis in axes), True)
    some = tuple(sizes[: len(axes)])
    assert classify(address, buffer(*some), ranges) == visit(address, some, ranges)


def test_loops_of_a_billion_are_counted_at_once() -> None:
    """Axes with variables of their own, one of them mixed with a short loop, cost nothing."""
    billion = 10**9
    indices = (Affine.of({"a": 2, "k": 1}, -3), Affine.of({"b": 1}, 1, 3))
    begin = time.perf_counter()
    where = classify(
        Address("x", indices, True), buffer(100, 100), {"a": (0, billion), "b": (0, billion), "k": (0, 3)}
    )
    assert time.perf_counter() - begin < 0.1
    # 2a + k - 3 in [0, 99]: 50, 50 and 50 values of a for k = 0, 1, 2
    # b + 1 in [0, 297]: 297 values of b; a multiple of 3 for 99 of them (b = 2, 5, ..., 296)
    assert where == Where(150 * 99, 150 * 198, 3 * billion**2 - 150 * 297)


def test_numbers_beyond_int64_are_counted_exactly() -> None:
    huge = 10**30
    where = classify(
        Address("x", (Affine.of({"a": 7, "k": huge}, -huge),), True),
        buffer(8),
        {
            "a": (0, huge),
            "k": (0, 3),
        },
    )
    assert where.inside == 2 + 1  # k = 1: 7a in [0, 7]; k = 0: 7a = huge + e, once; k = 2: never


def test_an_entangled_address_over_enormous_loops_is_refused() -> None:
    indices = (Affine.of({"a": 1, "b": 1}), Affine.of({"a": 1, "b": -1}))
    with pytest.raises(TooMany, match="share the axes"):
        classify(Address("x", indices, True), buffer(9, 9), {"a": (0, 10**9), "b": (0, 2 * 10**9)})
