"""Kernel calls one after another, as one call.

A network of small layers has little to compute in each, and what Python does around a layer takes
longer.  Layers that are nothing but kernels (`runtime/fused.py`) are put on a tape, which one
function plays without coming back to Python.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from runtime.counters import Losses
from runtime.gather import Sources
from runtime.machine import Memory


class Call(NamedTuple):
    """A kernel to be called for rows [first, last): addresses of its code and of its words."""

    code: int
    words: int
    first: int
    last: int


def address_of(kernel: Callable[..., None]) -> int:
    """Where the code of a kernel begins."""
    return ctypes.cast(kernel, ctypes.c_void_p).value or 0  # type: ignore[arg-type]  # a function of ctypes


class Tape:
    """Calls in their order; who made them keeps what they point to."""

    def __init__(self, calls: Sequence[Call]) -> None:
        self.table = np.array(calls, np.int64)
        self.play = _player()

    def run(self, memory: Memory, sources: Sources) -> Losses:
        """What conversions lost: nothing, for tapes have none."""
        self.play(self.table.ctypes.data, len(self.table))
        sources.forget_all()
        return Losses()


@functools.cache
def _player() -> Callable[..., None]:
    from llvmlite import ir

    from runtime.llvm import I64, NUMBER, POINTER, Function

    function = Function({"calls": POINTER, "count": NUMBER}, {})
    b = function.b
    kernel = ir.FunctionType(ir.VoidType(), [ir.PointerType(I64), I64, I64]).as_pointer()
    with function.loop(0, function.a["count"]) as number:
        words: list[Any] = [
            function.at("calls", function.index((number, len(Call._fields)), place))
            for place in range(len(Call._fields))
        ]
        code, start, first, last = words
        b.call(b.inttoptr(code, kernel), [b.inttoptr(start, ir.PointerType(I64)), first, last])
    return function.compiled(widen=False)
