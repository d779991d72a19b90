"""SQNR of dcgan_face64 against the bits of the ADC and of a cell: the curve in docs/fidelity.md.

    python tests/bench/sqnr_adc.py [--batch 8]

8-bit weights and inputs, one-bit DACs, arrays of 128 x 128.  Writes docs/adc-bits.png and the
table between the marks in docs/fidelity.md.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

import onnxruntime
from measuring import prepared

import redc
import runtime
from redc.closeness import Closeness
from redc.figure_file import PALETTE
from runtime.counters import Losses

DOCS = Path(__file__).parents[2] / "docs"
MARK = "<!-- adc-bits: tests/bench/sqnr_adc.py writes this table -->"
NAME = "dcgan_face64"
BITS, CELLS, ENCODINGS = range(4, 11), (1, 2, 4), ("differential", "flip")
MACHINE: dict[str, Any] = {"rows": 128, "columns": 128, "arrays": None, "dac": 1, "lsb": 1, "pair": "shared"}

Point = tuple[float, float]
"""SQNR in decibels, share of the conversions that saturate."""


def measure(inputs: Any, model: Any) -> tuple[float, dict[tuple[str, int, int], Point]]:
    """SQNR of `exact`, and a point for each encoding, cell bits and ADC bits."""
    shapes = {key: value.shape for key, value in inputs.items()}
    program = redc.compile(model, calibrate=inputs, shapes=shapes, target="isaac")
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (wanted,) = session.run(None, dict(inputs))

    def sqnr(result: runtime.Result) -> float:
        (found,) = result.outputs.values()
        return Closeness.of(found, wanted).sqnr_db

    points: dict[tuple[str, int, int], Point] = {}
    for encoding in ENCODINGS:
        for cell in CELLS:
            for adc in BITS:
                target = dataclasses.replace(program.target, **MACHINE, encoding=encoding, cell=cell, adc=adc)
                loaded = runtime.load(
                    dataclasses.replace(program, target=target), fidelity="adc", verify=False
                )
                result = loaded.run(inputs, buffers=False)
                lost = sum(result.losses, Losses()).saturated / result.total.conversions
                points[encoding, cell, adc] = (sqnr(result), lost)
                print(
                    f"{encoding:<13} cell {cell} adc {adc:>2}: {points[encoding, cell, adc][0]:6.2f} dB",
                    flush=True,
                )
    return sqnr(runtime.run(program, inputs)), points


def table(exact: float, points: dict[tuple[str, int, int], Point]) -> str:
    """In Markdown: a row for each encoding and cell, a column for each ADC."""
    lines = [f"| encoding, cell | {' | '.join(map(str, BITS))} |", "| --- |" + " ---: |" * len(BITS)]
    for encoding in ENCODINGS:
        for cell in CELLS:
            cells = []
            for adc in BITS:
                sqnr, lost = points[encoding, cell, adc]
                cells.append(f"{sqnr:.1f}" + (f" ({lost:.2%})" if lost else ""))
            lines.append(f"| {encoding}, {cell} bit{'s' * (cell > 1)} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", f"`exact` has {exact:.1f} dB."])


def plot(exact: float, points: dict[tuple[str, int, int], Point], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    axes: Any = figure.subplots()
    for colour, cell in zip(PALETTE, CELLS, strict=False):
        for style, encoding in zip(("-", "--"), ENCODINGS, strict=True):
            values = [points[encoding, cell, adc][0] for adc in BITS]
            label = f"{encoding}, {cell} bit{'s' * (cell > 1)} a cell"
            axes.plot(list(BITS), values, style, color=colour, marker="o", markersize=4, label=label)
    axes.axhline(exact, color="#444444", linewidth=0.8)
    axes.annotate("exact", (BITS[0], exact), xytext=(0, 3), textcoords="offset points", fontsize=8)
    axes.set_xlabel("bits of the ADC")
    axes.set_ylabel("SQNR of the output, dB")
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=130)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--batch", type=int, default=8)
    given = parser.parse_args()
    model, inputs = prepared(NAME)
    inputs = {name: value[: given.batch] for name, value in inputs.items()}
    exact, points = measure(inputs, model)
    plot(exact, points, DOCS / "adc-bits.png")
    page = DOCS / "fidelity.md"
    before, _, after = page.read_text().partition(MARK)
    _, _, rest = after.partition(MARK)
    page.write_text(f"{before}{MARK}\n\n{table(exact, points)}\n\n{MARK}{rest}")


if __name__ == "__main__":
    main()
