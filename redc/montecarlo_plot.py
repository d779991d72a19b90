"""`redc montecarlo --plot`: how the SQNR of every layer and output spreads over the trials."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from redc.compare_plot import PALETTE, check_plot
from redc.figure_file import write_figure
from redc.montecarlo_report import quantile

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from redc.montecarlo_report import MonteCarlo, Spread

SHIFT = 0.14
"""Between what is drawn for one layer."""


def plot(report: MonteCarlo, path: str) -> None:
    """Draw to `path`: per layer the median, a bar from 5 to 95 % of the trials, and the worst."""
    check_plot(path)
    from matplotlib.figure import Figure

    spreads = [*report.layers, *report.outputs]
    figure = Figure(figsize=(max(5.0, 0.55 * len(spreads) + 2.2), 4.2), layout="constrained")
    axes: Any = figure.subplots()
    draw(axes, [s.against_float for s in spreads], -SHIFT, PALETTE[0], "against the float model")
    draw(axes, [s.against_exact for s in spreads], SHIFT, PALETTE[1], "against exact")
    ideal = [(x, s.ideal_db) for x, s in enumerate(spreads) if math.isfinite(s.ideal_db)]
    axes.plot(*zip(*ideal, strict=True), "_", color="#444444", markersize=16, label="exact against float")
    axes.set_xticks(range(len(spreads)), [label(s) for s in spreads], rotation=45, ha="right")
    if report.layers:
        axes.axvline(len(report.layers) - 0.5, color="#bbbbbb", linewidth=0.8)
    axes.set_xlim(-0.6, len(spreads) - 0.4)
    axes.set_ylabel("SQNR, dB")
    axes.grid(axis="y", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    how = "dot: median; bar: 5 to 95 % of the machines; triangle: worst"
    axes.set_title(f"{report.model} on {report.target}, {report.trials} machines\n{how}", fontsize=9)
    axes.legend(frameon=False, fontsize=8, loc="best")
    write_figure(figure, path, dpi=130)


def label(spread: Spread) -> str:
    """An output's name says that it is one."""
    name = spread.name if len(spread.name) < 20 else spread.name[:18] + "…"
    return f"output {name}" if spread.key[0] == "output" else name


def draw(axes: Axes, series: list[list[float]], shift: float, colour: str, text: str) -> None:
    """Medians, bars from 5 to 95 % and the worst; what does not differ at all is left out."""
    for x, values in enumerate(series):
        finite = [value for value in values if math.isfinite(value)]
        if not finite:
            continue
        here = x + shift
        axes.plot([here, here], [quantile(finite, 0.05), quantile(finite, 0.95)], color=colour, linewidth=3)
        axes.plot(here, quantile(finite, 0.5), "o", color=colour, markersize=5, label=text)
        axes.plot(here, min(finite), "v", color=colour, markersize=4, fillstyle="none")
        text = "_"  # one entry in the legend
