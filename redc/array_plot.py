"""The picture behind `redc map --plot`: sub-crossbars to scale, kernel pixels coloured by phase."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
LEAN = 0.3
"""Height over width, or width over height, below which a picture is not drawn to scale."""
NAMED = 7
"""Phases that have a colour and a name each; of more, neighbours have similar colours."""
MANY = 200
"""Arrays whose outlines are thin."""
LABELS = 24
"""Bands with a label on an axis."""
LABEL = 7
"""Points of such a label."""
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
    heights = [_height(m, tallest) for m in maps]
    figure = Figure(figsize=(WIDTH, sum(heights)), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(len(maps), 1, squeeze=False, height_ratios=heights)[:, 0]
    for layer, axes, height in zip(maps, panels, heights, strict=True):
        _panel(layer, axes, height - HEAD)
    figure.draw_without_rendering()  # how large the panels are is known from here on
    for layer, axes in zip(maps, panels, strict=True):
        _label_seats(layer, axes)
    write_figure(figure, path)


def _grid(layer: LayerMap) -> tuple[int, int]:
    """Sub-crossbars down and across: by their index where it has two axes and that looks well,
    else filling a shape twice as wide as high."""
    shape, count = layer.crossbar.index_shape, layer.crossbar.count
    height, width = _outline(layer)
    if len(shape) == 2 and LEAN < shape[1] * width / (shape[0] * height) < 1 / LEAN:
        return shape[0], shape[1]
    across = min(count, max(1, round(math.sqrt(2 * count * height / width))))
    return -(-count // across), across


def _outline(layer: LayerMap) -> tuple[int, int]:
    """Lines of the arrays that hold one sub-crossbar, in whole arrays."""
    rows, columns = layer.matrix
    high, wide = layer.capacity
    if layer.geometry.together > 1 and layer.target.rows is None:
        return rows, columns  # as large as it likes
    return -(-rows // high) * high, -(-columns // wide) * wide


def _gap(layer: LayerMap) -> float:
    return 0.08 * min(_outline(layer)) if layer.crossbar.count > 1 else 0.0


def _corner(layer: LayerMap, array: int) -> tuple[float, float]:
    (_, across), (high, wide), gap = _grid(layer), _outline(layer), _gap(layer)
    return (array % across) * (wide + gap), (array // across) * (high + gap)


def _height(layer: LayerMap, tallest: float) -> float:
    down, across = _grid(layer)
    high, wide = _outline(layer)
    return min(tallest, max(1.6, WIDTH * 0.85 * down * high / (across * wide))) + HEAD


def _panel(layer: LayerMap, axes: Axes, inches: float) -> None:
    """Draw one layer on axes so many inches high."""
    from matplotlib.collections import PatchCollection
    from matplotlib.patches import Rectangle

    down, across = _grid(layer)
    high, wide = _outline(layer)
    gap = _gap(layer)
    phases = {p: n for n, p in enumerate(dict.fromkeys(s.writes for s in layer.table.placements))}
    colours = _colours(len(phases))

    arrays, places, seats, fills = [], [], [], []
    for array in range(layer.crossbar.count):
        x, y = _corner(layer, array)
        for tile in layer.tiles(array):
            top, left = tile.rows[0], tile.columns[0]
            size = min(layer.capacity[1], wide), min(layer.capacity[0], high)
            arrays.append(Rectangle((x + left, y + top), *size))
        places.append(Rectangle((x, y), layer.matrix[1], layer.matrix[0]))
    height, width = layer.band
    for seat in layer.table.placements:
        x, y = _corner(layer, seat.array)
        seats.append(Rectangle((x + seat.column_band * width, y + seat.row_band * height), width, height))
        fills.append(colours[phases[seat.writes]])
    axes.add_collection(PatchCollection(arrays, facecolor=EMPTY, edgecolor="none"))
    axes.add_collection(
        PatchCollection(places, facecolor=BLANK, edgecolor="#b8bcc2", linewidth=0.4, hatch="////")
    )
    axes.add_collection(PatchCollection(seats, facecolor=fills, edgecolor="white", linewidth=0.5))
    thin = 0.7 if len(arrays) < MANY else 0.3
    axes.add_collection(PatchCollection(arrays, facecolor="none", edgecolor=EDGE, linewidth=thin))
    total = across * (wide + gap) - gap, down * (high + gap) - gap
    axes.set_xlim(-0.004 * total[0], 1.004 * total[0])
    axes.set_ylim(1.01 * total[1], -0.01 * total[1])
    scale = WIDTH * 0.9 * 72 / total[0], inches * 72 / total[1]  # points per line
    to_scale = LEAN < total[0] / total[1] < 1 / LEAN
    if to_scale:
        scale = min(scale), min(scale)
        axes.set_aspect("equal", anchor="NW")
    _label_axes(layer, axes, scale)
    _name_phases(layer, axes, phases, colours)
    for side in axes.spines.values():
        side.set_visible(False)
    axes.set_title(_title(layer, to_scale), fontsize=10, loc="left", color=INK)


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


def _label_seats(layer: LayerMap, axes: Axes) -> None:
    """Kernel indices, as large as they fit, upright if only so; none where nobody could read them."""
    ((left, top), (right, bottom)) = axes.transData.transform([(0, 0), layer.band[::-1]])
    points = 72 / axes.figure.dpi
    wide, high = (right - left) * points, (top - bottom) * points
    height, width = layer.band
    names = [pixel_text(seat.pixel.index) for seat in layer.table.placements]
    long = CHARACTER * (1 + max(map(len, names)))  # a character between neighbours
    flat, upright = (min(9.0, along / long, across / 1.3) for along, across in ((wide, high), (high, wide)))
    size = flat if flat >= SMALL else max(flat, upright)
    if size < LEAST:
        return
    cut = any(len(list(layer.tiles(array))) > 1 for array in range(layer.crossbar.count))
    for seat, name in zip(layer.table.placements, names, strict=True):
        x, y = _corner(layer, seat.array)
        axes.text(
            x + (seat.column_band + 0.5) * width, y + (seat.row_band + 0.5) * height, name,
            ha="center", va="center", fontsize=size, color=INK, clip_on=True,
            rotation=0 if size == flat else 90,
            bbox={"boxstyle": "round,pad=0.15", "fc": "#ffffffc8", "ec": "none"} if cut else None,
        )  # fmt: skip


def _label_axes(layer: LayerMap, axes: Axes, scale: tuple[float, float]) -> None:
    """Where there is one matrix and pixels have axes: what each row band reads and each column band
    feeds, if that is readable at so many points per line across and down; upright where it is too
    long."""
    axes.tick_params(length=0, labelsize=LABEL, colors=INK)
    height, width = layer.band
    table = layer.table
    rows = {s.row_band: coordinate_text(s.reads, table) for s in table.placements}
    columns = {s.column_band: coordinate_text(s.writes, table) for s in table.placements}
    alone = layer.crossbar.count == 1 and bool(table.rounds)
    if alone and len(rows) <= LABELS and height * scale[1] >= LABEL:
        axes.set_yticks([(band + 0.5) * height for band in rows], rows.values())
        axes.set_ylabel("row bands read", fontsize=8)
    else:
        axes.set_yticks([])
    wide, longest = width * scale[0], max(map(len, columns.values()))
    if alone and len(columns) <= LABELS and wide >= LABEL:
        axes.set_xticks([(band + 0.5) * width for band in columns], columns.values())
        if longest * CHARACTER * LABEL > wide:
            axes.tick_params(axis="x", rotation=90)
        axes.set_xlabel("column bands feed", fontsize=8)
    else:
        axes.set_xticks([])


def _title(layer: LayerMap, to_scale: bool) -> str:
    x, rows, columns = layer.crossbar, *layer.matrix
    what = f"{x.count} sub-crossbars" if x.count > 1 else "one matrix"
    blocks = f", {x.groups} diagonal blocks each" if x.groups > 1 else ""
    arrays = "1 array" if layer.arrays == 1 else f"{layer.arrays:,} arrays"
    turns = f", {layer.table.turns} turns" if layer.table.turns > 1 else ""
    high, wide = layer.capacity
    seats = x.row_bands * x.column_bands * x.count
    phases = len({seat.writes for seat in layer.table.placements})
    blanks = seats - len(layer.table.placements)
    key = ["colour: phase"] * (phases > 1) + ["hatched: blank"] * (blanks > 0)
    key += ["not to scale"] * (not to_scale)
    return (
        f"{layer.name}: {layer.table.mapping} on {layer.target.name}{turns}\n"
        f"{what} of {rows} x {columns}{blocks}; {arrays} of {high} x {wide} weights, "
        + "; ".join([f"{percent(layer.full)} full", *key])
    )
