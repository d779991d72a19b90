"""Strips converted by the kernels, iterations shared out among the cores."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from isa.program import Array
from runtime.counters import Losses
from runtime.llvm import host
from runtime.noise import Words
from runtime.noisy import REACH, SIGMA_REACH, columns_of, convert_noisy
from runtime.sampled_tiles import TALL, Strip
from runtime.threads import CORES, spread
from runtime.whole_products import packed, product, shape

BLOCK_BYTES = 1 << 18
"""Lines, and sums that are formed before they are converted: they stay in a core's own cache."""

multiplied = product


def converts(strip: Strip, ranges: Sequence[tuple[int, int, int]], sigma: int) -> bool:
    """Whether the kernel's numbers hold a strip's sums, and what its columns come to."""
    reach = strip.most + 9 * sigma
    worth = sum(abs(weight) * min(max(high, -low), reach) for low, high, weight in ranges)
    narrow = strip.cells.dtype in (np.int16, np.float32)
    return narrow and sigma <= SIGMA_REACH and reach < REACH and strip.lsb * worth < 1 << 31


def convert_strip(
    strip: Strip,
    driven: Array,
    moments: Words,
    ranges: Sequence[tuple[int, int, int]],
    sigma: int,
    results: Array,
) -> Losses:
    """Add what a strip's conversions come to, in level steps, to `results`: float64 [rows, iterations].

    driven   int64 [lines, planes, iterations]
    moments  uint64 [planes, iterations]
    ranges   lowest code, highest code and weight of each plane
    """
    lines, planes, iterations = driven.shape
    columns = columns_of(strip.places, strip.factors, strip.rows)
    terms, bytes_ = strip.cells.shape[1], strip.cells.itemsize
    cpu = host()
    lanes, _ = shape(cpu)
    groups = -(-iterations // lanes)
    fitting = max(1, BLOCK_BYTES // (terms * planes * lanes * bytes_))
    share = min(-(-groups // CORES), fitting) * lanes

    def part(start: int) -> Losses:
        count = min(iterations, start + share) - start
        width = -(-count // lanes) * lanes
        digits = np.zeros((terms, planes, width), strip.cells.dtype)
        digits[:lines, :, :count] = driven[:, :, start : start + count]
        factor = packed(digits.reshape(terms, -1), cpu)
        tall = max(1, BLOCK_BYTES // (4 * factor.shape[0] * factor.shape[2] * TALL)) * TALL
        found = np.zeros((len(results), width))
        now = moments[:, start : start + count]
        losses = convert_noisy(strip.cells, factor, now, columns, ranges, strip.lsb, sigma, tall, found)
        results[:, start : start + count] += found[:, :count]
        return losses

    return sum(spread(part, range(0, iterations, share)), Losses())
