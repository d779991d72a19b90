"""The picture behind `redc map --plot`: sub-crossbars to scale, kernel pixels coloured by phase."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from redc.array_map import LayerMap
from redc.errors import UserError
from redc.figure_file import write_figure
from redc.ir.text import coordinate_text
from redc.mapping.schedule import Line, Placement

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PANELS = 6
"""Layers in one picture; more would be too small to read."""
WIDTH, TALLEST, HEAD = 11.0, 6.0, 1.0  # inches: of the picture, of a panel, of a panel's words
LEAN = 0.3
"""Height over width, or width over height, below which a picture is not drawn to scale."""
LABELS = 24
"""Bands with a label on an axis."""
EMPTY, BLANK, FAINT, EDGE, INK = "#ececea", "#ffffff", "#b8bcc2", "#30343a", "#1c1f24"
FORMATS = (".png", ".svg")
Phase = tuple[Line, ...]


def plot(maps: Sequence[LayerMap], path: Path) -> None:
    """Draw a panel per layer.  Raises UserError without matplotlib, for a name that is neither
    .png nor .svg, and for more layers than fit."""
    if path.suffix.lower() not in FORMATS:
        raise UserError(
            f"{str(path)!r} is no picture", place="--plot", hint="it ends in " + " or ".join(FORMATS)
        )
    if len(maps) > PANELS:
        raise UserError(
            f"{len(maps)} layers do not fit one picture", place="--plot", hint="choose one with --layer NAME"
        )
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise UserError("pictures need matplotlib", place="--plot", hint="pip install 'redc[plot]'") from None
    heights = [_height(m) for m in maps]
    figure = Figure(figsize=(WIDTH, sum(heights)), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(len(maps), 1, squeeze=False, height_ratios=heights)[:, 0]
    for layer, axes in zip(maps, panels, strict=True):
        _panel(layer, axes)
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
    return 0.08 * min(_outline(layer))


def _height(layer: LayerMap) -> float:
    down, across = _grid(layer)
    high, wide = _outline(layer)
    return min(TALLEST, max(1.6, WIDTH * 0.85 * down * high / (across * wide))) + HEAD


def _panel(layer: LayerMap, axes: Axes) -> None:
    from matplotlib.collections import PatchCollection
    from matplotlib.patches import Rectangle

    down, across = _grid(layer)
    high, wide = _outline(layer)
    gap = _gap(layer) if layer.crossbar.count > 1 else 0
    phases = {p: n for n, p in enumerate(dict.fromkeys(s.writes for s in layer.table.placements))}
    colours = _colours(len(phases))

    def corner(array: int) -> tuple[float, float]:
        return (array % across) * (wide + gap), (array // across) * (high + gap)

    arrays, places, seats, fills = [], [], [], []
    for array in range(layer.crossbar.count):
        x, y = corner(array)
        for tile in layer.tiles(array):
            top, left = tile.rows[0], tile.columns[0]
            size = min(layer.capacity[1], wide), min(layer.capacity[0], high)
            arrays.append(Rectangle((x + left, y + top), *size))
        places.append(Rectangle((x, y), layer.matrix[1], layer.matrix[0]))
    height, width = layer.band
    for seat in layer.table.placements:
        x, y = corner(seat.array)
        seats.append(Rectangle((x + seat.column_band * width, y + seat.row_band * height), width, height))
        fills.append(colours[phases[seat.writes]])
    axes.add_collection(PatchCollection(arrays, facecolor=EMPTY, edgecolor="none"))
    axes.add_collection(
        PatchCollection(places, facecolor=BLANK, edgecolor="#b8bcc2", linewidth=0.4, hatch="////")
    )
    axes.add_collection(PatchCollection(seats, facecolor=fills, edgecolor="white", linewidth=0.5))
    axes.add_collection(PatchCollection(arrays, facecolor="none", edgecolor=EDGE, linewidth=0.7))
    total = across * (wide + gap) - gap, down * (high + gap) - gap
    axes.set_xlim(-0.004 * total[0], 1.004 * total[0])
    axes.set_ylim(1.01 * total[1], -0.01 * total[1])
    scale = WIDTH * 0.9 * 72 / total[0], (_height(layer) - HEAD) * 72 / total[1]  # points per line
    if LEAN < total[0] / total[1] < 1 / LEAN:
        scale = min(scale), min(scale)
        axes.set_aspect("equal", anchor="NW")
    _label_seats(layer, axes, corner, scale)
    _label_axes(layer, axes)
    for side in axes.spines.values():
        side.set_visible(False)
    axes.set_title(_title(layer), fontsize=10, loc="left", color=INK)


def _colours(count: int) -> list[Any]:
    from matplotlib import colormaps

    if count <= 4:
        return [colormaps["tab20"](n) for n in (1, 3, 5, 7)[:count]]
    strong = [colormaps["turbo"](0.05 + 0.9 * n / (count - 1))[:3] for n in range(count)]
    return [tuple(0.45 + 0.55 * part for part in colour) for colour in strong]  # ink stays readable


def _label_seats(layer: LayerMap, axes: Axes, corner: Any, scale: tuple[float, float]) -> None:
    """Kernel indices, as large as they fit; none where nobody could read them."""
    height, width = layer.band
    longest = max(len(_name(seat)) for seat in layer.table.placements)
    size = min(9.0, width * scale[0] / (0.62 * longest), height * scale[1] / 1.3)
    if size < 3.2:
        return
    cut = any(len(list(layer.tiles(array))) > 1 for array in range(layer.crossbar.count))
    for seat in layer.table.placements:
        x, y = corner(seat.array)
        axes.text(
            x + (seat.column_band + 0.5) * width, y + (seat.row_band + 0.5) * height, _name(seat),
            ha="center", va="center", fontsize=size, color=INK, clip_on=True,
            bbox={"boxstyle": "round,pad=0.15", "fc": "#ffffffc8", "ec": "none"} if cut else None,
        )  # fmt: skip


def _name(seat: Placement) -> str:
    return ",".join(map(str, seat.pixel.index))


def _label_axes(layer: LayerMap, axes: Axes) -> None:
    """Where there is one matrix: what each row band reads and each column band feeds."""
    axes.tick_params(length=0, labelsize=7, colors=INK)
    height, width = layer.band
    table = layer.table
    rows = {s.row_band: coordinate_text(s.reads, table) for s in table.placements}
    columns = {s.column_band: coordinate_text(s.writes, table) for s in table.placements}
    alone = layer.crossbar.count == 1
    if alone and len(rows) <= LABELS:
        axes.set_yticks([(band + 0.5) * height for band in rows], rows.values())
        axes.set_ylabel("row bands read", fontsize=8)
    else:
        axes.set_yticks([])
    if alone and len(columns) <= LABELS:
        axes.set_xticks([(band + 0.5) * width for band in columns], columns.values())
        if len(columns) > LABELS // 3:
            axes.tick_params(axis="x", rotation=90)
        axes.set_xlabel("column bands feed", fontsize=8)
    else:
        axes.set_xticks([])


def _title(layer: LayerMap) -> str:
    x, rows, columns = layer.crossbar, *layer.matrix
    what = f"{x.count} sub-crossbars" if x.count > 1 else "one matrix"
    blocks = f", {x.groups} diagonal blocks each" if x.groups > 1 else ""
    arrays = "1 array" if layer.arrays == 1 else f"{layer.arrays:,} arrays"
    turns = f", {layer.table.turns} turns" if layer.table.turns > 1 else ""
    high, wide = layer.capacity
    return (
        f"{layer.name}: {layer.table.mapping} on {layer.target.name}{turns}\n"
        f"{what} of {rows} x {columns}{blocks}; {arrays} of {high} x {wide} weights, "
        f"{layer.full:.1%} full; colour = phase, hatched = blank"
    )
