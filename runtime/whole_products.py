"""Matrix products of small whole numbers in float32, on the thread that asks.

A library's product spreads over threads of its own, which get in the way of ours: where the cores
are shared with others they wait for one another most of the time.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir

from isa.program import Array
from runtime.llvm import NUMBER, POINTER, Function
from runtime.sampled_tiles import TALL

F32 = ir.FloatType()
_ARGUMENTS = {
    "cells": POINTER,  # float [rows, lines]
    "row_groups": NUMBER,  # rows / TALL
    "lines": NUMBER,
    "driven": POINTER,  # float [blocks, lines, WIDE]
    "blocks": NUMBER,
    "sums": POINTER,  # float [rows, blocks * WIDE]
}


@functools.cache
def vector() -> tuple[int, int]:
    """(lanes of a vector, vectors of a block): the accumulators of a block fill the registers."""
    wide = llvm.get_host_cpu_features().get("avx512f", False)
    return (16, 4) if wide else (8, 2)


def packed(driven: Array) -> Array:
    """[lines, columns] as `product` takes it: [blocks, lines, width], padded with zeros."""
    lanes, vectors = vector()
    width = lanes * vectors
    blocks = -(-driven.shape[1] // width)
    found = np.zeros((blocks, len(driven), width), np.float32)
    for block in range(blocks):
        part = driven[:, block * width : (block + 1) * width]
        found[block, :, : part.shape[1]] = part
    return found


def product(cells: Array, driven: Array, sums: Array) -> None:
    """sums = cells @ driven: [rows, lines] by `packed` to [rows, blocks * width].

    Rows are a multiple of TALL.  Exact while no partial sum reaches 2^24.
    """
    blocks, lines, _ = driven.shape
    _kernel()(
        cells.ctypes.data, len(cells) // TALL, lines, driven.ctypes.data, blocks, sums.ctypes.data
    )  # fmt: skip


@functools.cache
def _kernel() -> Callable[..., None]:
    return _Product().compiled()


class _Product(Function):
    def __init__(self) -> None:
        super().__init__(_ARGUMENTS, {"cells": F32, "driven": F32, "sums": F32})
        lanes, vectors = vector()
        self.type = ir.VectorType(F32, lanes)
        b, a, width = self.b, self.a, lanes * vectors
        totals = [[b.alloca(self.type) for _ in range(vectors)] for _ in range(TALL)]
        row_length = b.mul(a["blocks"], self.number(width))
        with self.loop(0, a["blocks"]) as block, self.loop(0, a["row_groups"]) as group:
            for total in totals:
                for place in total:
                    b.store(ir.Constant(self.type, [0.0] * lanes), place)
            first = b.mul(group, self.number(TALL))
            with self.loop(0, a["lines"]) as line:
                here = b.mul(b.add(b.mul(block, a["lines"]), line), self.number(width))
                digits = [self._load("driven", self.index(here, lanes * v)) for v in range(vectors)]
                for row, total in enumerate(totals):
                    cell = self.at("cells", self.index((b.add(first, self.number(row)), a["lines"]), line))
                    level = self.splat(cell, self.type)
                    for digit, place in zip(digits, total, strict=True):
                        term = b.fmul(digit, level, flags=("contract",))
                        b.store(b.fadd(b.load(place), term, flags=("contract",)), place)
            for row, total in enumerate(totals):
                start = self.index((b.add(first, self.number(row)), row_length), (block, width))
                for v, place in enumerate(total):
                    b.store(
                        b.load(place), self.pointer("sums", self.index(start, lanes * v), self.type), align=4
                    )

    def _load(self, name: str, place: Any) -> Any:
        return self.b.load(self.pointer(name, place, self.type), align=4)
