"""Who puts the results of a planned loop nest into their buffer: stores, and additions.

A writer has its results in one pass each (`fused`) where that pays, else from numpy, instruction
by instruction (`evaluate`), and moves them afterwards.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from isa.program import Array, Buffer
from isa.verifier.values import Unsafe
from runtime.evaluate import Evaluator, evaluator
from runtime.fused import Fused
from runtime.fused_forms import worth
from runtime.gather import Rows, Sources
from runtime.machine import Memory
from runtime.rounds import Rounds
from runtime.stacked import Stacks
from runtime.strided import Grid
from runtime.symbols import Store
from runtime.tape import Call
from runtime.threads import spread

CHUNK_BYTES = 4 << 20
"""Working memory of one evaluation: iterations are taken so many at a time."""
ADD_BYTES = 32 << 20
"""The same where results are added up: few large pieces, each added to a buffer slot by slot."""


class Batch:
    """Stores of one block and one shape, in some of its iterations.

    `loops` are the counts of the loops around them, or just the number of iterations where these
    are not all.  `targets` holds the row of the buffer that each result goes to, (iterations,
    stores), -1 for dropped; `order` the moment of each, for where two results meet in one row.
    `rounds` are the fires of the nest where they have converters.
    """

    def __init__(
        self,
        stacks: Stacks,
        loops: tuple[int, ...],
        stores: Sequence[Store],
        targets: Rows,
        order: Rows,
        rounds: Sequence[Rounds],
    ) -> None:
        self.stacks, self.loops, self.stores = stacks, loops, stores
        self.targets, self.order, self.rounds = targets, order, rounds
        self.iterations = len(targets)

    @functools.cached_property
    def evaluator(self) -> Evaluator:
        """Computes the results instruction by instruction."""
        first = self.stores[0].target
        length = first.length(self.stacks.program.buffers[first.buffer].vector)
        return evaluator(self.stacks, [store.value for store in self.stores], length, self.rounds)

    def fused(self, targets: Rows) -> Fused | None:
        """Computes the results in one pass, to `targets` in the end; None where it cannot."""
        if self.rounds:
            return None
        first = self.stores[0]
        values = [store.value for store in self.stores]
        try:
            return Fused(self.stacks, values, first.target, targets, first.accumulate)
        except Unsafe:
            return None

    def chunks(self) -> Iterator[tuple[int, int]]:
        size = max(1, CHUNK_BYTES // max(1, self.evaluator.cost))
        size = max(1, min(size, -(-self.iterations // self.stacks.threads)))
        return ((a, min(a + size, self.iterations)) for a in range(0, self.iterations, size))


class View:
    """A part of every vector of a buffer; nests write its parts side by side."""

    def __init__(self, buffer: Buffer, part: tuple[int, int] | None) -> None:
        self.name = buffer.name
        self.rows = math.prod(buffer.shape[:-1])
        self._shape = (self.rows, buffer.vector)
        self._columns = slice(0, buffer.vector) if part is None else slice(*part)
        self.vector = self._columns.stop - self._columns.start

    def of(self, array: Array) -> Array:
        """The part of an array of the buffer's shape: (rows, vector)."""
        return array.reshape(self._shape)[:, self._columns]


class _Writer:
    """What both kinds share: results in one pass, if that pays."""

    view: View
    batches: Sequence[Batch]
    runs = 0

    @functools.cached_property
    def fused(self) -> list[Fused] | None:
        """Each batch in one pass; None where one of them has none."""
        raise NotImplementedError

    def calls(self, memory: Memory) -> list[Call] | None:
        """All that `run` does as calls of kernels; None where that is not so, or not yet."""
        if not self.runs or not self.fused:
            return None
        found = [one.calls(memory) for one in self.fused]
        return None if None in found else [call for calls in found for call in calls or ()]

    def _ran(self, memory: Memory, sources: Sources) -> bool:
        """Whether the results were written in one pass.

        A program that runs once is not prepared for it, unless its results are many.
        """
        self.runs += 1
        values = self.view.vector * sum(batch.targets.size for batch in self.batches)
        if (self.runs == 1 and not worth(values)) or not _ready(self.fused):
            return False
        for one in self.fused or ():
            one.run(memory, sources)
        return True


class Write(_Writer):
    """All stores of a nest into one buffer: results in the order they were computed, then one
    permutation into the buffer.  Where two meet in one row, the later one stays."""

    def __init__(self, view: View, batches: Sequence[Batch], watch: bool) -> None:
        self.view, self.vector, self.batches, self.watch = view, view.vector, batches, watch
        self.starts = list(itertools.accumulate((b.targets.size for b in batches), initial=0))
        targets = np.concatenate([b.targets.ravel() for b in batches])
        order = np.concatenate([b.order.ravel() for b in batches])
        # A piece of a nest may write few of very many rows: only those from `first` on matter.
        inside = targets[targets >= 0]
        self.first = int(inside.min(initial=view.rows - 1))
        rows = int(inside.max(initial=self.first)) + 1 - self.first
        self.source = _last_writers(np.maximum(targets - self.first, -1), order, rows)
        self.span, written = rows, self.source >= 0
        self.all_written = bool(written.all())
        self.rows = None if self.all_written else np.flatnonzero(written)
        if self.rows is not None:
            self.source = self.source[self.rows]
        self.in_place = (
            self.all_written and len(targets) == rows and np.array_equal(self.source, np.arange(rows))
        )

    @functools.cached_property
    def fused(self) -> list[Fused] | None:
        """Each batch in one pass; None where one of them has none, or accumulators are recorded."""
        if self.watch:
            return None
        rows = np.full(self.starts[-1], -1, np.intp)
        rows[self.source] = self.first + (np.arange(len(self.source)) if self.rows is None else self.rows)
        return _all_fused(self.batches, np.split(rows, self.starts[1:-1]))

    def run(self, memory: Memory, sources: Sources) -> None:
        if self._ran(memory, sources):
            return
        codes = self._rows_of(memory.codes)
        results = codes if self.in_place else np.empty((self.starts[-1], self.vector), codes.dtype)
        before = np.empty((self.starts[-1], self.vector), np.int64) if self.watch else None
        for start, batch in zip(self.starts, self.batches, strict=False):
            chunks = list(batch.chunks())

            def work(chunk: tuple[int, int], batch: Batch = batch, start: int = start) -> None:
                a, b = chunk
                each = batch.targets.shape[1]
                watch: list[Array] | None = [] if before is not None else None
                value = batch.evaluator(sources, a, b, watch)
                span = slice(start + a * each, start + b * each)
                np.copyto(results[span], value.reshape(-1, self.vector), casting="unsafe")
                if before is not None:
                    before[span] = watch[0].reshape(-1, self.vector) if watch else 0

            if batch.rounds:  # which keep what they converted
                for chunk in chunks:
                    work(chunk)
            else:
                spread(work, chunks)
        if not self.in_place:
            self._move(results, codes)
        if before is not None:
            self._move(before, self._rows_of(memory.accumulators))

    def _rows_of(self, arrays: Mapping[str, Array]) -> Array:
        """The rows of its buffer from the first to the last that it writes."""
        return self.view.of(arrays[self.view.name])[self.first : self.first + self.span]

    def _move(self, results: Array, target: Array) -> None:
        if self.rows is None:
            np.take(results, self.source, axis=0, out=target, mode="clip")
        else:
            target[self.rows] = results[self.source]


def _last_writers(targets: Rows, order: Rows, rows: int) -> Rows:
    """For each row of the buffer the result that stays in it, -1 where none goes."""
    source = np.full(rows, -1, np.intp)
    kept = np.flatnonzero(targets >= 0)
    if np.bincount(targets[kept], minlength=rows).max(initial=0) > 1:
        kept = kept[np.lexsort((order[kept], targets[kept]))]
        last = np.append(targets[kept][1:] != targets[kept][:-1], True)
        kept = kept[last[: len(kept)]]
    source[targets[kept]] = kept
    return source


class Add(_Writer):
    """All `accum`s of a nest into one buffer; integer addition knows no order."""

    def __init__(self, view: View, batches: Sequence[Batch]) -> None:
        self.view, self.vector, self.batches = view, view.vector, batches
        self.grids = [
            [Grid.of(b.targets[:, s].reshape(b.loops)) for s in range(b.targets.shape[1])] for b in batches
        ]

    @functools.cached_property
    def fused(self) -> list[Fused] | None:
        """Each batch in one pass; None where one of them has none."""
        return _all_fused(self.batches, [batch.targets for batch in self.batches])

    def run(self, memory: Memory, sources: Sources) -> None:
        if self._ran(memory, sources):
            return
        codes = self.view.of(memory.codes[self.view.name])
        for batch, grids in zip(self.batches, self.grids, strict=True):
            cost, peeled = max(1, batch.evaluator.cost), 0
            while peeled < len(batch.loops) - 1 and cost * math.prod(batch.loops[peeled + 1 :]) > ADD_BYTES:
                peeled += 1
            # One value of the outer loops at a time; of the next, as many as fit.
            outer, (count_, *inner) = batch.loops[:peeled], batch.loops[peeled:]
            turn = math.prod(inner)
            step = max(1, ADD_BYTES // (cost * turn))
            for number, index in enumerate(np.ndindex(*outer)):
                here = [grid.at(index) if grid else None for grid in grids]
                for first in range(0, count_, step):
                    last = min(first + step, count_)
                    a, b = ((number * count_ + end) * turn for end in (first, last))
                    value = batch.evaluator(sources, a, b, None).astype(codes.dtype, copy=False)
                    value = value.reshape(last - first, *inner, len(grids), self.vector)
                    for slot, grid in enumerate(here):
                        self._add(codes, batch.targets[a:b, slot], grid, value[..., slot, :], first)

    def _add(self, codes: Array, rows: Rows, grid: Grid | None, value: Array, first: int) -> None:
        if grid is not None:
            grid.add(codes, value, first)
            return
        inside = rows >= 0
        some, values = rows[inside], value.reshape(-1, self.vector)[inside]
        if len(some) and (some == some[0]).all():  # as a global pool adds
            codes[some[0]] += values.sum(axis=0, dtype=codes.dtype)
        else:
            np.add.at(codes, some, values)


def _all_fused(batches: Sequence[Batch], targets: Sequence[Rows]) -> list[Fused] | None:
    """`targets` of each batch hold what is left of its own, in any shape."""
    found = []
    for batch, rows in zip(batches, targets, strict=True):
        fused = batch.fused(rows.reshape(batch.targets.shape))
        if fused is None:
            return None
        found.append(fused)
    return found


def _ready(fused: list[Fused] | None) -> bool:
    """Whether all have their kernels; each is asked, for that is how kernels are found to pay."""
    return bool(fused) and False not in [one.ready() for one in fused or ()]
