"""Quantised models in every form of onnxruntime's own tools: what redc makes of them.

    python tests/bench/quantised_table.py [NETWORK ...]

Prints the table of docs/quantisation.md.  Each cell has the share of the multiply-accumulates that
crossbars run; the largest step that a layer of the accelerator whose codes the file gives lies from
onnxruntime on the same input to that layer; the output's SQNR against onnxruntime on the same file.
Exit status 1 where a layer is not integer-exact, or more than a step away.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import redc
from redc.diff import diff
from tests.redc.layers_alone import layers_apart
from tests.redc.quantised_networks import NETWORKS, Form, forms, quantised


def cell(name: str, form: Form) -> tuple[str, bool]:
    """One cell, and whether it is as promised."""
    model = quantised(name, form)
    if not any("Quant" in node.op_type or node.op_type.startswith("Q") for node in model.graph.node):
        return "not quantised", True
    inputs = NETWORKS[name]().sample(50)
    report = diff(model, inputs=inputs)
    apart = layers_apart(model, redc.compile(model, calibrate=inputs), inputs)
    steps = max((one.steps for one in apart if one.given), default=0)
    share = 100 * report.work["crossbar"] / sum(report.work.values())
    (row,) = report.outputs
    exact = row.sqnr_db is None or row.sqnr_db == float("inf")
    close = "equal" if exact else f"{row.sqnr_db:.1f} dB"
    return f"{share:.0f} %, {steps}, {close}", report.passed and steps <= 1


def main(names: list[str]) -> int:
    """Print the table; the exit status."""
    names = names or list(NETWORKS)
    kept = True
    print(f"| form | {' | '.join(names)} |\n|{' --- |' * (len(names) + 1)}")
    for form in forms():
        cells = [cell(name, form) for name in names]
        kept &= all(fine for _, fine in cells)
        print(f"| {form} | {' | '.join(text for text, _ in cells)} |", flush=True)
    return 0 if kept else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
