"""`redc compare --plot`: speed-up, energy by component and area as grouped bars, a row per target."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from isa.costs import COMPONENTS
from isa.files import check_writable
from redc.compare_table import large_parts, parts
from redc.errors import UserError
from redc.figure_file import write_figure
from runtime.cost import ATTO, NM2_PER_MM2
from runtime.cost_report import heading

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from redc.compare import Comparison, Row
    from runtime.cost import Cost

ENDINGS = (".png", ".svg")
PALETTE = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#bb7744", "#999933")
"""Of mappings: Paul Tol's bright colours, which the colour-blind can tell apart too."""
PART_COLOURS = {
    "driver": "#88ccee",
    "array": "#44aa99",
    "sample_hold": "#117733",
    "adc": "#cc6677",
    "shift_add": "#ddcc77",
    "adder": "#999933",
    "register": "#aa4499",
    "buffer": "#332288",
    "vector": "#882255",
    "control": "#661100",
    "leakage": "#bbbbbb",
    "other": "#eeeeee",
}
WIDTH = 0.82
"""Of a group of bars; groups lie 1 apart."""


def check_plot(path: str) -> None:
    """Raise UserError for a picture that cannot be drawn, before anything is compiled."""
    if Path(path).suffix.lower() not in ENDINGS:
        raise UserError(f"{path!r} ends in neither .png nor .svg", place="--plot", hint="out.png")
    check_writable(Path(path))
    try:
        import matplotlib
    except ImportError as error:
        raise UserError(
            "drawing needs matplotlib, which is not installed",
            place="--plot",
            hint="pip install 'redc[plot]' (or pip install matplotlib)",
        ) from error
    matplotlib.use("Agg", force=False)


def plot(comparison: Comparison, path: str) -> None:
    """Draw to `path`.  Targets without costs show speed-up alone."""
    check_plot(path)
    from matplotlib.figure import Figure

    targets = list(dict.fromkeys(row.target for row in comparison.rows))
    mappings = list(dict.fromkeys(row.mapping for row in comparison.rows))
    models = list(dict.fromkeys(row.model for row in comparison.rows))
    colours = {mapping: PALETTE[i % len(PALETTE)] for i, mapping in enumerate(mappings)}
    wide = max(3.6, 0.24 * len(models) * len(mappings) + 1.2)
    figure = Figure(figsize=(3 * wide, 3.4 * len(targets) + 0.9), layout="constrained")
    grid: Any = figure.subplots(len(targets), 3, squeeze=False)
    for axes, target in zip(grid, targets, strict=True):
        rows = [row for row in comparison.rows if row.target == target]
        bars = _Bars(comparison, models, mappings, rows)
        bars.speedup(axes[0], colours)
        bars.energy(axes[1], colours)
        bars.area(axes[2], colours)
        axes[0].set_ylabel(f"{target}\n\nspeed-up over {comparison.over.text}")
    handles = [_patch(colours[mapping]) for mapping in mappings]
    figure.legend(handles, mappings, loc="outside upper center", ncols=min(6, len(mappings)), frameon=False)
    drawn = _stack([row.cost for row in comparison.rows if row.cost and row.cost.energy])
    handles = [_patch(PART_COLOURS[name]) for name in drawn]
    names = [heading(name) for name in drawn]
    if drawn:
        figure.legend(handles, names, loc="outside lower center", ncols=len(names), frameon=False, fontsize=8)
    write_figure(figure, path, dpi=130)


def _patch(colour: str) -> Any:
    from matplotlib.patches import Patch

    return Patch(facecolor=colour, edgecolor="#444444", linewidth=0.4)


def _stack(costs: list[Cost]) -> list[str]:
    """The parts of a bar of energy, from the bottom."""
    large = large_parts(costs)
    return [*(name for name in (*COMPONENTS, "leakage") if name in large), "other"] if costs else []


class _Bars:
    """The bars of one target: a group per model, in it a bar per mapping."""

    def __init__(
        self, comparison: Comparison, models: list[str], mappings: list[str], rows: list[Row]
    ) -> None:
        self.comparison = comparison
        self.models = models
        self.mappings = mappings
        self.rows = {(row.model, row.mapping): row for row in rows if row.cost is not None}
        self.thin = WIDTH / len(mappings)

    def place(self, model: str, mapping: str) -> float:
        first = self.models.index(model) - WIDTH / 2 + self.thin / 2
        return first + self.mappings.index(mapping) * self.thin

    def speedup(self, axes: Axes, colours: dict[str, str]) -> None:
        """Cycles of zero-padding over cycles; labelled, for the scale is logarithmic."""
        values = {key: self.comparison.ratios(row)[0] for key, row in self.rows.items()}
        if self.simple(axes, values, colours, "{:.3g}x"):
            axes.set_yscale("log", base=2)
            axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}x")
            drawn = [value for value in values.values() if value]
            axes.set_ylim(0.7 * min(1, *drawn), 2.2 * max(drawn))

    def area(self, axes: Axes, colours: dict[str, str]) -> None:
        """Square millimetres."""
        values = {
            key: row.cost.total_area / NM2_PER_MM2
            for key, row in self.rows.items()
            if row.cost and row.cost.total_area
        }
        if self.simple(axes, values, colours, "{:.3g}"):
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter("{x:g}")
            axes.yaxis.set_minor_formatter("")
            axes.set_ylabel("area, mm²")
            axes.set_ylim(top=2.5 * max(values.values()))

    def simple(self, axes: Axes, values: Any, colours: dict[str, str], label: str) -> bool:
        known = {key: value for key, value in values.items() if value}
        for (model, mapping), value in known.items():
            x = self.place(model, mapping)
            axes.bar(x, value, self.thin, color=colours[mapping], edgecolor="#444444", linewidth=0.4)
            axes.annotate(
                label.format(value), (x, value), (0, 2), textcoords="offset points", ha="center",
                va="bottom", rotation=90, fontsize=6.5,
            )  # fmt: skip
        self.dress(axes, bool(known))
        return bool(known)

    def energy(self, axes: Axes, colours: dict[str, str]) -> None:
        """Stacked by component, as a share of zero-padding's energy (of the largest without it);
        below each bar its mapping's colour."""
        costs = [row.cost for row in self.rows.values() if row.cost and row.cost.energy]
        stack = _stack(costs)
        for (model, mapping), row in self.rows.items():
            if row.cost is None or not row.cost.energy:
                continue
            whole = self.whole(model)
            own = parts(row.cost)
            own["other"] = sum(amount for name, amount in own.items() if name not in stack)
            low, x = 0.0, self.place(model, mapping)
            for name in stack:
                height = own.get(name, 0) / whole
                axes.bar(
                    x, height, self.thin, low, color=PART_COLOURS[name], edgecolor="#444444",
                    linewidth=0.3,
                )  # fmt: skip
                low += height
            axes.annotate(
                f"{100 * low:.3g} %", (x, low), (0, 2), textcoords="offset points", ha="center",
                va="bottom", rotation=90, fontsize=6.5,
            )  # fmt: skip
        self.dress(axes, bool(costs))
        if costs:
            axes.set_ylabel(f"energy over {self.comparison.over.text}'s")
            top = 1.12 * axes.get_ylim()[1]
            axes.set_ylim(-0.03 * top, top)
            for (model, mapping), row in self.rows.items():
                if row.cost and row.cost.energy:
                    axes.bar(self.place(model, mapping), -0.03 * top, self.thin, color=colours[mapping])
            axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:g} %")

    def whole(self, model: str) -> int:
        """What a full bar stands for."""
        rows = [row for (name, _), row in self.rows.items() if name == model]
        base = self.comparison.baseline(rows[0])
        energies = [row.cost.energy for row in ([base] if base else rows) if row.cost]
        return max((energy for energy in energies if energy), default=ATTO)

    def dress(self, axes: Axes, known: bool) -> None:
        axes.set_xticks(range(len(self.models)), self.models, fontsize=7.5)
        axes.set_xlim(-0.6, len(self.models) - 0.4)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", linewidth=0.3)
        axes.set_axisbelow(True)
        if not known:
            axes.text(0.5, 0.5, "not published", ha="center", va="center", transform=axes.transAxes)
            axes.set_axis_off()
