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
from typing import Protocol

import numpy as np

from isa.program import BufferRef, Instruction, Loop, Node, Program
from runtime.analog import Sample
from runtime.converted_fast import Converters
from runtime.count import count
from runtime.counters import Losses, total
from runtime.engine import Execution, Fidelity
from runtime.fused_forms import paid
from runtime.gather import Iterations, Sources
from runtime.machine import Memory
from runtime.moved import Moved
from runtime.observe import observed_buffers
from runtime.pieces import pieces
from runtime.rounds import ConverterMaker, Rounds, seats_of
from runtime.stacked import Stacks
from runtime.step import StepEngine
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
from runtime.tape import Call, Tape
from runtime.writers import Add, Batch, View, Write

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
        self.step = StepEngine(program, observe=observe, fidelity=fidelity, sample=sample)
        self.counters = tuple(count(program, self.step.sizes))
        converters = Converters(sample)
        notes: list[str] = []
        self.plans: list[list[tuple[int, Plan | None]]] = []
        watched = frozenset(observed_buffers(program)) if observe else frozenset()
        for number, layer in enumerate(program.layers):
            make = None if fidelity == "exact" else converters.of_layer(number)
            plans, reason = _plan_layer(program, layer.body, watched, make)
            self.plans.append(plans)
            if reason:
                notes.append(f"layer {layer.name!r} runs in part on the step engine: {reason}")
        self.stepped = [[node for node, plan in plans if plan is None] for plans in self.plans]
        notes += converters.notes
        self.execution = Execution(self.counters, total(self.counters), tuple(notes))
        self._bound: Memory | None = None
        self._runs = 0
        self._laid: tuple[object, list[Leg]] | None = None

    def execute(self, memory: Memory) -> Execution:
        """Run every layer on `memory`, in place."""
        losses = [Losses()] * len(self.plans)
        last, sources = -1, Sources(memory.codes)
        for layer, node, plan in self._legs(memory):
            if plan is None or layer != last:
                last, sources = layer, Sources(memory.codes)
            if plan is not None:
                losses[layer] += plan.run(memory, sources)
                continue
            if self._bound is not memory:
                self.step.bind(memory, self.stepped)
                self._bound = memory
            self.step.execute_node(layer, node)
            losses[layer] += self.step.take_losses(layer)
        self._runs += 1
        converted = tuple(losses) if self.fidelity != "exact" else ()
        return replace(self.execution, host_seconds=self.step.hosts.take_seconds(), losses=converted)

    def _legs(self, memory: Memory) -> list[Leg]:
        """What a run does one after the other: plans that are nothing but calls of kernels, as soon as
        these are there, on tapes."""
        state = (id(memory), min(self._runs, 1), paid())
        if self._laid is None or self._laid[0] != state:
            self._laid = state, _legs(self.plans, memory)
        return self._laid[1]


def _legs(plans: Sequence[Sequence[tuple[int, Plan | None]]], memory: Memory) -> list[Leg]:
    legs: list[Leg] = []
    calls: list[Call] = []  # that are on no tape yet
    for layer, nodes in enumerate(plans):
        for node, plan in nodes:
            more = None if plan is None else plan.calls(memory)
            if more is not None:
                calls += more
                continue
            if calls:
                legs.append((-1, -1, Tape(calls)))
                calls = []
            legs.append((layer, node, plan))
    if calls:
        legs.append((-1, -1, Tape(calls)))
    return legs


def _plan_layer(
    program: Program, body: Sequence[Node], watched: frozenset[str], make: ConverterMaker | None
) -> tuple[list[tuple[int, Plan | None]], str | None]:
    """A plan per node of a layer's body (None: step executes it), and why any nest has none."""
    plain = {"clear", "reshape", "host"}
    loose = [n for n in body if not isinstance(n, Loop) and getattr(n, "mnemonic", "") not in plain]
    if loose:
        # Registers and products made outside loops may be read inside: one engine for them all.
        reason = "it has instructions outside loops" if any(isinstance(n, Loop) for n in body) else None
        return [(number, None) for number in range(len(body))], reason
    plans: list[tuple[int, Plan | None]] = []
    why: str | None = None
    fires = list(itertools.accumulate(map(fires_of, body), initial=0))
    for number, node in enumerate(body):
        if not isinstance(node, Loop):
            plans.append((number, _moved(program, node)))
            continue
        formulas = nest_formulas(node, fires[number])
        if isinstance(formulas, str):
            why = formulas
            plans.append((number, None))
        else:
            plans.append((number, _planned(program, formulas, watched, make)))
    return plans, why


def _moved(program: Program, node: Instruction) -> Moved | None:
    """The plan of a `clear` or `reshape`; None for a `host`."""
    if node.mnemonic == "host":
        return None
    return Moved(*(program.buffers[ref.name] for ref in node.operands if isinstance(ref, BufferRef)))


def _planned(
    program: Program, formulas: Formulas, watched: frozenset[str], make: ConverterMaker | None
) -> Nest | Pieces:
    """A whole plan, or pieces where it would be too large."""
    nest = formulas if make else replace(formulas, fires=[])
    cut = list(pieces(program, nest, watched))
    return Pieces(program, cut, watched, make) if len(cut) > 1 else Nest(program, formulas, watched, make)


Seat = tuple[str, tuple[int, int] | None, bool]
"""What one writer writes: a buffer, the part of its vectors, and whether it adds."""


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

    def calls(self, memory: Memory) -> list[Call] | None:
        """See `Plan`."""
        if self.rounds:
            return None
        found = [writer.calls(memory) for writer in self.writers]
        return None if None in found else [call for calls in found for call in calls or ()]

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

    def calls(self, memory: Memory) -> list[Call] | None:
        """None: kernels would need the plans that are forgotten."""
        return None

    def run(self, memory: Memory, sources: Sources) -> Losses:
        plans = (Nest(self.program, piece, self.watched, self.make) for piece in self.pieces)
        return sum((plan.run(memory, sources) for plan in plans), Losses())


class Plan(Protocol):
    """How top-level nodes of layers are executed."""

    def run(self, memory: Memory, sources: Sources) -> Losses: ...
    def calls(self, memory: Memory) -> list[Call] | None:
        """All that `run` does as calls of kernels; None where that is not so, or not yet."""


Leg = tuple[int, int, Plan | Tape | None]
"""A layer, one of its top-level nodes, and what executes it (None: the step engine); or a tape of
any layers."""


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
            targets = np.stack([iterations.rows(s.target, buffer, 0, count_) for _, s in members], axis=1)
            positions = np.array([position for position, _ in members], np.intp)
            order = iterations.numbers[:, None] * len(block.stores) + positions
            seat = (buffer.name, first.target.part, first.accumulate)
            stores = [store for _, store in members]
            yield seat, Batch(Stacks(program, iterations), loops, stores, targets, order, rounds)


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
