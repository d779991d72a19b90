"""What the verifier computes in closed form is what enumeration finds, or more."""

from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

import isa
from isa.analysis import affine_interval, instruction_sizes
from isa.program import Affine, Crossbar, IntType, walk
from isa.verifier.addresses import repetitions
from isa.verifier.products import ColumnSums, products_by_type

NAMES = ["a", "b", "c"]
affines = st.builds(
    Affine.of, st.dictionaries(st.sampled_from(NAMES), st.integers(-5, 5), max_size=3), st.integers(-9, 9)
)
loops = st.fixed_dictionaries(
    {n: st.tuples(st.integers(-3, 3), st.integers(0, 4)).map(lambda t: (t[0], t[0] + t[1])) for n in NAMES}
)


def values(affine: Affine, at: dict[str, int]) -> int:
    return affine.constant + sum(c * at[n] for n, c in affine.terms)


def points(bounds: dict[str, tuple[int, int]]) -> list[dict[str, int]]:
    spans = [range(first, last + 1) for first, last in bounds.values()]
    return [dict(zip(bounds, p, strict=True)) for p in itertools.product(*spans)]


@given(affines, loops)
def test_the_interval_of_an_address_is_exact(affine: Affine, bounds: dict[str, tuple[int, int]]) -> None:
    found = [values(affine, at) for at in points(bounds)]
    assert affine_interval(affine, bounds) == (min(found), max(found))


@settings(max_examples=300)
@given(st.lists(affines, min_size=1, max_size=3).map(tuple), loops)
def test_no_address_comes_up_more_often_than_counted(
    indices: tuple[Affine, ...], bounds: dict[str, tuple[int, int]]
) -> None:
    hits = Counter(tuple(values(e, at) for e in indices) for at in points(bounds))
    assert max(hits.values()) <= repetitions(indices, bounds)


def test_padding_free_visits_each_address_once() -> None:
    indices = (Affine.of({"a": 1}), Affine.of({"b": 2}, -1), Affine.of({"c": 2}, 1))
    assert repetitions(indices, {"a": (0, 7), "b": (0, 3), "c": (0, 3)}) == 1
    mixed = (Affine.of({"a": 1, "b": 4}), Affine.of({"c": 1, "b": 1}))
    assert repetitions(mixed, {"a": (0, 3), "b": (0, 9), "c": (0, 3)}) == 1


@st.composite
def driven(draw: st.DrawFn) -> tuple[Crossbar, np.ndarray, dict]:  # type: ignore[type-arg]
    groups = draw(st.integers(1, 2))
    x = Crossbar(
        "k", (2,), draw(st.integers(1, 2)), groups * draw(st.integers(1, 2)), draw(st.integers(1, 2)),
        groups * draw(st.integers(1, 2)), groups, IntType(True, 4), IntType(True, 8), "w", 0,
    )  # fmt: skip
    seed = draw(st.integers(0, 999))
    weights = np.random.default_rng(seed).integers(-7, 8, x.data_shape).astype(np.int8)
    bands = [((i,), b) for i in range(2) for b in range(x.row_bands)]
    chosen = draw(st.lists(st.sampled_from(bands), min_size=1, unique=True))
    ends = st.tuples(st.integers(-9, 0), st.integers(0, 9))
    return x, weights, {place: draw(ends) for place in chosen}


@settings(max_examples=200)
@given(driven())
def test_products_are_bounded_by_the_weights_and_the_bound_is_reached(case: tuple) -> None:  # type: ignore[type-arg]
    x, weights, drives = case
    found = ColumnSums(x, weights).products(drives)
    loose = products_by_type(x, drives)
    rows, columns = x.rows // x.groups, x.columns // x.groups
    for (index, band), (low, high) in found.items():
        best, worst = [], []
        for group, column in itertools.product(range(x.groups), range(columns)):
            top = bottom = 0
            for row_band in range(x.row_bands):
                small, large = drives.get((index, row_band), (0, 0))
                for row in range(rows):
                    weight = int(
                        weights[(*index, row_band * x.rows + group * rows + row, band * columns + column)]
                    )
                    top += max(small * weight, large * weight)
                    bottom += min(small * weight, large * weight)
            best.append(top)
            worst.append(bottom)
        assert (low, high) == (min(worst), max(best))
        assert loose[index, band][0] <= low <= high <= loose[index, band][1]


def test_wide_types_are_summed_exactly() -> None:
    x = Crossbar("k", (), 1, 3, 1, 1, 1, IntType(True, 60), IntType(True, 60), "w", 0)
    weights = np.array([[(1 << 59) - 1], [(1 << 59) - 1], [-(1 << 59)]], np.int64)
    ends = (-(1 << 59), (1 << 59) - 1)
    (interval,) = ColumnSums(x, weights).products({((), 0): ends}).values()
    assert interval[1] == 2 * ends[1] * ends[1] + ends[0] * ends[0]


def test_sizes_are_those_of_the_instructions() -> None:
    program = isa.load(Path(__file__).parents[1] / "golden" / "padding_free.red")
    isa.verify(program)
    sizes = instruction_sizes(program)
    found = {i.mnemonic: sizes[id(i)] for layer in program.layers for i in walk(layer.body)}
    assert (found["clear"].length, found["clear"].bits) == (9, 8)
    assert (found["drive"].length, found["drive"].bits) == (1, 4)
    assert found["fire"].firing.arrays == 3
    assert (found["sum"].terms, found["sum"].length) == (2, 1)
