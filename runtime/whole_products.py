"""Matrix products of whole numbers, on the thread that asks.

A library's product spreads over threads of its own, which get in the way of ours: where the cores
are shared with others they wait for one another most of the time.  And it has none for numbers of
16 bits, of which a register holds twice as many as of float32.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir

from isa.program import Array
from runtime.llvm import F32, I16, I32, NUMBER, POINTER, Cpu, Function, host
from runtime.sampled_tiles import TALL

ARGUMENTS = {
    "cells": POINTER,  # [rows, terms]
    "terms": NUMBER,
    "driven": POINTER,  # [blocks, terms, width]
    "blocks": NUMBER,
    "sums": POINTER,  # [rows, blocks * width]
}
"""Terms are lines in float32, or pairs of lines in 16 bits each; sums are float32 or int32."""


def shape(cpu: Cpu) -> tuple[int, int]:
    """(lanes of a vector, vectors of a block): the accumulators of a block fill the registers."""
    return (16, 4) if cpu.wide else (8, 2)


def packed(driven: Array, cpu: Cpu) -> Array:
    """[lines, columns] as the kernels take it: [blocks, terms, width], padded with zeros.

    float32 stays so; int16 [.., .., .., 2] are pairs of lines, and lines must be even.
    """
    lanes, vectors = shape(cpu)
    width, pair = lanes * vectors, 2 if driven.dtype == np.int16 else 1
    blocks, terms = -(-driven.shape[1] // width), len(driven) // pair
    found = np.zeros((blocks, terms, width, pair), driven.dtype)
    for block in range(blocks):
        part = driven[:, block * width : (block + 1) * width]
        found[block, :, : part.shape[1]] = part.reshape(terms, pair, -1).swapaxes(1, 2)
    return found


def product(cells: Array, driven: Array) -> Array:
    """cells @ driven: float32 [rows, lines] by [lines, columns]; rows are a multiple of TALL.

    Exact while no partial sum reaches 2^24.
    """
    cpu = host()
    blocks = packed(driven, cpu)
    found = np.empty((len(cells), blocks.shape[0] * blocks.shape[2]), np.float32)
    _kernel(cpu)(
        cells.ctypes.data, cells.shape[1], blocks.ctypes.data, len(blocks), found.ctypes.data,
        len(cells) // TALL,
    )  # fmt: skip
    return found[:, : driven.shape[1]]


@functools.cache
def _kernel(cpu: Cpu) -> Callable[..., None]:
    function = Function(ARGUMENTS | {"groups": NUMBER}, dict.fromkeys(("cells", "driven", "sums"), F32))
    write_product(function, shape(cpu), F32, function.number(0), function.a["groups"])
    return function.compiled(cpu)


def write_product(f: Function, form: tuple[int, int], kind: Any, first: Any, groups: Any) -> None:
    """sums = cells[first : first + TALL * groups] @ driven, in a function with ARGUMENTS among its own.

    form  see `shape`
    kind  of the terms: F32, or I32 for pairs of 16 bits
    """
    lanes, vectors = form
    type_, width, a, b = ir.VectorType(kind, lanes), lanes * vectors, f.a, f.b
    totals = [[f.variable(type_) for _ in range(vectors)] for _ in range(TALL)]
    row_length = b.mul(a["blocks"], f.number(width))
    with f.loop(0, a["blocks"]) as block, f.loop(0, groups) as group:
        for total in totals:
            for place in total:
                b.store(ir.Constant(type_, None), place)
        row = b.mul(group, f.number(TALL))
        with f.loop(0, a["terms"]) as term:
            here = b.mul(b.add(b.mul(block, a["terms"]), term), f.number(width))
            driven = [f.vector("driven", f.index(here, lanes * v), type_) for v in range(vectors)]
            for number, total in enumerate(totals):
                cell = f.at("cells", f.index((f.index(first, row, number), a["terms"]), term))
                cells = f.splat(cell, type_)
                for line, place in zip(driven, total, strict=True):
                    b.store(_added(f, b.load(place), line, cells), place)
        for number, total in enumerate(totals):
            start = f.index((b.add(row, f.number(number)), row_length), (block, width))
            for v, place in enumerate(total):
                b.store(b.load(place), f.pointer("sums", f.index(start, lanes * v), type_), align=4)


def _added(f: Function, total: Any, line: Any, cells: Any) -> Any:
    """total + line * cells; of pairs, both products.

    The latter is written as CPUs have it, multiplying 16 bits and adding neighbours (PMADDWD and
    its heirs): LLVM finds the instruction where there is one.
    """
    b, type_ = f.b, total.type
    if type_.element == F32:
        return b.fadd(total, b.fmul(line, cells, flags=("contract",)), flags=("contract",))
    narrow, wide = (ir.VectorType(kind, 2 * type_.count) for kind in (I16, I32))
    product = b.mul(*(b.sext(b.bitcast(x, narrow), wide) for x in (line, cells)))
    even, odd = (ir.Constant(type_, list(range(k, 2 * type_.count, 2))) for k in range(2))
    undefined = ir.Constant(wide, ir.Undefined)
    pairs = [b.shuffle_vector(product, undefined, which) for which in (even, odd)]
    return b.add(total, b.add(*pairs))
