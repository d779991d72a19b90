"""A quantised model beside onnxruntime on the same file, layer by layer.

    python tests/bench/qdq_dcgan.py MODEL.onnx [BATCH]

Every layer's output codes are held against what onnxruntime makes of the very input that the layer
had: a table of how many are equal and how far the others lie apart.  Then the whole network, end
to end.  Exit status 1 where a layer whose codes the file gives is more than
one step off or under 99.9 % equal, or where an output is below 40 dB.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx

sys.path.insert(0, str(Path(__file__).parents[2]))

import redc
from redc.diff import diff
from redc.oracle import Network
from tests.redc.layers_alone import layers_apart

EQUAL, DECIBELS = 0.999, 40.0


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
    failed = False
    print("| layer | op | codes | equal | largest step |\n| --- | --- | --- | --- | --- |")
    for one in layers_apart(model, program, inputs):
        failed |= one.given and (one.steps > 1 or one.equal < EQUAL)
        codes = f"{one.kind} {'given' if one.given else 'chosen'}"
        print(f"| {one.layer} | {one.op} | {codes} | {100 * one.equal:.3f} % of {one.size} | {one.steps} |")
    report = diff(model, program, inputs)
    for row in report.outputs:
        print(f"\n{row.name}: {'exact' if row.sqnr_db is None else f'{row.sqnr_db:.1f} dB'}, end to end")
        failed |= row.sqnr_db is not None and row.sqnr_db < DECIBELS
    print(report.table().splitlines()[-1])
    return int(failed or not report.passed)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 8))
