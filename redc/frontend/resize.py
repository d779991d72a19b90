"""Importers of Resize and Upsample: nearest and linear, wherever the pattern is regular."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction

import numpy as np

from redc.frontend.builder import Builder
from redc.frontend.nodes import Node
from redc.frontend.rejected import Rejected
from redc.frontend.sizes import check_rows
from redc.frontend.stencils import add_stencil
from redc.frontend.views import normal_axes
from redc.ir.stencil import Row

Coordinate = Callable[[float, float, int, int], float]
COORDINATES: Mapping[str, Coordinate] = {
    "half_pixel": lambda o, scale, n, m: (o + 0.5) / scale - 0.5,
    "pytorch_half_pixel": lambda o, scale, n, m: (o + 0.5) / scale - 0.5 if m > 1 else 0.0,
    "asymmetric": lambda o, scale, n, m: o / scale,
    "align_corners": lambda o, scale, n, m: o * (n - 1) / (m - 1) if m > 1 else 0.0,
    "tf_half_pixel_for_nn": lambda o, scale, n, m: (o + 0.5) / scale,
}
"""Output pixel, scale, input size, output size -> where in the input it lies."""

NEAREST: Mapping[str, Callable[[float], int]] = {
    "round_prefer_floor": lambda x: math.ceil(x - 0.5),
    "round_prefer_ceil": lambda x: math.floor(x + 0.5),
    "floor": math.floor,
    "ceil": math.ceil,
}


def import_resize(build: Builder, node: Node) -> None:
    """Resize; before opset 11 it is an Upsample that may also shrink."""
    x = build.data(node)
    rank = len(x.shape)
    mode = node.attributes.get("mode", "nearest")
    if mode not in ("nearest", "linear"):
        raise Rejected(f"mode {mode!r} is not supported: nearest and linear are")
    if mode == "linear" and x.name in build.whole:
        raise Rejected("it interpolates integers, and rounds them its own way")
    if node.attributes.get("antialias", 0) or node.attributes.get("exclude_outside", 0):
        raise Rejected("antialias and exclude_outside are not supported")
    if node.attributes.get("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise Rejected("a policy for the aspect ratio is not supported")
    axes = sorted(normal_axes(node.attributes.get("axes", range(rank)), rank))
    old = build.opset < 11
    given = "asymmetric" if old else node.attributes.get("coordinate_transformation_mode", "half_pixel")
    rounding = "floor" if old else node.attributes.get("nearest_mode", "round_prefer_floor")
    if given not in COORDINATES or rounding not in NEAREST:
        raise Rejected(f"coordinates {given!r} with rounding {rounding!r} are not supported")
    sizes, scales = _sizes(build, node, [x.shape[a] for a in axes], 1 if old else 2)
    resized = dict(zip(axes, sizes, strict=True))
    check_rows([resized.get(a, size) for a, size in enumerate(x.shape)], node.outputs[0], axes)
    rows: dict[int, Sequence[Row]] = {}
    periods: dict[int, int] = {}
    for axis, size, scale in zip(axes, sizes, scales, strict=True):
        n = x.shape[axis]
        if size == n and scale == 1:
            continue
        at = [float(np.float32(COORDINATES[given](o, scale, n, size))) for o in range(size)]
        rows[axis] = [_row(p, n, NEAREST[rounding] if mode == "nearest" else None) for p in at]
        periods[axis] = Fraction(scale).limit_denominator(64).numerator if scale > 1 else 1
    add_stencil(build, node, x, rows, node.outputs[0], periods=periods)


def _sizes(
    build: Builder, node: Node, shape: Sequence[int], scales_at: int
) -> tuple[Sequence[int], Sequence[float]]:
    """(output sizes, scales) of the axes that are resized."""
    if node.input(3):
        sizes = build.integers(node, 3, "list of sizes")
        scales = [m / n for m, n in zip(sizes, shape, strict=False)]
    else:
        if node.input(scales_at):
            scales = build.weights(node, scales_at, "list of scales").reshape(-1).tolist()
        else:
            scales = [float(s) for s in node.attributes.get("scales", ())]
        sizes = tuple(math.floor(n * s) for n, s in zip(shape, scales, strict=False))
    if len(sizes) != len(shape) or len(scales) != len(shape) or any(s < 1 for s in sizes):
        raise Rejected(f"sizes {list(sizes)} for {len(shape)} axes")
    return sizes, scales


def _row(at: float, size: int, nearest: Callable[[float], int] | None) -> Row:
    """What lies at coordinate `at` of an axis: its pixel, or two and how much of each."""
    if nearest is not None:
        return ((min(max(nearest(at), 0), size - 1), 1.0),)
    at = min(max(at, 0.0), size - 1.0)
    low = min(math.floor(at), size - 1)
    part = at - low
    return ((low, 1.0 - part), (low + 1, part)) if part else ((low, 1.0),)
