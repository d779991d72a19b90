"""Nests of very many iterations, cut into pieces that are planned one at a time.

A plan keeps some bytes for every result of its nest.  Iterations do not depend on one another,
and where two of them write one vector the later one stays: so the pieces run in their order.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

from isa.program import Program
from runtime.symbols import Block

PLAN_BYTES = 1 << 29
"""What the plan of one piece and its results may take."""
INDEX_BYTES = 64
"""Of a plan, for every result: where it goes, and when."""


def pieces(program: Program, blocks: Sequence[Block], watched: frozenset[str]) -> Iterator[list[Block]]:
    """The blocks of a nest, in pieces whose plans are small; mostly there is one."""
    yield from _cut(program, list(blocks), watched, 0)


def _cut(program: Program, blocks: list[Block], watched: frozenset[str], depth: int) -> Iterator[list[Block]]:
    total = sum(_bytes(program, block, watched) for block in blocks)
    loop = blocks[0].loops[depth] if blocks and depth < len(blocks[0].loops) else None
    if total <= PLAN_BYTES or (loop is None and len(blocks) <= 1):
        yield blocks
    elif loop is None or any(block.loops[depth : depth + 1] != (loop,) for block in blocks):
        # Loops side by side: they write different buffers, or only add.
        for block in blocks:
            yield from _cut(program, [block], watched, depth)
    else:
        step = max(1, loop.count * PLAN_BYTES // total)
        for start in range(0, loop.count, step):
            first = loop.first + start
            part = replace(loop, first=first, last=min(first + step, loop.last))
            inside = [
                replace(block, loops=(*block.loops[:depth], part, *block.loops[depth + 1 :]))
                for block in blocks
            ]
            yield from _cut(program, inside, watched, depth + 1)


def _bytes(program: Program, block: Block, watched: frozenset[str]) -> int:
    each = 0
    for store in block.stores:
        buffer = program.buffers[store.target.buffer]
        value = buffer.dtype.itemsize + (8 if buffer.name in watched else 0)
        each += INDEX_BYTES + store.target.length(buffer.vector) * value
    return each * math.prod(loop.count for loop in block.loops)
