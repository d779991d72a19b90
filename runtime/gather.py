"""Which vectors of a buffer a nest reads, and how they become left operands of matrix products."""

from __future__ import annotations

import functools
import math
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from isa.program import Address, Array, Buffer, Loop
from runtime.products import Operand

Rows = npt.NDArray[np.intp]
INDEX_LIMIT = 1 << 24
"""Gather indices of one product that are kept from run to run; more are computed each time."""


@dataclass(frozen=True, slots=True)
class Iterations:
    """Some iterations of a nest: their numbers in the order they execute."""

    loops: tuple[Loop, ...]
    numbers: Rows

    def variables(self, start: int, stop: int) -> dict[str, Rows]:
        """Each loop variable's value in iterations [start, stop) of these."""
        numbers = self.numbers[start:stop]
        values: dict[str, Rows] = {}
        for loop in reversed(self.loops):
            numbers, remainder = np.divmod(numbers, loop.count)
            values[loop.variable] = remainder + loop.first
        return values

    def rows(self, address: Address, buffer: Buffer, start: int, stop: int) -> Rows:
        """The row of `buffer`, seen as a list of vectors, in each iteration; -1 for none."""
        counts = tuple(loop.count for loop in self.loops)
        if stop - start == len(self.numbers) == math.prod(counts):  # all: an axis for each loop
            shape = counts
            values = {
                loop.variable: _axis(loop.first, loop.last, len(counts) - axis)
                for axis, loop in enumerate(self.loops)
            }
        else:
            shape = (stop - start,)
            values = self.variables(start, stop)
        rows, valid = np.zeros((), np.intp), np.ones((), bool)
        for index, size in zip(address.indices, buffer.shape[:-1], strict=True):
            position = np.asarray(index.constant, np.intp)
            for name, coefficient in index.terms:
                position = position + coefficient * values[name]
            if index.divisor > 1:
                position, remainder = np.divmod(position, index.divisor)
                valid = valid & (remainder == 0)
            inside = (position >= 0) & (position < size)
            if not inside.all():
                valid = valid & inside
            rows = rows * size + position
        found = rows if valid.all() else np.where(valid, rows, -1)
        return np.broadcast_to(found, shape).reshape(-1)


@functools.lru_cache(1 << 10)
def _axis(first: int, last: int, axes: int) -> Rows:
    """first to last - 1 along the first of so many axes."""
    return np.arange(first, last, dtype=np.intp).reshape(-1, *[1] * (axes - 1))


class Sources:
    """The buffers of one execution as left operands: rows of vectors, and one that stands for zero."""

    def __init__(self, codes: Mapping[str, Array]) -> None:
        self.codes = codes
        self.made: dict[tuple[str, Operand, int, int], Array] = {}
        self.making = threading.Lock()

    def forget(self, name: str) -> None:
        """Buffer `name` was written."""
        for key in [key for key in self.made if key[0] == name]:
            del self.made[key]

    def forget_all(self) -> None:
        """Any buffer may have been written."""
        self.made.clear()

    def rows(self, buffer: Buffer, operand: Operand, columns: slice) -> Array:
        key = (buffer.name, operand, columns.start, columns.stop)
        with self.making:
            return self._rows(buffer, operand, columns, key)

    def _rows(
        self, buffer: Buffer, operand: Operand, columns: slice, key: tuple[str, Operand, int, int]
    ) -> Array:
        if key not in self.made:
            codes = self.codes[buffer.name].reshape(-1, buffer.vector)[:, columns]
            padded = np.empty((len(codes) + 1, codes.shape[1]), operand.dtype)
            if operand.shift == 128 and codes.itemsize == operand.dtype.itemsize == 1:  # int8 codes as bytes
                np.bitwise_xor(codes.view(np.uint8), np.uint8(128), out=padded[:-1])
            else:
                np.add(codes, operand.dtype.type(operand.shift), out=padded[:-1], casting="unsafe")
            padded[-1] = operand.pad
            self.made[key] = padded
        return self.made[key]


class Gather:
    """The vectors at some addresses, side by side, for a range of iterations.

    All name the same part of a vector, of which `columns` may take a part.
    """

    def __init__(
        self,
        iterations: Iterations,
        buffer: Buffer,
        addresses: Sequence[Address],
        operand: Operand,
        columns: slice | None = None,
    ) -> None:
        self.iterations, self.buffer = iterations, buffer
        self.addresses, self.operand = addresses, operand
        self.columns = columns or addresses[0].columns(buffer.vector)
        count = len(iterations.numbers)
        self.kept = self._rows(0, count) if count * len(addresses) <= INDEX_LIMIT else None
        vectors = math.prod(buffer.shape[:-1])
        self.whole = (
            self.kept is not None
            and len(addresses) == 1
            and count == vectors
            and np.array_equal(self.kept[:, 0], np.arange(vectors))
        )

    def _rows(self, start: int, stop: int) -> Rows:
        columns = [self.iterations.rows(a, self.buffer, start, stop) for a in self.addresses]
        return np.stack(columns, axis=1)  # -1 names the last row, which stands for zero

    def __call__(self, sources: Sources, start: int, stop: int) -> Array:
        """(iterations, addresses * vector)."""
        rows = sources.rows(self.buffer, self.operand, self.columns)
        if self.whole:
            return rows[start:stop]
        index = self.kept[start:stop] if self.kept is not None else self._rows(start, stop)
        taken: Array = rows.take(index, axis=0, mode="wrap")
        return taken.reshape(stop - start, -1)
