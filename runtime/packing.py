"""The kernel that packs lines into words, a bit of 64 lines in each."""

from __future__ import annotations

import functools
from collections.abc import Callable

from llvmlite import ir

from runtime.llvm import I32, I64, NUMBER, POINTER, Cpu, Function

LINES = 64
"""Lines of a word; tiles are padded to a multiple."""


@functools.cache
def packing(entry: int, bits: int, cpu: Cpu) -> Callable[..., None]:
    """The machine code for lines of `entry` bits, of which the lowest `bits` are packed."""
    return written(entry, bits).compiled(cpu)


def written(entry: int, bits: int) -> Function:
    """The same in LLVM's terms."""
    return _Packing(entry, bits)


_ARGUMENTS = {
    "lines": POINTER,  # entries [iterations, lines]
    "line_row": NUMBER,  # lines
    "start": NUMBER,  # first iteration
    "stop": NUMBER,
    "words": POINTER,  # int64 [bits, iterations, words]
    "word_row": NUMBER,  # words
    "word_bit": NUMBER,  # words of one bit
    "tiles": POINTER,  # int64 [tiles, 2]: first word, one after the last
    "tile_count": NUMBER,
    "ones": POINTER,  # int32 [bits, iterations, tiles]: how many a tile has
    "one_row": NUMBER,  # tiles
    "one_bit": NUMBER,  # counts of one bit
}


class _Packing(Function):
    def __init__(self, entry: int, bits: int) -> None:
        line = ir.IntType(entry)
        super().__init__(_ARGUMENTS, {"lines": line, "ones": I32})
        b, many = self.b, ir.VectorType(line, LINES)
        count = self.intrinsic("llvm.ctpop.i64", I64, I64)
        totals = [self.variable(I64) for _ in range(bits)]
        with self.loop(self.a["start"], self.a["stop"]) as i, self.loop(0, self.a["tile_count"]) as tile:
            for total in totals:
                b.store(self.number(0), total)
            first, last = (self.at("tiles", self.index((tile, 2), k)) for k in range(2))
            with self.loop(first, last) as word:
                found = self.vector("lines", self.index((i, self.a["line_row"]), (word, LINES)), many)
                for bit, total in enumerate(totals):
                    mask = b.and_(found, self.splat(1 << bit, many))
                    here = b.bitcast(b.icmp_unsigned("!=", mask, self.splat(0, many)), I64)
                    place = self.index((bit, self.a["word_bit"]), (i, self.a["word_row"]), word)
                    b.store(here, b.gep(self.a["words"], [place]))
                    b.store(b.add(b.load(total), b.call(count, [here])), total)
            for bit, total in enumerate(totals):
                place = self.index((bit, self.a["one_bit"]), (i, self.a["one_row"]), tile)
                b.store(b.trunc(b.load(total), I32), b.gep(self.a["ones"], [place]))
