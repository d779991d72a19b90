"""The statistics of cells and conversions, against the formulas of docs/fidelity.md.

Every test draws from fixed seeds, so it passes or fails for good.  Its bound is 5 standard errors
of what it measures: of all possible seeds one in 1.7 million would fail a single comparison, and
with some 130 comparisons here one set of seeds in 13,000.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

from isa.program import Array, Crossbar, IntType, Target
from runtime import noise
from runtime.analog import AnalogGroup, Sample, sampled
from tests.runtime.devices import device

ERRORS = 5
"""Standard errors."""

LEVELS: Array = np.tile(np.arange(4), (256, 64))  # 65536 cells, a quarter of each level


def cells(seed: int = 1, **effects: object) -> Array:
    """What LEVELS conduct, in level steps."""
    return sampled(LEVELS[None, None], Sample(device(2, **effects), seed), 0, 0)[0, 0] / noise.UNIT


def assert_normal(values: Array, mean: float, sigma: float, excess: float = 0) -> None:
    """Mean, variance, skewness and kurtosis are those of a normal distribution, but for the kurtosis'
    excess."""
    n, standard = values.size, (values - mean) / sigma
    assert abs(standard.mean()) < ERRORS / math.sqrt(n)
    assert abs((standard**2).mean() - 1) < ERRORS * math.sqrt(2 / n)
    assert abs((standard**3).mean()) < ERRORS * math.sqrt(15 / n)
    assert abs((standard**4).mean() - 3 - excess) < ERRORS * math.sqrt(96 / n)


@pytest.mark.parametrize("seed", [1, 2])
def test_programming_misses_by_the_sigma_of_the_level(seed: int) -> None:
    sigmas = (0.05, 0.1, 0.2, 0.4)
    found = cells(seed, normal=sigmas, leak=2.0)
    for level, sigma in enumerate(sigmas):
        assert_normal(found[level == LEVELS], level + 2, sigma)


def test_lognormal_cells_have_a_normal_logarithm() -> None:
    found = cells(lognormal=(0.1, 0.2, 0.3, 0.4), leak=100.0)
    for level in range(4):
        assert_normal(np.log2(found[level == LEVELS] / (level + 100)), 0, 0.1 * (level + 1))


def test_as_many_cells_stick_as_the_target_says() -> None:
    on, off, n = 0.0904, 0.0175, LEVELS.size
    found = cells(stuck_on=on, stuck_off=off)
    for share, end, here in ((on, 3, LEVELS < 3), (off, 0, LEVELS > 0)):
        stuck = np.count_nonzero(found[here] == end)
        n = np.count_nonzero(here)
        assert abs(stuck / n - share) < ERRORS * math.sqrt(share * (1 - share) / n)
    assert (found[(found != 3) & (found != 0)] == LEVELS[(found != 3) & (found != 0)]).all()


def test_drift_is_a_power_law_and_its_spread_that_of_the_exponent() -> None:
    """A day after t0 = 20 s, in the octaves that isa/device.py makes of it."""
    octaves = math.log2(86400 / 20)
    nu, spread = 0.049, 0.008
    still = cells(drift=nu * octaves, leak=1000.0)
    assert np.allclose(-np.log2(still / (LEVELS + 1000)) / octaves, nu, atol=1e-4)
    found = cells(drift=nu * octaves, drift_spread=spread * octaves, leak=1000.0)
    assert_normal(-np.log2(found / (LEVELS + 1000)) / octaves, nu, spread)


WIDE = Target("wide", cell=2, dac=1, adc=40, encoding="differential")


def group(rows: int, columns: int, seed: int, target: Target = WIDE, **effects: object) -> AnalogGroup:
    """A matrix of weights that grow from row to row."""
    crossbar = Crossbar("k", (), 1, rows, 1, columns, 1, IntType(True, 8), IntType(False, 8), "w", 0)
    weights = np.repeat(np.arange(rows) % 255 - 127, columns).astype(np.int8)
    return AnalogGroup(
        crossbar, target, weights.reshape(crossbar.data_shape), 0, Sample(device(2, **effects), seed)
    )


def test_a_column_s_error_has_the_variance_of_the_formula() -> None:
    """Sum over rows of x^2 (sigma^2 of the positive cell + sigma^2 of the negative one)."""
    sigmas = (0.05, 0.1, 0.2, 0.4)
    noisy = group(128, 4096, 3, normal=sigmas, leak=4.0)
    x = np.arange(128) % 7
    (columns,) = noisy.columns_read(0, [0])
    (array,) = noisy.arrays[0]
    ideal = array.levels[0] - array.levels[1]
    error = x @ (columns.sums[0] / noise.UNIT - ideal)  # [slices, columns]
    for k, errors in enumerate(error):
        variance = sum(
            float(x[r]) ** 2 * sum(sigmas[array.levels[q, k, r, 0]] ** 2 for q in range(2))
            for r in range(128)
        )
        assert_normal(errors, 0, math.sqrt(variance))


@pytest.mark.parametrize("encoding", ["differential", "offset"])
def test_read_noise_reaches_the_product_by_the_formula(encoding: str) -> None:
    """Per conversion sigma^2, and 1/12 for rounding to whole codes; a code is worth 2^(plane + 2 slice),
    that of the reference column 2^(plane + 7).  The lines carry 255: every plane's sum is far from 0."""
    sigma = 2.0
    target = WIDE if encoding == "differential" else Target("w", cell=2, dac=1, adc=40, encoding="offset")
    noisy = group(255, 2048, 4, target, read_noise=sigma)
    noisy.latched.fill(255)
    exact = 0  # weights from -127 to 127
    fire = noisy.round({0: [0]})
    one = sigma**2 + 1 / 12
    planes = sum(4**p for p in range(8))
    own = one * planes * sum(16**k for k in range(4))
    errors = []
    for number in range(8):
        noisy.latched.fill(255)
        fire(number)
        errors.append(noisy.products[0, 0] - exact)
    error = np.array(errors)
    if encoding == "offset":  # the columns of an array share their reference: one error for each fire
        shared = error.mean(axis=1)
        error = error - shared[:, None]
        bound = ERRORS * math.sqrt(2 / 8)
        assert abs((shared**2).mean() / (one * planes * 4**7) - 1) < bound
    assert_normal(error.ravel(), 0, math.sqrt(own))


def test_seeds_effects_arrays_rounds_and_layers_are_independent() -> None:
    """The correlation of n pairs has a standard error of 1 / sqrt(n)."""
    n = 1 << 16
    base = (1, 5, 0, 0, 0, 0, 0, 0)
    first = noise.normal(noise.hashed_range(noise.hashed(*base), range(n))).astype(np.float64)
    for position in range(len(base)):
        for step in (1, 2, 1 << 20):
            other = list(base)
            other[position] += step
            second = noise.normal(noise.hashed_range(noise.hashed(*other), range(n)))
            assert abs(np.corrcoef(first, second)[0, 1]) < ERRORS / math.sqrt(n)
    assert abs(np.corrcoef(first[1:], first[:-1])[0, 1]) < ERRORS / math.sqrt(n)


# ------------------------------------------------------------ the numbers themselves


def density() -> tuple[Array, Array]:
    """What `noise.normal` gives of hashes that are all alike likely, in sigmas, and how likely each is."""
    dithers, spread = len(noise.DITHERS), 1 << noise.DITHER_BITS
    found = np.zeros(63 * spread + 1)
    found[::spread] = [math.comb(63, k) / 2**63 for k in range(64)]
    for _ in range(dithers):
        found = np.convolve(found, np.full(spread, 1 / spread))
    return (2 * np.arange(len(found)) - noise.CENTRE) / (1 << noise.SIGMA_BITS), found


KURTOSIS = -0.03085938
"""In excess of a normal distribution's 3."""


def test_coins_and_dithers_are_normal_as_far_as_the_page_says() -> None:
    values, likely = density()
    assert abs(likely @ values) < 1e-9
    variance = likely @ values**2
    assert abs(variance - (1 - 2**-26)) < 1e-12
    assert abs(likely @ values**4 / variance**2 - 3 - KURTOSIS) < 1e-8
    normal = np.array([math.erfc(-(v + 2**-13) / math.sqrt(2)) / 2 for v in values])
    assert 0.00070 < np.abs(np.cumsum(likely) - normal).max() < 0.00071
    assert values[-1] == -values[0] == noise.CENTRE / 8192
    for sigmas, share in ((2, 0.996), (3, 0.924), (4, 0.734), (5, 0.42), (6, 0.13)):
        tail = likely[values >= sigmas].sum() / (math.erfc(sigmas / math.sqrt(2)) / 2)
        assert tail == pytest.approx(share, abs=0.004)


def conversions(seed: int, moments: int, places: int) -> Array:
    """The noise of one array's columns in moments one after the other, in sigmas: [moments, places]."""
    when = noise.hashed_range(noise.hashed(seed, 5, 0), range(moments))
    where = noise.hashed_range(noise.hashed(seed, 6, 0, 0, 0), range(places))
    return noise.normal(noise.met(when[:, None], where)) / (1 << noise.SIGMA_BITS)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_noise_is_alike_in_all_moments_and_places_and_independent(seed: int) -> None:
    """Moments of the whole; of the values and their squares: sums along either axis, neighbours, and
    the products of four that share two moments and two places."""
    found = conversions(seed, 1024, 2048)
    n = found.size
    assert_normal(found, 0, 1, KURTOSIS)
    fourth = 3 + KURTOSIS
    for values in (found, (found**2 - 1) / math.sqrt(fourth - 1)):
        for axis in (0, 1):
            sums = values.sum(axis=axis) / math.sqrt(values.shape[axis])
            assert abs((sums**2).mean() - 1) < ERRORS * math.sqrt(2.1 / sums.size)
            pairs = np.moveaxis(values, axis, 0)
            for step in (1, 2, 64):
                assert abs((pairs[step:] * pairs[:-step]).mean()) < ERRORS / math.sqrt(
                    n - step * n // len(pairs)
                )
        four = values[1:, 1:] * values[1:, :-1] * values[:-1, 1:] * values[:-1, :-1]
        spread = math.sqrt((four**2).mean())
        assert abs(four.mean()) < ERRORS * spread / math.sqrt(four.size)


@pytest.mark.parametrize("seed", [0, 1])
def test_noise_is_distributed_as_its_density(seed: int) -> None:
    """Kolmogorov and Smirnov's distance: of n samples it exceeds d with 2 exp(-2 n d^2), here 10^-6."""
    _, likely = density()
    found = conversions(seed, 1024, 2048)
    numbers = (found.ravel() * (1 << noise.SIGMA_BITS)).astype(np.int64) + noise.CENTRE >> 1
    share = np.bincount(numbers, minlength=len(likely)) / found.size
    assert np.abs(np.cumsum(share - likely)).max() < math.sqrt(math.log(2e6) / 2 / found.size)


def test_the_noise_of_many_moments_has_no_direction() -> None:
    """Were it of low rank, an eigenvalue would leave the range of Marchenko and Pastur: their edge plus
    12 times the width of its law (Tracy and Widom), which one in 10^12 exceeds by 10."""
    moments, places = 512, 2048
    for values in (found := conversions(3, moments, places), (found**2 - 1) / math.sqrt(2 + KURTOSIS)):
        ratio = math.sqrt(moments / places)
        width = (1 + ratio) * (1 / math.sqrt(moments) + 1 / math.sqrt(places)) ** (1 / 3) / math.sqrt(places)
        largest = np.linalg.eigvalsh(values @ values.T / places)[-1]
        assert abs(largest - (1 + ratio) ** 2) < 12 * width


def test_numbers_of_cells_one_after_the_other_are_independent() -> None:
    """Of one row's cells, whose hashes count on: values and squares, to 64 neighbours."""
    found = noise.normal(noise.hashed_range(noise.hashed(1, 1, 0, 0, 0, 0, 0), range(1 << 20))) / 8192
    assert_normal(found, 0, 1, KURTOSIS)
    for values in (found, (found**2 - 1) / math.sqrt(2 + KURTOSIS)):
        for step in (1, 2, 3, 8, 64):
            assert abs((values[step:] * values[:-step]).mean()) < ERRORS / math.sqrt(values.size - step)
