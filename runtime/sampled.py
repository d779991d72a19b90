"""Fast conversions of `analog`: sums of conductances as matrix products, noise by hashes.

Every conversion of a fire is made here, for many iterations at a time.  Sums are whole numbers
that float32 holds exactly (or float64, or int64), so the order of adding does not matter.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from isa.cells import code_range, digits_of
from isa.program import Array
from runtime.analog import MOMENT, AnalogGroup
from runtime.converted import convert
from runtime.counters import Losses
from runtime.crossbar import F64_SAFE
from runtime.lines import Lines
from runtime.lossy import places
from runtime.noise import UNIT, Words, added, hashed, met, mixed, scaled
from runtime.rounds import Seats
from runtime.sampled_tiles import Member, Shared, Strip, Tile, tile_of
from runtime.symbols import Fire

BLOCK_BYTES = 1 << 20
"""Sums that are formed before they are converted: they stay in a processor's cache."""


class Kernels(Protocol):
    """`runtime.noisy_strips`."""

    def converts(self, strip: Strip, ranges: Sequence[tuple[int, int, int]], sigma: int) -> bool: ...

    def convert_strip(
        self,
        strip: Strip,
        driven: Array,
        moments: Words,
        ranges: Sequence[tuple[int, int, int]],
        sigma: int,
        results: Array,
    ) -> Losses: ...

    def multiplied(self, cells: Array, factor: Array) -> Array: ...


class SampledConverter:
    """See `runtime.rounds.Converter`.  Without `kernels` numpy does it."""

    padding = 0
    dtype: np.dtype[np.generic] = np.dtype(np.int64)

    def __init__(
        self,
        group: AnalogGroup,
        layer: int,
        fire: Fire,
        lines: Lines,
        seats: Seats,
        kernels: Kernels | None,
    ) -> None:
        self.fire, self.starts = fire, lines.starts
        self.target, self.planes = group.target, group.steps
        self.sigma = group.sample.device.read_noise
        self.start = hashed(group.sample.seed, MOMENT, layer)
        found: dict[int, list[Member]] = {}
        for index, driven in fire.driven.items():
            for columns in group.columns_read(group.flat(index), [band for band, _ in driven]):
                tile = lines.tile(index, columns.array)
                found.setdefault(tile, []).append((columns, places(group.crossbar, index, columns, seats)))
        group.forget()
        self.tiles = [tile_of(number, group, members) for number, members in found.items()]
        self.columns = max(seats.values()) + group.crossbar.columns
        self.references = max(map(len, found.values()), default=0)
        self.bound = self._bound()
        self.kernels = kernels if self.bound < F64_SAFE else None
        tall = max((tile.weights.shape[1] for tile in self.tiles), default=0)
        self.cost = 2 * lines.width + 24 * tall * len(self.planes) + 16 * (self.columns + self.references)

    def _bound(self) -> int:
        """No difference of a product exceeds it in magnitude."""
        total, most = np.zeros(self.columns), 0
        for tile in self.tiles:
            np.add.at(total, tile.strip.rows, np.abs(tile.strip.factors).astype(np.float64))
            if tile.references is not None:
                _, seats, factors, _ = tile.shared
                np.add.at(total, seats, np.abs(factors).astype(np.float64))
            for strip in filter(None, (tile.strip, tile.references)):
                most = max(most, strip.most)
        largest = (most + 9 * self.sigma) / UNIT + 2 * self.target.lsb
        weight = sum(abs(plane.weight) for plane in self.planes)
        return 2 * int(float(total.max(initial=0)) * weight * largest + 1)

    def __call__(self, lines: Array, first: int, differences: Array) -> Losses:
        count = len(lines)
        moments = self._moments(first, count)
        kind = np.int64 if self.kernels is None else np.float64
        products = np.zeros((self.columns, count), kind)
        losses = Losses()
        for tile in self.tiles:
            span = slice(self.starts[tile.number], self.starts[tile.number] + tile.weights.shape[1])
            here = lines[:, span].T.astype(np.int64)
            driven = digits_of(here, self.planes).swapaxes(0, 1)
            losses += self._convert(tile.strip, driven, moments, products)
            if tile.references is not None:
                counts = np.zeros((len(tile.references.rows), count), kind)
                losses += self._convert(tile.references, driven, moments, counts)
                _add(products, tile.shared, counts)
            products[tile.seats] -= self._ideal(tile, here).astype(kind, copy=False)
        differences += products.T.astype(np.int64)
        return losses

    def _ideal(self, tile: Tile, lines: Array) -> Array:
        """The products without converters: [seats, iterations]; `lines` are [lines, iterations]."""
        factor = lines.astype(tile.weights.dtype)
        if self.kernels is None or factor.dtype != np.float32:
            found: Array = tile.weights[: len(tile.seats)] @ factor
            return found
        return self.kernels.multiplied(tile.weights, factor)[: len(tile.seats)]

    def _moments(self, first: int, count: int) -> Words:
        """The hashes of when planes are read: [planes, iterations]."""
        counts = [loop.count for loop in self.fire.loops]
        places = np.unravel_index(np.arange(first, first + count), counts)
        rounds = np.full(count, self.fire.number)
        for loop, place, step in zip(self.fire.loops, places, self.fire.steps, strict=True):
            rounds += (loop.first + place) * step
        fires = mixed(np.uint64(self.start) + added(rounds))
        return mixed(fires + added(range(len(self.planes)))[:, None])

    def _convert(self, strip: Strip, driven: Array, moments: Words, results: Array) -> Losses:
        """Add what a strip's conversions come to.

        driven   int64 [lines, planes, iterations]
        moments  [planes, iterations]
        results  [rows, iterations], in level steps
        """
        ranges = [(*code_range(self.target, plane), plane.weight) for plane in self.planes]
        if self.kernels is not None and self.kernels.converts(strip, ranges, self.sigma):
            return self.kernels.convert_strip(strip, driven, moments, ranges, self.sigma, results)
        return self._plainly(strip, driven, moments, results)

    def _plainly(self, strip: Strip, driven: Array, moments: Words, results: Array) -> Losses:
        """In numpy, for sums of any size."""
        _, planes, count = driven.shape
        lines = driven.reshape(len(driven), -1).astype(strip.kind)
        tall = max(1, BLOCK_BYTES // (8 * planes * count))
        losses = Losses()
        for start in range(0, len(strip.rows), tall):
            block = slice(start, min(len(strip.rows), start + tall))
            cells = strip.cells[block, : len(driven)].astype(strip.kind, copy=False)
            sums = (cells @ lines).astype(np.int64).reshape(-1, planes, count)
            if self.sigma:
                sums += scaled(self.sigma, met(moments, strip.places[block, None, None]))
            total = np.zeros((len(sums), count), np.int64)
            for number, plane in enumerate(self.planes):
                values, lost = convert(sums[:, number], strip.lsb * UNIT, *code_range(self.target, plane))
                total += plane.weight * (values // UNIT)
                losses += lost
            worth = (total * strip.factors[block, None]).astype(results.dtype)
            np.add.at(results, strip.rows[block], worth)
        return losses


def _add(products: Array, shared: Shared, counts: Array) -> None:
    """What the counts of references are worth in the products."""
    references, seats, factors, edges = shared
    worth = factors[:, None].astype(counts.dtype) * counts[references]
    if len(edges) < len(seats):
        worth = np.add.reduceat(worth, edges, axis=0)
    products[seats[edges]] += worth
