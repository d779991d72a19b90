"""Histograms: exact, whatever the order of what they counted; what the methods make of them."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import redc
from redc.histogram import BINS, Histogram
from redc.passes.scales import choose_codes
from redc.ranges import METHODS, Range
from tests.redc.layers import deconvolution, feed

floats = st.floats(-(2.0**100), 2.0**100, width=32)
parts = st.lists(st.lists(floats, min_size=1, max_size=20), min_size=1, max_size=4)


@given(parts)
def test_the_order_of_samples_does_not_matter(values):
    arrays = [np.array(v, np.float32) for v in values]
    whole = Histogram.of(np.concatenate(arrays))
    for order in itertools.permutations(arrays):
        merged = Histogram.of(order[0])
        for part in order[1:]:
            merged = merged.merge(Histogram.of(part))
        assert (merged.exponent, merged.zeros) == (whole.exponent, whole.zeros)
        np.testing.assert_array_equal(merged.counts, whole.counts)


@given(st.lists(floats, min_size=1, max_size=50))
def test_every_value_is_counted_in_its_bin(values):
    array = np.array(values, np.float32)
    found = Histogram.of(array)
    assert found.counts.sum() + found.zeros == array.size
    width = 2.0**found.exponent
    for k in np.flatnonzero(found.counts):
        inside = (array >= (k - BINS) * width) & (array < (k - BINS + 1) * width) & (array != 0)
        assert np.count_nonzero(inside) == found.counts[k]


def test_percentile_leaves_out_the_tails_and_min_max_nothing():
    values = np.random.default_rng(0).standard_normal((4, 50_000)).astype(np.float32)
    values[0, 0] = 1000
    seen = Range.of(values, 4)
    assert replace(seen, method="min-max").bounds(8)[1] == 1000
    low, high = replace(seen, method="percentile").bounds(8)
    outside = np.mean((values < low) | (values > high))
    assert 0 < outside < 2e-4


@pytest.mark.parametrize("bits", [4, 8])
def test_mse_errs_no_more_than_the_interval_it_starts_from(bits):
    """Measured on the very values, with real rounding and saturation."""
    rng = np.random.default_rng(1)
    values = np.maximum(rng.standard_t(3, (8, 20_000)), 0).astype(np.float32)
    seen = Range.of(values, 8)
    errors = {}
    for method in METHODS:
        codes = choose_codes(replace(seen, method=method), bits)
        rounded = np.clip(np.rint(values / codes.scale) + codes.zero, codes.low, codes.high)
        errors[method] = float(np.mean(((rounded - codes.zero) * codes.scale - values) ** 2))
    assert errors["mse"] <= 1.02 * errors["log-normal"]


@pytest.mark.parametrize("method", METHODS)
def test_every_method_compiles_to_what_the_oracle_finds(method):
    model = deconvolution((1, 3, 5, 5), (3, 4, 3, 3), activation="Relu", strides=[2, 2])
    report = redc.diff(model, inputs=feed(model), calibration=method)
    assert report.passed, report.table()


def test_an_unknown_method_says_which_there_are():
    model = deconvolution((1, 1, 2), (1, 1, 2))
    with pytest.raises(redc.UserError, match="unknown calibration 'best'"):
        redc.compile(model, calibration="best")


def test_one_odd_sample_of_many_may_be_lost_and_none_of_few():
    """A sample 10 times as large costs every other one 20 dB, or is lost itself."""
    for samples, odd, kept in ((8, 1, True), (16, 1, True), (200, 1, False), (200, 20, True)):
        values = np.random.default_rng(0).standard_normal((samples, 1000))
        values[3 : 3 + odd] *= 10
        seen = Range.of(values, samples)
        for bits in (8, 16):
            low, high = seen.bounds(bits)
            assert (max(-low, high) > 0.5 * seen.highs.max()) == kept, (samples, odd, bits)


def test_samples_that_are_all_there_is_leave_no_room_for_others():
    values = np.random.default_rng(0).standard_normal((6, 100))
    seen = Range.of(values, 6, axis=1)
    assert seen.bounds(16)[0] < 1.5 * values.min()
    own = seen.as_one()
    assert own.bounds(16) == (values.min(), values.max())
    np.testing.assert_allclose(own.reaches(16), np.abs(values).max(axis=0), rtol=1e-12)


def test_eight_bits_reach_little_further_than_what_was_seen():
    """Samples 1000 times apart in size: a new one is hardly larger than the largest of them."""
    values = np.random.default_rng(0).standard_normal((16, 100)) * np.logspace(-2, 1, 16)[:, None]
    seen = Range.of(values, 16)
    assert seen.bounds(8)[1] <= 1.25 * values.max() * (1 + 1e-12)
    assert seen.bounds(16)[1] > 2 * values.max()


def test_eight_bits_reach_as_far_as_serves_samples_that_were_left_out():
    """Samples that all end at one place need no room; those that grow by a twentieth each do."""
    values = np.random.default_rng(0).uniform(-1, 1, (8, 1000))
    values[:, :2] = -1, 1
    assert Range.of(values, 8).bounds(8) == (-1, 1)
    growing = Range.of(values * 1.05 ** np.arange(8)[:, None], 8)
    assert growing.bounds(8)[1] >= 1.05 * growing.highs.max()
