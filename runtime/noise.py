"""Random numbers that are hashes of what they are for, in whole numbers (docs/fidelity.md, "Analog").

The same numbers come out whoever asks, in whatever order, on whatever CPU.
"""

from __future__ import annotations

from math import isqrt

import numpy as np
import numpy.typing as npt

from isa.program import Array

Words = npt.NDArray[np.uint64]
Halves = npt.NDArray[np.uint32]

UNIT_BITS = 12
UNIT = 1 << UNIT_BITS
"""Conductances are whole multiples of 1 / UNIT of a level step, exponents of 1 / UNIT of an octave."""

GOLDEN = 0x9E3779B97F4A7C15
MIX = (30, 0xBF58476D1CE4E5B9, 27, 0x94D049BB133111EB, 31)
MASK = (1 << 64) - 1

HALF_MIX = (16, 0x7FEB352D, 15, 0x846CA68B, 16)
"""Of words of 32 bits: C. Wellons' lowbias32."""

DITHER_BITS = 10
DITHERS = (2, 12, 22)
"""Where in a word they begin."""
CENTRE = 63 * (1 << DITHER_BITS) + len(DITHERS) * ((1 << DITHER_BITS) - 1)
SIGMA_BITS = 13
"""63 coins and three dithers have a variance of 63 / 4 + 3 / 12 = 4^2 coins, less a 67 millionth."""

OCTAVE_BITS = 20


def _octave() -> list[int]:
    """rint(2^20 * 2^(k / 4096)), from whole numbers: twelve square roots of 2, then products."""
    guard = 200
    root = 2 << guard
    for _ in range(UNIT_BITS):
        root = isqrt(root << guard)
    table, power = [], 1 << guard
    for _ in range(UNIT):
        table.append((power >> guard - OCTAVE_BITS - 1) + 1 >> 1)
        power = power * root >> guard
    return table


OCTAVE: Array = np.array(_octave(), np.int64)


def hashed(*words: int, start: int = 0) -> int:
    """h(words), or h of the words that gave `start` followed by these."""
    z = start
    for word in words:
        z = (z + (word + 1) * GOLDEN) & MASK
        z = ((z ^ z >> MIX[0]) * MIX[1]) & MASK
        z = ((z ^ z >> MIX[2]) * MIX[3]) & MASK
        z ^= z >> MIX[4]
    return z


def hashed_range(starts: int | Words, words: range | Array) -> Words:
    """One more word for each of `starts`: [..., len(words)]."""
    return mixed(np.asarray(starts, np.uint64)[..., None] + added(words))


def added(words: range | Array) -> Words:
    """What a word adds before the hash is mixed."""
    found: Words = (np.asarray(words, np.uint64) + np.uint64(1)) * np.uint64(GOLDEN)
    return found


def mixed(z: Words) -> Words:
    """mix(z), in place."""
    for shift, factor in ((MIX[0], MIX[1]), (MIX[2], MIX[3])):
        z ^= z >> np.uint64(shift)
        z *= np.uint64(factor)
    z ^= z >> np.uint64(MIX[4])
    return z


def half_mixed(z: Halves) -> Halves:
    """m(z), in place."""
    for shift, factor in ((HALF_MIX[0], HALF_MIX[1]), (HALF_MIX[2], HALF_MIX[3])):
        z ^= z >> np.uint32(shift)
        z *= np.uint32(factor)
    z ^= z >> np.uint32(HALF_MIX[4])
    return z


def met(moments: Words | np.uint64, places: Words) -> Words:
    """The hashes of conversions at these moments in these places; the arguments broadcast."""
    both = moments ^ places
    low = half_mixed(both.astype(np.uint32))
    high = half_mixed(low ^ (both >> np.uint64(32)).astype(np.uint32))
    found: Words = low.astype(np.uint64) << np.uint64(32) | high
    return found


def normal(hashes: Words) -> Array:
    """Standard normal numbers, in units of 2^-13; int64."""
    total: Array = np.bitwise_count(hashes >> np.uint64(1)).astype(np.int64)
    total <<= DITHER_BITS
    word = half_mixed((hashes + (hashes >> np.uint64(32))).astype(np.uint32))
    for start in DITHERS:
        total += word >> np.uint32(start) & np.uint32((1 << DITHER_BITS) - 1)
    total *= 2
    total -= CENTRE
    return total


def scaled(sigma: Array | int, hashes: Words) -> Array:
    """noise(sigma, h): normal numbers of this standard deviation, rounded; int64."""
    total = normal(hashes)
    total *= sigma
    total += 1 << SIGMA_BITS - 1
    total >>= SIGMA_BITS
    return total


def scale(values: Array, exponents: Array) -> Array:
    """values * 2^(exponents / 4096), rounded half up; int64, exponents below 21 octaves."""
    shifts = np.clip(OCTAVE_BITS - (exponents >> UNIT_BITS), 0, 62)
    found: Array = (values * OCTAVE.take(exponents & UNIT - 1) + (1 << shifts >> 1)) >> shifts
    return found
