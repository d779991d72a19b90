"""What `redc diff` found, for people: tables, notes, and the verdict in plain words."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from runtime.coverage import HINT, MUCH
from runtime.report import Column, percent, printable, table
from runtime.room import Room

if TYPE_CHECKING:
    from redc.diff_report import LayerRow, Report

LITTLE = 10.0
"""dB: an output below is told, whether or not a bound was asked for."""
MOST_REASONS = 8
"""Nodes on the host that are listed with what keeps them from the accelerator."""

LAYERS = (
    Column("name", "layer"),
    Column("op", "op", spare=3),
    Column("nodes", "nodes", spare=8),
    Column("mapping", "mapping", spare=4),
    Column("exact", "exact"),
    Column("sqnr", "SQNR dB", "right"),
    Column("error", "max error", "right", spare=2),
    Column("rounds", "rounds", "exact", spare=6),
    Column("cycles", "cycles", "exact"),
    Column("arrays", "arrays", "exact", spare=5),
    Column("latency", "latency", "right", spare=7),
    Column("energy", "energy", "right", spare=1),
)
LOSSES = (Column("saturated", "saturated", "right"), Column("rounded", "rounded", "right"))
"""More of them, where conversions lose something."""
CLIPPED = (Column("clipped", "clipped", "right"),)
"""One more, where scales do not cover what the model computes."""
OUTPUTS = (
    Column("name", "output"),
    Column("shape", "shape"),
    Column("sqnr", "SQNR dB", "right"),
    Column("error", "max error", "right"),
    Column("cosine", "cosine", "right"),
)


def text(report: Report, room: Room) -> str:
    """Tables, what was assumed before them, notes and the verdict after them."""
    options = ", ".join(x for x in (report.target, report.mapping, report.engine, report.fidelity) if x)
    outputs = [
        {
            "name": o.name,
            "shape": "x".join(map(str, o.shape)) or "scalar",
            "sqnr": decibels(o.sqnr_db),
            "error": f"{o.max_abs_err:.3g}",
            "cosine": "-" if o.cosine is None else f"{o.cosine:.6f}",
        }
        for o in report.outputs
    ]
    parts = [
        *room.prose([f"{report.model} on {options}", *report.about]),
        "",
        _layers(report, room),
        *room.about(len(report.layers), "the broken and those of lowest SQNR"),
        *room.prose(_batch(report)),
        "",
        table(outputs, OUTPUTS, room),
        "",
        *room.prose(_hosts(report)),
        *room.prose(f"note: {note}" for note in (*_lost(report), *_clipped(report), *report.notes)),
        *room.prose(verdict(report).split("\n")),
    ]
    return "\n".join(parts)


def _layers(report: Report, room: Room) -> str:
    rows = [_cells(layer) for layer in report.layers]
    total: dict[str, Any] = {"name": "total", "op": "", "nodes": "", "mapping": "", "exact": ""}
    total |= dict.fromkeys(("sqnr", "error", "saturated", "rounded", "clipped"), "")
    total |= {"rounds": report.rounds, "cycles": report.cycles, "arrays": report.arrays}
    for row, cost in zip((*rows, total), report.costs.shown, strict=True):
        row |= dict(zip(("latency", "energy"), cost, strict=True))
    ranks = [_rank(layer) for layer in report.layers]
    columns = LAYERS + (LOSSES if report.fidelity != "exact" else ())
    columns += CLIPPED if report.clipping() else ()
    return table([*(rows[i] for i in room.first(ranks)), total], columns, room)


def _batch(report: Report) -> list[str]:
    """That latency and energy are those of a batch, and what they are of one input."""
    if not report.costs.each:
        return []
    batch = report.costs.totals["batch"]
    return [f"latency and energy are of a batch of {batch}; of one input: {', '.join(report.costs.each)}"]


def _rank(layer: LayerRow) -> float:
    """The broken first, then by SQNR; what has none comes last."""
    if layer.integer_exact is False:
        return -math.inf
    return layer.closeness.sqnr_db if layer.closeness else math.inf


def _cells(layer: LayerRow) -> dict[str, Any]:
    exact = {True: "yes", False: "NO", None: "-"}[layer.integer_exact]
    if layer.mismatch is not None and layer.integer_exact is False:
        exact = f"NO, {layer.mismatch.count} {'acc' if layer.mismatch.what == 'accumulators' else 'codes'}"
    near = layer.closeness
    return {
        "name": layer.name,
        "op": layer.op,
        "nodes": ", ".join(layer.nodes),
        "mapping": layer.mapping,
        "exact": exact,
        "sqnr": decibels(near.sqnr_db) if near else None,
        "error": f"{near.max_abs_err:.3g}" if near else None,
        "rounds": layer.rounds,
        "cycles": layer.cycles,
        "arrays": layer.arrays,
        "saturated": percent(share(layer.saturated, layer.conversions)),
        "rounded": percent(share(layer.rounded, layer.conversions)),
        "clipped": percent(layer.clipped),
    }


def _clipped(report: Report) -> Iterator[str]:
    """The layers whose scales are too narrow, and what to do about them."""
    layers = report.clipping()
    if layers:
        worst = max(layers, key=lambda layer: layer.clipped or 0)
        which = f"{len(layers)} of {len(report.layers)} layers"
        yield (
            f"in {which} more than {100 * MUCH:g} % of the model's values lie outside of what the program's "
            f"scales cover, most in {printable(worst.name)!r} ({percent(worst.clipped)}); {HINT}"
        )


def _lost(report: Report) -> Iterator[str]:
    """Outputs of which little is left though integers may be exact, and from where on."""
    if report.fidelity != "exact" or report.too_far():
        return
    for output in report.outputs:
        if output.sqnr_db >= LITTLE:
            continue
        first = next((r for r in report.layers if r.closeness and not r.closeness.sqnr_db >= LITTLE), None)
        where = f", from layer {printable(first.name)!r} on" if first is not None else ""
        yield (
            f"output {printable(output.name)!r} has {decibels(output.sqnr_db)} dB: little is left of what "
            f"the model computes{where}; the verdict takes no notice of it without --min-sqnr"
        )


def _hosts(report: Report) -> list[str]:
    """Where the work was done, for a network that the accelerator does not run whole."""
    if report.host_s is None:
        return []
    shares = ", ".join(f"{unit} {percent(part)}" for unit, part in report.macs.items() if part is not None)
    layers = sum(layer.kind == "host" for layer in report.layers)
    nodes = sum(len(layer.nodes) for layer in report.layers if layer.kind == "host")
    parts = f"{layers} part{'s' if layers > 1 else ''} of {nodes} node{'' if nodes == 1 else 's'}"
    reasons = [reason for each in report.hosts.values() for reason in each]
    more = len(reasons) - MOST_REASONS
    several = any(layer.compared > 1 for layer in report.layers)
    return [
        f"host: {parts}, {report.host_s * 1e3:.3g} ms; multiply-accumulates: {shares or 'none'}",
        *(["  SQNR and max error are of the output of a part that has the lowest SQNR"] if several else []),
        *(f"  {reason}" for reason in reasons[:MOST_REASONS]),
        *([f"  and {more} more (--json lists all)"] if more > 0 else []),
    ]


def verdict(report: Report) -> str:
    """One line (a line for each fault of the whole program): passed, or what broke first."""
    lines = [f"FAILED: {problem}" for problem in report.problems]
    broken = report.broken()
    if broken:
        others = len(broken) - 1
        more = f" ({others} more after it)" if others else ""
        lines.append(f"FAILED: first broken: layer {broken[0].name!r}: {broken[0].trouble}{more}")
    for output in report.too_far():
        assert report.min_sqnr is not None
        line = f"FAILED: output {output.name!r}: {decibels(output.sqnr_db)} dB, asked for {report.min_sqnr:g}"
        low = next(
            (r for r in report.layers if r.closeness and not r.closeness.sqnr_db >= report.min_sqnr), None
        )
        if low is not None and low.closeness is not None:
            line += f"; first below: layer {low.name!r} with {decibels(low.closeness.sqnr_db)} dB"
        lines.append(line)
    if lines:
        return "\n".join(lines)
    crossbars = [layer for layer in report.layers if layer.kind == "crossbar"]
    if not crossbars:
        return "passed: no crossbar layers to prove; how close the outputs are stands above"
    exact_ones = [layer for layer in crossbars if layer.integer_exact is True]
    tables = max((layer.code_error or 0 for layer in exact_ones), default=0)
    same = len(exact_ones)
    exact = f"passed: {same} of {len(crossbars)} crossbar layers integer-exact"
    if same < len(crossbars):
        worst = max(crossbars, key=lambda layer: share(layer.saturated, layer.conversions) or 0)
        what = "cells and conversions" if report.fidelity == "analog" else "conversions"
        exact += f", the others are off by what their {what} did"
        if worst.saturated:
            exact += f"; most saturated: layer {worst.name!r}"
    return exact + (f" (codes out of tables at most {tables} off the exact function's)" if tables else "")


def share(part: int | None, whole: int | None) -> float | None:
    """None where there is no whole."""
    return part / whole if whole and part is not None else None


def decibels(value: float) -> str:
    """`28.2`, or `exact` where nothing differs."""
    return "exact" if value == math.inf else f"{value:.1f}"
