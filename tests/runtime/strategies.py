"""Random valid programs, small enough to step through, odd enough to break an engine.

`programs()` draws a whole `Program` that keeps every rule of the verifier: buffers of one to
four axes, crossbar groups with bands, diagonal blocks and index dimensions, loops nested up to
three deep, `?` and divided and many-variable addresses, layers that feed each other, and layers
that read and write one buffer in the same nest.  Structure is drawn by hypothesis and shrinks;
weights and other numbers come from a drawn seed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from hypothesis import strategies as st

from isa.program import (
    Array,
    BufferRef,
    Layer,
    Loop,
    Program,
)
from tests.runtime.statements import Block, Statements

ITERATIONS = 80
"""Most iterations that a nest may have in total."""


class Author(Statements):
    """Writes one program, drawing every decision."""

    def statement(self, block: Block) -> None:
        kinds = [self.simple, self.simple, self.round]
        if block.depth < 3 and block.iterations * 2 <= ITERATIONS:
            kinds += [self.loop, self.loop] if block.depth else [self.loop] * 4
        if block.depth == 0:
            kinds = [*([self.tidy_nest] * 6 if self.tidy else kinds), self.clear, self.reshape]
        self.choose(kinds)(block)

    def tidy_nest(self, block: Block) -> None:
        """A nest as a compiler writes it: it reads no buffer that it writes."""
        accumulates = self.chance(40)
        self.sources = frozenset(n for n in self.readable if n not in self.cleared or not accumulates)
        self.stored = set()
        self.loop(block)
        self.sources = None

    @contextmanager
    def inner(self, block: Block) -> Iterator[Block]:
        """The block of a loop: what it writes is undefined at its start and after its end."""
        most = min(4, ITERATIONS // block.iterations)
        first = self.choose([0, 0, 0, -1, 2])
        variable = ["n", "q0", "q1"][block.depth]
        writable = frozenset(n for n in block.writable if self.chance(65)) or block.writable
        may_fire = block.may_fire and self.chance(85)
        body = Block(
            depth=block.depth + 1,
            loops={**block.loops, variable: (first, first + self.pick(1, most))},
            registers={n: v for n, v in block.registers.items() if n not in writable},
            products={} if may_fire else dict(block.products),
            writable=writable,
            may_fire=may_fire,
        )
        yield body
        for number in writable:
            block.registers.pop(number, None)
        if may_fire:
            block.products.clear()

    def loop(self, block: Block) -> None:
        with self.inner(block) as body:
            self.fill(body)
            if body.nodes:
                variable = list(body.loops)[-1]
                block.nodes.append(Loop(variable, *body.loops[variable], tuple(body.nodes)))

    def fill(self, block: Block) -> None:
        """A few statements, and something stored at the end of most of them."""
        for _ in range(self.pick(1, 4)):
            self.statement(block)
        if block.depth == 0 and self.tidy:
            return
        if block.products and self.chance(80):
            self.sum(block)
        if block.registers and self.chance(80):
            self.store(block)
        if block.registers and self.cleared and self.chance(50):
            self.accum(block)

    def layer(self, number: int) -> Layer:
        block = Block()
        self.tidy = self.chance(60)
        if self.chance(40):
            self.clear(block)
        self.fill(block)
        return Layer(f"layer{number}", tuple(block.nodes))

    def program(self) -> Program:
        for _ in range(self.pick(1, 2)):
            buffer = self.make_buffer("input", self.choose(self.lengths))
            self.readable.add(buffer.name)
        if self.chance(40):
            self.readable.add(self.make_held(self.choose(self.lengths)).name)
        layers = [self.layer(n) for n in range(self.pick(1, 3))]
        if not any(b.kind == "output" for b in self.buffers.values()):
            block = Block()
            buffer = self.make_buffer("output", self.lengths[0])
            self.emit(block, "clear", BufferRef(buffer.name))
            layers.append(Layer("ending", tuple(block.nodes)))
        return Program(
            target=self.target,
            buffers=self.buffers,
            crossbars=self.crossbars,
            constants=self.constants,
            layers=tuple(layers),
            data_file="random.safetensors" if self.data else None,
            data=self.data,
        )


@st.composite
def programs(draw: Any) -> Program:
    """A random valid program."""
    return Author(draw).program()


def random_inputs(program: Program, seed: int) -> dict[str, Array]:
    """Float inputs that reach every code, and some beyond."""
    rng = np.random.default_rng(seed)
    inputs = {}
    for buffer in program.inputs:
        assert buffer.scale is not None
        assert buffer.tensor is not None
        low, high = buffer.type.low - buffer.zero - 2, buffer.type.high - buffer.zero + 3
        steps = rng.uniform(low, high, buffer.onnx_shape)
        inputs[buffer.tensor] = (steps * buffer.scale).astype(np.float32)
    return inputs
