"""How many instructions a second `step` executes: FCN_Deconv2, pixel-wise, by hand.

    python tests/bench/bench_step.py [--blocks 71] [--profile]

Per round: 256 drives of 21-long vectors, one fire of 16 x 16 sub-crossbars of 21 x 21, eight bit
planes, and for each of 64 output pixels a sum of four products, a quant and a store.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import time

import numpy as np

from isa.program import (
    Address,
    Affine,
    Array,
    Buffer,
    ConstRef,
    Crossbar,
    Instruction,
    IntType,
    Layer,
    Loop,
    Matrix,
    Node,
    Program,
    Register,
    Target,
)
from runtime.machine import Memory
from runtime.step import StepEngine

STRIDE, KERNEL, CHANNELS = 8, 16, 21


def deconvolution(blocks: int) -> Program:
    """FCN_Deconv2 on a (blocks - 1)² input: 71 blocks for the 70 x 70 of the paper."""
    body: list[Node] = []
    pixels = [(i, j) for i in range(KERNEL) for j in range(KERNEL)]
    for i, j in pixels:
        where = (Affine.of({"q0": 1}, -(i // STRIDE)), Affine.of({"q1": 1}, -(j // STRIDE)))
        body.append(Instruction("drive", (Matrix("m", (i, j)), Address("x", where, True))))
    body.append(Instruction("fire", (Matrix("m"),)))
    for a0 in range(STRIDE):
        for a1 in range(STRIDE):
            terms = [Matrix("m", (i, j)) for i, j in pixels if (i % STRIDE, j % STRIDE) == (a0, a1)]
            where = (Affine.of({"q0": STRIDE}, a0), Affine.of({"q1": STRIDE}, a1))
            v0 = Register(0)
            body.append(Instruction("sum", (v0, *terms)))
            body.append(Instruction("quant", (v0, v0, ConstRef("s")), (("high", 255), ("low", 0))))
            body.append(Instruction("store", (Address("y", where, True), v0)))
    loops = Loop("q0", 0, blocks, (Loop("q1", 0, blocks, tuple(body)),))
    rng = np.random.default_rng(0)
    size = STRIDE * blocks
    x = Buffer("x", "input", IntType(False, 8), (blocks - 1, blocks - 1, CHANNELS), 0.01)
    y = Buffer("y", "output", IntType(False, 8), (size, size, CHANNELS), 0.01)
    m = Crossbar(
        "m", (KERNEL, KERNEL), 1, CHANNELS, 1, CHANNELS, 1, IntType(True, 8), IntType(False, 8), "w", 0
    )
    data: dict[str, Array] = {
        "w": rng.integers(-127, 128, m.data_shape).astype(np.int8),
        "s": np.full(CHANNELS, 1e-4, np.float32),
    }
    return Program(Target("bench"), {"x": x, "y": y}, {"m": m}, {}, (Layer("d2", (loops,)),), data=data)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--blocks", type=int, default=71)
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    program = deconvolution(options.blocks)
    engine, memory = StepEngine(program), Memory.of(program)
    rng = np.random.default_rng(1)
    memory.codes["x"][...] = rng.integers(0, 256, memory.codes["x"].shape)
    engine.bind(memory)
    if options.profile:
        with cProfile.Profile() as profile:
            engine.execute(memory)
        pstats.Stats(profile).sort_stats("tottime").print_stats(15)
        return
    begin = time.perf_counter()
    ((_, counters),) = engine.execute(memory).counters
    seconds = time.perf_counter() - begin
    instructions = options.blocks**2 * (KERNEL**2 + 1 + 3 * STRIDE**2)
    print(f"{instructions} instructions in {seconds:.2f} s: {instructions / seconds:,.0f} a second")
    print(counters)


if __name__ == "__main__":
    main()
