"""Expressions of a loop nest, evaluated for many iterations at a time.

Expressions of one shape that differ in their weights alone (the phases of a block, say) are
evaluated side by side: S of them give an array of (iterations, S * length), and the products
behind them become one matrix product.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from isa.instructions import INSTRUCTIONS
from isa.program import Address, Array, Buffer, Crossbar, Loop, Program
from runtime.products import Operand, Product, make_product
from runtime.symbols import Apply, Combine, Expression, Linear, Load

Rows = npt.NDArray[np.intp]
INDEX_LIMIT = 1 << 24
"""Gather indices of one product that are kept from run to run; more are computed each time."""
_SIGNED = (np.int8, np.int16, np.int32, np.int64)
TABLE_LIMIT = 1 << 16
"""A lookup with at most so many different inputs is tabulated outright."""


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
        values = self.variables(start, stop)
        rows = np.zeros(stop - start, np.intp)
        valid = np.ones(stop - start, bool)
        for index, size in zip(address.indices, buffer.shape[:-1], strict=True):
            position = np.full(stop - start, index.constant, np.intp)
            for name, coefficient in index.terms:
                position += coefficient * values[name]
            if index.divisor > 1:
                position, remainder = np.divmod(position, index.divisor)
                valid &= remainder == 0
            valid &= (position >= 0) & (position < size)
            rows = rows * size + position
        return np.where(valid, rows, -1)


class Sources:
    """The buffers of one execution as left operands: rows of vectors, and one that stands for zero."""

    def __init__(self, codes: Mapping[str, Array]) -> None:
        self.codes = codes
        self.made: dict[tuple[str, Operand, int, int], Array] = {}

    def rows(self, buffer: Buffer, operand: Operand, columns: slice) -> Array:
        key = (buffer.name, operand, columns.start, columns.stop)
        if key not in self.made:
            codes = self.codes[buffer.name].reshape(-1, buffer.vector)[:, columns]
            padded = np.empty((len(codes) + 1, codes.shape[1]), operand.dtype)
            if operand.shift == 128:  # int8 codes as bytes
                np.bitwise_xor(codes.view(np.uint8), np.uint8(128), out=padded[:-1])
            else:
                np.add(codes, operand.dtype.type(operand.shift), out=padded[:-1], casting="unsafe")
            padded[-1] = operand.pad
            self.made[key] = padded
        return self.made[key]


class Gather:
    """The vectors at some addresses, side by side, for a range of iterations.

    All name the same part of a vector.
    """

    def __init__(
        self, iterations: Iterations, buffer: Buffer, addresses: Sequence[Address], operand: Operand
    ) -> None:
        self.iterations, self.buffer = iterations, buffer
        self.addresses, self.operand = addresses, operand
        self.columns = addresses[0].columns(buffer.vector)
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


class Evaluator(Protocol):
    """`width` values per iteration; `cost` bytes per iteration while it works."""

    width: int
    cost: int

    def __call__(self, sources: Sources, start: int, stop: int, watch: list[Array] | None) -> Array:
        """(iterations, width).  `watch` collects what a final `quant` had before it."""
        ...


def evaluator(
    program: Program, iterations: Iterations, values: Sequence[Expression], length: int
) -> Evaluator:
    """Evaluate expressions of one shape (`symbols.shape_of`) side by side, each `length` long."""
    first = values[0]
    if isinstance(first, Load):
        return _Load(program, iterations, first, len(values))
    if isinstance(first, Apply):
        arguments = [v.argument for v in values if isinstance(v, Apply)]
        inner = evaluator(program, iterations, arguments, length)
        return _apply(program, first, inner, len(values))
    if isinstance(first, Combine):
        combined = [v for v in values if isinstance(v, Combine)]
        return _Combine(program, iterations, combined, length)
    return _Linear(program, iterations, [v for v in values if isinstance(v, Linear)], length)


def _tiled(constant: Array, times: int) -> Array:
    """A constant for `times` expressions side by side; one number stays one number."""
    flat = constant.reshape(-1)
    return flat if flat.size == 1 else np.tile(flat, times)


class _Load:
    """A vector read: its codes less the zero, the same for each expression."""

    def __init__(self, program: Program, iterations: Iterations, value: Load, times: int) -> None:
        buffer = program.buffers[value.source.buffer]
        low, high = buffer.type.low - buffer.zero, buffer.type.high - buffer.zero
        dtype = next(d for d in _SIGNED if np.iinfo(d).min <= low and high <= np.iinfo(d).max)
        operand = Operand(np.dtype(dtype), -buffer.zero, 0)
        self.gather = Gather(iterations, buffer, [value.source], operand)
        self.times = times
        self.width = value.source.length(buffer.vector) * times
        self.cost = self.width * 8

    def __call__(self, sources: Sources, start: int, stop: int, watch: list[Array] | None) -> Array:
        values = self.gather(sources, start, stop)
        return np.tile(values, self.times) if self.times > 1 else values


def _apply(program: Program, value: Apply, inner: Evaluator, times: int) -> Evaluator:
    constant = program.constant(value.constant)
    spec = INSTRUCTIONS[value.mnemonic]
    attributes = {a.name: a.default for a in spec.attributes} | dict(value.attributes)
    if value.mnemonic != "lookup":
        return _Apply(value.mnemonic, inner, _tiled(constant, times), attributes)
    argument = value.argument
    if isinstance(argument, Apply) and argument.mnemonic == "quant":
        bounds = dict(argument.attributes)
        low, high = int(bounds["low"]), int(bounds["high"])
        if high - low < TABLE_LIMIT:
            table = spec.meaning(np.arange(low, high + 1), constant.reshape(-1), **attributes)
            return _Table(inner, table, low)
    return _Apply("lookup", inner, constant.reshape(-1), attributes)


class _Apply:
    """mul, quant or lookup: the instruction's own meaning, on many vectors."""

    def __init__(
        self, mnemonic: str, inner: Evaluator, constant: Array, attributes: Mapping[str, Any]
    ) -> None:
        self.mnemonic, self.inner, self.constant = mnemonic, inner, constant
        self.attributes = attributes
        self.meaning = INSTRUCTIONS[mnemonic].meaning
        self.width = inner.width
        self.cost = inner.cost + self.width * 4
        if mnemonic == "mul":
            self.constant = constant.astype(np.int64)

    def __call__(self, sources: Sources, start: int, stop: int, watch: list[Array] | None) -> Array:
        below = watch if self.mnemonic == "lookup" else None
        value = self.inner(sources, start, stop, below)
        if self.mnemonic == "quant" and watch is not None:
            watch.append(integers(value))
        if self.mnemonic == "mul":
            value = integers(value)
        result: Array = self.meaning(value, self.constant, **self.attributes)
        return result


class _Table:
    """A lookup over a small range of inputs: one entry per input."""

    def __init__(self, inner: Evaluator, table: Array, low: int) -> None:
        self.inner, self.table, self.low = inner, table, low
        self.width = inner.width
        self.cost = inner.cost + self.width * 16

    def __call__(self, sources: Sources, start: int, stop: int, watch: list[Array] | None) -> Array:
        index = self.inner(sources, start, stop, watch).astype(np.intp)
        index -= self.low
        result: Array = self.table.take(index)
        return result


class _Combine:
    """max, min or mul of several values (and constants): the instruction's own meaning on them."""

    def __init__(
        self, program: Program, iterations: Iterations, values: Sequence[Combine], length: int
    ) -> None:
        first = values[0]
        self.width = length * len(values)
        self.meaning, self.wide = INSTRUCTIONS[first.mnemonic].meaning, first.mnemonic == "mul"
        self.arguments = [
            evaluator(program, iterations, [value.arguments[i] for value in values], length)
            for i in range(len(first.arguments))
        ]
        self.constants = [
            _tiled(program.constant(name).astype(np.int64), len(values)) for name in first.constants
        ]
        self.cost = self.width * 8 + sum(argument.cost for argument in self.arguments)

    def __call__(self, sources: Sources, start: int, stop: int, watch: list[Array] | None) -> Array:
        terms = [argument(sources, start, stop, None) for argument in self.arguments]
        if self.wide:
            terms = [integers(term) for term in terms]
        shape = (stop - start, self.width)
        if not terms:
            terms = [np.broadcast_to(self.constants[0], shape)]
        result: Array = self.meaning(*terms, *self.constants)
        return result


class _Linear:
    """Products, other values and constants, added up exactly."""

    def __init__(
        self, program: Program, iterations: Iterations, values: Sequence[Linear], length: int
    ) -> None:
        self.width = length * len(values)
        self.products = _products(program, iterations, values, length)
        self.others = [
            evaluator(program, iterations, [value.others[i] for value in values], length)
            for i in range(len(values[0].others))
        ]
        constant = np.zeros(self.width, np.int64)
        for name in values[0].constants:
            constant += _tiled(program.constant(name).astype(np.int64), len(values))
        self.constant = constant if constant.any() else None
        self.cost = self.width * 8 + sum(p.cost for p in self.products)
        self.cost += sum(other.cost + self.width * 8 for other in self.others)
        if len(self.products) == 1 and not self.others:
            self._narrow_constant()

    def _narrow_constant(self) -> None:
        """Give the constant the product's own type where their sum provably fits it."""
        if self.constant is None:
            return
        largest = self.products[0].product.bound + int(np.abs(self.constant).max())
        dtype = self.products[0].result
        if largest < {"int32": 2**31, "float32": 2**24, "float64": 2**53, "int64": 2**63}[dtype.name]:
            self.constant = self.constant.astype(dtype)

    def __call__(self, sources: Sources, start: int, stop: int, watch: list[Array] | None) -> Array:
        terms = [product(sources, start, stop) for product in self.products]
        terms += [other(sources, start, stop, None) for other in self.others]
        if len(terms) == 1 and (self.constant is None or self.constant.dtype == terms[0].dtype):
            total = terms[0]
            if self.constant is not None:
                owned = total if self.products else total.copy()
                total = np.add(total, self.constant, out=owned)
            return total
        total = np.zeros((stop - start, self.width), np.int64)
        for term in terms:
            total += integers(term)
        if self.constant is not None:
            total += self.constant
        return total


def integers(value: Array) -> Array:
    """The same integers as int64 (every float here is one)."""
    return value if value.dtype == np.int64 else value.astype(np.int64)


class _ProductPart:
    """The pieces of some sums that read one buffer through one crossbar group: one product."""

    def __init__(
        self,
        iterations: Iterations,
        buffer: Buffer,
        crossbar: Crossbar,
        taps: Sequence[Address],
        weights: Array,
    ) -> None:
        self.groups, self.taps = crossbar.groups, len(taps)
        self.product: Product = make_product(weights, buffer.type.low, buffer.type.high, buffer.zero)
        self.gather = Gather(iterations, buffer, taps, self.product.operand)
        itemsize = self.product.operand.dtype.itemsize
        self.cost = self.taps * crossbar.rows * itemsize * (2 if self.groups > 1 else 1)
        self.result = np.dtype(np.int32) if itemsize == 1 else self.product.operand.dtype
        self.columns = crossbar.columns // self.groups

    def __call__(self, sources: Sources, start: int, stop: int) -> Array:
        """(iterations, expressions * columns)."""
        left = self.gather(sources, start, stop)
        if self.groups == 1:
            return self.product(left)
        count = stop - start
        blocks = left.reshape(count, self.taps, self.groups, -1).transpose(2, 0, 1, 3)
        result = self.product(np.ascontiguousarray(blocks).reshape(self.groups, count, -1))
        split = result.reshape(self.groups, count, -1, self.columns).transpose(1, 2, 0, 3)
        return np.ascontiguousarray(split).reshape(count, -1)


def _products(
    program: Program, iterations: Iterations, values: Sequence[Linear], length: int
) -> list[_ProductPart]:
    """One product per (crossbar group, buffer) that the sums draw on."""
    seats = {(p.matrix.name, p.source.buffer, p.source.part): None for value in values for p in value.pieces}
    parts = []
    for name, source, part in seats:
        crossbar, buffer = program.crossbars[name], program.buffers[source]
        data = program.constant(crossbar.data).reshape(crossbar.data_shape)
        rows, columns = crossbar.rows, crossbar.columns // crossbar.groups
        taps: dict[Address, int] = {}
        chosen = [
            (slot, piece)
            for slot, value in enumerate(values)
            for piece in value.pieces
            if (piece.matrix.name, piece.source.buffer, piece.source.part) == (name, source, part)
        ]
        for _, piece in chosen:
            taps.setdefault(piece.source, len(taps))
        # Pieces of one sum that read the same vector add their weights.
        alone = len({(slot, piece.source) for slot, piece in chosen}) == len(chosen)
        weights = np.zeros((len(taps), rows, len(values), columns), data.dtype if alone else np.int64)
        for slot, piece in chosen:
            block = data[piece.matrix.index][
                piece.row_band * rows : (piece.row_band + 1) * rows,
                piece.matrix.band * columns : (piece.matrix.band + 1) * columns,
            ]
            weights[taps[piece.source], :, slot] += block
        flat = _narrow(weights).reshape(len(taps), crossbar.groups, -1, len(values) * columns)
        matrix = flat.transpose(1, 0, 2, 3).reshape(crossbar.groups, -1, len(values) * columns)
        matrix = matrix[0] if crossbar.groups == 1 else matrix
        parts.append(_ProductPart(iterations, buffer, crossbar, list(taps), matrix))
    return parts


def _narrow(weights: Array) -> Array:
    if weights.size and weights.min() >= -128 and weights.max() <= 127:
        return weights.astype(np.int8)
    return weights
