# ruff: noqa: E501  (prose: a paragraph is one line)
"""docs/paper.md: the RED paper's claims beside our figures; `make paper` writes it.

Every number comes from `runtime.cost` on the shipped targets, none of whose constants is tuned to
a claim; `python -m redc.paper --check` says whether the document is current.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

from isa.costs import COMPONENTS
from isa.document import keep_document
from isa.geometry import geometry
from redc.compare_table import parts
from redc.errors import AssumedInputs
from redc.paper_sensitivity import WIDTHS, saved, sensitivity, unchanged, waits, zeros_driven
from redc.paper_study import BASE, DESIGNS, FOLDED, LAYERS, RED, Study, claimed, energy_of, percent, study
from runtime.cost_report import heading

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "paper.md"
SPEEDUP, SAVING = (3.69, 31.15), (0.08, 0.8836)
"""DATE 2019: speed-up over zero-padding, share of its energy saved."""
SPEEDUP_2020, EFFICIENCY_2020 = (4.0, 56.16), (1.05, 18.17)
"""TCAD 2020, over more layers: speed-up, times more energy-efficient."""
SHOWN = 0.10
"""Deviations above it are explained."""


# ---------------------------------------------------------------- the document


def document(s: Study) -> str:
    """The text of docs/paper.md."""
    return "\n".join(_lines(s)).rstrip() + "\n"


def _lines(s: Study) -> Iterator[str]:
    yield "# The paper's claims beside ours\n"
    yield "<!-- Made by `make paper` (redc/paper.py). Change that, not this file. -->\n"
    yield "*RED: A ReRAM-based Deconvolution Accelerator* (Fan, Li, Li, Chen, Li; DATE 2019; longer in TCAD 2020) claims, over zero-padding:\n"
    yield "| | speed-up | energy |\n| --- | --- | --- |"
    yield f"| DATE 2019 | {SPEEDUP[0]}x to {SPEEDUP[1]}x | {percent(SAVING[0])} to {percent(SAVING[1])} less |"
    yield f"| TCAD 2020, more layers | {SPEEDUP_2020[0]}x to {SPEEDUP_2020[1]}x | {EFFICIENCY_2020[0]}x to {EFFICIENCY_2020[1]}x more efficient |\n"
    yield "Its text and circuit constants are not at hand, so ours come from other publications (`redc targets NAME` names them) and none is tuned to a claim. What a figure is made of: [cost.md](cost.md), [timing.md](timing.md).\n"
    yield from _expected(s)
    for target in s.timed:
        yield from _speedups(s, target)
    for target in s.files:
        yield from _savings(s, target)
        yield from _components(s, target)
    yield from _claims(s)
    yield from _deviations(s)
    yield from sensitivity(s)


def _expected(s: Study) -> Iterator[str]:
    yield "## What to expect\n"
    yield "A round of zero-padding makes one output pixel, a round of RED a block of s x s; folded by F it takes F rounds. If a round takes the same time in both, the speed-up is s²/F, whatever the circuit:\n"
    yield "| layer | s² | s²/F, F = 2 |\n| --- | --- | --- |"
    for layer in LAYERS:
        yield f"| {layer} | {s.expected(layer, RED)} | {s.expected(layer, FOLDED)} |"
    yield f"\nThe paper folds FCN_Deconv2 by 2: its {SPEEDUP[1]}x is {percent(SPEEDUP[1] / 32)} of 32, its {SPEEDUP[0]}x {percent(SPEEDUP[0] / 4)} of 4.\n"


def _grid(s: Study, cell: Callable[[str, str], str]) -> Iterator[str]:
    yield "| layer | " + " | ".join(DESIGNS) + " |"
    yield "| --- |" + " --- |" * len(DESIGNS)
    for layer in LAYERS:
        yield f"| {layer} | " + " | ".join(cell(layer, design) for design in DESIGNS) + " |"
    yield ""


def _speedups(s: Study, target: str) -> Iterator[str]:
    yield f"## Speed-up over zero-padding on {target}\n"
    yield f"Cycles, all periphery counted, beside s² and s²/F for F = 2. The paper claims {SPEEDUP[0]}x to {SPEEDUP[1]}x for the six, FCN_Deconv2 folded by 2.\n"
    yield "| layer | s² (s²/2) | " + " | ".join(DESIGNS) + " |"
    yield "| --- | --- |" + " --- |" * len(DESIGNS)
    for layer in LAYERS:
        cells = (f"{s.speedup(layer, design, target):.2f}x" for design in DESIGNS)
        yield f"| {layer} | {s.expected(layer, RED)} ({s.expected(layer, FOLDED)}) | {' | '.join(cells)} |"
    yield ""


def _savings(s: Study, target: str) -> Iterator[str]:
    yield f"## Energy on {target}\n"
    yield "Less than zero-padding's, leakage included; negative is more.\n"
    yield from _grid(s, lambda layer, design: percent(s.saving(layer, design, target)))


def _components(s: Study, target: str) -> Iterator[str]:
    """The split of every layer, in shares of zero-padding's energy."""
    for layer in LAYERS:
        costs = {design: s.cost(layer, design, target) for design in DESIGNS}
        whole = energy_of(costs[BASE])
        names = [
            n
            for n in (*COMPONENTS, "leakage")
            if any(parts(c).get(n, 0) > whole / 1000 for c in costs.values())
        ]
        yield f"{layer}, split by component, in shares of zero-padding's energy; area in mm²:\n"
        yield "| design | " + " | ".join(map(heading, names)) + " | total | area |"
        yield "| --- |" + " --- |" * (len(names) + 2)
        for design, cost in costs.items():
            shares = [percent(parts(cost).get(name, 0) / whole) for name in names]
            area = (cost.total_area or 0) / 10**12
            yield f"| {design} | {' | '.join(shares)} | {percent(energy_of(cost) / whole)} | {area:.3g} |"
        yield ""


def _claims(s: Study) -> Iterator[str]:
    yield "## Claims and figures\n"
    yield "RED as the paper builds it (FCN_Deconv2 folded by 2, the others not), lowest and highest of the six layers:\n"
    yield "| | speed-up | energy saved |\n| --- | --- | --- |"
    yield f"| DATE 2019 | {SPEEDUP[0]}x to {SPEEDUP[1]}x | {percent(SAVING[0])} to {percent(SAVING[1])} |"
    for target in s.files:
        speed = [s.speedup(layer, claimed(layer), target) for layer in LAYERS]
        saved = [s.saving(layer, claimed(layer), target) for layer in LAYERS]
        yield f"| ours on {target}, digital merge | {_span(speed)} | {percent(min(saved))} to {percent(max(saved))} |"
        speed = [s.speedup(layer, "RED, analog", target) for layer in LAYERS]
        saved = [s.saving(layer, "RED, analog", target) for layer in LAYERS]
        yield f"| ours on {target}, analog merge, none folded | {_span(speed)} | {percent(min(saved))} to {percent(max(saved))} |"
    yield f"\nTCAD 2020's {SPEEDUP_2020[1]}x lies below 64, the s² of FCN_Deconv2 not folded; its {EFFICIENCY_2020[1]}x is {percent(1 - 1 / EFFICIENCY_2020[1])} less energy, its {EFFICIENCY_2020[0]}x {percent(1 - 1 / EFFICIENCY_2020[0])} less.\n"


def _span(speeds: list[float]) -> str:
    return f"{min(speeds):.2f}x to {max(speeds):.2f}x"


def _deviations(s: Study) -> Iterator[str]:
    yield "## Deviations above 10 %, and the component behind each\n"
    cases = [
        (layer, design, target)
        for target in s.timed
        for layer in LAYERS
        for design in DESIGNS
        if design != BASE
    ]
    off = {case: s.speedup(*case) / s.expected(*case[:2]) - 1 for case in cases}
    yield "**Speed-up.**\n"
    for case in cases:
        if abs(off[case]) > SHOWN:
            yield f"* {_told(s, *case)}"
    yield "\nPadding-free clears its sums before the first round, and reads them back to requantise them after the last: nothing of either overlaps with fires."
    ours = [case for case in cases if case[1] != "padding-free"]
    least = min(ours, key=lambda case: off[case])
    if all(abs(off[case]) <= SHOWN for case in ours):
        yield f"\nRED, folded RED and packed stay within 10 % of s²/F everywhere: a fire is the longest unit of every window, and what is missing is the filling before the first fire and the draining after the last. Furthest off: {_told(s, *least)}"
    rounds = s.found["FCN_Deconv2", FOLDED, next(iter(s.files))][1][0][1].rounds
    yield f"\nThe paper's own figures lie 2.7 % (31.15x of 32) to 7.8 % (3.69x of 4) below s²/F. Our fill and drain have that size where rounds are few, but FCN_Deconv2 has {rounds:,} and hides them: there the paper's 2.7 % must be time in every round (wires, decoders, the switch between turns) that our model does not have.\n"
    yield "**Energy.** RED as the paper builds it, digital merge:\n"
    for target in s.files:
        for layer in LAYERS:
            saved = s.saving(layer, claimed(layer), target)
            yield f"* {layer} on {target}: {percent(saved)} less, {_place(saved)} the paper's range. {_why(s, layer, claimed(layer), target)}"
    layer, target = min(
        ((x, t) for t in s.files for x in LAYERS), key=lambda xt: s.saving(xt[0], claimed(xt[0]), xt[1])
    )
    yield f"\nThe largest difference: {layer} on {target}, {percent(s.saving(layer, claimed(layer), target))} where the paper saves at least {percent(SAVING[0])}. {_conversions(s, layer, target)}\n"
    yield from _readings(s)


def _place(saved: float) -> str:
    return "within" if SAVING[0] <= saved <= SAVING[1] else "below" if saved < SAVING[0] else "above"


def _told(s: Study, layer: str, design: str, target: str) -> str:
    """One speed-up, by rounds and by the unit that its cycles wait for."""
    program, counters, cost = s.found[layer, design, target]
    rounds = s.found[layer, BASE, target][1][0][1].rounds / counters[0][1].rounds
    expected = s.expected(layer, design)
    text = f"{layer}, {design}, {target}: {s.speedup(layer, design, target):.2f}x, s²/F is {expected}."
    if abs(rounds / expected - 1) > 0.001:
        pixels = (
            "the output has more than s² pixels for each input pixel"
            if rounds > expected
            else "border blocks"
        )
        text += f" By rounds alone it is {rounds:.2f}: {pixels}."
    (crossbar,) = program.crossbars.values()
    beyond = cost.cycles - counters[0][1].rounds * geometry(crossbar, program.target).fire_cycles
    kept = sorted(((k, unit) for unit, k in waits(program).items() if k), reverse=True)
    if beyond:
        text += f" Of its {cost.cycles:,} cycles {beyond:,} ({percent(beyond / cost.cycles)}) are no fires"
        text += (
            "".join(f"; without limit {WIDTHS[unit]} (`{unit}`) would save {k:,}" for k, unit in kept) + "."
        )
    return text


def _conversions(s: Study, layer: str, target: str) -> str:
    """Why a layer costs more than zero-padding: conversions."""
    before, after = (s.found[layer, design, target][1][0][1].conversions for design in (BASE, claimed(layer)))
    return f"RED makes {after / before:.2f} times zero-padding's conversions there ({after:,} for {before:,}): each kernel pixel of few rows is converted apart and added after the ADC, where zero-padding adds all of them on a bit line. Merged on the bit line it is {percent(s.saving(layer, 'RED, analog', target))}."


def _readings(s: Study) -> Iterator[str]:
    """What is not known about the paper's machines, both ways."""
    yield "What the paper leaves open decides the energy. Each reading, lowest to highest of the six layers, and how many of them lie in the paper's range:\n"
    yield (
        "| merge | zeros of zero-padding | "
        + " | ".join(s.files)
        + " |\n| --- | --- |"
        + " --- |" * len(s.files)
    )
    for merge in ("digital", "analog"):
        for zeros, change in (("gated", unchanged), ("driven", zeros_driven)):
            cells = []
            for target in s.files:
                found = [
                    saved(s, x, claimed(x) if merge == "digital" else "RED, analog", target, change)
                    for x in LAYERS
                ]
                inside = sum(_place(value) == "within" for value in found)
                cells.append(f"{percent(min(found))} to {percent(max(found))}, {inside} of 6")
            yield f"| {merge} | {zeros} | {' | '.join(cells)} |"
    yield "\nNo reading is chosen: the tables above are digital and gated, the design's default.\n"


def _why(s: Study, layer: str, design: str, target: str) -> str:
    """The component that is most of zero-padding's energy, and the one that changes most."""
    before, after = parts(s.cost(layer, BASE, target)), parts(s.cost(layer, design, target))
    whole = energy_of(s.cost(layer, BASE, target))
    largest = max(before, key=lambda name: before[name])
    change = max(before, key=lambda name: abs(before[name] - after[name]))
    moved = (after[change] - before[change]) / whole
    text = f"Of zero-padding's energy {percent(before[largest] / whole)} is {heading(largest)}"
    text += f", which RED leaves at {percent(after[largest] / whole)}" if largest != change else ""
    return f"{text}; {heading(change)} changes most, from {percent(before[change] / whole)} to {percent(after[change] / whole)} ({100 * moved:+.1f} points)."


def main(arguments: list[str] | None = None) -> int:
    """Write docs/paper.md, or say whether it is current (exit status 1 if not)."""

    def make() -> str:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AssumedInputs)
            return document(study())

    return keep_document(DOCUMENT, make, arguments, program="python -m redc.paper", again="make paper")


if __name__ == "__main__":
    sys.exit(main())
