"""The picture behind `redc map --plot`: sub-crossbars to scale, kernel pixels coloured by phase."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from redc.array_layout import Box, Layout, layout
from redc.array_map import LayerMap, pixel_text
from redc.errors import UserError
from redc.figure_file import INK, PALETTE, check_plot, light, write_figure
from redc.ir.text import coordinate_text
from redc.mapping.schedule import Line
from runtime.report import percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PANELS = 6
"""Layers in one picture; more would be too small to read."""
WIDTH, HEAD = 11.0, 1.0  # inches: of the picture, of a panel's words
TALLEST, TALL = 6.0, 2.8  # inches: of a panel alone, of one of several
NAMED = 7
"""Phases that have a colour and a name each; of more, neighbours have similar colours."""
MANY = 200
"""Arrays whose outlines are thin."""
LABELS = 24
"""Bands with a label on an axis."""
LABEL = 7
"""Points of such a label."""
WORDS = 500
"""Kernel indices in one panel; of more, diagonal blocks repeat none."""
FINE = 3.0
"""Points of a seat's shorter side below which an edge would hide it."""
SMALL, LEAST = 6.0, 3.2
"""Points of a kernel index: below, it stands upright where it is larger so; below, it is left out."""
CHARACTER = 0.6
"""Width of a character over its height."""
EMPTY, BLANK, EDGE = "#ececea", "#ffffff", "#30343a"
Phase = tuple[Line, ...]


def plot(maps: Sequence[LayerMap], path: Path) -> None:
    """Draw a panel per layer.  Raises UserError without matplotlib, for a name that is neither
    .png nor .svg, and for more layers than fit."""
    check_plot(path)
    if len(maps) > PANELS:
        raise UserError(
            f"{len(maps)} layers do not fit one picture", place="--plot", hint="choose one with --layer NAME"
        )
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    tallest = TALLEST if len(maps) == 1 else TALL
    layouts = [layout(m) for m in maps]
    heights = [_height(each, tallest) for each in layouts]
    figure = Figure(figsize=(WIDTH, sum(heights)), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(len(maps), 1, squeeze=False, height_ratios=heights)[:, 0]
    for layer, drawn, axes, height in zip(maps, layouts, panels, heights, strict=True):
        _panel(layer, drawn, axes, height - HEAD)
    figure.draw_without_rendering()  # how large the panels are is known from here on
    changed = [_spread_labels(axes) for axes in panels]
    if any(changed):
        figure.draw_without_rendering()
    for layer, drawn, axes in zip(maps, layouts, panels, strict=True):
        _label_seats(layer, drawn, axes)
    write_figure(figure, path)


def _height(layer: Layout, tallest: float) -> float:
    return min(tallest, max(1.6, WIDTH * 0.85 * layer.size[1] / layer.size[0])) + HEAD


def _panel(layer: LayerMap, drawn: Layout, axes: Axes, inches: float) -> None:
    """Draw one layer on axes so many inches high."""
    phases = {p: n for n, p in enumerate(dict.fromkeys(s.writes for s in layer.table.placements))}
    colours = _colours(len(phases))
    total = drawn.size
    scale = WIDTH * 0.9 * 72 / total[0], inches * 72 / total[1]  # points per line
    axes.set_xlim(-0.004 * total[0], 1.004 * total[0])
    axes.set_ylim(1.01 * total[1], -0.01 * total[1])
    if drawn.to_scale:
        scale = min(scale), min(scale)
        axes.set_aspect("equal", anchor="NW")
    _boxes(axes, drawn.arrays, facecolor=EMPTY, edgecolor="none")
    if _blanks(layer):
        _boxes(axes, drawn.blocks, facecolor=BLANK, edgecolor="#b8bcc2", linewidth=0.4, hatch="////")
    fine = min(layer.band[1] * scale[0], layer.band[0] * scale[1]) < FINE
    edge = {"edgecolor": "face", "linewidth": 0.3} if fine else {"edgecolor": "white", "linewidth": 0.5}
    fills = [colours[phases[seat.placement.writes]] for seat in drawn.seats]
    _boxes(axes, [seat.box for seat in drawn.seats], facecolor=fills, **edge)
    thin = 0.7 if len(drawn.arrays) < MANY else 0.3
    _boxes(axes, drawn.arrays, facecolor="none", edgecolor=EDGE, linewidth=thin)
    _label_axes(layer, drawn, axes, scale)
    _name_phases(layer, axes, phases, colours)
    for side in axes.spines.values():
        side.set_visible(False)
    axes.set_title(_title(layer, drawn.to_scale), fontsize=10, loc="left", color=INK)


def _boxes(axes: Axes, boxes: Sequence[Box], **look: Any) -> None:
    from matplotlib.collections import PolyCollection

    left, top, wide, high = np.array(boxes, np.float64).T
    corners = [(left, top), (left + wide, top), (left + wide, top + high), (left, top + high)]
    axes.add_collection(PolyCollection(list(np.moveaxis(np.array(corners), 2, 0)), clip_on=False, **look))


def _colours(count: int) -> list[Any]:
    """Of the phases; ink stays readable on them."""
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    if count <= NAMED:
        return [light(colour) for colour in PALETTE[:count]]
    return [light(to_hex(colormaps["viridis"](n / (count - 1)))) for n in range(count)]


def _name_phases(layer: LayerMap, axes: Axes, phases: dict[Phase, int], colours: list[Any]) -> None:
    """Which colour feeds which output pixel, where that are few and no axis says it."""
    from matplotlib.patches import Patch

    if not 1 < len(phases) <= NAMED or layer.crossbar.count == 1:
        return
    names = {phases[s.writes]: coordinate_text(s.writes, layer.table) for s in layer.table.placements}
    handles = [Patch(facecolor=colours[n], label=f"feeds {names[n]}") for n in sorted(names)]
    axes.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False, fontsize=8)


def _label_seats(layer: LayerMap, drawn: Layout, axes: Axes) -> None:
    """Kernel indices, as large as they fit, upright if only so; none where nobody could read them.
    Of many, those of the first diagonal block: the others have the same."""
    ((left, top), (right, bottom)) = axes.transData.transform([(0, 0), layer.band[::-1]])
    points = 72 / axes.figure.dpi
    wide, high = (right - left) * points, (top - bottom) * points
    seats = [s for s in drawn.seats if s.block == 0] if len(drawn.seats) > WORDS else drawn.seats
    names = [pixel_text(seat.placement.pixel.index) for seat in seats]
    long = CHARACTER * (1 + max(map(len, names)))  # a character between neighbours
    flat, upright = (min(9.0, along / long, across / 1.3) for along, across in ((wide, high), (high, wide)))
    size = flat if flat >= SMALL else max(flat, upright)
    if size < LEAST:
        return
    cut = any(len(list(layer.tiles(array))) > 1 for array in range(layer.crossbar.count))
    for seat, name in zip(seats, names, strict=True):
        axes.text(
            *_middle(seat.box), name,
            ha="center", va="center", fontsize=size, color=INK, clip_on=True,
            rotation=0 if size == flat else 90,
            bbox={"boxstyle": "round,pad=0.15", "fc": "#ffffffc8", "ec": "none"} if cut else None,
        )  # fmt: skip


def _middle(box: Box) -> tuple[float, float]:
    return box[0] + box[2] / 2, box[1] + box[3] / 2


def _label_axes(layer: LayerMap, drawn: Layout, axes: Axes, scale: tuple[float, float]) -> None:
    """Where there is one matrix and pixels have axes: what each row band reads and each column band
    feeds, if that is readable at about so many points per line across and down."""
    axes.tick_params(length=0, labelsize=LABEL, colors=INK)
    height, width = layer.band
    table = layer.table
    rows = {_middle(s.box)[1]: coordinate_text(s.placement.reads, table) for s in drawn.seats}
    columns = {_middle(s.box)[0]: coordinate_text(s.placement.writes, table) for s in drawn.seats}
    alone = layer.crossbar.count == 1 and bool(table.rounds)
    if alone and len(rows) <= LABELS and height * scale[1] >= LABEL:
        axes.set_yticks(list(rows), rows.values())
        axes.set_ylabel("row bands read", fontsize=8)
    else:
        axes.set_yticks([])
    if alone and len(columns) <= LABELS and width * scale[0] >= LABEL:
        axes.set_xticks(list(columns), columns.values())
        axes.set_xlabel("column bands feed", fontsize=8)
    else:
        axes.set_xticks([])


def _spread_labels(axes: Axes) -> bool:
    """Stand the labels below a panel upright where they are not a character apart, or leave them out
    where that would not be enough.  Whether it did."""
    boxes = sorted((label.get_window_extent() for label in axes.get_xticklabels()), key=lambda box: box.x0)
    pairs = list(itertools.pairwise(boxes))
    point = axes.figure.dpi / 72
    if all(b.x0 - a.x1 >= CHARACTER * LABEL * point for a, b in pairs):
        return False
    if all(b.x0 + b.x1 - a.x0 - a.x1 >= 2 * LABEL * point for a, b in pairs):
        axes.tick_params(axis="x", rotation=90)
    else:
        axes.set_xticks([])
        axes.set_xlabel("")
    return True


def _title(layer: LayerMap, to_scale: bool) -> str:
    x, rows, columns = layer.crossbar, *layer.matrix
    what = f"{x.count} sub-crossbars of" if x.count > 1 else "one matrix of"
    blocks = f" {x.groups} diagonal blocks of" if x.groups > 1 else ""
    arrays = "1 array" if layer.arrays == 1 else f"{layer.arrays:,} arrays"
    turns = f", {layer.table.turns} turns" if layer.table.turns > 1 else ""
    high, wide = layer.capacity
    phases = len({seat.writes for seat in layer.table.placements})
    key = ["colour: phase"] * (phases > 1) + ["hatched: blank"] * (_blanks(layer) > 0)
    key += ["not to scale"] * (not to_scale)
    return (
        f"{layer.name}: {layer.table.mapping} on {layer.target.name}{turns}\n"
        f"{what}{blocks} {rows} x {columns}; {arrays} of {high} x {wide} weights, "
        + "; ".join([f"{percent(layer.full)} full", *key])
    )


def _blanks(layer: LayerMap) -> int:
    """Seats without a kernel pixel, in one diagonal block."""
    x = layer.crossbar
    return x.row_bands * x.column_bands * x.count - len(layer.table.placements)
