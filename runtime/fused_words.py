"""The words of fused results: what their kernels read, see `runtime/fused_forms.py`.

Crossbars whose blocks are single cells (depthwise convolutions) need no matrix product, and neither
do those that have little to multiply: their sums are taken tap by tap.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from isa.analysis import Interval
from isa.instructions import INSTRUCTIONS
from isa.program import Address, Array, Buffer, Crossbar
from isa.verifier.values import RULES, Unsafe
from runtime.fused_forms import Form, Op
from runtime.gather import INDEX_LIMIT, Rows
from runtime.products import partial_bound
from runtime.stacked import SMALL_WORK, Stacked, Stacks, block_diagonal, cells
from runtime.symbols import Apply, Combine, Expression, Linear, Load, attributes_of, loads_in, sums_in

LANES = 16
"""Values computed at a time, in rows of so many or more."""
ROW_VALUES = 256
"""Rows that follow one another are taken together up to about so many values."""
TABLE_LIMIT = 1 << 16
"""A lookup with at most so many different inputs is tabulated outright."""
_INTEGERS = (np.int8, np.uint8, np.int16, np.uint16, np.int32, np.int64)


@dataclass(frozen=True, slots=True)
class Table:
    """Entries for `index` = `low` and on."""

    index: Node
    low: int
    entries: Array


@dataclass(frozen=True, slots=True)
class Node:
    """An operation, the interval of its results, and its words."""

    op: Op
    interval: Interval
    words: list[Any]
    table: Table | None = None


@dataclass(frozen=True, slots=True)
class Codes:
    """A word to be filled in: where a buffer's codes begin, and bytes after that."""

    buffer: str
    offset: int


@dataclass(frozen=True, slots=True)
class Result:
    """A word to be filled in: where the results of a product begin."""

    stack: int


@dataclass(slots=True)
class Part:
    """Some of the results of each iteration: all of them, or one where sums are taken tap by tap."""

    form: Form
    words: list[Any]
    rows: int  # of an iteration, where rows are not taken together
    together: int  # rows taken together as one
    count: int  # all rows
    values: int  # of one row
    results: list[tuple[int, int]]  # of the words that name a product: place, product


@dataclass(frozen=True, slots=True)
class _Lie:
    """How the rows of a buffer that successive results name lie: `same`, `following` or `apart`."""

    kind: str
    rows: Rows

    @staticmethod
    def of(rows: Rows) -> _Lie:
        if (rows == rows[0]).all():
            return _Lie("same", rows)
        following = rows[0] >= 0 and np.array_equal(rows, np.arange(rows[0], rows[0] + len(rows)))
        return _Lie("following" if following else "apart", rows)


class Words:
    """Makes one part: what `values`, expressions of one shape, are in every iteration.

    `products` and `kept` are lists that it adds to: products to compute, and arrays to keep alive.
    """

    def __init__(
        self, stacks: Stacks, values: Sequence[Expression], products: list[Stacked], kept: list[Array]
    ) -> None:
        self.stacks, self.values, self.products, self.kept = stacks, values, products, kept
        self.program, self.iterations = stacks.program, stacks.iterations
        self.lies: dict[Address, _Lie] = {}
        self.length = 0
        self.together = 1

    def part(self, target: Address, targets: Rows, add: bool) -> Part:
        """`targets` are the rows of the buffer, (iterations, values)."""
        buffer = self.program.buffers[target.buffer]
        self.length = target.length(buffer.vector)
        lie = _Lie.of(targets.ravel())
        if not add and self._in_order(target, lie):
            self.together = max(1, min(targets.size, -(-ROW_VALUES // self.length)))
        node = self._node(self.values)
        width, total = self.length * self.together, self.length * targets.size
        words = [*self._place(target, lie)[:3], width, total, *node.words]
        form = Form(node.op, buffer.dtype.name, add, _lanes(node.op, width))
        results = [(place, word.stack) for place, word in enumerate(words) if isinstance(word, Result)]
        return Part(form, words, len(self.values), self.together, targets.size, self.length, results)

    def _in_order(self, target: Address, lie: _Lie) -> bool:
        """Whether all rows, read and written, follow one another without a gap."""
        value = self.values[0]
        if any(taken_tap_by_tap(self.stacks, each) for each in sums_in(value)):
            return False
        places = [(target, lie), *((address, self._lie(address)) for address in loads_in(value))]
        vectors = {self.program.buffers[address.buffer].vector for address, _ in places}
        return all(lie.kind == "following" for _, lie in places) and vectors == {self.length}

    def _lie(self, address: Address) -> _Lie:
        if address not in self.lies:
            buffer = self.program.buffers[address.buffer]
            rows = self.iterations.rows(address, buffer, 0, len(self.iterations.numbers))
            self.lies[address] = _Lie.of(np.repeat(rows, len(self.values)))
        return self.lies[address]

    def _place(self, address: Address, lie: _Lie) -> list[Any]:
        """Words of the rows of codes that an address names."""
        buffer = self.program.buffers[address.buffer]
        size = buffer.dtype.itemsize
        stride, offset = buffer.vector * size, (address.columns(buffer.vector).start or 0) * size
        blank = self._keep(np.full(self.length * self.together, buffer.zero, buffer.dtype))
        first = int(lie.rows[0])
        if lie.kind == "same":
            base = Codes(buffer.name, offset + first * stride) if first >= 0 else blank
            return [base, 0, 0, blank, buffer.zero]
        if lie.kind == "following":
            base = Codes(buffer.name, offset + first * stride)
            return [base, 0, stride * self.together, blank, buffer.zero]
        indices = self._keep(lie.rows.astype(np.int32))
        return [Codes(buffer.name, offset), indices, stride, blank, buffer.zero]

    def _keep(self, array: Array) -> int:
        """The address of an array that lives as long as the plan."""
        self.kept.append(array)
        return int(array.ctypes.data)

    # ------------------------------------------------------------ expressions

    def _node(self, values: Sequence[Expression]) -> Node:
        first = values[0]
        if isinstance(first, Load):
            buffer = self.program.buffers[first.source.buffer]
            words = self._place(first.source, self._lie(first.source))
            return _leaf("codes", buffer.dtype.name, _codes(buffer), words)
        if isinstance(first, Apply):
            inner = self._node([value.argument for value in values if isinstance(value, Apply)])
            return self._apply(first, inner)
        if isinstance(first, Combine):
            arguments = [
                self._node([value.arguments[i] for value in values if isinstance(value, Combine)])
                for i in range(len(first.arguments))
            ]
            arguments += [self._constant(self.program.constant(name)) for name in first.constants]
            return self._combined(first.mnemonic, arguments, attributes_of(first))
        return self._sum([value for value in values if isinstance(value, Linear)])

    def _apply(self, value: Apply, inner: Node) -> Node:
        constant, spec = self.program.constant(value.constant), INSTRUCTIONS[value.mnemonic]
        if constant.dtype.kind != "f":  # of few bits, -128 has no magnitude; of u64, products are floats
            constant = constant.astype(np.int64)
        attributes = attributes_of(value)
        interval = RULES[value.mnemonic]([inner.interval], [constant], attributes)
        low, high = inner.interval
        if inner.table is not None and constant.size == 1:
            entries = spec.meaning(inner.table.entries, constant.reshape(-1), **attributes)
            return self._table(inner.table.index, inner.table.low, entries.astype(np.int64))
        if value.mnemonic == "lookup" and high - low < TABLE_LIMIT:
            entries = spec.meaning(np.arange(high - low + 1) + low, constant.reshape(-1), **attributes)
            return self._table(inner, low, entries)
        if value.mnemonic in ("mul", "div"):
            return self._combined(value.mnemonic, [inner, self._constant(constant)], attributes)
        if value.mnemonic == "lookup":
            table = self._keep(constant.reshape(-1).astype(np.int64))
            words = [table, *(int(attributes[key]) for key in ("low", "shift", "fraction"))]
            op = Op("lookup", _bits(interval), "int64", (inner.op,))
            return Node(op, interval, [*inner.words, *words])
        bounds = [np.float32(attributes[key]) for key in ("zero", "low", "high", "slope")]
        interval = int(bounds[1]), int(bounds[2])
        scales = self._keep(self._repeated(constant, np.dtype(np.float32)))
        words = [scales, *(int(bound.view(np.uint32)) for bound in bounds)]
        return Node(Op("quant", _bits(interval), "", (inner.op,)), interval, [*inner.words, *words])

    def _combined(self, mnemonic: str, arguments: list[Node], attributes: dict[str, Any]) -> Node:
        interval = RULES[mnemonic]([each.interval for each in arguments], [], attributes)
        node = _joined(mnemonic, arguments, interval)
        return replace(node, words=[*node.words, *(int(value) for value in attributes.values())])

    def _table(self, index: Node, low: int, entries: Array) -> Node:
        interval = int(entries.min()), int(entries.max())
        narrow = entries.astype(_smallest(interval))
        op = Op("table", _bits(interval), narrow.dtype.name, (index.op,))
        return Node(op, interval, [*index.words, self._keep(narrow), low], Table(index, low, entries))

    def _constant(self, constant: Array) -> Node:
        interval = int(constant.min()), int(constant.max())
        bits = _bits(interval)
        values = self._repeated(constant, np.dtype(f"int{bits}"))
        return _leaf("constant", values.dtype.name, interval, [self._keep(values)])

    def _repeated(self, constant: Array, dtype: np.dtype[Any]) -> Array:
        """One number per value of a row."""
        flat = constant.reshape(-1).astype(dtype)
        return np.resize(flat, self.length * self.together)

    def _sum(self, values: Sequence[Linear]) -> Node:
        first = values[0]
        terms = self._taps(first) if taken_tap_by_tap(self.stacks, first) else self._product(values)
        for i in range(len(first.others)):
            terms.append(self._node([value.others[i] for value in values]))
        terms += [self._constant(self.program.constant(name)) for name in first.constants]
        if not terms:
            terms = [self._constant(np.zeros(1, np.int64))]
        interval = RULES["sum"]([term.interval for term in terms], [], {})
        return terms[0] if len(terms) == 1 else _joined("sum", terms, interval)

    def _product(self, values: Sequence[Linear]) -> list[Node]:
        nodes = []
        for stacked in self.stacks(values):
            if stacked not in self.products:
                self.products.append(stacked)
            step = self.length * self.together * stacked.result.itemsize
            words = [Result(self.products.index(stacked)), 0, step, 0, 0]
            nodes.append(_leaf("codes", stacked.result.name, (-stacked.bound, stacked.bound), words))
        return nodes

    def _taps(self, value: Linear) -> list[Node]:
        """A sum of codes times cells, for each buffer that it reads."""
        weights: dict[tuple[str, Any, bool], dict[Address, Array]] = {}
        for piece in value.pieces:
            crossbar, block = self.program.crossbars[piece.matrix.name], cells(self.program, piece)
            single = _single(crossbar)
            block = block[:, 0] if single else block_diagonal(block[None, :, None], crossbar.groups)
            taps = weights.setdefault((piece.source.buffer, piece.source.part, single), {})
            taps[piece.source] = taps.get(piece.source, 0) + block.astype(np.int64)
        return [self._tapped(self.program.buffers[name], taps) for (name, *_), taps in weights.items()]

    def _tapped(self, buffer: Buffer, taps: dict[Address, Array]) -> Node:
        """`taps` hold one weight for each value of a vector, or a matrix."""
        first, weights = next(iter(taps)), np.stack(list(taps.values()))
        low, high = _codes(buffer)
        bound = partial_bound(weights.reshape(-1, weights.shape[-1]), low, high)
        bits = _bits((-bound, bound))
        rows = [self.iterations.rows(tap, buffer, 0, len(self.iterations.numbers)) for tap in taps]
        base, _, stride, _, zero = self._place(first, _Lie("apart", rows[0]))
        blank = self._keep(np.full(weights.shape[1], buffer.zero, buffer.dtype))
        indices = self._keep(np.stack(rows, axis=1).astype(np.int32))
        words = [base, indices, stride, blank, zero, len(taps), self._keep(weights.astype(f"int{bits}"))]
        kind = "taps" if weights.ndim == 2 else "dots"
        if kind == "dots":
            words.append(weights.shape[1])
        return _leaf(kind, buffer.dtype.name, (-bound, bound), words)


def taken_tap_by_tap(stacks: Stacks, value: Linear) -> bool:
    """Whether all blocks of its crossbars are single cells, and enough of them for a vector, or the
    whole is too little work to hand it over."""
    crossbars = [stacks.program.crossbars[piece.matrix.name] for piece in value.pieces]
    iterations = len(stacks.iterations.numbers)
    if iterations * sum(each.rows * each.columns for each in crossbars) <= SMALL_WORK:
        return bool(crossbars)
    return all(map(_single, crossbars)) and iterations * len(crossbars) <= INDEX_LIMIT


def _single(crossbar: Crossbar) -> bool:
    return LANES <= crossbar.groups == crossbar.rows == crossbar.columns


def _lanes(op: Op, values: int) -> int:
    """How many values to compute at a time, in rows of so many: short rows of products have vectors of
    their own."""
    if not any(each.kind == "dots" for each in _operations(op)):
        return LANES
    return max(1, min(LANES, 1 << values.bit_length() - 1))


def _operations(op: Op) -> Iterator[Op]:
    yield op
    for argument in op.arguments:
        yield from _operations(argument)


def _leaf(kind: str, entry: str, interval: Interval, words: list[Any]) -> Node:
    return Node(Op(kind, _bits(interval), entry), interval, words)


def _joined(kind: str, arguments: Sequence[Node], interval: Interval) -> Node:
    words = [word for argument in arguments for word in argument.words]
    return Node(Op(kind, _bits(interval), "", tuple(each.op for each in arguments)), interval, words)


def _codes(buffer: Buffer) -> Interval:
    """What reading it may give."""
    return min(0, buffer.type.low - buffer.zero), max(0, buffer.type.high - buffer.zero)


def _bits(interval: Interval) -> int:
    low, high = interval
    if not -(2**63) <= low <= high < 2**63:
        raise Unsafe("beyond 64 bits")
    return 32 if low >= -(2**31) and high < 2**31 else 64


def _smallest(interval: Interval) -> type[np.integer[Any]]:
    low, high = interval
    return next(d for d in _INTEGERS if np.iinfo(d).min <= low and high <= np.iinfo(d).max)
