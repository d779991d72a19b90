"""Strips converted by the kernels, iterations shared out among the cores."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from isa.program import Array
from runtime.counters import Losses
from runtime.noise import Words
from runtime.noisy import columns_of, convert_noisy
from runtime.sampled_tiles import TALL, Strip, starts_of
from runtime.threads import CORES, spread
from runtime.whole_products import packed, product

BLOCK_BYTES = 1 << 18
"""Sums that are formed before they are converted: they stay in a core's own cache."""
TOGETHER = 16
"""Blocks of sums whose hashes begin together: what numpy does for them is small and costs calls."""
LANES = 16
"""Iterations are shared out in multiples of it."""


def multiplied(cells: Array, factor: Array) -> Array:
    """cells @ factor: float32 [rows, columns], rows a multiple of TALL."""
    blocks = packed(factor)
    found = np.empty((len(cells), blocks.shape[0] * blocks.shape[2]), np.float32)
    product(cells, blocks, found)
    return found[:, : factor.shape[1]]


def convert_strip(
    strip: Strip,
    driven: Array,
    now: Words,
    ranges: Sequence[tuple[int, int, int]],
    sigma: int,
    results: Array,
) -> Losses:
    """Add what a strip's conversions come to, in level steps, to `results`: float64 [rows, iterations].

    driven  int64 [lines, planes, iterations]
    now     uint64 [iterations]: the hashes of their rounds
    ranges  lowest code, highest code and weight of each plane
    """
    lines, planes, iterations = driven.shape
    groups = -(-iterations // LANES)
    share = -(-groups // CORES) * LANES

    def part(start: int) -> Losses:
        count = min(iterations, start + share) - start
        width = -(-count // LANES) * LANES
        digits = np.zeros((lines, planes, width), np.float32)
        digits[:, :, :count] = driven[:, :, start : start + count]
        hashes = np.zeros(width, np.uint64)
        hashes[:count] = now[start : start + count]
        factor = packed(digits.reshape(lines, -1))
        width_of_sums = factor.shape[0] * factor.shape[2]
        tall = max(1, BLOCK_BYTES // (4 * width_of_sums * TALL)) * TALL
        sums = np.empty((min(tall, len(strip.cells)), width_of_sums), np.float32)
        found = np.zeros((len(results), width))
        losses = Losses()
        for first in range(0, len(strip.rows), tall * TOGETHER):
            span = slice(first, first + tall * TOGETHER)
            segments = strip.segments[span]
            parts = strip.parts[segments[0] : segments[-1] + 1]
            starts = starts_of(parts, planes, hashes) if sigma else hashes[None, None]
            columns = columns_of(
                segments - segments[0], strip.words[span], strip.factors[span], strip.rows[span]
            )
            for row in range(0, len(columns), tall):
                product(strip.cells[first + row : first + row + tall], factor, sums)
                block = columns[row : row + tall]
                losses += convert_noisy(sums, starts, block, ranges, strip.lsb, sigma, count, found)
        results[:, start : start + count] += found[:, :count]
        return losses

    return sum(spread(part, range(0, iterations, share)), Losses())
