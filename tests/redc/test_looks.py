"""Values that wait for those of later runs give the ranges that a look at every run gives."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from redc import looks
from redc.ranges import Range


@given(
    seed=st.integers(0, 2**32 - 1),
    runs=st.integers(1, 9),
    count=st.sampled_from([1, 2, 4]),
    axis=st.sampled_from([None, 0, 1, 2]),
    waiting=st.sampled_from([0, 700, 1 << 20]),
)
def test_one_look_at_many_runs_sees_what_many_looks_see(
    seed: int, runs: int, count: int, axis: int | None, waiting: int
) -> None:
    rng = np.random.default_rng(seed)
    # Quarters: their sums are exact in any order.
    values = [np.rint(rng.normal(0, 9, (4, 3, 5))).astype(np.float32) / 4 for _ in range(runs)]
    axes = {} if axis is None else {"t": axis}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(looks, "PENDING", waiting)
        together = looks.Looks(axes, (), "m", "")
        for value in values:
            together.add("t", value, count)
        found = together.ranges()["t"]
    wanted = Range.of(values[0], count, axis)
    for value in values[1:]:
        wanted = wanted.merge(Range.of(value, count, axis))
    np.testing.assert_array_equal(found.lows, wanted.lows)
    np.testing.assert_array_equal(found.highs, wanted.highs)
    np.testing.assert_array_equal(found.histogram.counts, wanted.histogram.counts)
    assert (found.histogram.exponent, found.histogram.zeros) == (
        wanted.histogram.exponent,
        wanted.histogram.zeros,
    )
    if axis is not None:
        assert found.channels is not None
        assert wanted.channels is not None
        for name in ("lows", "highs", "sums", "squares", "values", "exponents", "counts"):
            np.testing.assert_array_equal(getattr(found.channels, name), getattr(wanted.channels, name))
