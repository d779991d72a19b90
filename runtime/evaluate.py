"""Expressions of a loop nest, evaluated for many iterations at a time.

Expressions of one shape that differ in their weights alone (the phases of a block, say) are
evaluated side by side: S of them give an array of (iterations, S * length), and the products
behind them become one matrix product.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from isa.instructions import F32_EXACT, INSTRUCTIONS
from isa.program import Array, Program
from isa.types import smallest_type
from runtime.gather import Gather, Iterations, Sources
from runtime.products import Operand
from runtime.rounds import Differences, Rounds
from runtime.stacked import Stacks
from runtime.symbols import Apply, Combine, Expression, Linear, Load, attributes_of

TABLE_LIMIT = 1 << 16
"""A lookup with at most so many different inputs is tabulated outright."""
WIDE = ("mul", "div")
"""Instructions whose meaning needs its values as int64."""


class Evaluator(Protocol):
    """`width` values per iteration; `cost` bytes per iteration while it works."""

    width: int
    cost: int

    def __call__(self, sources: Sources, start: int, stop: int, watch: list[Array] | None) -> Array:
        """(iterations, width).  `watch` collects what a final `quant` had before it."""
        ...


def evaluator(
    stacks: Stacks, values: Sequence[Expression], length: int, rounds: Sequence[Rounds] = ()
) -> Evaluator:
    """Evaluate expressions of one shape (`symbols.shape_of`) side by side, each `length` long.

    `stacks` makes their products; `rounds` are the fires of the nest, where conversions may change
    them.
    """
    program, iterations, first = stacks.program, stacks.iterations, values[0]
    if isinstance(first, Load):
        return _Load(program, iterations, first, len(values))
    if isinstance(first, Apply):
        arguments = [v.argument for v in values if isinstance(v, Apply)]
        inner = evaluator(stacks, arguments, length, rounds)
        return _apply(program, first, inner, len(values), len(iterations.numbers))
    if isinstance(first, Combine):
        combined = [v for v in values if isinstance(v, Combine)]
        return _Combine(stacks, combined, length, rounds)
    return _Linear(stacks, [v for v in values if isinstance(v, Linear)], length, rounds)


def _tiled(constant: Array, times: int) -> Array:
    """A constant for `times` expressions side by side; one number stays one number."""
    flat = constant.reshape(-1)
    return flat if flat.size == 1 else np.tile(flat, times)


class _Load:
    """A vector read: its codes less the zero, the same for each expression."""

    def __init__(self, program: Program, iterations: Iterations, value: Load, times: int) -> None:
        buffer = program.buffers[value.source.buffer]
        low, high = buffer.type.low - buffer.zero, buffer.type.high - buffer.zero
        operand = Operand(smallest_type(min(low, -1), high).dtype, -buffer.zero, 0)
        self.gather = Gather(iterations, buffer, [value.source], operand)
        self.times = times
        self.width = value.source.length(buffer.vector) * times
        self.cost = self.width * 8

    def __call__(self, sources: Sources, start: int, stop: int, watch: list[Array] | None) -> Array:
        values = self.gather(sources, start, stop)
        return np.tile(values, self.times) if self.times > 1 else values


def _apply(program: Program, value: Apply, inner: Evaluator, times: int, iterations: int) -> Evaluator:
    constant = program.constant(value.constant)
    spec = INSTRUCTIONS[value.mnemonic]
    attributes = attributes_of(value)
    if value.mnemonic != "lookup":
        return _Apply(value.mnemonic, inner, _tiled(constant, times), attributes)
    bounds = _bounds(program, value.argument)
    # A table of more entries than there are values to look up would take longer, and memory.
    if bounds is not None and bounds[1] - bounds[0] < min(TABLE_LIMIT, iterations * inner.width):
        domain = np.arange(bounds[0], bounds[1] + 1)
        return _Table(inner, spec.meaning(domain, constant.reshape(-1), **attributes), bounds[0])
    return _Apply("lookup", inner, constant.reshape(-1), attributes)


def _bounds(program: Program, value: Expression) -> tuple[int, int] | None:
    """The values of a `quant` or a `load`; None where they are not at hand."""
    if isinstance(value, Apply) and value.mnemonic == "quant":
        bounds = dict(value.attributes)
        return int(bounds["low"]), int(bounds["high"])
    if isinstance(value, Load):
        buffer = program.buffers[value.source.buffer]
        return min(0, buffer.type.low - buffer.zero), max(0, buffer.type.high - buffer.zero)
    return None


class _Apply:
    """mul, div, quant or lookup: the instruction's own meaning, on many vectors."""

    def __init__(
        self, mnemonic: str, inner: Evaluator, constant: Array, attributes: Mapping[str, Any]
    ) -> None:
        self.mnemonic, self.inner, self.constant = mnemonic, inner, constant
        self.attributes = attributes
        self.meaning = INSTRUCTIONS[mnemonic].meaning
        self.width = inner.width
        self.cost = inner.cost + self.width * 4
        self.wide = mnemonic in WIDE
        if self.wide:
            self.constant = constant.astype(np.int64)
        bounds = (abs(attributes.get(key, 0)) for key in ("low", "high"))
        self.far = mnemonic == "quant" and max(bounds) > F32_EXACT

    def __call__(self, sources: Sources, start: int, stop: int, watch: list[Array] | None) -> Array:
        below = watch if self.mnemonic == "lookup" else None
        value = self.inner(sources, start, stop, below)
        if self.mnemonic == "quant" and watch is not None:
            watch.append(integers(value))
        if self.wide:
            value = integers(value)
        result: Array = self.meaning(value, self.constant, **self.attributes)
        return integers(result) if self.far else result


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
    """max, min, mul or div of several values (and constants): the instruction's own meaning on them."""

    def __init__(
        self, stacks: Stacks, values: Sequence[Combine], length: int, rounds: Sequence[Rounds]
    ) -> None:
        first = values[0]
        self.width = length * len(values)
        self.meaning, self.wide = INSTRUCTIONS[first.mnemonic].meaning, first.mnemonic in WIDE
        self.attributes = attributes_of(first)
        self.arguments = [
            evaluator(stacks, [value.arguments[i] for value in values], length, rounds)
            for i in range(len(first.arguments))
        ]
        self.constants = [
            _tiled(stacks.program.constant(name).astype(np.int64), len(values)) for name in first.constants
        ]
        self.cost = self.width * 8 + sum(argument.cost for argument in self.arguments)

    def __call__(self, sources: Sources, start: int, stop: int, watch: list[Array] | None) -> Array:
        terms = [argument(sources, start, stop, None) for argument in self.arguments]
        if self.wide:
            terms = [integers(term) for term in terms]
        shape = (stop - start, self.width)
        if not terms:
            terms = [np.broadcast_to(self.constants[0], shape)]
        result: Array = self.meaning(*terms, *self.constants, **self.attributes)
        return result


class _Linear:
    """Products, other values and constants, added up exactly."""

    def __init__(
        self, stacks: Stacks, values: Sequence[Linear], length: int, rounds: Sequence[Rounds]
    ) -> None:
        self.width = length * len(values)
        self.products = stacks(values)
        self.others = [
            evaluator(stacks, [value.others[i] for value in values], length, rounds)
            for i in range(len(values[0].others))
        ]
        constant = np.zeros(self.width, np.int64)
        for name in values[0].constants:
            constant += _tiled(stacks.program.constant(name).astype(np.int64), len(values))
        self.constant = constant if constant.any() else None
        self.differences = Differences(stacks.iterations, values, length, rounds) if rounds else None
        self.cost = self.width * 8 + sum(p.cost for p in self.products)
        self.cost += sum(other.cost + self.width * 8 for other in self.others)
        if self.differences:
            self.cost += self.differences.cost
        self.narrow = len(self.products) == 1 and not self.others
        if self.narrow:
            self._choose_type()

    def _choose_type(self) -> None:
        """Stay in the product's own type where all sums provably fit it."""
        largest = self.products[0].bound
        dtype = self.products[0].result
        if self.differences:
            largest += self.differences.bound
            self.narrow = dtype == self.differences.dtype
        if self.constant is not None:
            largest += max(int(self.constant.max()), -int(self.constant.min()))
        self.narrow &= (
            largest < {"int32": 2**31, "float32": 2**24, "float64": 2**53, "int64": 2**63}[dtype.name]
        )
        if self.narrow and self.constant is not None:
            self.constant = self.constant.astype(dtype)

    def __call__(self, sources: Sources, start: int, stop: int, watch: list[Array] | None) -> Array:
        terms = [product(sources, start, stop) for product in self.products]
        terms += [other(sources, start, stop, None) for other in self.others]
        if self.differences:
            terms.append(self.differences(sources, start, stop))
        if self.narrow:
            total = terms[0]
            for term in (*terms[1:], *([] if self.constant is None else [self.constant])):
                np.add(total, term, out=total)
            return total
        if len(terms) == 1 and self.constant is None:
            return terms[0]
        total = np.zeros((stop - start, self.width), np.int64)
        for term in terms:
            total += integers(term)
        if self.constant is not None:
            total += self.constant
        return total


def integers(value: Array) -> Array:
    """The same integers as int64 (every float here is one)."""
    return value if value.dtype == np.int64 else value.astype(np.int64)
