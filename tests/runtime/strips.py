"""Random columns and lines for the kernel of `analog`, and what numpy makes of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from isa.program import Array
from runtime import noise, noisy, whole_products
from runtime.converted import convert
from runtime.counters import Losses
from runtime.noise import Words

ROWS = 7
"""Of the results."""


@dataclass(frozen=True)
class RandomStrip:
    """cells [columns, lines], lines [lines, planes, iterations]; the rest as in `convert_noisy`."""

    cells: Array
    lines: Array
    moments: Words
    places: Words
    factors: Array
    rows: Array
    ranges: list[tuple[int, int, int]]
    lsb: int
    sigma: int

    def converted(self) -> tuple[Array, Losses]:
        """By the kernel, in chunks of 8 columns."""
        count = len(self.places)
        lanes = whole_products.shape(noisy.host())[0]
        width = -(-self.moments.shape[1] // lanes) * lanes
        lines = np.zeros((*self.lines.shape[:2], width), self.cells.dtype)
        lines[:, :, : self.lines.shape[2]] = self.lines
        found = np.zeros((ROWS, width))
        columns = noisy.columns_of(self.places, self.factors, self.rows)
        assert count == len(columns)
        driven = whole_products.packed(lines.reshape(len(lines), -1), noisy.host())
        losses = noisy.convert_noisy(
            self.cells, driven, self.moments, columns, self.ranges, self.lsb, self.sigma, 8, found
        )
        return found[:, : self.lines.shape[2]], losses


def random_strip(kind: type, lsb: int, sigma: int) -> RandomStrip:
    """Sums of up to 24 bits with either sign, ties among them; a number of iterations and columns
    that fills no register."""
    rng = np.random.default_rng(lsb + sigma)
    columns, lines, planes, iterations = 39, 70, 3, 37
    cells = np.zeros((columns + 1, lines), kind)
    cells[:columns] = rng.integers(-16, 16, (columns, lines)) * 2048
    digits = rng.integers(0, 8, (lines, planes, iterations))
    digits[1:, :, ::3] = 0  # small sums, ties
    return RandomStrip(
        cells,
        digits,
        noise.hashed_range(lsb, range(planes * iterations)).reshape(planes, iterations),
        noise.hashed_range(sigma, range(columns)),
        rng.integers(-64, 65, columns),
        rng.integers(0, ROWS, columns),
        [(-8, 7, 1), (0, 1023, 2), (-200, 200, -4)],
        lsb,
        sigma,
    )


def assert_converted(strip: RandomStrip, found: Array, losses: Losses) -> None:
    """As numpy has it."""
    count = len(strip.places)
    sums = np.einsum("cl,lpi->cpi", strip.cells[:count].astype(np.int64), strip.lines)
    sums += noise.scaled(strip.sigma, noise.met(strip.moments, strip.places[:, None, None]))
    wanted, lost = np.zeros(found.shape, np.int64), Losses()
    for plane, (low, high, weight) in enumerate(strip.ranges):
        values, one = convert(sums[:, plane], strip.lsb * noise.UNIT, low, high)
        lost += one
        np.add.at(wanted, strip.rows, weight * (values // noise.UNIT) * strip.factors[:, None])
    assert losses == lost
    assert min(lost.saturated, lost.rounded) > 0
    np.testing.assert_array_equal(found, wanted)
