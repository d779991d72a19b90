"""Adding through a strided view is adding row by row."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from runtime.strided import Grid


@st.composite
def addresses(draw: st.DrawFn) -> tuple[np.ndarray, int]:  # type: ignore[type-arg]
    """Rows that an address names in a loop nest, -1 outside its buffer; and the buffer's rows."""
    rank = draw(st.integers(1, 3))
    counts = [draw(st.integers(1, 4)) for _ in range(rank)]
    sizes = [draw(st.integers(1, 9)) for _ in range(rank)]
    rows, valid = np.zeros(counts, np.intp), np.ones(counts, bool)
    for axis, (count, size) in enumerate(zip(counts, sizes, strict=True)):
        line = draw(st.integers(-3, 3)) * np.arange(count) + draw(st.integers(-3, 9))
        line = line.reshape([-1] + [1] * (rank - 1 - axis))
        rows, valid = rows * size + line, valid & (line >= 0) & (line < size)
    return np.where(valid, rows, -1), int(np.prod(sizes))


@given(addresses(), st.integers(1, 3), st.data())
def test_a_grid_adds_what_row_by_row_adding_adds(case: tuple, vector: int, data: st.DataObject) -> None:  # type: ignore[type-arg]
    rows, size = case
    inside = rows[rows >= 0]
    grid = Grid.of(rows)
    if grid is None:
        assert len(np.unique(inside)) < len(inside)  # a row is named twice
        return
    rng = np.random.default_rng(0)
    value = rng.integers(-9, 9, (*rows.shape, vector))
    expected = np.zeros((size, vector), np.int64)
    np.add.at(expected, inside, value[rows >= 0])
    found = np.zeros((size, vector), np.int64)
    outer = data.draw(st.integers(0, rows.ndim - 1))
    cut = data.draw(st.integers(0, rows.shape[outer]))
    for index in np.ndindex(*rows.shape[:outer]):
        grid.at(index).add(found, value[index][:cut], 0)
        grid.at(index).add(found, value[index][cut:], cut)
    assert np.array_equal(found, expected)


def test_rows_on_no_grid_are_refused() -> None:
    assert Grid.of(np.array([0, 1, 3])) is None
    assert Grid.of(np.array([0, -1, 2])) is None
    assert Grid.of(np.array([[0, 1], [2, 0]])) is None
