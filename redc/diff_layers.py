"""The layers of one run, each held against the oracle and against the float model."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import onnx

from isa import geometry
from isa.program import Address, Buffer, BufferRef, ConstRef, Instruction, Layer, Matrix, Program, walk
from redc.closeness import Closeness
from redc.diff_report import LayerRow, Mismatch
from redc.layer_values import judged, steps_of, values_of
from redc.oracle import LayerText, Network, Oracle, OracleError, describe
from redc.work import multiplications, part_operations
from runtime.coverage import clipped
from runtime.doors import channels_last

Array = npt.NDArray[Any]


class Comparison:
    """One run of a program beside the oracle and the float model.

    `codes` are the buffers after the run, `accumulators` the values behind what was requantised
    (both by buffer, in its shape), `reference` the float model's tensors by ONNX name.
    """

    def __init__(
        self,
        network: Network,
        program: Program,
        codes: Mapping[str, Array],
        accumulators: Mapping[str, Array],
        reference: Mapping[str, Array],
    ) -> None:
        self.network = network
        self.program = program
        self.codes = codes
        self.accumulators = accumulators
        self.reference = reference
        self.oracle = Oracle(network)
        self.copied = {
            target.name: program.buffers[source.name]
            for layer in program.layers
            for instruction in walk(layer.body)
            if instruction.mnemonic == "reshape"
            for target, source in [instruction.operands]
            if isinstance(target, BufferRef) and isinstance(source, BufferRef)
        }
        self.computed: set[str] = set()  # first outputs of the crossbar operators that have a layer
        self.work = {"crossbar": 0, "vector": 0, "host": 0}
        """Multiply-accumulates and, of what multiplies by no matrix, output values (redc/work.py)."""

    def row(self, layer: Layer, rounds: int, cycles: int, host_s: float | None) -> LayerRow:
        """Judge one layer on the codes it was given."""
        groups = _fired(layer)
        parts = [i for i in walk(layer.body) if i.mnemonic == "host"]
        trouble: str | None = None
        mismatch: Mismatch | None = None
        code_error: int | None = None
        if groups:
            try:
                mismatch, code_error = self._check(layer)
                trouble = str(mismatch) if mismatch else None
            except OracleError as error:
                trouble = str(error)
        for call in parts:
            self._note_part(call)
        values = values_of(self.program, self.network, layer, self.codes)
        compared = {name: got for name, got in values.items() if self._comparable(name, got)}
        tensor, closeness = Closeness.worst(compared, self.reference)
        if not groups and not parts:
            self.work["vector"] += self._stored_values(layer)
        return LayerRow(
            name=layer.name,
            kind="crossbar" if groups else "host" if parts else "vector",
            host_s=host_s,
            op=layer.op,
            nodes=layer.nodes,
            tensor=tensor or layer.tensor,
            mapping=layer.mapping,
            integer_exact=trouble is None if groups else None,
            trouble=trouble,
            mismatch=mismatch,
            code_error=code_error,
            closeness=closeness,
            compared=len(compared),
            clipped=self._clipped(layer),
            rounds=rounds if groups else None,
            cycles=cycles,
            arrays=sum(arrays_of(self.program, name) for name in groups) if groups else None,
        )

    def problems(self) -> list[str]:
        """Faults that no row shows; ask after every row."""
        missing = [
            f"no layer of the program computes {describe(node)}"
            for node in self.network.crossbar_nodes()
            if node.output[0] not in self.computed
        ]
        copies = [
            problem
            for layer in self.program.layers
            for instruction in walk(layer.body)
            if instruction.mnemonic == "reshape"
            and (problem := self._copy_problem(layer, *instruction.operands))
        ]
        return missing + copies

    def notes(self) -> list[str]:
        """What the text declares that the model does not have."""
        named = [layer.name for layer in self.program.layers if layer.correction is not None]
        return [f"bias corrections that the program declares: layers {', '.join(named)}"] if named else []

    def _check(self, layer: Layer) -> tuple[Mismatch | None, int]:
        """The first promise, for one crossbar layer.  Raises OracleError where it has no meaning."""
        text = self._read(layer)
        node = self.network.chain(text.tensor).operator
        self.computed.add(node.output[0])
        self.work["crossbar"] += self._multiplications(node, text.result)
        shape = self.reference[node.input[0]].shape
        expected = self.oracle.expect(text, self.codes[text.source.name], shape)
        codes = self.codes[text.result.name].astype(np.int64)
        error = int(np.abs(codes - expected.codes).max(initial=0))
        wrong = (codes < expected.lowest) | (codes > expected.highest)
        sums = self.accumulators.get(text.result.name, codes)  # stored as they are: without a quant
        return (
            _mismatch("accumulators", text.result, sums, expected.accumulators, sums != expected.accumulators)
            or _mismatch("output codes", text.result, codes, expected.codes, wrong)
        ), error

    def _multiplications(self, node: onnx.NodeProto, result: Buffer) -> int:
        shapes = {node.input[0]: self.reference[node.input[0]].shape}
        for name in node.input[1:]:
            value = self.network.constant(name) if name else None
            if value is not None:
                shapes[name] = value.shape
        return multiplications(node, shapes, math.prod(result.shape))

    def _stored_values(self, layer: Layer) -> int:
        """Values of the buffers that the layer computes; a copy computes none."""
        first = (i.operands[0] for i in walk(layer.body) if i.mnemonic == "store")
        names = {address.buffer for address in first if isinstance(address, Address)}
        return sum(math.prod(self.program.buffers[name].shape) for name in names)

    def _note_part(self, call: Instruction) -> None:
        """The crossbar operators in a host part have their layer; their work is the host's."""
        part = call.operands[0]
        assert isinstance(part, ConstRef)
        content = self.program.constant(part.name).tobytes()
        self.work["host"] += part_operations(content)
        graph = onnx.ModelProto.FromString(content).graph
        self.computed.update(node.output[0] for node in graph.node if node.output)

    def _comparable(self, name: str, got: Array) -> bool:
        return name in self.reference and self.reference[name].size == got.size

    def _clipped(self, layer: Layer) -> float | None:
        """The share of the model's values that the layer's codes do not reach; the largest of its tensors."""
        found: list[float] = []
        for name, held in judged(self.program, layer).items():
            reference = self.reference.get(name)
            if held.scale is None or reference is None or reference.size != math.prod(held.shape):
                continue
            values = channels_last(held, reference.reshape(held.onnx_shape))
            share = clipped(held, values, steps_of(self.program, held))
            found += [] if share is None else [share]
        return max(found, default=None)

    def _copy_problem(self, layer: Layer, target: Any, source: Any) -> str | None:
        """A `reshape` must copy a tensor to its own other shape, in the order of the ONNX tensors."""
        assert isinstance(target, BufferRef)
        assert isinstance(source, BufferRef)
        old, new = self.program.buffers[source.name], self.program.buffers[target.name]
        before, after = (np.moveaxis(self.codes[b.name], -1, b.axis).ravel() for b in (old, new))
        held = self._held(old)
        named = self.network.root(new.tensor) if new.tensor and self.network.knows(new.tensor) else held
        # A node may have become two operators, the copy its second: then what the first made is
        # no tensor of the model, and its values show in the SQNR, as every vector layer's do.
        if held in (None, named) and np.array_equal(before, after):
            return None
        return f"layer {layer.name!r} copies %{old.name} to %{new.name}, but not the values of {new.tensor!r}"

    def _held(self, buffer: Buffer) -> str | None:
        """The root of the ONNX tensor whose values a buffer holds.

        A buffer that only changes a layout names no tensor of the model: then it is what was
        copied to it (and `problems` checks that the copy is one).
        """
        seen: set[str] = set()
        while buffer.name not in seen:
            seen.add(buffer.name)
            if buffer.tensor and self.network.knows(buffer.tensor):
                return self.network.root(buffer.tensor)
            buffer = self.copied.get(buffer.name, buffer)
        return None

    def _read(self, layer: Layer) -> LayerText:
        """What the text says of one crossbar layer.  Raises OracleError where it says too little."""
        sources: dict[str, None] = {}
        bits: set[int] = set()
        for instruction in walk(layer.body):
            if instruction.mnemonic == "drive":
                band, address = instruction.operands
                assert isinstance(band, Matrix)
                assert isinstance(address, Address)
                sources[address.buffer] = None
                bits.add(self.program.crossbars[band.name].weight_type.bits)
        result = judged(self.program, layer).get(layer.tensor or "")
        if layer.tensor is None or result is None:
            raise OracleError(f"it stores no codes of its tensor {layer.tensor!r}")
        if len(sources) != 1 or len(bits) != 1:
            raise OracleError(
                f"it drives from {', '.join('%' + name for name in sources) or 'no buffer'} "
                f"with weights of {', '.join(map(str, sorted(bits)))} bits; expected one of each"
            )
        source = self.program.buffers[next(iter(sources))]
        held = self._held(source)
        if held is None:
            raise OracleError(f"buffer %{source.name}, which it drives from, holds no tensor of the model")
        steps = [steps_of(self.program, buffer) for buffer in (source, result)]
        name = layer.correction
        own = None if name is None else self.program.constant(name).astype(np.int64)
        return LayerText(layer.tensor, held, source, result, bits.pop(), steps[0], steps[1], own)


def _fired(layer: Layer) -> list[str]:
    groups: dict[str, None] = {}
    for instruction in walk(layer.body):
        if instruction.mnemonic == "fire":
            group = instruction.operands[0]
            assert isinstance(group, Matrix)
            groups[group.name] = None
    return list(groups)


def arrays_of(program: Program, crossbar: str) -> int:
    """Physical arrays of one crossbar group."""
    return geometry.arrays_of(program.crossbars[crossbar], program.target)


def _mismatch(
    what: Literal["accumulators", "output codes"], buffer: Buffer, got: Array, expected: Array, differ: Array
) -> Mismatch | None:
    count = int(np.count_nonzero(differ))
    if not count:
        return None
    index = tuple(int(i) for i in np.unravel_index(int(np.argmax(differ)), differ.shape))
    place = f"%{buffer.name}{list(index)}"
    return Mismatch(what, count, differ.size, place, int(got[index]), int(expected[index]))
