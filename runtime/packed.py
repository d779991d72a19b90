"""Fast conversions: lines and cells packed into words, for the kernel in `runtime/popcount.py`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from isa.cells import code_range
from isa.program import Array
from runtime.counters import Losses
from runtime.lines import Lines
from runtime.llvm import host
from runtime.lossy import Conversions, Reference, Strip
from runtime.packing import LINES, packing
from runtime.popcount import FIELDS, LANES, Form, kernel
from runtime.threads import CORES, spread

WORDS: dict[int, np.dtype[Any]] = {16: np.dtype(np.uint16), 32: np.dtype(np.uint32)}
RESULTS: dict[int, np.dtype[Any]] = {32: np.dtype(np.int32), 64: np.dtype(np.int64)}
SHARE = 1 << 22
"""Vectors of words that are worth a part of their own, a millisecond's work; a sixteenth of that
is not worth a second thread."""


def word_for(todo: Conversions) -> int | None:
    """The narrowest lanes that hold all sums, and twice those in rounding; None if there are none."""
    reach = 2 * todo.largest + 3 * todo.target.lsb
    return next((bits for bits in (16, 32) if reach < 1 << bits - 1), None)


@dataclass(slots=True, eq=False)
class Blocks:
    """Blocks of LANES neighbouring columns that one form of kernel converts (see `popcount.FIELDS`)."""

    run: Callable[..., None]
    table: Array
    cells: Array
    factors: Array
    work: int


class PackedConverter:
    """Counts the ones that bits of lines and bits of cells have in common."""

    padding = LANES - 1

    def __init__(self, todo: Conversions, lines: Lines, word: int) -> None:
        self.todo, self.word, self.bound = todo, word, todo.bound
        out = 32 if self.bound < 1 << 31 else 64
        self.dtype: np.dtype[np.generic] = RESULTS[out]
        self.input_bits = lines.crossbar.input_type.bits
        self.starts = np.array(lines.starts) // word
        edges = np.array([*lines.starts, lines.width], np.int64) // LINES
        self.tiles = np.stack([edges[:-1], edges[1:]], axis=1)
        self.pack = packing(8 * lines.crossbar.input_type.dtype.itemsize, self.input_bits, host())
        self.cost = lines.width * (self.input_bits // 8 + 2) + 16 * len(self.tiles) * self.input_bits
        self.arrays = np.zeros(len(self.tiles), np.int64)
        for reference in todo.references:
            self.arrays[reference.tile] = reference.arrays
        lsb = todo.target.lsb
        # Sums are moved up by so many codes, that they may be divided as whole numbers; even, for halves.
        self.zero = 2 * -(-todo.largest // (2 * lsb)) if lsb > 1 else 0
        self.plain = len(todo.planes) == self.input_bits
        forms: dict[Form, list[_Laid]] = {}
        for strip in todo.strips:
            laid = _laid(strip, word, todo)
            form = Form(word, out, laid.bits, laid.signed, self.plain, lsb)
            forms.setdefault(form, []).append(laid)
        for reference in todo.references:
            laid = _followers(reference)
            forms.setdefault(Form(word, out, 0, False, True, 1), []).append(laid)
        self.blocks = [self._join(form, laid) for form, laid in forms.items()]
        self.work = sum(blocks.work for blocks in self.blocks)
        self.codes = np.array([code_range(todo.target, plane) for plane in todo.planes])
        self.planes, self.digits = self._tables()

    def _join(self, form: Form, members: Sequence[_Laid]) -> Blocks:
        tables, cells, factors, cell, factor = [], [], [], 0, 0
        for laid in members:
            words = laid.cells.shape[1]
            count = len(laid.seats)
            table = np.empty((count, FIELDS), np.int64)
            table[:, 0], table[:, 1] = self.starts[laid.tile], words
            table[:, 2] = cell + np.arange(count) * words * form.bits * LANES
            table[:, 3], table[:, 4] = laid.seats, laid.tile
            table[:, 5] = factor + np.arange(count) * LANES
            table[:, 6] = laid.limit
            tables.append(table)
            cells.append(laid.cells.ravel())
            factors.append(laid.factors.ravel())
            cell, factor = cell + laid.cells.size, factor + laid.factors.size
        table = np.concatenate(tables)
        work = int((table[:, 1] * max(1, form.bits)).sum()) * self.input_bits
        out = RESULTS[form.out]
        return Blocks(
            kernel(form, host()), table, np.concatenate(cells), np.concatenate(factors).astype(out), work
        )

    def _tables(self) -> tuple[Array, Array]:
        """Of the planes and of the digits' bits, as the kernel wants them."""
        digits = np.empty(self.input_bits, np.int64)
        planes, most = [], (1 << self.word - 1) - 1
        for plane in self.todo.planes:
            first = abs(plane.weight).bit_length() - 1
            bits = (plane.high - plane.low).bit_length()
            digits[first : first + bits] = 1 << np.arange(bits)
            if plane.low < 0:
                digits[first + bits - 1] = plane.low
            low, high = code_range(self.todo.target, plane)
            codes = max(low + self.zero, -most), min(high + self.zero, most)
            planes.append((*codes, plane.weight, first, first + bits))
        return np.array(planes, np.int64), digits

    def __call__(self, lines: Array, first: int, differences: Array) -> Losses:
        count = len(lines)
        words = np.empty((self.input_bits, count, lines.shape[1] // LINES), np.int64)
        ones = np.empty((self.input_bits, count, len(self.tiles)), np.int32)
        most = (1 << self.word - 1) // len(self.planes)  # so many iterations a lane counts
        total = self.work * count
        wanted = min(4 * CORES, max(CORES, total // SHARE)) if total > SHARE // 16 else 1
        share = max(1, min(most, -(-count // wanted)))
        parts = [(start, min(count, start + share)) for start in range(0, count, share)]
        losses = spread(lambda part: self._part(lines, words, ones, differences, *part), parts)
        return sum(losses, Losses())

    def _part(
        self, lines: Array, words: Array, ones: Array, differences: Array, start: int, stop: int
    ) -> Losses:
        """Iterations [start, stop); they touch nothing of the others."""
        self.pack(
            lines.ctypes.data, lines.shape[1], start, stop,
            words.ctypes.data, words.shape[2], words.shape[1] * words.shape[2],
            self.tiles.ctypes.data, len(self.tiles),
            ones.ctypes.data, ones.shape[2], ones.shape[1] * ones.shape[2],
        )  # fmt: skip
        counted = ones[:, start:stop]
        masses = ones
        if not self.plain:
            masses = np.zeros((len(self.planes), *ones.shape[1:]), np.int32)
            weights = np.abs(self.digits).astype(np.int32)[:, None, None]
            masses[:, start:stop] = np.add.reduceat(weights * counted, self.planes[:, 3], axis=0)
        steps, losses = self._references(counted)
        lost = np.zeros(2, np.int64)
        row = words.shape[2] * LINES // self.word
        for blocks in self.blocks:
            blocks.run(
                blocks.table.ctypes.data, len(blocks.table),
                words.ctypes.data, row, words.shape[1] * row,
                masses.ctypes.data, masses.shape[2], masses.shape[1] * masses.shape[2],
                steps.ctypes.data - start * steps.strides[0], start, stop,
                blocks.cells.ctypes.data, blocks.factors.ctypes.data,
                differences.ctypes.data, differences.shape[1],
                self.planes.ctypes.data, len(self.planes), self.digits.ctypes.data,
                self.zero * self.todo.target.lsb, lost.ctypes.data,
            )  # fmt: skip
        return losses + Losses(int(lost[0]), int(max(0, lost[1] - lost[0])))

    def _references(self, ones: Array) -> tuple[Array, Losses]:
        """By how much each tile's reference is off, [iterations, tiles], all planes together."""
        steps = np.zeros(ones.shape[1:], self.dtype)
        tiles = np.flatnonzero(self.arrays)
        if not len(tiles):
            return steps, Losses()
        counted = ones if len(tiles) == len(self.arrays) else ones[:, :, tiles]
        if not self.plain:
            counted = np.add.reduceat(self.digits[:, None, None] * counted, self.planes[:, 3], axis=0)
        codes = np.clip(self.codes, np.iinfo(counted.dtype).min, np.iinfo(counted.dtype).max)
        low, high = (codes[:, k, None, None].astype(counted.dtype) for k in range(2))
        off = np.clip(counted, low, high) - counted
        for worth, plane in zip(self.planes[:, 2], off, strict=True):
            steps[:, tiles] += worth.astype(self.dtype) * plane
        return steps, Losses(int(np.count_nonzero(off, axis=(0, 1)) @ self.arrays[tiles]), 0)


@dataclass(slots=True, eq=False)
class _Laid:
    """Blocks of one strip: cells [blocks, words, bits, LANES], factors [blocks, LANES], seats [blocks]."""

    tile: int
    bits: int
    signed: bool
    cells: Array
    factors: Array
    seats: Array
    limit: int


def _runs(seats: Array, wanted: Array) -> tuple[Array, Array]:
    """Blocks of up to LANES columns with neighbouring seats, those without a wanted one left out.

    Returns (column of each lane, -1 for none) [blocks, LANES] and the seats of the first lanes.
    """
    gaps = np.flatnonzero(np.diff(seats) != 1) + 1
    blocks = []
    for run in np.split(np.arange(len(seats)), gaps):
        padded = np.full(-(-len(run) // LANES) * LANES, -1)
        padded[: len(run)] = run
        blocks.append(padded.reshape(-1, LANES))
    columns = np.concatenate(blocks)
    columns = columns[(wanted[columns] & (columns >= 0)).any(axis=1)]
    return columns, seats[columns[:, 0]]


def _laid(strip: Strip, word: int, todo: Conversions) -> _Laid:
    columns, seats = _runs(strip.seats, strip.lossy)
    sums = np.where(columns >= 0, strip.sums[:, columns], 0)  # [lines, blocks, LANES]
    low, high = int(sums.min(initial=0)), int(sums.max(initial=0))
    signed = low < 0
    bits = max(1, high.bit_length() + signed, (-low - 1).bit_length() + 1 if signed else 0)
    lines = -(-len(sums) // word) * word
    cells = np.empty((len(columns), lines // word, bits, LANES), WORDS[word])
    for bit in range(bits):
        ones = np.zeros((columns.size, lines), bool)
        ones[:, : len(sums)] = ((sums >> bit) & 1).reshape(len(sums), -1).T
        words = np.packbits(ones, axis=1, bitorder="little").view(WORDS[word])
        cells[:, :, bit] = words.reshape(len(columns), LANES, -1).swapaxes(1, 2)
    factors = np.where(columns >= 0, strip.factors[columns], 0)
    return _Laid(strip.tile, bits, signed, cells, factors, seats, _limit(low, high, todo))


def _limit(low: int, high: int, todo: Conversions) -> int:
    """So large a sum of |digit| still comes through every conversion of such columns unharmed."""
    if todo.target.lsb > 1:
        return 0
    most = 1 << 30
    for plane in todo.planes:
        least_code, most_code = code_range(todo.target, plane)
        level = max(high, -low, 1) if plane.low < 0 else None
        up, down = (level, level) if level else (max(high, 1), max(-low, 1) if low else None)
        most = min(most, most_code // up)
        if down:
            most = min(most, -least_code // down)
    return most


def _followers(reference: Reference) -> _Laid:
    """Columns that follow their reference: no cells."""
    order = np.argsort(reference.seats, kind="stable")
    columns, seats = _runs(reference.seats[order], np.ones(len(order), bool))
    factors = np.where(columns >= 0, reference.factors[order][columns], 0)
    cells = np.empty((len(columns), 0, 0, LANES), np.uint16)
    return _Laid(reference.tile, 0, False, cells, factors, seats, 0)
