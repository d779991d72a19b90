"""The matrix products behind the sums of a nest: weights stacked, left operands gathered.

Every sum that reads the same vectors through the same crossbar group becomes columns of one
matrix.  A group of block-diagonal sub-crossbars is cut into runs of diagonal blocks, each dense:
zeros are multiplied, but few, and a product of 64 rows is far quicker than 64 of one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from isa.program import Address, Array, Buffer, Crossbar, Program
from runtime.gather import Gather, Iterations, Sources
from runtime.products import Product, make_product
from runtime.symbols import Linear, Piece
from runtime.threads import CORES

DENSE_ROWS = 64
"""Input channels that a run of diagonal blocks spans, if one block has fewer."""
SPREAD_ROWS = 64
"""Rows of a product that are worth a pass over its weights."""
SPREAD_WORK = 1 << 22
"""Multiplications that are worth the work of another thread."""
SMALL_WORK = 1 << 16
"""Multiplications that take no longer than handing them to another library."""


@dataclass(frozen=True, slots=True)
class _Run:
    """Neighbouring diagonal blocks as one dense product; `columns` is their part of a vector."""

    gather: Gather
    product: Product
    columns: slice

    @property
    def result(self) -> np.dtype[np.generic]:
        dtype = self.product.operand.dtype
        return np.dtype(np.int32) if dtype.itemsize == 1 else dtype


class Stacked:
    """The pieces of some sums that read one buffer through one crossbar group.

    bound   no result, nor any partial sum on the way to it, exceeds it in magnitude
    result  dtype of what a call gives
    width   values per iteration
    threads that may take some iterations each; a product of few rows spreads its columns instead
    cost    bytes per iteration while it works
    """

    def __init__(
        self,
        iterations: Iterations,
        buffer: Buffer,
        crossbar: Crossbar,
        taps: Sequence[Address],
        weights: Array,
    ) -> None:
        """`weights` is (taps, rows, expressions, columns / groups)."""
        self.expressions, self.columns = weights.shape[2], crossbar.columns
        groups, first = crossbar.groups, taps[0].columns(buffer.vector).start or 0
        rows, columns = crossbar.rows // groups, crossbar.columns // groups
        step = groups if groups == 1 else max(1, min(groups, DENSE_ROWS // rows))
        self.runs = []
        count, size = len(iterations.numbers), weights.size * (step if groups > 1 else 1)
        spread = count >= CORES * SPREAD_ROWS and count * size >= CORES * SPREAD_WORK
        self.threads = CORES if spread else 1
        for start in range(0, groups, step):
            stop = min(groups, start + step)
            dense = block_diagonal(weights[:, start * rows : stop * rows], stop - start)
            within = 1 if self.threads > 1 or count * dense.size < SPREAD_WORK else CORES
            kind = buffer.type
            small = count * dense.size <= SMALL_WORK
            product = make_product(dense, kind.low, kind.high, buffer.zero, threads=within, small=small)
            part = slice(first + start * rows, first + stop * rows)
            gather = Gather(iterations, buffer, taps, product.operand, part)
            self.runs.append(_Run(gather, product, slice(start * columns, stop * columns)))
        self.width = self.expressions * self.columns
        if any(run.product.alone for run in self.runs):
            self.threads = 1
        self.bound = max(run.product.bound for run in self.runs)
        kinds = {run.result for run in self.runs}
        self.result = kinds.pop() if len(kinds) == 1 else np.dtype(np.int64)
        widest = max(run.product.operand.dtype.itemsize for run in self.runs)
        self.cost = len(taps) * min(crossbar.rows, step * rows) * widest
        if len(self.runs) > 1:
            self.cost += self.expressions * self.columns * 8

    def __call__(self, sources: Sources, start: int, stop: int) -> Array:
        """(iterations, expressions * columns)."""
        if len(self.runs) == 1:
            run = self.runs[0]
            return run.product(run.gather(sources, start, stop))
        found = np.empty((stop - start, self.expressions, self.columns), self.result)
        for run in self.runs:
            part = run.product(run.gather(sources, start, stop))
            found[:, :, run.columns] = part.reshape(stop - start, self.expressions, -1)
        return found.reshape(stop - start, -1)


def block_diagonal(weights: Array, blocks: int) -> Array:
    """(taps, blocks * rows, expressions, columns) -> (taps * blocks * rows, expressions * blocks *
    columns) with each block on the diagonal of its expression."""
    taps, rows, expressions, columns = weights.shape
    wide = np.zeros((taps, blocks, rows // blocks, expressions, blocks, columns), weights.dtype)
    split = weights.reshape(taps, blocks, rows // blocks, expressions, columns)
    for block in range(blocks):
        wide[:, block, :, :, block] = split[:, block]
    return wide.reshape(taps * rows, expressions * blocks * columns)


def stack(program: Program, iterations: Iterations, values: Sequence[Linear]) -> list[Stacked]:
    """One product per (crossbar group, buffer, part of a vector) that the sums draw on."""
    seats = {(p.matrix.name, p.source.buffer, p.source.part): None for value in values for p in value.pieces}
    parts = []
    for name, source, part in seats:
        crossbar, buffer = program.crossbars[name], program.buffers[source]
        dtype = program.constant(crossbar.data).dtype
        rows, columns = crossbar.rows, crossbar.columns // crossbar.groups
        taps: dict[Address, int] = {}
        chosen = [
            (slot, piece)
            for slot, value in enumerate(values)
            for piece in value.pieces
            if (piece.matrix.name, piece.source.buffer, piece.source.part) == (name, source, part)
        ]
        for _, piece in chosen:
            taps.setdefault(piece.source, len(taps))
        # Pieces of one sum that read the same vector add their weights.
        alone = len({(slot, piece.source) for slot, piece in chosen}) == len(chosen)
        weights = np.zeros((len(taps), rows, len(values), columns), dtype if alone else np.int64)
        for slot, piece in chosen:
            weights[taps[piece.source], :, slot] += cells(program, piece).astype(weights.dtype)
        parts.append(Stacked(iterations, buffer, crossbar, list(taps), _narrow(weights)))
    return parts


def cells(program: Program, piece: Piece) -> Array:
    """The weights of a piece, (rows, columns / groups)."""
    crossbar = program.crossbars[piece.matrix.name]
    data = program.constant(crossbar.data).reshape(crossbar.data_shape)[piece.matrix.index]
    rows, columns = crossbar.rows, crossbar.columns // crossbar.groups
    first, left = piece.row_band * rows, piece.matrix.band * columns
    block: Array = data[first : first + rows, left : left + columns]
    return block


class Stacks:
    """The products of a nest's sums in some iterations, each stack made once."""

    def __init__(self, program: Program, iterations: Iterations) -> None:
        self.program, self.iterations = program, iterations
        self._made: dict[tuple[int, ...], tuple[Sequence[Linear], list[Stacked]]] = {}

    def __call__(self, values: Sequence[Linear]) -> list[Stacked]:
        """See `stack`."""
        key = tuple(map(id, values))
        if key not in self._made:  # which keeps the values, and so their identities
            self._made[key] = (values, stack(self.program, self.iterations, values))
        return self._made[key][1]

    @property
    def threads(self) -> int:
        """That may take some iterations each."""
        return max((stacked.threads for _, made in self._made.values() for stacked in made), default=1)


def _narrow(weights: Array) -> Array:
    if weights.size and weights.min() >= -128 and weights.max() <= 127:
        return weights.astype(np.int8)
    return weights
