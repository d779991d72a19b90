"""Cycles and events of a program without running it: no values, no loop executed.

The cost depends on the length of the text, not on loop bounds (see runtime/lattice.py for the
one exception).  `step` counts the same by executing; tests hold the two equal.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from isa.analysis import instruction_sizes
from isa.instructions import INSTRUCTIONS, Sizes, Unit
from isa.program import Address, BufferRef, Instruction, Layer, Loop, Node, Program
from runtime.counters import Counters
from runtime.errors import InputError
from runtime.lattice import Ranges, TooMany, classify
from runtime.timing import Fragment, Open, finish, fire, join, repeat


def count(program: Program) -> list[tuple[str, Counters]]:
    """(layer name, its counters) of a verified program, in order.

    Raises InputError where a `?` address is too entangled to count (several axes sharing the
    variables of enormous loops).
    """
    sizes = instruction_sizes(program)
    return [(layer.name, count_layer(program, layer, sizes)) for layer in program.layers]


def count_layer(program: Program, layer: Layer, sizes: Mapping[int, Sizes]) -> Counters:
    """The counters of one layer; `sizes` from `isa.analysis.instruction_sizes(program)`."""
    counting = _Counting(program, layer, sizes)
    fragment = counting.block(layer.body, {})
    return Counters.of(finish(fragment, program.target), counting.events)


@dataclass(slots=True)
class _Counting:
    program: Program
    layer: Layer
    sizes: Mapping[int, Sizes]
    events: dict[str, int] = field(default_factory=dict)

    def block(self, nodes: tuple[Node, ...], ranges: Ranges) -> Fragment:
        fragment: Fragment = Open()
        target = self.program.target
        for node in nodes:
            if isinstance(node, Loop):
                body = self.block(node.body, {**ranges, node.variable: (node.first, node.last)})
                part = repeat(body, node.count, target)
            else:
                self.tally(node, ranges)
                part = self.occupancy(node)
            fragment = join(fragment, part, target)
        return fragment

    def occupancy(self, instruction: Instruction) -> Fragment:
        """One execution on the clock."""
        spec = INSTRUCTIONS[instruction.mnemonic]
        if spec.unit is Unit.ARRAY:
            return fire(self.sizes[id(instruction)].cycles)
        whole = instruction.operands[0]
        if isinstance(whole, BufferRef):
            return Open.of(spec.unit, math.prod(self.program.buffers[whole.name].shape[:-1]))
        if spec.unit is Unit.DRIVER:
            sizes = self.sizes[id(instruction)]
            return Open.of(spec.unit, sizes.length * sizes.bits)
        return Open.of(spec.unit)

    def tally(self, instruction: Instruction, ranges: Ranges) -> None:
        """Add the events of all executions of one instruction."""
        spec = INSTRUCTIONS[instruction.mnemonic]
        events = spec.events(self.sizes[id(instruction)])
        if spec.unit is not Unit.DRIVER:
            self.add(events, math.prod(last - first for first, last in ranges.values()))
            return
        address = instruction.operands[1]
        assert isinstance(address, Address)
        try:
            where = classify(address, self.program.buffers[address.buffer], ranges)
        except TooMany as error:
            raise InputError(
                f"line {instruction.span.line}: {error}",
                place=f'layer "{self.layer.name}"',
                hint="give each axis of the address loop variables of its own",
            ) from error
        self.add(events, where.inside)
        self.add({"gated_drives": events["drives"]}, where.outside)
        self.add({"inserted_zeros": events["drives"]}, where.inserted)

    def add(self, events: Mapping[str, int], times: int) -> None:
        for name, amount in events.items():
            self.events[name] = self.events.get(name, 0) + times * amount
