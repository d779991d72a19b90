"""The fast engine: executes whole loop nests at once.

Each nest is planned when the program is loaded.  Its stores become formulas (`symbols`), those
of one shape are evaluated side by side through one exact integer matrix product (`evaluate`),
and the results move to their buffer in one pass.  Counts come from the program's text alone
(`count`).  What cannot be planned runs on `step`, and a note says so.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from isa.program import Array, Buffer, Loop, Node, Program
from runtime.analog import Sample
from runtime.converted_fast import Converters
from runtime.count import count
from runtime.counters import Losses
from runtime.engine import Execution, Fidelity
from runtime.evaluate import Evaluator, evaluator
from runtime.gather import Iterations, Rows, Sources
from runtime.machine import Memory
from runtime.observe import observed_buffers
from runtime.pieces import pieces
from runtime.rounds import ConverterMaker, Rounds, seats_of
from runtime.step import StepEngine
from runtime.strided import Grid
from runtime.symbols import (
    Apply,
    Block,
    Combine,
    Expression,
    Formulas,
    Load,
    Store,
    divided,
    fires_of,
    nest_formulas,
    shape_of,
)

CHUNK_BYTES = 4 << 20
"""Working memory of one evaluation: iterations are taken so many at a time."""
ADD_BYTES = 32 << 20
"""The same where results are added up: few large pieces, each added to a buffer slot by slot."""
CLASS_LIMIT = 1 << 12
"""Remainder classes of a nest with divided addresses; past that, masks serve."""


class FastEngine:
    """See the head of this file, and `runtime.engine.Engine`."""

    def __init__(
        self,
        program: Program,
        *,
        observe: bool = False,
        fidelity: Fidelity = "exact",
        sample: Sample | None = None,
    ) -> None:
        self.program = program
        self.fidelity = fidelity
        self.counters = tuple(count(program))
        self.step = StepEngine(program, observe=observe, fidelity=fidelity, sample=sample)
        converters = Converters(sample)
        notes: list[str] = []
        self.plans: list[list[tuple[int, Plan]]] = []
        watched = frozenset(observed_buffers(program)) if observe else frozenset()
        for number, layer in enumerate(program.layers):
            make = None if fidelity == "exact" else converters.of_layer(number)
            plans, reason = _plan_layer(program, layer.body, watched, make)
            self.plans.append(plans)
            if reason:
                notes.append(f"layer {layer.name!r} runs in part on the step engine: {reason}")
        notes += converters.notes
        self.execution = Execution(self.counters, tuple(notes))
        self._bound: Memory | None = None

    def execute(self, memory: Memory) -> Execution:
        """Run every layer on `memory`, in place."""
        losses = []
        for layer, plans in enumerate(self.plans):
            sources = Sources(memory.codes)
            lost = Losses()
            for node, plan in plans:
                if plan is not None:
                    lost += plan.run(memory, sources)
                    continue
                sources = Sources(memory.codes)
                if self._bound is not memory:
                    self.step.bind(memory)
                    self._bound = memory
                self.step.execute_node(layer, node)
            losses.append(lost + self.step.take_losses(layer))
        converted = tuple(losses) if self.fidelity != "exact" else ()
        return replace(self.execution, host_seconds=self.step.hosts.take_seconds(), losses=converted)


def _plan_layer(
    program: Program, body: Sequence[Node], watched: frozenset[str], make: ConverterMaker | None
) -> tuple[list[tuple[int, Plan]], str | None]:
    """A plan per node of a layer's body (None: step executes it), and why any nest has none."""
    plain = {"clear", "reshape", "host"}
    loose = [n for n in body if not isinstance(n, Loop) and getattr(n, "mnemonic", "") not in plain]
    if loose:
        # Registers and products made outside loops may be read inside: one engine for them all.
        reason = "it has instructions outside loops" if any(isinstance(n, Loop) for n in body) else None
        return [(number, None) for number in range(len(body))], reason
    plans: list[tuple[int, Plan]] = []
    why: str | None = None
    fires = list(itertools.accumulate(map(fires_of, body), initial=0))
    for number, node in enumerate(body):
        if not isinstance(node, Loop):
            plans.append((number, None))
            continue
        formulas = nest_formulas(node, fires[number])
        if isinstance(formulas, str):
            why = formulas
            plans.append((number, None))
        else:
            plans.append((number, _planned(program, formulas, watched, make)))
    return plans, why


def _planned(
    program: Program, formulas: Formulas, watched: frozenset[str], make: ConverterMaker | None
) -> Nest | Pieces:
    """A whole plan, or pieces where it would be too large."""
    nest = formulas if make else replace(formulas, fires=[])
    cut = list(pieces(program, nest, watched))
    return Pieces(program, cut, watched, make) if len(cut) > 1 else Nest(program, formulas, watched, make)


Seat = tuple[str, tuple[int, int] | None, bool]
"""What one writer writes: a buffer, the part of its vectors, and whether it adds."""


@dataclass(frozen=True, eq=False, slots=True)
class Batch:
    """Stores of one block and one shape, in some of its iterations.

    `loops` are the counts of the loops around them, or just the number of iterations where these
    are not all.  `targets` holds the row of the buffer that each result goes to, (iterations,
    stores), -1 for dropped; `order` the moment of each, for where two results meet in one row.
    """

    iterations: int
    loops: tuple[int, ...]
    evaluator: Evaluator
    targets: Rows
    order: Rows

    def chunks(self) -> Iterator[tuple[int, int]]:
        size = max(1, CHUNK_BYTES // max(1, self.evaluator.cost))
        return ((a, min(a + size, self.iterations)) for a in range(0, self.iterations, size))


class Nest:
    """One planned loop nest.  `make` gives its fires converters; None where those are ideal."""

    def __init__(
        self, program: Program, formulas: Formulas, watched: frozenset[str], make: ConverterMaker | None
    ) -> None:
        """`watched` are the buffers whose accumulators are recorded."""
        self.rounds: list[Rounds] = []
        if make is not None:
            seats = seats_of(program, formulas)
            self.rounds = [Rounds(program, *one, make) for one in zip(formulas.fires, seats, strict=True)]
        batches: dict[Seat, list[Batch]] = {}
        for block in formulas.blocks:
            for key, batch in _batches(program, block, self.rounds):
                batches.setdefault(key, []).append(batch)
        self.writers: list[Write | Add] = []
        for (name, part, accumulate), group in batches.items():
            view = View(program.buffers[name], part)
            if accumulate:
                self.writers.append(Add(view, group))
            else:
                self.writers.append(Write(view, group, name in watched))

    def run(self, memory: Memory, sources: Sources) -> Losses:
        """What its conversions lost.

        `sources` are those of the layer so far: nests that read one buffer share its rows.
        """
        for writer in self.writers:
            writer.run(memory, sources)
        losses = sum((rounds.finish(sources) for rounds in self.rounds), Losses())
        for writer in self.writers:
            sources.forget(writer.view.name)
        return losses


@dataclass(frozen=True, slots=True)
class Pieces:
    """A nest too large to be planned at once: every run plans one piece, runs it and forgets it."""

    program: Program
    pieces: Sequence[Formulas]
    watched: frozenset[str]
    make: ConverterMaker | None

    def run(self, memory: Memory, sources: Sources) -> Losses:
        plans = (Nest(self.program, piece, self.watched, self.make) for piece in self.pieces)
        return sum((plan.run(memory, sources) for plan in plans), Losses())


Plan = Nest | Pieces | None


def _batches(program: Program, block: Block, rounds: Sequence[Rounds]) -> Iterator[tuple[Seat, Batch]]:
    """Group a block's stores by buffer, part and shape, in each class of iterations."""
    for iterations in _classes(program, block):
        groups: dict[object, list[tuple[int, Store]]] = {}
        for position, store in enumerate(block.stores):
            value = _without_inserted(program, store.value, iterations)
            key = (store.target.buffer, store.target.part, store.accumulate, shape_of(value))
            groups.setdefault(key, []).append((position, Store(store.target, value, store.accumulate)))
        for members in groups.values():
            first = members[0][1]
            buffer = program.buffers[first.target.buffer]
            count_ = len(iterations.numbers)
            counts = [loop.count for loop in block.loops]
            loops = tuple(itertools.dropwhile(lambda n: n == 1, counts[:-1])) + tuple(counts[-1:])
            loops = loops if math.prod(loops) == count_ else (count_,)
            length = first.target.length(buffer.vector)
            work = evaluator(program, iterations, [s.value for _, s in members], length, rounds)
            targets = np.stack([iterations.rows(s.target, buffer, 0, count_) for _, s in members], axis=1)
            positions = np.array([position for position, _ in members], np.intp)
            order = iterations.numbers[:, None] * len(block.stores) + positions
            seat = (buffer.name, first.target.part, first.accumulate)
            yield seat, Batch(count_, loops, work, targets, order)


def _classes(program: Program, block: Block) -> Iterator[Iterations]:
    """Split iterations by the remainders of their divided addresses, so that in each class an
    address either always or never falls between two pixels."""
    total = math.prod(loop.count for loop in block.loops)
    numbers = np.arange(total, dtype=np.intp)
    whole = Iterations(block.loops, numbers)
    periods = divided(program, block)
    if not periods or math.prod(periods.values()) > CLASS_LIMIT:
        yield whole
        return
    values = whole.variables(0, total)
    label = np.zeros(total, np.intp)
    for name, period in periods.items():
        label = label * period + values[name] % period
    order = np.argsort(label, kind="stable")
    edges = np.flatnonzero(np.diff(label[order])) + 1
    for members in np.split(numbers[order], edges):
        yield Iterations(block.loops, members)


def _without_inserted(program: Program, value: Expression, iterations: Iterations) -> Expression:
    """Drop the products that read an inserted zero in every iteration of the class."""
    if isinstance(value, Apply):
        return replace(value, argument=_without_inserted(program, value.argument, iterations))
    if isinstance(value, Combine):
        kept_whole = tuple(_without_inserted(program, a, iterations) for a in value.arguments)
        return replace(value, arguments=kept_whole)
    if isinstance(value, Load):
        return value
    count_ = len(iterations.numbers)
    kept = []
    reads: dict[object, bool] = {}
    for piece in value.pieces:
        source = piece.source
        if source not in reads:
            divides = any(index.divisor > 1 for index in source.indices)
            buffer = program.buffers[source.buffer]
            reads[source] = not divides or bool((iterations.rows(source, buffer, 0, count_) >= 0).any())
        if reads[source]:
            kept.append(piece)
    others = tuple(_without_inserted(program, other, iterations) for other in value.others)
    return replace(value, pieces=tuple(kept), others=others)


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


class Write:
    """All stores of a nest into one buffer: results in the order they were computed, then one
    permutation into the buffer.  Where two meet in one row, the later one stays."""

    def __init__(self, view: View, batches: Sequence[Batch], watch: bool) -> None:
        self.view, self.vector, self.batches, self.watch = view, view.vector, batches, watch
        rows = view.rows
        self.starts = list(itertools.accumulate((b.targets.size for b in batches), initial=0))
        targets = np.concatenate([b.targets.ravel() for b in batches])
        order = np.concatenate([b.order.ravel() for b in batches])
        self.source = _last_writers(targets, order, rows)
        written = self.source >= 0
        self.all_written = bool(written.all())
        self.rows = None if self.all_written else np.flatnonzero(written)
        if self.rows is not None:
            self.source = self.source[self.rows]
        self.in_place = (
            self.all_written and len(targets) == rows and np.array_equal(self.source, np.arange(rows))
        )

    def run(self, memory: Memory, sources: Sources) -> None:
        codes = self.view.of(memory.codes[self.view.name])
        results = codes if self.in_place else np.empty((self.starts[-1], self.vector), codes.dtype)
        before = np.empty((self.starts[-1], self.vector), np.int64) if self.watch else None
        for start, batch in zip(self.starts, self.batches, strict=False):
            each = batch.targets.shape[1]
            for a, b in batch.chunks():
                watch: list[Array] | None = [] if before is not None else None
                value = batch.evaluator(sources, a, b, watch)
                span = slice(start + a * each, start + b * each)
                np.copyto(results[span], value.reshape(-1, self.vector), casting="unsafe")
                if before is not None:
                    before[span] = watch[0].reshape(-1, self.vector) if watch else 0
        if not self.in_place:
            self._move(results, codes)
        if before is not None:
            self._move(before, self.view.of(memory.accumulators[self.view.name]))

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


class Add:
    """All `accum`s of a nest into one buffer; integer addition knows no order."""

    def __init__(self, view: View, batches: Sequence[Batch]) -> None:
        self.view, self.vector, self.batches = view, view.vector, batches
        self.grids = [
            [Grid.of(b.targets[:, s].reshape(b.loops)) for s in range(b.targets.shape[1])] for b in batches
        ]

    def run(self, memory: Memory, sources: Sources) -> None:
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
