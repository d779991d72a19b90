"""The living definition: executes a program one instruction at a time, on a clock.

What an instruction means is said in `runtime.step_layer` (effects: buffers and arrays) and in the
instruction table (values).  The fast engine and the static counts are held to what they do.

To be quick in Python, every instruction is compiled once, for one memory, into a closure that
holds its views, constants and addresses; a loop is a closure that runs those of its body.

The state of the machine, while it runs:

    values   current values of the loop variables, one slot per level of nesting
    cells    one list of every vector an instruction can name: registers, products of the last
             fire (views that the crossbar refills) and constants
    groups   the crossbars: latched word lines, weights, products
    clock    the cycles so far, and what the current window has issued
    tally    how often each instruction was executed, and where each drive fell

Another engine may run one top-level node of a layer on the same memory:

    step = StepEngine(program, observe=...)
    step.bind(memory)
    step.execute_node(layer, node)         # program.layers[layer].body[node]

Registers and products that one top-level node leaves for a later one stay in the engine from
one `execute_node` to the next; `step.register(n)` and `step.set_register(n, vector)` hand
registers over, `step.groups[name].products` products.  What `execute_node` counts is dropped:
counts do not depend on data, see runtime/count.py.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from isa.analysis import instruction_sizes
from isa.program import Array, Program
from runtime.analog import Sample
from runtime.clock import Clock
from runtime.counters import Counters, Losses, total
from runtime.engine import Execution, Fidelity, Trace
from runtime.groups import Groups
from runtime.hosts import Hosts
from runtime.machine import Memory
from runtime.step_layer import CompiledLayer, Place


class StepEngine:
    """See the head of this file, and `runtime.engine.Engine`."""

    def __init__(
        self,
        program: Program,
        *,
        observe: bool = False,
        trace: Trace | None = None,
        fidelity: Fidelity = "exact",
        sample: Sample | None = None,
    ) -> None:
        self.program = program
        self.observe = observe
        self.trace = trace
        self.sizes = instruction_sizes(program)
        self.converts = fidelity != "exact"
        self.groups = Groups(program, fidelity, sample)
        self.clock = Clock(program.target)
        self.hosts = Hosts(program)
        self.values: list[int] = []
        self.cells: list[Any] = []
        self.registers: dict[int, Place] = {}
        self.memory: Memory | None = None
        self._layers: list[CompiledLayer] = []

    def bind(self, memory: Memory, nodes: Sequence[Collection[int]] | None = None) -> None:
        """Compile for `memory`; nothing to do if that was the last one.

        nodes  of each layer, the top-level nodes that `execute_node` will be asked for; None for all
        """
        if self.memory is not memory:
            self.memory = memory
            wanted = nodes or [range(len(layer.body)) for layer in self.program.layers]
            self._layers = [CompiledLayer(self, memory, *layer) for layer in enumerate(wanted)]

    def execute(self, memory: Memory) -> Execution:
        """Run every layer, in order."""
        self.bind(memory)
        counters, losses = [], []
        for number, layer in enumerate(self._layers):
            counters.append((layer.name, layer.execute()))
            losses.append(self.take_losses(number))
        return Execution(
            tuple(counters),
            total(counters),
            host_seconds=self.hosts.take_seconds(),
            losses=tuple(losses) if self.converts else (),
        )

    def execute_layer(self, layer: int) -> Counters:
        """Run one layer on the bound memory; gives what it counted."""
        return self._layers[layer].execute()

    def execute_node(self, layer: int, node: int) -> None:
        """Run one top-level node of a layer on the bound memory."""
        compiled = self._layers[layer]
        compiled.fired = compiled.fired_before[node]
        compiled.steps[node]()

    def take_losses(self, layer: int) -> Losses:
        """What the conversions of a layer lost since the last call."""
        return self.groups.take_losses(layer)

    def register(self, number: int) -> Array:
        """The int64 vector in register `number`."""
        value: Array = self.cells[self.place(number)]
        return value

    def set_register(self, number: int, value: Array) -> None:
        self.cells[self.place(number)] = value

    def place(self, number: int) -> Place:
        """Where register `number` lives in `cells`."""
        if number not in self.registers:
            self.registers[number] = self.hold(None)
        return self.registers[number]

    def hold(self, value: Any) -> Place:
        """A new place in `cells`."""
        self.cells.append(value)
        return len(self.cells) - 1
