"""`redc montecarlo --plot`: how the SQNR of every layer and output spreads over the machines."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from redc.figure_file import FAINT, INK, PALETTE, check_plot, light, write_figure
from redc.montecarlo_report import quantile
from runtime.report import counted, cut
from runtime.room import Room

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from redc.montecarlo_report import MonteCarlo

MOST = 40
"""Layers in one picture: of more, those of lowest SQNR."""
SHIFT = 0.17
"""Between the two lines of one layer."""


def plot(report: MonteCarlo, path: str | Path) -> None:
    """Draw to `path`: per layer every machine, their median and the range from 5 to 95 %."""
    check_plot(path)
    from matplotlib.figure import Figure

    room = Room(layers=MOST)
    chosen = room.first([quantile(spread.against_float, 0.5) for spread in report.layers])
    layers = [report.layers[i] for i in chosen]
    spreads = [*layers, *report.outputs]
    figure = Figure(figsize=(7.0, 0.42 * len(spreads) + 1.6), layout="constrained")
    axes: Any = figure.subplots()
    draw(axes, [s.against_float for s in spreads], -SHIFT, PALETTE[0], "a machine against the float model")
    draw(axes, [s.against_exact for s in spreads], SHIFT, PALETTE[1], "a machine against exact")
    ideal = [(s.ideal_db, y) for y, s in enumerate(spreads) if math.isfinite(s.ideal_db)]
    if ideal:
        style = {"marker": "D", "s": 22, "color": INK}
        axes.scatter(*zip(*ideal, strict=True), label="exact against the float model", **style)
    names = [f"output {cut(s.name, 21)}" if s.key[0] == "output" else cut(s.name) for s in spreads]
    axes.set_yticks(range(len(spreads)), names, fontsize=8)
    axes.set_ylim(len(spreads) - 0.4, -0.6)
    if layers:
        axes.axhline(len(layers) - 0.5, color=INK, linewidth=0.6)
    axes.set_xlabel("SQNR, dB", fontsize=9)
    axes.tick_params(axis="x", labelsize=8)
    axes.tick_params(axis="y", length=0)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="x", color=FAINT, linewidth=0.5)
    axes.set_axisbelow(True)
    many = f"{counted(report.trials, 'machine')} (tick: median, bar: 5 to 95 %)"
    some = f"\n{MOST} of {len(report.layers)} layers, those of lowest SQNR" * (len(report.layers) > MOST)
    title = f"{Path(report.model).name} on {report.target}: {many}{some}"
    axes.set_title(title, fontsize=9, loc="left", color=INK)
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=8)
    write_figure(figure, path)


def draw(axes: Axes, series: list[list[float]], shift: float, colour: str, text: str) -> None:
    """Every value as a dot, over them the median and the range; what does not differ is left out."""
    dots: list[tuple[float, float]] = []
    for y, values in enumerate(series):
        finite = [value for value in values if math.isfinite(value)]
        dots += [(value, y + shift) for value in finite]
        if finite:
            ends = [quantile(finite, 0.05), quantile(finite, 0.95)]
            axes.plot(ends, [y + shift] * 2, color=colour, linewidth=1.6, solid_capstyle="butt", zorder=3)
            axes.plot(quantile(finite, 0.5), y + shift, "|", color=colour, markersize=9, markeredgewidth=2)
    if dots:
        style: dict[str, Any] = {"s": 20, "facecolor": light(colour, 0.4), "edgecolor": colour}
        axes.scatter(*zip(*dots, strict=True), linewidth=0.5, zorder=2, label=text, **style)
