"""The window monoid says what a clock that runs would say."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isa.program import Target
from runtime.clock import Clock
from runtime.timing import WAIT, Closed, Fragment, Open, finish, fire, join, repeat

TARGETS = st.builds(
    Target,
    name=st.just("t"),
    adders=st.integers(1, 9),
    vector=st.integers(1, 9),
    read=st.integers(1, 9),
    write=st.integers(1, 9),
    fetch=st.none() | st.integers(1, 5),
)
WORK = st.builds(Open, *(st.integers(0, 30) for _ in range(5)))
FIRES = st.builds(fire, st.integers(1, 20), WORK)
CUTS = FIRES | st.just(WAIT)
CODE = st.recursive(
    st.lists(WORK | CUTS, max_size=4),
    lambda inner: st.lists(WORK | CUTS | st.tuples(st.integers(1, 5), inner), max_size=4),
    max_leaves=6,
)
Code = list[Any]


def fragment(code: Code, target: Target) -> Fragment:
    result: Fragment = Open()
    for what in code:
        part = repeat(fragment(what[1], target), what[0], target) if isinstance(what, tuple) else what
        result = join(result, part, target)
    return result


def run(code: Code, clock: Clock) -> None:
    for what in code:
        if isinstance(what, tuple):
            for _ in range(what[0]):
                run(what[1], clock)
            continue
        if what is WAIT:
            clock.drain()
        elif isinstance(what, Closed):
            clock.fire(what.firing)
        work = what.suffix if isinstance(what, Closed) else what
        clock.busy[:] = [a + b for a, b in zip(clock.busy, work.work, strict=True)]


@given(CODE, TARGETS)
def test_closed_form_equals_a_clock_that_runs(code: list, target: Target) -> None:  # type: ignore[type-arg]
    clock = Clock(target)
    clock.start()
    run(code, clock)
    clock.drain()
    assert finish(fragment(code, target), target) == clock.cycles


@given(st.lists(CODE, min_size=3, max_size=3), TARGETS)
def test_join_is_associative_with_open_as_neutral_element(codes: list[Code], target: Target) -> None:
    a, b, c = (fragment(code, target) for code in codes)
    left = join(join(a, b, target), c, target)
    assert left == join(a, join(b, c, target), target)
    assert join(Open(), a, target) == a == join(a, Open(), target)


@given(CODE, st.integers(1, 6), TARGETS)
def test_repeat_is_a_power_of_join(code: Code, count: int, target: Target) -> None:  # type: ignore[type-arg]
    one = fragment(code, target)
    assert repeat(one, count, target) == functools.reduce(lambda a, b: join(a, b, target), [one] * count)


def joined(target: Target, *parts: Fragment) -> Fragment:
    return functools.reduce(lambda a, b: join(a, b, target), parts)


def test_units_run_side_by_side_and_next_to_the_fire() -> None:
    """Two rounds by hand: 3 additions at 2 a cycle, 40 bits written at 8, fires of 4 cycles."""
    target = Target("t", adders=2)
    body = joined(target, Open(fetch=1), fire(4), Open(adder=3), Open(write=40))
    # window 0: the drives, 1 cycle.  Then max(fire 4, writes 5); the end: fire 4, then writes 5.
    assert finish(repeat(body, 2, target), target) == 1 + 5 + (4 + 5)


def test_a_window_lasts_until_its_drives_are_fetched() -> None:
    """Two rounds that fetch 36 bits each at 1 a cycle, under fires of 32: 36, then 36, then 32."""
    target = Target("t", fetch=1)
    body = joined(target, Open(fetch=36), fire(32))
    assert finish(repeat(body, 2, target), target) == 36 + 36 + 32
    free = Target("t")
    assert finish(repeat(joined(free, Open(fetch=36), fire(32)), 2, free), free) == 1 + 32 + 32


@pytest.mark.parametrize(
    ("work", "narrow"),
    [
        (Open(adder=100), {"adders": 2}),
        (Open(vector=100), {"vector": 2}),
        (Open(read=100), {"read": 2}),
        (Open(write=100), {"write": 2}),
        (Open(fetch=100), {"fetch": 2}),
    ],
)  # fmt: skip
def test_every_unit_can_be_the_one_that_stalls(work: Open, narrow: dict[str, int]) -> None:
    """Three rounds of 32 cycles with 100 of something: at 2 a cycle 50 cycles, not 32."""
    wide = Target("t", adders=100, vector=100, read=100, write=100, fetch=100)
    for target, window in ((wide, 32), (replace(wide, **narrow), 50)):
        rounds = finish(repeat(joined(target, fire(32), work), 3, target), target)
        assert rounds == 2 * window + 32 + work.cycles(target)


def test_row_tiles_are_added_in_the_window_of_their_fire() -> None:
    """Two rounds whose fires of 8 merge 20 values each with one adder."""
    target = Target("t")
    assert finish(repeat(fire(8, Open(adder=20)), 2, target), target) == 20 + (8 + 20)


def test_what_waits_does_not_overlap() -> None:
    """A recurrence: fire 8, then 3 cycles to store what the next drive reads; nothing overlaps."""
    target = Target("t")
    body = joined(target, WAIT, Open(fetch=1), fire(8), Open(write=24))
    assert finish(repeat(body, 4, target), target) == 4 * (1 + 8 + 3)


def test_a_billion_rounds_take_no_time_to_count() -> None:
    target = Target("t")
    body = joined(target, Open(fetch=1), fire(64), Open(write=80))
    assert finish(repeat(body, 10**9, target), target) == 1 + 64 * 10**9 + 10
