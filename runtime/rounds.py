"""The rounds of one `fire` in a loop nest: what its conversions make of its products.

A sum that the fast engine evaluates is exact; a product that passes through converters may differ
from it.  `Rounds` finds the difference for a chunk of iterations at a time, for all products of
a fire at once, and keeps it for every sum that asks; each conversion counts once, whoever asks
and whether anybody does.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from isa.program import Array, Matrix, Program
from runtime.counters import Losses
from runtime.gather import Iterations, Rows, Sources
from runtime.lines import Lines
from runtime.symbols import Fire, Formulas, Linear, sums_in

CHUNK_BYTES = 16 << 20
"""Working memory of one conversion: iterations are taken so many at a time."""
VECTORS = 64
"""Iterations of which kernels leave no lane idle."""
KEPT_BYTES = 256 << 20
"""Differences of one fire that are kept; past that only the last chunk is, and sums that walk
through the iterations one after another make each pay for itself."""

Seats = Mapping[Matrix, int]
"""Where the product of a column band stands among those of its fire: its first column.  Products
that the same sums add up share their seat, for there they are only ever wanted together."""


class Converter(Protocol):
    """What conversions do to the products of one fire.

    cost     bytes per iteration while it works
    bound    no difference exceeds it in magnitude
    dtype    of the differences
    padding  columns past the last that it may read and write back unchanged
    """

    cost: int
    bound: int
    padding: int
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


def seats_of(program: Program, formulas: Formulas) -> list[Seats]:
    """The seats of each fire's products, in the order in which sums first name them."""
    users: list[dict[Matrix, list[int]]] = [{} for _ in formulas.fires]
    known: dict[Linear, int] = {}
    for store in (store for block in formulas.blocks for store in block.stores):
        for value in sums_in(store.value):
            if value not in known:
                known[value] = len(known)
                for product in value.products:
                    users[product.fire].setdefault(product.matrix, []).append(known[value])
    found: list[Seats] = []
    for fire, used in zip(formulas.fires, users, strict=True):
        crossbar = program.crossbars[fire.group]
        bands = [Matrix(fire.group, index, b) for index in fire.driven for b in range(crossbar.column_bands)]
        shared: dict[tuple[int, ...], int] = {}
        for matrix in [*used, *bands]:
            shared.setdefault(tuple(used.get(matrix, ())), len(shared))
        found.append({m: shared[tuple(used.get(m, ()))] * crossbar.columns for m in bands})
    return found


class Rounds:
    """One fire of a nest, in all of its iterations."""

    def __init__(self, program: Program, fire: Fire, seats: Seats, make: ConverterMaker) -> None:
        self.fire, self.seats = fire, seats
        self.columns = max(seats.values()) + program.crossbars[fire.group].columns
        self.count = math.prod(loop.count for loop in fire.loops)
        self.lines = Lines(
            program, fire, Iterations(fire.loops, np.arange(self.count, dtype=np.intp)), make.align
        )
        self.converter = make(program, fire, self.lines, self.seats)
        if self.converter is not None:
            bytes_ = (self.columns + self.converter.padding) * self.converter.dtype.itemsize
            self.keep = self.count * bytes_ <= KEPT_BYTES
            self.size = _rounded(max(1, CHUNK_BYTES // (bytes_ + self.converter.cost)))
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
        found = np.zeros((stop - start, self.columns + self.converter.padding), self.converter.dtype)
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


def _rounded(size: int) -> int:
    """Down to full vectors of all cores, if there are some."""
    return size // VECTORS * VECTORS or size


class Differences:
    """The differences of the products in some sums, side by side.

    cost   bytes per iteration while it works
    dtype  of what a call gives, and `bound` its largest magnitude where that is int32
    """

    def __init__(
        self, iterations: Iterations, values: Sequence[Linear], length: int, rounds: Sequence[Rounds]
    ) -> None:
        self.iterations, self.width, self.length = iterations, len(values) * length, length
        self.terms: list[tuple[Rounds, int, list[_Place]]] = []
        total = math.prod(loop.count for loop in iterations.loops)
        users: dict[int, Counter[tuple[int, int]]] = {}
        shared = {number: Counter(fire.seats.values()) for number, fire in enumerate(rounds)}
        for slot, value in enumerate(values):
            for product in value.products:
                seat = (slot * length, rounds[product.fire].seats[product.matrix])
                users.setdefault(product.fire, Counter())[seat] += 1
        for number, counted in users.items():
            fire = rounds[number]
            if not fire.lossless:
                places = [(column, seat, n // shared[number][seat]) for (column, seat), n in counted.items()]
                self.terms.append((fire, total // max(1, fire.count), places))
        self.cost = self.width * 8 if self.terms else 0
        self.first = self._alone()
        used = [fire.converter for fire, _, _ in self.terms if fire.converter]
        self.bound = sum(converter.bound for converter in used)
        self.dtype = used[0].dtype if self.first is not None else np.dtype(np.int64)

    def _alone(self) -> int | None:
        """The first seat, where the sums take neighbouring seats of one fire, each once."""
        if len(self.terms) != 1:
            return None
        places = self.terms[0][2]
        first = places[0][1]
        wanted = [(slot * self.length, first + slot * self.length, 1) for slot in range(len(places))]
        return first if len(places) * self.length == self.width and places == wanted else None

    def __bool__(self) -> bool:
        return bool(self.terms)

    def __call__(self, sources: Sources, start: int, stop: int) -> Array:
        """[iterations, width] of `dtype`; not to be written to."""
        numbers = self.iterations.numbers[start:stop]
        if self.first is not None:
            rounds, inner, _ = self.terms[0]
            return rounds.differences(sources, numbers // inner)[:, self.first : self.first + self.width]
        total = np.zeros((stop - start, self.width), np.int64)
        for rounds, inner, places in self.terms:
            found = rounds.differences(sources, numbers // inner)
            for column, seat, times in places:
                total[:, column : column + self.length] += times * found[:, seat : seat + self.length]
        return total


_Place = tuple[int, int, int]
"""A column of the sums, the seat of a product that goes there, and how often."""
