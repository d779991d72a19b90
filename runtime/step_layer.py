"""One layer of the step engine: every instruction compiled into a closure.

What an instruction means is said here (effects: buffers and arrays) and in the instruction
table (values).
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Collection
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import numpy as np

from isa.analysis import operand_kinds
from isa.instructions import INSTRUCTIONS, Kind, Sizes, Spec
from isa.program import (
    Address,
    Array,
    Buffer,
    BufferRef,
    ConstRef,
    Instruction,
    Loop,
    Matrix,
    Node,
    Register,
)
from runtime.address import Locate, LoopVariable, is_inserted, locator
from runtime.counters import Counters, saved
from runtime.doors import onnx_order, onnx_shape
from runtime.hazards import NOTHING, hazards, reads_and_writes
from runtime.machine import Memory
from runtime.symbols import fires_of
from runtime.timing import Open
from runtime.tracing import traced

if TYPE_CHECKING:
    from runtime.step import StepEngine

FETCH = 0
"""Of drives, in the clock's `busy`."""

Step = Callable[[], None]
Place = int
"""A position in `cells`."""


class CompiledLayer:
    """The closures of one layer's nodes, and what their executions count.

    The effect instructions' bodies in the table call a machine: `machine.latch(...)`,
    `machine.fire(...)` and so on.  Here they are called once, with this compiler as the
    machine: each of its methods of those names emits the closure that does it.
    """

    def __init__(self, engine: StepEngine, memory: Memory, number: int, nodes: Collection[int]) -> None:
        """`nodes` are the top-level nodes of the layer that will be executed."""
        layer = engine.program.layers[number]
        self.name, self.number = layer.name, number
        self.fired = 0  # fires executed so far
        self.fired_before = list(accumulate(map(fires_of, layer.body), initial=0))
        self.engine = engine
        self.program = engine.program
        self.memory = memory
        self.clock = engine.clock
        self.tally: list[int] = []
        self.counted: list[dict[str, int]] = []  # what one tick of each tally slot counts
        self.origins: dict[Place, Place] = {}  # quantised register -> what the quant's source was
        self.driven: dict[str, dict[int, list[int]]] = {}  # crossbar -> its row bands driven since its fire
        self.loops: dict[str, LoopVariable] = {}  # around the instruction being compiled
        self.result: Place | None = None  # register the instruction being compiled writes
        self.sizes = Sizes()
        self.spec: Spec
        self.emitted: Step
        whole = len(nodes) == len(layer.body)  # else nobody asks how long it takes
        self.hazards = hazards(layer) if whole else NOTHING
        self.steps = {n: self.block((layer.body[n],))[0] for n in nodes}

    def execute(self) -> Counters:
        """Run the layer."""
        self.tally[:] = [0] * len(self.tally)
        self.fired = 0
        self.clock.start()
        for step in self.steps.values():
            step()
        self.clock.drain()
        events: dict[str, int] = {}
        for times, per_tick in zip(self.tally, self.counted, strict=True):
            for name, amount in per_tick.items():
                events[name] = events.get(name, 0) + times * amount
        return Counters.of(self.clock.cycles, events)

    # ------------------------------------------------------------ code

    def block(self, nodes: tuple[Node, ...]) -> list[Step]:
        return [self.loop(n) if isinstance(n, Loop) else self.instruction(n) for n in nodes]

    def loop(self, loop: Loop) -> Step:
        values, slot = self.engine.values, len(self.loops)
        if slot == len(values):
            values.append(0)
        self.loops[loop.variable] = LoopVariable(loop.first, loop.last, slot)
        body = self.block(loop.body)
        del self.loops[loop.variable]
        iterations = range(loop.first, loop.last)

        def run() -> None:
            for value in iterations:
                values[slot] = value
                for step in body:
                    step()

        return run

    def instruction(self, instruction: Instruction) -> Step:
        """Compile one instruction: find its operands, then let its meaning emit a closure."""
        self.spec = INSTRUCTIONS[instruction.mnemonic]
        self.sizes = self.engine.sizes[id(instruction)]
        operands: list[Any] = []
        self.result = None
        kinds = operand_kinds(self.spec, len(instruction.operands))
        for kind, operand in zip(kinds, instruction.operands, strict=True):
            if kind is Kind.RESULT:
                assert isinstance(operand, Register)
                self.result = self.engine.place(operand.number)
            else:
                operands.append(self.operand(kind, operand))
        attributes = {
            a.name: instruction.attribute(a.name, a.default if a.default is not None else 0)
            for a in self.spec.attributes
        }
        if self.spec.is_value:
            self.compute(operands, attributes)
        else:
            self.spec.meaning(self, *operands, **attributes)
            if self.result is not None:
                self.origins.pop(self.result, None)
        step = self.in_order(instruction, self.emitted)
        return traced(self.engine, self.name, instruction, self.loops, step)

    def operand(self, kind: Kind, operand: Any) -> Any:
        """What the meaning is given: a place in `cells` for a vector, the operand itself otherwise."""
        if isinstance(operand, Register):
            return self.engine.place(operand.number)
        if kind is Kind.TERM and isinstance(operand, Matrix):
            return self.engine.hold(self.engine.groups[operand.name].bit_lines(operand.index, operand.band))
        if isinstance(operand, ConstRef) and kind is not Kind.PART:
            vector = self.program.constant(operand.name).ravel()
            return self.engine.hold(vector.astype(np.float32 if kind is Kind.FLOATS else np.int64))
        return operand

    def slot(self, events: dict[str, int]) -> int:
        """A new tally slot: each tick counts `events`."""
        self.tally.append(0)
        self.counted.append(events)
        return len(self.tally) - 1

    def once(self) -> Step:
        """For an instruction that counts the same each time: counts one execution, and issues its
        work into the open window."""
        events = dict(self.spec.events(self.sizes))
        tally, busy, slot = self.tally, self.clock.busy, self.slot(events)
        work = [(i, amount) for i, amount in enumerate(Open.of(self.spec.unit, events).work) if amount]
        (unit, only), *more = work or [(0, 0)]

        def tick() -> None:
            tally[slot] += 1
            busy[unit] += only
            for other, amount in more:
                busy[other] += amount

        return tick

    def in_order(self, instruction: Instruction, step: Step) -> Step:
        """`step`, which waits for what its window wrote into the buffers it reads."""
        clock = self.clock
        reads, writes = (names & self.hazards for names in reads_and_writes(instruction))

        def run() -> None:
            clock.read(reads)
            step()
            clock.wrote(writes)

        return run if reads or writes else step

    # ------------------------------------------------------------ values

    def compute(self, sources: list[Place], attributes: dict[str, int | float]) -> None:
        """A value instruction: what the table says, on vectors of int64."""
        cells, result, meaning = self.engine.cells, self.result, self.spec.meaning
        assert result is not None
        first = sources[0]
        fetch = operator.itemgetter(*sources) if len(sources) > 1 else lambda held: (held[first],)
        keep = self.origin(result, first)
        tick = self.once()

        def run() -> None:
            vector = meaning(*fetch(cells), **attributes)
            if keep is not None:
                cells[keep] = cells[first]
            # Always a new array: the sum of one product is that product, which the next fire refills.
            cells[result] = vector.astype(np.int64)
            tick()

        self.emitted = run

    def origin(self, result: Place, source: Place) -> Place | None:
        """When observing, the place where a `quant` keeps its source for a later `store`."""
        behind = self.origins.pop(source, None) if source == result else self.origins.get(source)
        self.origins.pop(result, None)
        if not self.engine.observe:
            return None
        if self.spec.mnemonic == "quant":
            self.origins[result] = self.engine.hold(None)
            return self.origins[result]
        if self.spec.mnemonic == "lookup" and behind is not None:
            self.origins[result] = behind
        return None

    # ------------------------------------------------------------ crossbars

    def latch(self, matrix: Matrix, source: Address) -> None:
        """`drive`: code - zero onto word lines.

        Where the address is no pixel the lines keep the zeros that the last fire left.
        """
        group = self.engine.groups[matrix.name]
        lines = group.word_lines(matrix.index, matrix.band)
        driven = self.driven.setdefault(matrix.name, {})
        driven.setdefault(group.flat(matrix.index), []).append(matrix.band)
        buffer, locate = self.address(source)
        vectors = self.vectors(source).reshape(-1, *lines.shape)
        zero = lines.dtype.type(buffer.zero) if buffer.zero else None
        pulses = dict(self.spec.events(self.sizes))
        inside = self.slot(pulses)
        gated = self.slot(saved(pulses, "gated_drives"))
        inserted = self.slot(saved(pulses, "inserted_zeros"))
        tally, busy, fetched = self.tally, self.clock.busy, Open.of(self.spec.unit, pulses).fetch

        def run() -> None:
            position = locate()
            if position >= 0:
                if zero is None:
                    lines[...] = vectors[position]
                else:
                    np.subtract(vectors[position], zero, out=lines, casting="unsafe")
                tally[inside] += 1
            elif is_inserted(position):
                tally[inserted] += 1
            else:
                tally[gated] += 1
            busy[FETCH] += fetched

        self.emitted = run

    def fire(self, matrix: Matrix) -> None:
        """`fire`: one round of the driven sub-crossbars, and the end of a window."""
        clock = self.clock
        convert = self.engine.groups[matrix.name].round(self.driven.pop(matrix.name), self.number)
        fire_cycles = self.sizes.cycles
        tick = self.once()

        def run() -> None:
            convert(self.fired)
            self.fired += 1
            clock.fire(fire_cycles)
            tick()

        self.emitted = run

    # ------------------------------------------------------------ buffers

    def address(self, address: Address) -> tuple[Buffer, Locate]:
        buffer = self.program.buffers[address.buffer]
        return buffer, locator(address, buffer, self.loops, self.engine.values)

    def vectors(self, address: Address) -> Array:
        """What the address names at each position: a view of the codes, (positions, length)."""
        vector = self.program.buffers[address.buffer].vector
        return self.memory.codes[address.buffer].reshape(-1, vector)[:, address.columns(vector)]

    def read(self, source: Address) -> None:
        """`load`: code - zero into a register; zeros where the address is no pixel."""
        buffer, locate = self.address(source)
        vectors = self.vectors(source)
        zero, nothing = np.int64(buffer.zero), np.zeros(vectors.shape[1], np.int64)
        cells, result = self.engine.cells, self.result
        assert result is not None
        tick = self.once()

        def run() -> None:
            position = locate()
            cells[result] = vectors[position].astype(np.int64) - zero if position >= 0 else nothing
            tick()

        self.emitted = run

    def write(self, target: Address, value: Place) -> None:
        """`store`: codes into the buffer; dropped where the address is no pixel."""
        _, locate = self.address(target)
        vectors = self.vectors(target)
        cells = self.engine.cells
        tick = self.once()

        def run() -> None:
            position = locate()
            if position >= 0:
                vectors[position] = cells[value]
            tick()

        self.emitted = run
        if target.buffer in self.memory.accumulators:
            nothing = self.engine.hold(0)
            self.emitted = self.recording(run, locate, target, self.origins.get(value, nothing))

    def recording(self, store: Step, locate: Locate, target: Address, origin: Place) -> Step:
        """A `store` that also records the accumulator behind what it stores (runtime/observe.py)."""
        record = self.memory.accumulators[target.buffer]
        rows = record.reshape(-1, record.shape[-1])[:, target.columns(record.shape[-1])]
        cells = self.engine.cells

        def run() -> None:
            store()
            position = locate()
            if position >= 0:
                rows[position] = cells[origin]

        return run

    def add(self, target: Address, value: Place) -> None:
        """`accum`: add to the buffer; dropped where the address is no pixel."""
        _, locate = self.address(target)
        vectors = self.vectors(target)
        cells = self.engine.cells
        tick = self.once()

        def run() -> None:
            position = locate()
            if position >= 0:
                vector = vectors[position]
                np.add(vector, cells[value], out=vector, casting="unsafe")
            tick()

        self.emitted = run

    def fill(self, target: BufferRef) -> None:
        """`clear`: the zero code everywhere."""
        codes, zero = self.memory.codes[target.name], self.program.buffers[target.name].zero
        tick = self.once()

        def run() -> None:
            codes.fill(zero)
            tick()

        self.emitted = run

    def reshape(self, target: BufferRef, source: BufferRef) -> None:
        """`reshape`: equal codes in the order of the ONNX tensors."""
        into, out_of = self.program.buffers[target.name], self.program.buffers[source.name]
        target_view = onnx_order(into, self.memory.codes[target.name])
        source_view = onnx_order(out_of, self.memory.codes[source.name])
        shape = onnx_shape(into)
        tick = self.once()

        def run() -> None:
            target_view[...] = source_view.reshape(shape)
            tick()

        self.emitted = run

    # ------------------------------------------------------------ host

    def host(self, part: ConstRef, inputs: tuple[BufferRef, ...], outputs: tuple[BufferRef, ...]) -> None:
        """`host`: a part of the network through onnxruntime; outside of the clock."""
        call = self.engine.hosts.caller(self.name, part.name, inputs, outputs, self.memory)
        tick = self.once()

        def run() -> None:
            call()
            tick()

        self.emitted = run
