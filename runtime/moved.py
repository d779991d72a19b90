"""What `clear` and `reshape` do to whole buffers, in the fast engine."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import numpy as np

from isa.program import Array, Buffer
from runtime.counters import Losses
from runtime.doors import onnx_order, onnx_shape
from runtime.fused_forms import Form, Op, kernel
from runtime.gather import Sources
from runtime.machine import Memory
from runtime.tape import Call, address_of

LANES = 16
"""Values moved at a time."""
ROW_VALUES = 256
"""Values of a row of zero codes."""
MOST = 1 << 16
"""Values of a buffer that a kernel moves; numpy takes larger ones along their axes."""


class Moved:
    """One such instruction: `into` receives its zero code everywhere, or the codes of `source` in the
    order of the ONNX tensors."""

    def __init__(self, into: Buffer, source: Buffer | None = None) -> None:
        self.into, self.source = into, source
        self.size = math.prod(self.into.shape)
        self.bits = 64 if self.into.dtype.itemsize == 8 else 32
        self.runs = 0

    def run(self, memory: Memory, sources: Sources) -> Losses:
        """As an instruction of its own."""
        if self.size <= MOST:
            self._kernel(self.size if self.runs else 0)
        self.runs += 1
        self._move(memory.codes[self.into.name], memory.codes[self.source.name] if self.source else None)
        sources.forget(self.into.name)
        return Losses()

    def _move(self, target: Array, source: Array | None) -> None:
        if self.source is None or source is None:
            target.fill(self.into.zero)
        else:
            onnx_order(self.into, target)[...] = onnx_order(self.source, source).reshape(
                onnx_shape(self.into)
            )

    def calls(self, memory: Memory) -> list[Call] | None:
        """The call of a kernel that does it; None where there is none."""
        if self.size > MOST or not self.runs:
            return None
        found = self._kernel(0)
        if found is None:
            return None
        words, rows = self._words
        target = memory.codes[self.into.name].ctypes.data
        words[0] = target
        if self.source is not None:
            words[5] = memory.codes[self.source.name].ctypes.data
        return [Call(address_of(found), words.ctypes.data, 0, rows)]

    def _kernel(self, values: int) -> Callable[..., None] | None:
        name = self.into.dtype.name
        op = (
            Op("constant", self.bits, f"int{self.bits}")
            if self.source is None
            else Op("codes", self.bits, name)
        )
        return kernel(Form(op, name, False, LANES), values)

    @functools.cached_property
    def _words(self) -> tuple[Array, int]:
        """Of its kernel, without the addresses of codes; and how many rows it moves."""
        bytes_ = self.into.dtype.itemsize
        if self.source is None:
            row = min(ROW_VALUES, self.size)
            self.kept = np.full(row, self.into.zero, self.into.dtype).astype(f"int{self.bits}")
            own = [self.kept.ctypes.data]
        else:
            numbers, places = np.arange(self.size), np.empty(self.into.shape, np.int32)
            self._move(places, numbers.reshape(self.source.shape))
            flat = places.ravel()
            # Rows are as long as all codes that lie side by side on both sides.
            row = math.gcd(self.size, *(int(end) for end in np.flatnonzero(np.diff(flat) != 1) + 1))
            self.kept = flat[::row].copy()
            own = [0, self.kept.ctypes.data, bytes_, 0, 0]
        return np.array([0, 0, row * bytes_, row, self.size, *own], np.int64), -(-self.size // row)
