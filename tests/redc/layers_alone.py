"""How far each layer of a quantised network lies from onnxruntime's, given the same input."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx

from isa.program import Address, BufferRef, Program, walk
from redc.oracle import Network, run_model
from runtime.doors import leave, onnx_order


@dataclass(frozen=True)
class Apart:
    """Of one layer: the largest step between its codes and onnxruntime's, and the share that are equal."""

    layer: str
    op: str
    kind: str
    given: bool  # whether the file says the codes
    steps: int
    equal: float
    size: int


def layers_apart(model: onnx.ModelProto, program: Program, inputs: dict) -> list[Apart]:
    """Every layer of the accelerator whose tensors the model has, on the codes that redc gave it."""
    import runtime

    network = Network(model)
    codes = runtime.load(program, observe=True).run(inputs).buffers
    tensors = {b.tensor for b in program.buffers.values() if b.tensor and network.knows(b.tensor)}
    made = [name for name in tensors if network.maker(name) is not None]
    types = {name: np.asarray(value).dtype for name, value in inputs.items()}
    types |= {n: v.dtype for n, v in run_model(model, model.graph, inputs, made).items()}
    held = _origins(program, types)
    found = []
    for layer in program.layers:
        if layer.tensor not in types or any(i.mnemonic == "host" for i in walk(layer.body)):
            continue
        read = {_name(o) for i in walk(layer.body) for o in i.operands if isinstance(o, Address | BufferRef)}
        stored = {b for b in read if program.buffers[b].tensor == layer.tensor}
        sources = {held.get(name) for name in read - stored if program.buffers[name].scale is not None}
        if len(stored) != 1 or None in sources or not sources:
            continue
        (result,) = stored
        buffer = program.buffers[result]
        feeds = {program.buffers[s].tensor: _value(program.buffers[s], codes[s], types) for s in sources}
        graph = _between(network, feeds, types, layer.tensor)
        if graph is None:
            continue
        expected = run_model(model, graph, feeds)[layer.tensor]
        if expected.dtype.kind == "f":
            expected = np.rint(expected.astype(np.float64) / np.float32(buffer.scale)) + buffer.zero
            expected = np.clip(expected, buffer.type.low, buffer.type.high)
        off = np.abs(onnx_order(buffer, codes[result]).astype(np.int64) - expected.astype(np.int64))
        given = network.codes(layer.tensor) is not None or buffer.whole
        equal = float((off == 0).mean())
        found.append(Apart(layer.name, layer.op, str(buffer.type), given, int(off.max()), equal, off.size))
    return found


def _name(operand: Address | BufferRef) -> str:
    return operand.buffer if isinstance(operand, Address) else operand.name


def _origins(program: Program, types: dict) -> dict[str, str]:
    """The buffer of a tensor of the model whose values each buffer holds, perhaps in another shape."""
    held = {name: name for name, b in program.buffers.items() if b.tensor in types and b.scale is not None}
    for layer in program.layers:
        for instruction in walk(layer.body):
            if instruction.mnemonic == "reshape":
                target, source = (operand.name for operand in instruction.operands)
                if target not in held and source in held:
                    held[target] = held[source]
    return held


def _value(buffer, codes, types):
    """What the buffer holds, in the type that the model's tensor has."""
    wanted = types[buffer.tensor]
    if wanted.kind != "f":
        return onnx_order(buffer, codes).astype(wanted)
    if not buffer.whole:
        return leave(buffer, codes)
    real = (onnx_order(buffer, codes).astype(np.int64) - buffer.zero).astype(np.float32)
    return real * np.float32(buffer.scale)


def _between(network: Network, feeds: dict, types: dict, output: str) -> onnx.GraphProto | None:
    """The part of the model's graph from `feeds` to `output`; None where it has other inputs too."""
    graph = network.model.graph
    wanted, pending = set(), [output]
    while pending:
        name = pending.pop()
        if name in wanted or (name in feeds and name != output):
            continue
        wanted.add(name)
        node = network.maker(name)
        if node is None and name in network.inputs:
            return None
        pending += [n for n in node.input if n] if node is not None else []
    nodes = [node for node in graph.node if wanted.intersection(node.output)]
    ports = [
        onnx.helper.make_tensor_value_info(n, onnx.helper.np_dtype_to_tensor_dtype(types[n]), v.shape)
        for n, v in feeds.items()
    ]
    leaves = [t for t in graph.initializer if t.name in wanted]
    result = onnx.helper.make_tensor_value_info(
        output, onnx.helper.np_dtype_to_tensor_dtype(types[output]), None
    )
    return onnx.helper.make_graph(nodes, "part", ports, [result], leaves)
