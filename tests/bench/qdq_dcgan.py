"""A quantised model beside onnxruntime on the same file, layer by layer.

    python tests/bench/qdq_dcgan.py MODEL.onnx [BATCH]

Every layer of the program runs alone on onnxruntime's own input to it, and its output codes are
held against onnxruntime's: a table of how many are equal and how far the others lie apart.  Then
the whole network, end to end.  Exit status 1 where a layer whose codes the file gives is more than
one step off or under 99.9 % equal, or where an output is below 40 dB.
"""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import onnx

import redc
import runtime
from isa.program import Address, BufferRef, Program, walk
from redc.diff import diff
from redc.oracle import Network, real, run_model

EQUAL, DECIBELS = 0.999, 40.0


def alone(program: Program, number: int) -> Program:
    """The program that is one layer: what it reads are inputs, what it makes is an output."""
    layer = program.layers[number]
    used: dict[str, None] = {}
    for instruction in walk(layer.body):
        for operand in instruction.operands:
            if isinstance(operand, Address | BufferRef):
                used[operand.buffer if isinstance(operand, Address) else operand.name] = None
    written = {
        op.buffer if isinstance(op, Address) else op.name
        for i in walk(layer.body)
        if i.mnemonic in ("store", "reshape", "accum", "clear")
        for op in [i.operands[0]]
        if isinstance(op, Address | BufferRef)
    }
    buffers = {}
    for name in used:
        kind = "buffer" if program.buffers[name].scale is None else "output" if name in written else "input"
        buffers[name] = replace(program.buffers[name], kind=kind)
    return replace(program, buffers=buffers, layers=(layer,))


def main(path: str, batch: int) -> int:
    """Print the table; the exit status."""
    model = onnx.load(path)
    network = Network(model)
    shapes = {}
    for name in network.inputs:
        first, *rest = network.declared_shape(name) or (None,)
        shapes[name] = (first or batch, *(size or batch for size in rest))
    rng = np.random.default_rng(1)
    inputs = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    program = redc.compile(model, shapes=shapes, calibrate=inputs)
    tensors = [buffer.tensor for buffer in program.buffers.values() if buffer.tensor]
    made = [name for name in tensors if network.maker(name) is not None]
    values = inputs | run_model(model, network.exposing(made), inputs)
    for name in made:
        codes = network.codes(name)
        values[name] = real(values[name], codes) if codes else values[name]
    failed = False
    print("| layer | op | codes | equal | largest step |\n| --- | --- | --- | --- | --- |")
    for number, layer in enumerate(program.layers):
        single = alone(program, number)
        feeds = {b.tensor: values[b.tensor] for b in single.inputs if b.tensor}
        (buffer,) = single.outputs
        assert buffer.tensor is not None
        assert buffer.scale is not None
        got = runtime.run(single, feeds).outputs[buffer.tensor]
        steps = np.abs(np.rint((got - values[buffer.tensor]) / np.float32(buffer.scale)))
        equal, given = float((steps == 0).mean()), network.codes(buffer.tensor) is not None
        failed |= given and (steps.max() > 1 or equal < EQUAL)
        print(
            f"| {layer.name} | {layer.op} | {buffer.type} {'given' if given else 'chosen'} "
            f"| {100 * equal:.3f} % of {steps.size} | {int(steps.max())} |"
        )
    report = diff(model, program, inputs)
    for row in report.outputs:
        print(f"\n{row.name}: {'exact' if row.sqnr_db is None else f'{row.sqnr_db:.1f} dB'}, end to end")
        failed |= row.sqnr_db is not None and row.sqnr_db < DECIBELS
    print(report.table().splitlines()[-1])
    return int(failed or not report.passed)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 8))
