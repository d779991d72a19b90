"""The rounds of one `fire` in a loop nest: what its conversions make of its products.

A sum that the fast engine evaluates is exact; a product that passes through converters may differ
from it.  `Rounds` finds the difference for a chunk of iterations at a time, for all products of
a fire at once, and keeps it for every sum that asks; each conversion counts once, whoever asks
and whether anybody does.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from isa.program import Array, Matrix, Program
from runtime.counters import Losses
from runtime.gather import Iterations, Rows, Sources
from runtime.lines import Lines
from runtime.symbols import Fire, Linear, Product

CHUNK_BYTES = 16 << 20
"""Working memory of one conversion: iterations are taken so many at a time."""
KEPT_BYTES = 256 << 20
"""Differences of one fire that are kept; past that only the last chunk is, and sums that walk
through the iterations one after another make each pay for itself."""

Seats = Mapping[Matrix, int]
"""Where the product of a column band stands among those of its fire: its first column."""


class Converter(Protocol):
    """What conversions do to the products of one fire.

    cost   bytes per iteration while it works
    dtype  of the differences
    """

    cost: int
    dtype: np.dtype[np.generic]

    def __call__(self, lines: Array, first: int, differences: Array) -> Losses:
        """Add to `differences` [iterations, columns] what the products differ from the exact ones.

        lines  [iterations, width] of `Lines`; the first belongs to iteration `first` of the fire
        """
        ...


class ConverterMaker(Protocol):
    """Makes the converters of a fidelity.  Tiles of lines are padded to a multiple of `align`."""

    align: int

    def __call__(self, program: Program, fire: Fire, lines: Lines, seats: Seats) -> Converter | None:
        """The converter of one fire, which enters its tiles in `lines`; None if it never loses anything."""
        ...


class Rounds:
    """One fire of a nest, in all of its iterations."""

    def __init__(self, program: Program, fire: Fire, make: ConverterMaker) -> None:
        crossbar = program.crossbars[fire.group]
        bands = [Matrix(fire.group, index, b) for index in fire.driven for b in range(crossbar.column_bands)]
        self.fire = fire
        self.seats: Seats = {matrix: seat * crossbar.columns for seat, matrix in enumerate(bands)}
        self.columns = len(bands) * crossbar.columns
        self.count = math.prod(loop.count for loop in fire.loops)
        self.lines = Lines(
            program, fire, Iterations(fire.loops, np.arange(self.count, dtype=np.intp)), make.align
        )
        self.converter = make(program, fire, self.lines, self.seats)
        if self.converter is not None:
            bytes_ = self.columns * self.converter.dtype.itemsize
            self.keep = self.count * bytes_ <= KEPT_BYTES
            self.size = max(1, CHUNK_BYTES // (bytes_ + self.converter.cost))
            self.chunks: dict[int, Array] = {}
            self.counted: set[int] = set()
            self.losses = Losses()

    @property
    def lossless(self) -> bool:
        return self.converter is None

    def differences(self, sources: Sources, rows: Rows) -> Array:
        """[rows, columns]; `rows` are iterations of the fire, in ascending order."""
        first, last = int(rows[0]) // self.size, int(rows[-1]) // self.size
        if first == last:
            chunk, local = self._chunk(sources, first), rows - first * self.size
            if local[-1] - local[0] + 1 == len(local) and (np.diff(local) == 1).all():
                return chunk[local[0] : local[-1] + 1]
            return chunk[local]
        edges = np.searchsorted(rows, np.arange(first, last + 2) * self.size)
        pieces = [rows[a:b] for a, b in itertools.pairwise(edges) if a < b]
        return np.concatenate([self.differences(sources, piece) for piece in pieces])

    def _chunk(self, sources: Sources, number: int) -> Array:
        found = self.chunks.get(number)
        if found is None:
            found = self._convert(sources, number)
            if not self.keep:
                self.chunks.clear()
            self.chunks[number] = found
        return found

    def _convert(self, sources: Sources, number: int) -> Array:
        assert self.converter is not None
        start, stop = number * self.size, min(self.count, (number + 1) * self.size)
        found = np.zeros((stop - start, self.columns), self.converter.dtype)
        losses = self.converter(self.lines(sources, start, stop), start, found)
        if number not in self.counted:
            self.counted.add(number)
            self.losses += losses
        return found

    def finish(self, sources: Sources) -> Losses:
        """What all conversions lost; those that no sum asked for are made now.  Forgets everything."""
        if self.converter is None:
            return Losses()
        for number in range(-(-self.count // self.size)):
            if number not in self.counted:
                self._convert(sources, number)
        losses, self.losses = self.losses, Losses()
        self.chunks.clear()
        self.counted.clear()
        return losses


class Differences:
    """The differences of the products in some sums, side by side.

    cost  bytes per iteration while it works
    """

    def __init__(
        self, iterations: Iterations, values: Sequence[Linear], length: int, rounds: Sequence[Rounds]
    ) -> None:
        self.iterations, self.width, self.length = iterations, len(values) * length, length
        self.terms: list[tuple[Rounds, int, list[tuple[int, int]]]] = []
        total = math.prod(loop.count for loop in iterations.loops)
        users: dict[int, list[tuple[int, Product]]] = {}
        for slot, value in enumerate(values):
            for product in value.products:
                users.setdefault(product.fire, []).append((slot, product))
        for number, terms in users.items():
            fire = rounds[number]
            if not fire.lossless:
                places = [(slot * length, fire.seats[product.matrix]) for slot, product in terms]
                self.terms.append((fire, total // max(1, fire.count), places))
        self.cost = self.width * 8 if self.terms else 0

    def __bool__(self) -> bool:
        return bool(self.terms)

    def __call__(self, sources: Sources, start: int, stop: int) -> Array:
        """int64 [iterations, width]"""
        total = np.zeros((stop - start, self.width), np.int64)
        for rounds, inner, places in self.terms:
            found = rounds.differences(sources, self.iterations.numbers[start:stop] // inner)
            for column, seat in places:
                total[:, column : column + self.length] += found[:, seat : seat + self.length]
        return total
