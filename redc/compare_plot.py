"""`redc compare --plot`: speed-up, energy by component and area as bars, a line per mapping.

A block of lines per target, in it a group per model.  Energy and area are drawn over the baseline's
on a linear axis, with their own numbers beside the bars; the speed-up is logarithmic, from 1x.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isa.costs import COMPONENTS
from redc.compare_table import large_parts, no_speedup, parts
from redc.figure_file import FAINT, INK, check_plot, write_figure
from runtime.cost import ATTO, NM2_PER_MM2
from runtime.cost_report import heading
from runtime.report import percent, si

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from redc.compare import Comparison, Row

PART_COLOURS = {
    "driver": "#56b4e9",
    "array": "#009e73",
    "sample_hold": "#117733",
    "adc": "#d55e00",
    "shift_add": "#f0e442",
    "adder": "#e69f00",
    "register": "#cc79a7",
    "buffer": "#0072b2",
    "vector": "#882255",
    "control": "#332288",
    "leakage": "#aaaaaa",
    "other": "#dddddd",
}
PLAIN = "#56616e"
"""Of bars that are of no component: no colour of one."""
BAR, LINE, WIDTH = 0.74, 0.2, 11.0
"""Height of a bar in lines; of a line, and the picture's width, in inches."""
ROOM = 1.55
"""How far an axis goes beyond its longest bar, for the words beside it."""
TICKS = 5
"""Steps between the ticks of a speed-up; more would overprint."""


def plot(comparison: Comparison, path: str | Path) -> None:
    """Draw to `path`.  What is not known of a target is left out, and said."""
    check_plot(path)
    from matplotlib.figure import Figure

    targets = list(dict.fromkeys(row.target for row in comparison.rows))
    blocks = [_Block(comparison, [row for row in comparison.rows if row.target == t]) for t in targets]
    heights = [block.lines for block in blocks]
    figure = Figure(figsize=(WIDTH, LINE * sum(heights) + 0.5 * len(blocks) + 0.9), layout="constrained")
    engine: Any = figure.get_layout_engine()
    engine.set(w_pad=0.1)  # inches: the last tick of a panel stands clear of the first of the next
    grid: Any = figure.subplots(len(blocks), 3, squeeze=False, sharey="row", height_ratios=heights)
    for block, target, axes in zip(blocks, targets, grid, strict=True):
        block.speedup(axes[0])
        block.energy(axes[1])
        block.area(axes[2])
        block.label(axes[0], target)
    over = comparison.over.text
    whole = f"that of {over}" if any(comparison.baseline(row) for row in comparison.rows) else "the largest"
    for axes, words in zip(
        grid[0],
        (f"speed-up over {over} (log scale)", f"energy over {whole}", f"area over {whole}"),
        strict=True,
    ):
        axes.set_title(words, fontsize=9, loc="left", color=INK)
    drawn = [name for name in PART_COLOURS if any(name in block.stack for block in blocks)]
    if drawn:
        from matplotlib.patches import Patch

        handles = [Patch(facecolor=PART_COLOURS[name]) for name in drawn]
        figure.legend(
            handles, [heading(name) for name in drawn], loc="outside lower center", ncols=len(drawn),
            frameon=False, fontsize=8, title="energy of", title_fontsize=8,
        )  # fmt: skip
    write_figure(figure, path)


class _Block:
    """The lines of one target: for each model a heading, and a line per mapping."""

    def __init__(self, comparison: Comparison, rows: list[Row]) -> None:
        self.comparison = comparison
        self.models: dict[str, float] = {}
        self.places: list[tuple[float, Row]] = []
        line = 0.0
        for row in rows:
            if row.model not in self.models:
                line += 0.6 if self.models else 0
                self.models[row.model] = line
                line += 1
            self.places.append((line, row))
            line += 1
        self.lines = line
        costs = [row.cost for row in rows if row.cost and row.cost.energy]
        large = large_parts(costs)
        self.stack = [*(n for n in (*COMPONENTS, "leakage") if n in large), "other"] if costs else []

    def speedup(self, axes: Axes) -> None:
        """Bars from 1x to the right where a mapping is faster, to the left where it is slower."""
        values = [(y, self.comparison.ratios(row)[0]) for y, row in self.places]
        known = [(y, value) for y, value in values if value]
        axes.set_xscale("log", base=2)
        for y, value in known:
            axes.barh(y, value - 1, BAR, left=1, color=PLAIN)
            _beside(axes, max(value, 1), y, _times(value))
        most = max((value for *_, value in known), default=1.0)
        least = min((value for *_, value in known), default=1.0)
        ends = 0.9 * least if least < 1 else 1, 2 * max(2.0, most)
        axes.set_xlim(*ends)
        axes.set_xticks(_powers(*ends))
        if least < 1:
            axes.axvline(1, color=INK, linewidth=0.8)
        axes.xaxis.set_major_formatter(lambda value, _: _times(value))
        why = {y: no_speedup(self.comparison, row) for y, row in self.places if row.cost}
        why = {y: text for y, text in why.items() if y not in dict(known)}
        alike = not known and len(set(why.values())) == 1
        self.dress(axes, next(iter(why.values())) if alike else "")
        for y, text in () if alike else why.items():
            _beside(axes, 1, y, text)

    def energy(self, axes: Axes) -> None:
        """A bar stacked by component."""

        def draw(y: float, row: Row, unit: float) -> None:
            assert row.cost is not None
            own = parts(row.cost)
            own["other"] = sum(amount for name, amount in own.items() if name not in self.stack)
            left = 0.0
            for name in self.stack:
                wide = own.get(name, 0) / unit
                axes.barh(y, wide, BAR, left, color=PART_COLOURS[name])
                left += wide

        self.relative(
            axes, lambda row: row.cost.energy if row.cost else None, draw, lambda v: si(v / ATTO, "J")
        )

    def area(self, axes: Axes) -> None:
        """A plain bar."""

        def draw(y: float, row: Row, unit: float) -> None:
            assert row.cost is not None
            axes.barh(y, (row.cost.total_area or 0) / unit, BAR, color=PLAIN)

        def words(area: float) -> str:
            return f"{area / NM2_PER_MM2:.3g} mm²"

        self.relative(axes, lambda row: row.cost.total_area if row.cost else None, draw, words)

    def relative(
        self,
        axes: Axes,
        value: Callable[[Row], float | None],
        draw: Callable[[float, Row, float], None],
        words: Callable[[float], str],
    ) -> None:
        """Bars over the baseline's value (without one: over the model's largest), linear."""
        from matplotlib.ticker import MaxNLocator

        longest = 0.0
        for y, row in self.places:
            amount = value(row)
            if not amount:
                continue
            base = self.comparison.baseline(row)
            largest = max(value(r) or 0 for _, r in self.places if r.model == row.model)
            unit = (value(base) if base else None) or largest
            draw(y, row, unit)
            longest = max(longest, amount / unit)
            _beside(axes, amount / unit, y, f"{percent(amount / unit)}  ({words(amount)})")
        axes.set_xlim(0, ROOM * longest or 1)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.xaxis.set_major_formatter(lambda share, _: f"{100 * share:g} %")
        self.dress(axes, "" if longest else "not published")

    def label(self, axes: Axes, target: str) -> None:
        """The words on the left."""
        axes.set_yticks([y for y, _ in self.places], [row.mapping for _, row in self.places], fontsize=7.5)
        axes.set_ylabel(target, fontsize=10, fontweight="bold", color=INK)
        axes.set_ylim(self.lines - 0.4, -0.6)
        for model, y in self.models.items():
            axes.text(
                0.01, y, model, transform=axes.get_yaxis_transform(), fontsize=8, fontweight="bold",
                va="center", color=INK, bbox={"fc": "white", "ec": "none", "pad": 1.0},
            )  # fmt: skip
        for row, y in [(row, y) for y, row in self.places if row.cost is None]:
            axes.text(1.02, y, "does not fit" if row.problem else "", fontsize=7, va="center", color=INK)

    def dress(self, axes: Axes, missing: str) -> None:
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(axis="x", labelsize=7.5)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x", color=FAINT, linewidth=0.5)
        axes.set_axisbelow(True)
        if missing:
            axes.text(0.5, 0.5, missing, ha="center", va="center", transform=axes.transAxes, color=INK)
            axes.set_xticks([])


def _beside(axes: Axes, x: float, y: float, text: str) -> None:
    axes.annotate(text, (x, y), (3, 0), textcoords="offset points", va="center", fontsize=7, color=INK)


def _times(value: float) -> str:
    return f"{value:.3g}x" if value < 999.5 else f"{value:,.0f}x"


def _powers(low: float, high: float) -> list[float]:
    """Powers of two from `low` to `high`, 1 among them, as many as one can read."""
    first, last = math.ceil(math.log2(low)), math.floor(math.log2(high))
    step = max(1, math.ceil((last - first) / TICKS))
    return [2.0**power for power in range(-(-first // step) * step, last + 1, step)]
