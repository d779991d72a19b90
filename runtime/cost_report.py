"""The cost of a run for people: energy by component, and the totals in one paragraph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from isa.costs import COMPONENTS
from runtime.cost import ATTO, FEMTO, NM2_PER_MM2, UNKNOWN, Cost, joules, known_sum
from runtime.report import Cell, Column, percent, si, table
from runtime.room import EVERYTHING, Room

WORDS = {"sample_hold": "S&H", "shift_add": "shift-add"}
"""Headings of components whose names are not words."""


def heading(component: str) -> str:
    """How tables call a component."""
    return WORDS.get(component, component)


def energy_table(cost: Cost, layers: Sequence[int], room: Room = EVERYTHING) -> str:
    """One row for each of `layers` and a total; dynamic energy by component, leakage as one."""
    columns = [Column("name", "energy")]
    least = sorted(COMPONENTS, key=lambda name: -(cost.dynamic.get(name) or 0))  # the least goes first
    columns += [Column(name, heading(name), "joules", spare=2 + least.index(name)) for name in COMPONENTS]
    columns += [Column("leakage", "leakage", "joules", spare=1), Column("energy", "total", "joules")]
    rows: list[dict[str, Cell]] = [
        _row(layer.name, layer.dynamic, layer.leakage, layer.energy)
        for layer in (cost.layers[i] for i in layers)
    ]
    rows.append(_row("total", cost.dynamic, cost.leakage, cost.energy))
    shown = [c for c in columns if c.style == "text" or any(row[c.key] is not None for row in rows)]
    return table(rows, shown, room)


def _row(name: str, dynamic: Any, leakage: Any, energy: int | None) -> dict[str, Cell]:
    parts = {part: joules(amount) for part, amount in dynamic.items()}
    return {"name": name, **parts, "leakage": joules(known_sum(leakage.values())), "energy": joules(energy)}


def paragraph(cost: Cost) -> list[str]:
    """Latency, throughput, area, utilisation and what is missing from them, a line each."""
    found = cost.inventory
    lines = []
    if cost.latency is not None and cost.frequency is not None:
        each = f"{cost.batch} inputs" if cost.batch != 1 else "1 input"
        rates = (f"{rate or 0:,.0f}" for rate in (cost.throughput, cost.pipelined))
        lines.append(
            f"latency      {si(cost.latency, 's')} for {each} at {si(cost.frequency, 'Hz')}; "
            "{} inputs a second, {} with layers as a pipeline".format(*rates)
        )
    if cost.batch > 1 and cost.energy is not None:
        lines.append(f"each input   {' and '.join(each_input(cost))}: its share of the batch of {cost.batch}")
    if cost.total_area is not None:
        largest = sorted(((a, n) for n, a in cost.area.items() if a), reverse=True)[:3]
        shares = ", ".join(f"{heading(n)} {a / NM2_PER_MM2:.3g}" for a, n in largest)
        lines.append(f"area         {cost.total_area / NM2_PER_MM2:.3g} mm2 ({shares}, ...)")
    if found.cells_owned:
        lines.append(
            f"full         {percent(found.full)} of {found.cells_owned:,} cells in {found.arrays:,} arrays"
        )
    if cost.write is not None:
        time = "" if cost.write_time is None else f" and {si(cost.write_time / FEMTO, 's')}"
        energy = si(cost.write / ATTO, "J")
        lines.append(f"weights      {energy}{time} to write them, once; in no sum above")
    if cost.frequency is None and UNKNOWN in cost.unmodelled:
        lines.append("costs        not known of this target: --target FILE.toml gives them")
    elif cost.unmodelled:
        lines.append(f"not in it    {', '.join(cost.unmodelled)}")
    return lines


def each_input(cost: Cost) -> list[str]:
    """Latency and energy of one input of a batch, as far as they are known."""
    latency, energy = cost.per_input
    figures = ((latency, "s"), (energy, "J"))
    return [si(amount, unit) for amount, unit in figures if amount is not None]


def text(cost: Cost, layers: Sequence[int], room: Room = EVERYTHING) -> list[str]:
    """Everything, with a blank line before."""
    lines = ["", energy_table(cost, layers, room)] if cost.energy is not None else []
    return [*lines, "", *room.prose(paragraph(cost), hang=13)]
