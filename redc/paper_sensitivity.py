# ruff: noqa: E501  (prose: a paragraph is one line)
"""docs/paper.md, last part: which assumption moves the results most.

One assumption is changed at a time: costs and counts under a program's own cycles, or widths of
the machine, under which its cycles are counted again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from isa.costs import COMPONENTS, Costs
from isa.program import Program
from redc.paper_study import BASE, LAYERS, Counted, Study, claimed, energy_of, percent
from runtime.cost import cost_of
from runtime.cost_report import heading
from runtime.count import count

Change = Callable[[Counted, Costs], tuple[Counted, Costs]]

WIDTHS: Mapping[str, str] = {
    "fetch": "fetching inputs",
    "adders": "adding",
    "vector": "the vector unit",
    "read": "reading buffers",
    "write": "writing buffers",
}
"""Fields of a target that can stall a window, and what a sentence calls them."""
UNLIMITED = 1 << 31


def cycles(program: Program, widths: Mapping[str, int]) -> int:
    """Cycles with other widths."""
    given: dict[str, Any] = dict(widths)
    changed = replace(program, target=replace(program.target, **given))
    return sum(counted.cycles for _, counted in count(changed))


def waits(program: Program) -> dict[str, int]:
    """Field -> cycles that would be saved if it were without limit."""
    whole = cycles(program, {})
    return {name: whole - cycles(program, {name: UNLIMITED}) for name in WIDTHS}


def _scaled(metric: str, factor: float, components: tuple[str, ...]) -> Change:
    def change(counters: Counted, costs: Costs) -> tuple[Counted, Costs]:
        numbers = dict(costs.numbers)
        for component in components:
            number = numbers[component, metric]
            if number.amount is not None:
                numbers[component, metric] = replace(number, amount=round(number.amount * factor))
        return counters, replace(costs, numbers=numbers)

    return change


def unchanged(counters: Counted, costs: Costs) -> tuple[Counted, Costs]:
    """No change."""
    return counters, costs


def zeros_driven(counters: Counted, costs: Costs) -> tuple[Counted, Costs]:
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
    """Every assumption about energy that is moved, and how."""
    yield "zeros (inserted, outside) driven, not gated", zeros_driven
    yield "half of the input bits are 0 and drive nothing", _half_the_bits
    for component in ("driver", "array", "adc", "buffer", "control"):
        for factor, word in ((0.1, "/ 10"), (10.0, "x 10")):
            yield f"{heading(component)} energy {word}", _scaled("energy", factor, (component,))
    yield "no leakage", _scaled("leakage", 0.0, tuple(COMPONENTS))
    yield "leakage x 10", _scaled("leakage", 10.0, tuple(COMPONENTS))
    yield "no leakage of buffers", _scaled("leakage", 0.0, ("buffer",))


def saved(s: Study, layer: str, design: str, target: str, change: Change) -> float:
    """Share of zero-padding's energy that `design` saves under a change."""
    energies = []
    for which in (BASE, design):
        program, counters, _ = s.found[layer, which, target]
        energies.append(energy_of(cost_of(program, *change(counters, s.files[target].costs))))
    return 1 - energies[1] / energies[0]


def sensitivity(s: Study) -> Iterator[str]:
    """The section of the document."""
    yield "## Which assumption moves the result most\n"
    yield from _energy(s)
    yield from _speed(s)


def _columns(s: Study) -> list[tuple[str, str]]:
    return [(layer, target) for target in s.files for layer in (LAYERS[0], LAYERS[-1])]


def _table(s: Study, base: list[str], rows: list[tuple[str, list[str], str]]) -> Iterator[str]:
    columns = _columns(s)
    yield "| changed | " + " | ".join(f"{layer}, {target}" for layer, target in columns) + " | moves by |"
    yield "| --- |" + " --- |" * (len(columns) + 1)
    yield "| nothing | " + " | ".join(base) + " | |"
    for name, cells, moved in rows:
        yield f"| {name} | {' | '.join(cells)} | {moved} |"
    yield ""


def _energy(s: Study) -> Iterator[str]:
    columns = _columns(s)
    base = [s.saving(layer, claimed(layer), target) for layer, target in columns]
    found = [
        (name, [saved(s, layer, claimed(layer), target, change) for layer, target in columns])
        for name, change in changes()
    ]
    moves = {name: max(abs(a - b) for a, b in zip(values, base, strict=True)) for name, values in found}
    found.sort(key=lambda row: -moves[row[0]])
    rows = [(n, list(map(percent, values)), f"{100 * moves[n]:.1f} points") for n, values in found]
    yield "**Energy** saved by RED (digital merge; FCN_Deconv2 folded by 2) when one assumption is changed, the largest mover first:\n"
    yield from _table(s, list(map(percent, base)), rows)
    yield f"The first row, *{rows[0][0]}*, moves a figure most. Two things about the paper's baseline are not known to us and decide alone whether the energies agree:\n"
    yield "* **Are inserted zeros driven?** Here their drivers are gated, so zero-padding reads as many cells as RED does, and RED can save conversions and leakage only. On red-65nm, where reading cells is nearly all of a GAN layer's energy, that leaves nothing; with zeros driven RED saves about 3/4 there."
    yield "* **What leaks for how long?** Zero-padding takes s² times as long, and everything leaks meanwhile, buffers of whole feature maps first. FCN_Deconv2 lives from it.\n"
    yield "And digital merge converts each kernel pixel apart where zero-padding adds all of them on a bit line: with 21 rows in an array (FCN) that is more conversions than zero-padding needs, with 512 rows cut into tiles of 128 it is the same number for each round. Merging on the bit line (RED analog, packed) never converts more than zero-padding.\n"


def _speed(s: Study) -> Iterator[str]:
    columns = _columns(s)

    def speedup(layer: str, target: str, fields: tuple[str, ...], factor: int) -> float:
        counted = []
        for design in (BASE, claimed(layer)):
            program = s.found[layer, design, target][0]
            # A field without a limit (fetch may be) stays so.
            widths = {f: max(1, (getattr(program.target, f) or UNLIMITED * factor) // factor) for f in fields}
            counted.append(cycles(program, widths))
        return counted[0] / counted[1]

    base = [speedup(layer, target, (), 1) for layer, target in columns]
    rows = []
    for name, fields in (("fetch", ("fetch",)), ("read and write", ("read", "write")), ("adders", ("adders",)), ("vector", ("vector",))):  # fmt: skip
        for factor in (4, 16, 64):
            values = [speedup(layer, target, fields, factor) for layer, target in columns]
            most = max(abs(a / b - 1) for a, b in zip(values, base, strict=True))
            rows.append((f"{name} / {factor}", [f"{v:.2f}x" for v in values], most))
    rows.sort(key=lambda row: -row[2])
    yield "**Speed-up** of RED (the same designs) when the machine's widths are a part of what they are:\n"
    yield from _table(
        s, [f"{v:.2f}x" for v in base], [(name, cells, f"{100 * most:.1f} %") for name, cells, most in rows]
    )
    yield "A round of RED adds, requantises and stores s² times as many values as a round of zero-padding, so narrow adders, vector units and ports stall RED first. A narrow `fetch` stalls a round of both alike, because a gated drive keeps its place in the queue (folded by 2, RED fetches half in each turn); a zero-padding that skipped its zeros there would lose less than this table says."
