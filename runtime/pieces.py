"""Nests of very many iterations, cut into pieces that are planned one at a time.

A plan keeps some bytes for every result of its nest.  Iterations do not depend on one another,
and where two of them write one vector the later one stays: so the pieces run in their order.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

from isa.program import Loop, Program
from runtime.symbols import Block, Fire, Formulas

PLAN_BYTES = 1 << 29
"""What the plan of one piece and its results may take."""
INDEX_BYTES = 64
"""Of a plan, for every result: where it goes, and when."""


def pieces(program: Program, nest: Formulas, watched: frozenset[str]) -> Iterator[Formulas]:
    """A nest in pieces whose plans are small; mostly there is one.

    Its fires are cut as its blocks are, so that each iteration of each is in one piece: without
    fires (their products are sums like any other, unless they are converted) a nest can be cut
    in more places.
    """
    yield from _cut(program, nest.blocks, nest.fires, watched, 0)


def _cut(
    program: Program, blocks: list[Block], fires: list[Fire], watched: frozenset[str], depth: int
) -> Iterator[Formulas]:
    total = sum(_bytes(program, block, watched) for block in blocks)
    loop = blocks[0].loops[depth] if blocks and depth < len(blocks[0].loops) else None
    around = [block.loops for block in blocks] + [fire.loops for fire in fires]
    apart = any(loops[depth : depth + 1] != (loop,) for loops in around)
    if total <= PLAN_BYTES or (apart and (fires or len(blocks) <= 1)):
        yield Formulas(blocks, fires)
    elif loop is None or apart:
        # Loops side by side: they write different buffers, or only add.
        for block in blocks:
            yield from _cut(program, [block], [], watched, depth)
    else:
        step = max(1, loop.count * PLAN_BYTES // total)
        for start in range(0, loop.count, step):
            first = loop.first + start
            part = replace(loop, first=first, last=min(first + step, loop.last))
            inside = [replace(b, loops=_with(b.loops, depth, part)) for b in blocks]
            fired = [replace(f, loops=_with(f.loops, depth, part)) for f in fires]
            yield from _cut(program, inside, fired, watched, depth + 1)


def _with(loops: tuple[Loop, ...], depth: int, part: Loop) -> tuple[Loop, ...]:
    return (*loops[:depth], part, *loops[depth + 1 :])


def _bytes(program: Program, block: Block, watched: frozenset[str]) -> int:
    each = 0
    for store in block.stores:
        buffer = program.buffers[store.target.buffer]
        value = buffer.dtype.itemsize + (8 if buffer.name in watched else 0)
        each += INDEX_BYTES + store.target.length(buffer.vector) * value
    return each * math.prod(loop.count for loop in block.loops)
