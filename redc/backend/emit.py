"""The backend: a placed graph becomes a program, layer by layer.

One piece of machinery serves every mapping: drive every row band of a turn, fire, add what each
output pixel's column bands give, and finish (requantise and store) what is complete.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np

from isa.program import (
    Address,
    Affine,
    Array,
    Buffer,
    BufferRef,
    ConstRef,
    Crossbar,
    Instruction,
    IntType,
    Layer,
    Loop,
    Matrix,
    Node,
    Operand,
    Program,
    Register,
    Target,
    raw_buffer,
)
from redc.backend.requantised import requantised
from redc.backend.stencils import Stencils
from redc.backend.vectors import combined
from redc.ir.graph import (
    F64,
    Codes,
    CrossbarOp,
    Graph,
    HostOp,
    Op,
    ReshapeOp,
    StencilOp,
    Tensor,
    VectorOp,
)
from redc.mapping.schedule import Line, Placement, Schedule
from redc.passes.allocate import unique_words
from redc.passes.place import crossbar_of

Loops = list[tuple[str, int]]


def emit(graph: Graph, target: Target) -> tuple[Program, dict[int, str]]:
    """The program of a placed graph, and comments for its text by id of instruction.

    Pre: every pass has run.
    """
    return _Emitter(graph, target).program()


class _Emitter:
    def __init__(self, graph: Graph, target: Target) -> None:
        self.graph = graph
        self.target = target
        self.inputs = frozenset(graph.inputs)
        self.names = unique_words(op.name for op in graph.ops)
        self.crossbars: dict[str, Crossbar] = {}
        self.data: dict[str, Array] = {}
        self.buffers = {b.name: b for b in map(self._buffer, self._tensors())}
        self.comments: dict[int, str] = {}

    def program(self) -> tuple[Program, dict[int, str]]:
        layers = tuple(self._layer(op) for op in self.graph.ops)
        program = Program(self.target, self.buffers, self.crossbars, {}, layers, data=self.data)
        return program, self.comments

    # ------------------------------------------------------------ declarations

    def _tensors(self) -> list[Tensor]:
        made = (name for op in self.graph.ops for name in op.outputs)
        names = dict.fromkeys([*self.graph.inputs, *self.graph.constants, *made])
        made_ports = (name for name in self.graph.outputs if name in names and name not in self.inputs)
        ports = dict.fromkeys(made_ports)
        outputs = iter(ports)  # in the model's order, where they stand
        return [self.graph.tensors[next(outputs) if name in ports else name] for name in names]

    def _buffer(self, tensor: Tensor) -> Buffer:
        codes = tensor.codes
        assert tensor.buffer is not None
        kind: Literal["input", "output", "buffer"] = (
            "input"
            if tensor.name in self.inputs
            else "output"
            if self.graph.is_output(tensor.name)
            else "buffer"
        )
        if tensor.raw:
            return raw_buffer(tensor.buffer, kind, tensor.shape, tensor.onnx_name, tensor.dtype)
        assert codes is not None
        if tensor.value is not None:
            return self._held(tensor.buffer, tensor, tensor.value, codes)
        return Buffer(
            name=tensor.buffer,
            kind=kind,
            type=IntType(codes.signed, codes.bits),
            shape=tensor.buffer_shape,
            scale=codes.scale,
            zero=codes.zero,
            tensor=tensor.onnx_name,
            onnx_type=tensor.dtype,
            onnx_shape=tensor.shape,
            axis=tensor.axis,
            steps=self._steps(tensor.buffer, codes),
        )

    def _held(self, name: str, tensor: Tensor, value: F64, codes: Codes) -> Buffer:
        """A buffer that holds a constant, whose codes lie in the data file as they do in memory."""
        kind = IntType(codes.signed, codes.bits)
        real = np.moveaxis(value, tensor.axis, -1)
        held = np.clip(np.rint(real / codes.scales) + codes.zero, codes.low, codes.high)
        self.data[name] = np.ascontiguousarray(held.astype(kind.dtype))
        return Buffer(
            name, "buffer", kind, tensor.buffer_shape, codes.scale, codes.zero,
            steps=self._steps(name, codes), holds=name,
        )  # fmt: skip

    def _steps(self, buffer: str, codes: Codes) -> str | None:
        """The constant that holds the steps of `codes`, where they have any."""
        if not codes.steps:
            return None
        return self._constant(f"{buffer}.steps", np.asarray(codes.steps, np.int64)).name

    def _constant(self, name: str, values: Array) -> ConstRef:
        """Put an array in the data file; integers as narrow as the file's types allow."""
        if values.dtype == np.int64 and values.size:
            for dtype in (np.int16, np.int32):
                if np.iinfo(dtype).min <= values.min() and values.max() <= np.iinfo(dtype).max:
                    values = values.astype(dtype)
                    break
        self.data[name] = np.ascontiguousarray(values.reshape(values.shape or (1,)))
        return ConstRef(name)

    # ------------------------------------------------------------ layers

    def _layer(self, op: Op) -> Layer:
        mapping = correction = None
        if isinstance(op, HostOp):
            return self._host(op)
        if isinstance(op, ReshapeOp):
            source, target = self._name(op.input), self._name(op.output)
            body: tuple[Node, ...] = (Instruction("reshape", (BufferRef(target), BufferRef(source))),)
        elif isinstance(op, VectorOp):
            body = self._vector(op)
        elif isinstance(op, StencilOp):
            body = self._stencil(op)
        else:
            assert op.schedule is not None
            body, mapping = self._crossbar(op, op.schedule), op.schedule.mapping
            if op.correction is not None and op.correction.any():
                correction = self._constant(f"{self.names[op.name]}.correction", op.correction).name
        return Layer(op.name, body, op.op, mapping, op.nodes, op.output, correction=correction)

    def _host(self, op: HostOp) -> Layer:
        """One `host`; its layer is judged by its first tensor of floats."""
        part = f"{self.names[op.name]}.onnx"
        self.data[part] = np.frombuffer(op.model, np.uint8)
        ports = tuple(BufferRef(self._name(name)) for name in (*op.inputs, *op.outputs))
        call = Instruction("host", (ConstRef(part), *ports), (("inputs", len(op.inputs)),))
        floats = [name for name in op.outputs if self.graph.tensors[name].dtype == "f32"]
        tensor = self.graph.tensors[(floats or op.outputs)[0]].onnx_name
        return Layer(op.name, (call,), op.op, None, op.nodes, tensor)

    def _name(self, tensor: str) -> str:
        name = self.graph.tensors[tensor].buffer
        assert name is not None
        return name

    def _stencil(self, op: StencilOp) -> tuple[Node, ...]:
        def constant(name: str, values: Array) -> ConstRef:
            return self._constant(f"{self.names[op.name]}.{name}", values)

        def declare(buffer: Buffer) -> None:
            self.buffers[buffer.name] = buffer

        inputs = tuple(self.buffers[self._name(name)] for name in op.inputs)
        output = self.buffers[self._name(op.output)]
        return Stencils(op, inputs, output, constant, declare).nodes()

    def _vector(self, op: VectorOp) -> tuple[Node, ...]:
        word = self.names[op.name]
        inputs = tuple(self.buffers[self._name(name)] for name in op.inputs)
        loops, body, own = combined(op, inputs, self.buffers[self._name(op.output)], self._constant, word)
        finish = self._finish(op, Register(0), Address(self._name(op.output), own))
        return _nest(loops, [*body, *finish])

    def _crossbar(self, op: CrossbarOp, table: Schedule) -> tuple[Node, ...]:
        """The rounds of one layer; where outputs overlap, then the nest that finishes them."""
        assert op.place is not None
        assert op.bias_codes is not None
        word = self.names[op.name]
        crossbar = crossbar_of(self.graph, op, word, op.place)
        self.crossbars[word] = crossbar
        self.data[crossbar.data] = _matrix_data(op, table, crossbar)
        target = self._name(op.output)
        shape = self.buffers[target].shape
        batch = len(shape) - 1 - len(table.rounds)
        around: Loops = [(f"n{axis}" if axis else "n", shape[axis]) for axis in range(batch)]
        inner: Loops = [(f"{table.variable}{axis}", n) for axis, n in enumerate(table.rounds)]
        place = _Addresses(self.buffers, around, inner)
        bias: list[Operand] = []
        whole = {p.writes for p in table.placements} >= set(table.outputs)
        if op.bias_codes.any() or op.fraction or not whole:
            bias.append(self._constant(f"{word}.bias", op.bias_codes))
        if not table.overlap:
            return _nest([*around, *inner], self._rounds(op, table, place, bias))
        sums = f"{target}_sums"
        self.buffers[sums] = Buffer(sums, "buffer", _accumulator_type(op, crossbar), shape)
        pixels: Loops = [(f"o{axis}", size) for axis, size in enumerate(shape[batch:-1])]
        own = tuple(Affine.of({variable: 1}) for variable, _ in [*around, *pixels])
        value = Register(0)
        closing: list[Node] = [Instruction("load", (value, Address(sums, own)))]
        closing += self._added(op, value, [value], bias)
        closing += self._finish(op, value, Address(target, own))
        return (
            Instruction("clear", (BufferRef(sums),)),
            *_nest([*around, *inner], self._overlapping_rounds(op, table, place, sums)),
            *_nest([*around, *pixels], closing),
        )

    def _rounds(self, op: CrossbarOp, table: Schedule, place: _Addresses, bias: list[Operand]) -> list[Node]:
        """Every turn of one block: drive, fire, add up; finish an output after its last turn."""
        target = self._name(op.output)
        last = {seat.writes: seat.turn for seat in sorted(table.placements, key=lambda s: s.turn)}
        begun: set[tuple[Line, ...]] = set()
        body: list[Node] = []
        for turn in range(table.turns):
            body += self._fire(op, table, place, turn)
            products = self._products(op, table, turn)
            for number, lines in enumerate(table.outputs):
                value = Register(number)
                terms: list[Operand] = [value] if lines in begun else []
                terms += products.get(lines, [])
                ends = turn == last.get(lines, 0)
                body += self._added(op, value, terms, bias if ends else [])
                if ends:
                    body += self._finish(op, value, place.at(target, lines))
            begun |= products.keys()
        return body

    def _overlapping_rounds(
        self, op: CrossbarOp, table: Schedule, place: _Addresses, sums: str
    ) -> list[Node]:
        """Every turn: drive, fire, and add each product where it belongs."""
        body: list[Node] = []
        for turn in range(table.turns):
            body += self._fire(op, table, place, turn)
            for lines, terms in self._products(op, table, turn).items():
                body.append(Instruction("sum", (Register(0), *terms)))
                body.append(Instruction("accum", (place.at(sums, lines), Register(0))))
        return body

    def _fire(self, op: CrossbarOp, table: Schedule, place: _Addresses, turn: int) -> list[Node]:
        """Drive every row band of the turn once, then fire."""
        word, source = self.names[op.name], self._name(op.input)
        body: list[Node] = []
        bands: dict[tuple[int, int], list[Placement]] = {}
        for seat in table.placements:
            if seat.turn == turn:
                bands.setdefault((seat.array, seat.row_band), []).append(seat)
        for (array, band), seats in sorted(bands.items()):
            matrix = Matrix(word, _index(table, array), band)
            drive = Instruction("drive", (matrix, place.at(source, seats[0].reads)))
            if table.index_shape != op.kernel:
                self.comments[id(drive)] = _kernel_pixels(seats)
            body.append(drive)
        body.append(Instruction("fire", (Matrix(word),)))
        return body

    def _products(self, op: CrossbarOp, table: Schedule, turn: int) -> dict[tuple[Line, ...], list[Operand]]:
        """The column bands that feed each output pixel in one turn, each once."""
        found: dict[tuple[Line, ...], dict[Operand, None]] = {}
        for seat in table.placements:
            if seat.turn == turn:
                index = _index(table, seat.array)
                matrix = Matrix(self.names[op.name], index, seat.column_band)
                found.setdefault(seat.writes, {})[matrix] = None
        return {lines: list(matrices) for lines, matrices in found.items()}

    def _added(
        self, op: CrossbarOp, value: Register, terms: list[Operand], bias: list[Operand]
    ) -> list[Node]:
        """Add up `terms` and the bias; first they get the bits below the point that it has."""
        body: list[Node] = []
        if op.fraction and bias and terms:
            factor = self._constant(f"{self.names[op.name]}.factor", np.array(1 << op.fraction))
            body = [*self._added(op, value, terms, []), Instruction("mul", (value, value, factor))]
            terms = [value]
        terms = [*terms, *bias]
        return body if terms in ([], [value]) else [*body, Instruction("sum", (value, *terms))]

    def _finish(self, op: CrossbarOp | VectorOp, value: Register, target: Address) -> list[Node]:
        """Make a register of accumulators codes, store them.  Sums that are asked for as they are have no
        requantisation."""
        store = Instruction("store", (target, value))
        if op.requantise is None:
            return [store]
        source, out = (self.graph.tensors[name].codes for name in (op.inputs[0], op.output))
        assert source is not None
        assert out is not None
        word = self.names[op.name]
        return [*requantised(op.requantise, value, source, out, self._constant, word), store]


class _Addresses:
    """Where a layer's pixels lie, in terms of its loop variables."""

    def __init__(self, buffers: Mapping[str, Buffer], around: Loops, inner: Loops) -> None:
        self.buffers = buffers
        self.fixed = tuple(Affine.of({variable: 1}) for variable, _ in around)
        self.inner = inner

    def at(self, buffer: str, lines: tuple[Line, ...]) -> Address:
        """The pixel `lines` of `buffer`; marked `?` where some round leaves the buffer."""
        sizes = self.buffers[buffer].shape[len(self.fixed) : -1]
        indices, outside = [], False
        for (variable, count), line, size in zip(self.inner, lines, sizes, strict=True):
            indices.append(Affine.of({variable: line.coefficient}, line.constant, line.divisor))
            ends = (line.constant, line.coefficient * (count - 1) + line.constant)
            outside |= line.divisor > 1 or min(ends) < 0 or max(ends) >= size
        return Address(buffer, (*self.fixed, *indices), outside)


def _nest(loops: Loops, body: list[Node]) -> tuple[Node, ...]:
    nodes = tuple(body)
    for variable, count in reversed(loops):
        nodes = (Loop(variable, 0, count, nodes),)
    return nodes


def _index(table: Schedule, array: int) -> tuple[int, ...]:
    return tuple(int(i) for i in np.unravel_index(array, table.index_shape))


def _kernel_pixels(seats: list[Placement]) -> str:
    """What a drive's comment says of the kernel pixels on its row band."""
    first = _coordinates(seats[0].pixel.index)
    if len(seats) == 1:
        return f"kernel pixel {first}"
    return f"{len(seats)} kernel pixels, {first} to {_coordinates(seats[-1].pixel.index)}"


def _coordinates(index: tuple[int, ...]) -> str:
    return "(" + ", ".join(map(str, index)) + ")"


def _matrix_data(op: CrossbarOp, table: Schedule, crossbar: Crossbar) -> Array:
    """The weights as the arrays hold them, zeros where no kernel pixel sits."""
    assert op.weight_codes is not None
    rows, columns = crossbar.rows, crossbar.columns // crossbar.groups
    data = np.zeros(
        (crossbar.count, crossbar.row_bands, rows, crossbar.column_bands, columns),
        op.weight_codes.dtype,
    )
    for seat in table.placements:
        data[seat.array, seat.row_band, :, seat.column_band] = op.weight_codes[seat.pixel.index]
    return data.reshape(crossbar.data_shape)


def _accumulator_type(op: CrossbarOp, crossbar: Crossbar) -> IntType:
    """32 bits, or as many more as it takes to hold every sum over the kernel."""
    assert op.weight_codes is not None
    largest = max(-crossbar.input_type.low, crossbar.input_type.high)
    weights = np.abs(op.weight_codes.astype(np.int64)).sum(axis=-2)  # one kernel pixel, all channels
    bound = int(weights.reshape(-1, weights.shape[-1]).max(axis=-1).sum()) * largest
    return IntType(True, max(32, bound.bit_length() + 1))
