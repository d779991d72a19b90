"""The window monoid says what a clock that runs would say."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from isa.instructions import Unit
from isa.program import Target
from runtime.clock import UNITS, Clock
from runtime.timing import Fragment, Open, finish, fire, join, repeat

TARGETS = st.builds(
    Target,
    name=st.just("t"),
    adders=st.integers(1, 4),
    vector=st.integers(1, 3),
    read=st.integers(1, 3),
    write=st.integers(1, 3),
    fetch=st.none() | st.integers(1, 5),
)
ISSUES = st.tuples(st.sampled_from([u for u in Unit if u is not Unit.ARRAY]), st.integers(1, 9))
FIRES = st.tuples(st.just(Unit.ARRAY), st.integers(1, 20))
CODE = st.recursive(
    st.lists(ISSUES | FIRES, max_size=4),
    lambda inner: st.lists(ISSUES | FIRES | st.tuples(st.integers(1, 5), inner), max_size=4),
    max_leaves=6,
)


def fragment(code: list, target: Target) -> Fragment:  # type: ignore[type-arg] # nested lists
    result: Fragment = Open()
    for what, amount in code:
        if isinstance(what, int):
            part = repeat(fragment(amount, target), what, target)
        elif what is Unit.ARRAY:
            part = fire(amount)
        else:
            part = Open.of(what, amount)
        result = join(result, part, target)
    return result


def run(code: list, clock: Clock) -> None:  # type: ignore[type-arg] # nested lists
    for what, amount in code:
        if isinstance(what, int):
            for _ in range(what):
                run(amount, clock)
        elif what is Unit.ARRAY:
            clock.fire(amount)
        else:
            clock.busy[UNITS.index(what)] += amount


@given(CODE, TARGETS)
def test_closed_form_equals_a_clock_that_runs(code: list, target: Target) -> None:  # type: ignore[type-arg]
    clock = Clock(target)
    clock.start()
    run(code, clock)
    clock.drain()
    assert finish(fragment(code, target), target) == clock.cycles


@given(st.lists(CODE, min_size=3, max_size=3), TARGETS)
def test_join_is_associative_with_open_as_neutral_element(codes: list, target: Target) -> None:  # type: ignore[type-arg]
    a, b, c = (fragment(code, target) for code in codes)
    left = join(join(a, b, target), c, target)
    assert left == join(a, join(b, c, target), target)
    assert join(Open(), a, target) == a == join(a, Open(), target)


@given(CODE, st.integers(1, 6), TARGETS)
def test_repeat_is_a_power_of_join(code: list, count: int, target: Target) -> None:  # type: ignore[type-arg]
    one = fragment(code, target)
    assert repeat(one, count, target) == functools.reduce(lambda a, b: join(a, b, target), [one] * count)


def test_units_run_side_by_side_and_next_to_the_fire() -> None:
    """Two rounds by hand: 3 adds at 2 a cycle, 5 stores at 1, fires of 4 cycles."""
    target = Target("t", adders=2)
    parts: list[Fragment] = [Open(driver=1), fire(4), Open(adder=3), Open(write=5)]
    body = functools.reduce(lambda a, b: join(a, b, target), parts)
    # window 0: the drives, 1 cycle.  Then max(fire 4, stores 5); the end: fire 4, then stores 5.
    assert finish(repeat(body, 2, target), target) == 1 + 5 + (4 + 5)


def test_a_window_lasts_until_its_drives_are_fetched() -> None:
    """Two rounds that fetch 36 bits each at 1 a cycle, under fires of 32: 36, then 36, then 32."""
    target = Target("t", fetch=1)
    body = functools.reduce(lambda a, b: join(a, b, target), [Open(driver=36), fire(32)])
    assert finish(repeat(body, 2, target), target) == 36 + 36 + 32
    free = Target("t")
    body = functools.reduce(lambda a, b: join(a, b, free), [Open(driver=36), fire(32)])
    assert finish(repeat(body, 2, free), free) == 1 + 32 + 32


def test_a_billion_rounds_take_no_time_to_count() -> None:
    target = Target("t")
    body = join(join(Open(driver=1), fire(64), target), Open(write=10), target)
    assert finish(repeat(body, 10**9, target), target) == 1 + 64 * 10**9 + 10


def test_a_fire_is_no_slot() -> None:
    with pytest.raises(ValueError, match="closes a window"):
        Open.of(Unit.ARRAY)
    assert np.array_equal(sorted(map(UNITS.index, UNITS)), range(len(UNITS)))
