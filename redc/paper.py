# ruff: noqa: E501  (prose: a paragraph is one line)
"""docs/paper.md: the RED paper's claims beside our figures; `make paper` writes it.

Every number comes from `runtime.cost` on the shipped targets, none of whose constants is tuned to
a claim; `python -m redc.paper --check` says whether the document is current.
"""

from __future__ import annotations

import argparse
import math
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from isa.costs import COMPONENTS, Costs
from isa.program import Program
from isa.targets import TargetFile, load_target_file
from models.catalogue import red_layers
from redc.compare import TARGETS, options_of
from redc.compare_table import parts
from redc.compiler import Variants
from redc.errors import AssumedInputs
from runtime.cost import Cost, cost_of
from runtime.cost_report import heading
from runtime.count import count
from runtime.counters import Counters

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "paper.md"
LAYERS = ("GAN_Deconv1", "GAN_Deconv2", "GAN_Deconv3", "GAN_Deconv4", "FCN_Deconv1", "FCN_Deconv2")
DESIGNS: Mapping[str, str] = {
    "zero-padding": "zero-padding",
    "padding-free": "padding-free",
    "RED, digital": "pixel-wise",
    "RED, analog": "pixel-wise:merge=analog",
    "RED, folded by 2": "pixel-wise:fold=2",
    "packed": "packed",
}
BASE, RED, FOLDED = "zero-padding", "RED, digital", "RED, folded by 2"
SPEEDUP, SAVING = (3.69, 31.15), (0.08, 0.8836)
"""DATE 2019: speed-up over zero-padding, share of its energy saved."""
SPEEDUP_2020, EFFICIENCY_2020 = (4.0, 56.16), (1.05, 18.17)
"""TCAD 2020, over more layers: speed-up, times more energy-efficient."""
SHOWN = 0.10
"""Deviations above it are explained."""

Counted = list[tuple[str, Counters]]


@dataclass(frozen=True, slots=True)
class Study:
    """Every layer under every design on every target, compiled and counted."""

    files: Mapping[str, TargetFile]
    found: Mapping[tuple[str, str, str], tuple[Program, Counted, Cost]]
    stride: Mapping[str, int]

    def cost(self, layer: str, design: str, target: str) -> Cost:
        return self.found[layer, design, target][2]

    def speedup(self, layer: str, design: str, target: str) -> float:
        return self.cost(layer, BASE, target).cycles / self.cost(layer, design, target).cycles

    def saving(self, layer: str, design: str, target: str) -> float:
        """1 - energy / zero-padding's."""
        return 1 - _energy(self.cost(layer, design, target)) / _energy(self.cost(layer, BASE, target))

    def expected(self, layer: str, design: str) -> int:
        return self.stride[layer] // (2 if design == FOLDED else 1)


def study() -> Study:
    """Compile and count everything; nothing is run."""
    files = {name: load_target_file(name) for name in TARGETS}
    found = {}
    stride = {row["name"]: math.prod(row["stride"]) for row in red_layers()}
    for layer in LAYERS:
        variants = Variants(layer)
        for design, mapping in DESIGNS.items():
            for target, file in files.items():
                program = variants.compile(options_of(mapping), file)
                counters = count(program)
                found[layer, design, target] = program, counters, cost_of(program, counters, file.costs)
    return Study(files, found, stride)


def _energy(cost: Cost) -> int:
    assert cost.energy is not None
    return cost.energy


# ---------------------------------------------------------------- the document


def document(s: Study) -> str:
    """The text of docs/paper.md."""
    return "\n".join(_lines(s)).rstrip() + "\n"


def _lines(s: Study) -> Iterator[str]:
    yield "# The paper's claims beside ours\n"
    yield "<!-- Made by `make paper` (redc/paper.py). Change that, not this file. -->\n"
    yield "*RED: A ReRAM-based Deconvolution Accelerator* (Fan, Li, Li, Chen, Li; DATE 2019; longer in TCAD 2020) claims, over zero-padding:\n"
    yield "| | speed-up | energy |\n| --- | --- | --- |"
    yield f"| DATE 2019 | {SPEEDUP[0]}x to {SPEEDUP[1]}x | {_percent(SAVING[0])} to {_percent(SAVING[1])} less |"
    yield f"| TCAD 2020, more layers | {SPEEDUP_2020[0]}x to {SPEEDUP_2020[1]}x | {EFFICIENCY_2020[0]}x to {EFFICIENCY_2020[1]}x more efficient |\n"
    yield "Its text and circuit constants are not at hand, so ours come from other publications (`redc targets NAME` names them) and none is tuned to a claim. What a figure is made of: [cost.md](cost.md), [timing.md](timing.md).\n"
    yield from _expected(s)
    for target in s.files:
        yield from _speedups(s, target)
    for target in s.files:
        yield from _savings(s, target)
        yield from _components(s, target)
    yield from _claims(s)
    yield from _deviations(s)
    yield from _sensitivity(s)


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %".replace("-0.0 %", "0.0 %")


def _expected(s: Study) -> Iterator[str]:
    yield "## What to expect\n"
    yield "A round of zero-padding makes one output pixel, a round of RED a block of s x s; folded by F it takes F rounds. If a round takes the same time in both, the speed-up is s²/F, whatever the circuit:\n"
    yield "| layer | s² | s²/F, F = 2 |\n| --- | --- | --- |"
    for layer in LAYERS:
        yield f"| {layer} | {s.expected(layer, RED)} | {s.expected(layer, FOLDED)} |"
    yield f"\nThe paper folds FCN_Deconv2 by 2: its {SPEEDUP[1]}x is {_percent(SPEEDUP[1] / 32)} of 32, its {SPEEDUP[0]}x {_percent(SPEEDUP[0] / 4)} of 4.\n"


def _grid(s: Study, cell: Callable[[str, str], str]) -> Iterator[str]:
    yield "| layer | " + " | ".join(DESIGNS) + " |"
    yield "| --- |" + " --- |" * len(DESIGNS)
    for layer in LAYERS:
        yield f"| {layer} | " + " | ".join(cell(layer, design) for design in DESIGNS) + " |"
    yield ""


def _speedups(s: Study, target: str) -> Iterator[str]:
    yield f"## Speed-up over zero-padding on {target}\n"
    yield "Cycles, all periphery counted.\n"
    yield from _grid(s, lambda layer, design: f"{s.speedup(layer, design, target):.2f}x")


def _savings(s: Study, target: str) -> Iterator[str]:
    yield f"## Energy on {target}\n"
    yield "Less than zero-padding's, leakage included; negative is more.\n"
    yield from _grid(s, lambda layer, design: _percent(s.saving(layer, design, target)))


def _components(s: Study, target: str) -> Iterator[str]:
    """The split of one GAN and one FCN layer, in shares of zero-padding's energy."""
    for layer in (LAYERS[0], LAYERS[-1]):
        costs = {design: s.cost(layer, design, target) for design in DESIGNS}
        whole = _energy(costs[BASE])
        names = [
            n
            for n in (*COMPONENTS, "leakage")
            if any(parts(c).get(n, 0) > whole / 1000 for c in costs.values())
        ]
        yield f"{layer}, split by component, in shares of zero-padding's energy; area in mm²:\n"
        yield "| design | " + " | ".join(map(heading, names)) + " | total | area |"
        yield "| --- |" + " --- |" * (len(names) + 2)
        for design, cost in costs.items():
            shares = [_percent(parts(cost).get(name, 0) / whole) for name in names]
            area = (cost.total_area or 0) / 10**12
            yield f"| {design} | {' | '.join(shares)} | {_percent(_energy(cost) / whole)} | {area:.3g} |"
        yield ""


def _claimed(layer: str) -> str:
    """RED as the paper builds it: FCN_Deconv2 is folded by 2."""
    return FOLDED if layer == "FCN_Deconv2" else RED


def _claims(s: Study) -> Iterator[str]:
    yield "## Claims and figures\n"
    yield "RED as the paper builds it (FCN_Deconv2 folded by 2, the others not), lowest and highest of the six layers:\n"
    yield "| | speed-up | energy saved |\n| --- | --- | --- |"
    yield f"| DATE 2019 | {SPEEDUP[0]}x to {SPEEDUP[1]}x | {_percent(SAVING[0])} to {_percent(SAVING[1])} |"
    for target in s.files:
        speed = [s.speedup(layer, _claimed(layer), target) for layer in LAYERS]
        saved = [s.saving(layer, _claimed(layer), target) for layer in LAYERS]
        yield f"| ours on {target}, digital merge | {_span(speed)} | {_percent(min(saved))} to {_percent(max(saved))} |"
        speed = [s.speedup(layer, "RED, analog", target) for layer in LAYERS]
        saved = [s.saving(layer, "RED, analog", target) for layer in LAYERS]
        yield f"| ours on {target}, analog merge, none folded | {_span(speed)} | {_percent(min(saved))} to {_percent(max(saved))} |"
    yield f"\nTCAD 2020's {SPEEDUP_2020[1]}x lies below 64, the s² of FCN_Deconv2 not folded; its {EFFICIENCY_2020[1]}x is {_percent(1 - 1 / EFFICIENCY_2020[1])} less energy, its {EFFICIENCY_2020[0]}x {_percent(1 - 1 / EFFICIENCY_2020[0])} less.\n"


def _span(speeds: list[float]) -> str:
    return f"{min(speeds):.2f}x to {max(speeds):.2f}x"


def _deviations(s: Study) -> Iterator[str]:
    yield "## Deviations above 10 %, and the component behind each\n"
    slow = [
        (layer, design, target)
        for target in s.files
        for layer in LAYERS
        for design in DESIGNS
        if design != BASE and abs(s.speedup(layer, design, target) / s.expected(layer, design) - 1) > SHOWN
    ]
    if not slow:
        yield "**Speed-up.** None of RED's deviates from s²/F by more than 10 %: a fire is the longest unit of every window. The paper's own lie 2.7 % to 7.8 % below s²/F; nothing in our model takes that time, so it is in its circuits (wires, decoders, the switch between turns)."
    for layer, design, target in slow:
        why = "a round per input pixel, and the output has more than s² pixels for each (no cropping), not a faster component"
        ours, expected = s.speedup(layer, design, target), s.expected(layer, design)
        yield f"* **Speed-up**, {layer}, {design}, {target}: {ours:.2f}x, s²/F is {expected}: {why if design == 'padding-free' else _bottleneck(s, layer, design, target)}."
    yield ""
    if slow and all(design == "padding-free" for _, design, _ in slow):
        yield "RED, folded RED and packed stay within 10 % of s²/F everywhere: a fire is the longest unit of every window. The paper's own lie 2.7 % to 7.8 % below s²/F; nothing in our model takes that time, so it is in its circuits (wires, decoders, the switch between turns).\n"
    yield "**Energy.** RED as the paper builds it, digital merge:\n"
    for target in s.files:
        for layer in LAYERS:
            saved = s.saving(layer, _claimed(layer), target)
            place = "within" if SAVING[0] <= saved <= SAVING[1] else "below" if saved < SAVING[0] else "above"
            yield f"* {layer} on {target}: {_percent(saved)} less, {place} the paper's range. {_why(s, layer, _claimed(layer), target)}"
    yield ""


def _bottleneck(s: Study, layer: str, design: str, target: str) -> str:
    cost, base = s.cost(layer, design, target), s.cost(layer, BASE, target)
    return f"{cost.cycles:,} cycles against {base.cycles:,}"


def _why(s: Study, layer: str, design: str, target: str) -> str:
    """The component that is most of zero-padding's energy, and the one that changes most."""
    before, after = parts(s.cost(layer, BASE, target)), parts(s.cost(layer, design, target))
    whole = _energy(s.cost(layer, BASE, target))
    largest = max(before, key=lambda name: before[name])
    change = max(before, key=lambda name: abs(before[name] - after[name]))
    moved = (after[change] - before[change]) / whole
    text = f"Of zero-padding's energy {_percent(before[largest] / whole)} is {heading(largest)}"
    text += f", which RED leaves at {_percent(after[largest] / whole)}" if largest != change else ""
    return f"{text}; {heading(change)} changes most, from {_percent(before[change] / whole)} to {_percent(after[change] / whole)} ({100 * moved:+.1f} points)."


# ---------------------------------------------------------------- sensitivity

Change = Callable[[Counted, Costs], tuple[Counted, Costs]]


def _scaled(metric: str, factor: float, components: tuple[str, ...]) -> Change:
    def change(counters: Counted, costs: Costs) -> tuple[Counted, Costs]:
        numbers = dict(costs.numbers)
        for component in components:
            number = numbers[component, metric]
            if number.amount is not None:
                numbers[component, metric] = replace(number, amount=round(number.amount * factor))
        return counters, replace(costs, numbers=numbers)

    return change


def _inserted_zeros_driven(counters: Counted, costs: Costs) -> tuple[Counted, Costs]:
    """As if a driver could not be gated: zeros, inserted and outside, are driven like any value."""
    driven = []
    for name, c in counters:
        idle = c.inserted_zeros + c.gated_drives
        cells = c.cell_reads * (c.drives + idle) // c.drives if c.drives else 0
        driven.append((name, replace(c, drives=c.drives + idle, cell_reads=cells)))
    return driven, costs


def _half_the_bits(counters: Counted, costs: Costs) -> tuple[Counted, Costs]:
    """As if half the input bits were 0, and a 0 drove nothing."""
    return [(n, replace(c, drives=c.drives // 2, cell_reads=c.cell_reads // 2)) for n, c in counters], costs


def changes() -> Iterator[tuple[str, Change]]:
    """Every assumption that is moved, and how."""
    yield "zeros (inserted, outside) driven, not gated", _inserted_zeros_driven
    yield "half of the input bits are 0 and drive nothing", _half_the_bits
    for component in ("driver", "array", "adc", "buffer"):
        for factor, word in ((0.1, "/ 10"), (10.0, "x 10")):
            yield f"{heading(component)} energy {word}", _scaled("energy", factor, (component,))
    yield "no leakage", _scaled("leakage", 0.0, tuple(COMPONENTS))
    yield "leakage x 10", _scaled("leakage", 10.0, tuple(COMPONENTS))
    yield "no leakage of buffers", _scaled("leakage", 0.0, ("buffer",))


def _sensitivity(s: Study) -> Iterator[str]:
    layers = (LAYERS[0], LAYERS[-1])
    columns = [(layer, target) for target in s.files for layer in layers]

    def saved(layer: str, target: str, change: Change) -> float:
        energies = []
        for design in (BASE, _claimed(layer)):
            program, counters, _ = s.found[layer, design, target]
            energies.append(_energy(cost_of(program, *change(counters, s.files[target].costs))))
        return 1 - energies[1] / energies[0]

    base = [s.saving(layer, _claimed(layer), target) for layer, target in columns]
    rows = [(name, [saved(layer, target, change) for layer, target in columns]) for name, change in changes()]
    rows.sort(key=lambda row: -max(abs(a - b) for a, b in zip(row[1], base, strict=True)))
    yield "## Which assumption moves the result most\n"
    yield "Energy saved by RED (digital merge; FCN_Deconv2 folded by 2) when one assumption is changed, the largest mover first:\n"
    yield "| changed | " + " | ".join(f"{layer}, {target}" for layer, target in columns) + " | moves by |"
    yield "| --- |" + " --- |" * (len(columns) + 1)
    yield "| nothing | " + " | ".join(map(_percent, base)) + " | |"
    for name, values in rows:
        most = max(abs(a - b) for a, b in zip(values, base, strict=True))
        yield f"| {name} | {' | '.join(map(_percent, values))} | {100 * most:.1f} points |"
    yield f"\nThe first row, *{rows[0][0]}*, moves a figure most. Two things about the paper's baseline are not known to us and decide alone whether the energies agree:\n"
    yield "* **Are inserted zeros driven?** Here their drivers are gated, so zero-padding reads as many cells as RED does, and RED can save conversions and leakage only. On red-65nm, where reading cells is nearly all of a GAN layer's energy, that leaves nothing; with zeros driven RED saves about 3/4 there."
    yield "* **What leaks for how long?** Zero-padding takes s² times as long, and everything leaks meanwhile, buffers of whole feature maps first. FCN_Deconv2 lives from it.\n"
    yield "And digital merge converts each kernel pixel apart where zero-padding adds all of them on a bit line: with 21 rows in an array (FCN) that is more conversions than zero-padding needs, with 512 rows cut into tiles of 128 it is the same number for each round. Merging on the bit line (RED analog, packed) never converts more than zero-padding.\n"


def main(arguments: list[str] | None = None) -> int:
    """Write docs/paper.md, or say whether it is current (exit status 1 if not)."""
    parser = argparse.ArgumentParser(prog="python -m redc.paper", description="Make docs/paper.md.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if it would change")
    check = parser.parse_args(arguments).check
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AssumedInputs)
        text = document(study())
    if not check:
        DOCUMENT.write_text(text, encoding="utf-8")
        return 0
    if DOCUMENT.is_file() and DOCUMENT.read_text(encoding="utf-8") == text:
        return 0
    print("docs/paper.md is stale: run make paper", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
