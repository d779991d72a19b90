"""Cycles and events of a program without running it: no values, no loop executed.

The cost depends on the length of the text, not on loop bounds (see runtime/lattice.py for the
one exception).  `step` counts the same by executing; tests hold the two equal.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field

from isa.analysis import instruction_sizes
from isa.instructions import INSTRUCTIONS, Sizes, Unit
from isa.program import Address, Instruction, Layer, Loop, Node, Program
from runtime.counters import Counters, saved
from runtime.errors import InputError
from runtime.hazards import NOTHING, Names, hazards, reads_and_writes
from runtime.lattice import Ranges, TooMany, Where, classify
from runtime.timing import WAIT, Fragment, Open, finish, fire, join, repeat


def count(program: Program, sizes: Mapping[int, Sizes] | None = None) -> list[tuple[str, Counters]]:
    """(layer name, its counters) of a verified program, in order.

    sizes  `isa.analysis.instruction_sizes(program)`, where that is known

    Raises InputError where a `?` address is too entangled to count (several axes sharing the
    variables of enormous loops).
    """
    sizes = instruction_sizes(program) if sizes is None else sizes
    return [(layer.name, count_layer(program, layer, sizes)) for layer in program.layers]


def count_layer(program: Program, layer: Layer, sizes: Mapping[int, Sizes]) -> Counters:
    """The counters of one layer; `sizes` from `isa.analysis.instruction_sizes(program)`."""
    counting = _Counting(program, layer, sizes, hazards(layer))
    counting.tally(layer.body, {})
    fragment, _ = counting.block(layer.body, NOTHING)
    return Counters.of(finish(fragment, program.target), counting.events)


@dataclass(slots=True)
class _Counting:
    """Of one layer.  `hazards` are the buffers that it both writes and reads."""

    program: Program
    layer: Layer
    sizes: Mapping[int, Sizes]
    hazards: Names
    events: dict[str, int] = field(default_factory=dict)
    places: dict[Hashable, Where] = field(default_factory=dict)
    """What was found of an address and its loops: drives share them."""

    # ------------------------------------------------------------ cycles

    def block(self, nodes: tuple[Node, ...], written: Names) -> tuple[Fragment, Names]:
        """The timeline of code that begins where `written` was written in the open window; and what
        is when it ends."""
        fragment: Fragment = Open()
        for node in nodes:
            part, written = (self.loop if isinstance(node, Loop) else self.one)(node, written)  # type: ignore[arg-type]
            fragment = join(fragment, part, self.program.target)
        return fragment, written

    def loop(self, loop: Loop, written: Names) -> tuple[Fragment, Names]:
        """What an iteration finds written decides what it leaves so: from some iteration on they
        take turns, mostly one with itself."""
        target = self.program.target
        seen: dict[Names, int] = {}
        turns: list[Fragment] = []
        while len(turns) < loop.count and written not in seen:
            seen[written] = len(turns)
            turn, written = self.block(loop.body, written)
            turns.append(turn)
        rest = loop.count - len(turns)
        if rest:
            period = turns[seen[written] :]
            whole, part = divmod(rest, len(period))
            if whole:
                turns.append(repeat(self.joined(period), whole, target))
            turns += period[:part]
            written = list(seen)[len(seen) - len(period) + part]
        return self.joined(turns), written

    def joined(self, fragments: list[Fragment]) -> Fragment:
        return functools.reduce(lambda a, b: join(a, b, self.program.target), fragments)

    def one(self, instruction: Instruction, written: Names) -> tuple[Fragment, Names]:
        """One execution on the clock."""
        spec, sizes = INSTRUCTIONS[instruction.mnemonic], self.sizes[id(instruction)]
        work = Open.of(spec.unit, spec.events(sizes))
        if spec.unit is Unit.ARRAY:
            return fire(sizes.cycles, work), NOTHING
        if not self.hazards:
            return work, written
        reads, writes = (names & self.hazards for names in reads_and_writes(instruction))
        if written & reads:
            return join(WAIT, work, self.program.target), writes
        return work, written | writes

    # ------------------------------------------------------------ events

    def tally(self, nodes: tuple[Node, ...], ranges: Ranges) -> None:
        """Add the events of all executions of these nodes."""
        for node in nodes:
            if isinstance(node, Loop):
                self.tally(node.body, {**ranges, node.variable: (node.first, node.last)})
            else:
                self.tally_one(node, ranges)

    def tally_one(self, instruction: Instruction, ranges: Ranges) -> None:
        spec = INSTRUCTIONS[instruction.mnemonic]
        events = spec.events(self.sizes[id(instruction)])
        if spec.unit is not Unit.DRIVER:
            self.add(events, math.prod(last - first for first, last in ranges.values()))
            return
        address = instruction.operands[1]
        assert isinstance(address, Address)
        key = address, tuple(ranges.items())
        try:
            if key not in self.places:
                self.places[key] = classify(address, self.program.buffers[address.buffer], ranges)
        except TooMany as error:
            raise InputError(
                f"line {instruction.span.line}: {error}",
                place=f'layer "{self.layer.name}"',
                hint="give each axis of the address loop variables of its own",
            ) from error
        where = self.places[key]
        self.add(events, where.inside)
        self.add(saved(events, "gated_drives"), where.outside)
        self.add(saved(events, "inserted_zeros"), where.inserted)

    def add(self, events: Mapping[str, int], times: int) -> None:
        for name, amount in events.items():
            self.events[name] = self.events.get(name, 0) + times * amount
