"""From rows (which input pixels each output pixel reads, axis by axis) to a `StencilOp`."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Literal

from redc.frontend.builder import Builder, channel_axis
from redc.frontend.nodes import Node
from redc.frontend.rejected import Rejected
from redc.frontend.sizes import check_rows
from redc.ir.graph import ReshapeOp, StencilOp, Tensor
from redc.ir.stencil import Part, Region, Row, identity, runs

MAX_REGIONS = 512
"""Nests of one operator; what is too irregular for so many is not for the accelerator."""
MAX_PARTS = 32
"""Parts into which a vector is cut; for more of them the channels go to another axis."""

Rows = Mapping[int, Sequence[Row]]
"""ONNX axis -> its rows; an axis that is not named stays as it is."""


def add_stencil(
    build: Builder,
    node: Node,
    x: Tensor,
    rows: Rows,
    output: str,
    *,
    reduction: Literal["sum", "max"] = "sum",
    fill: float = 0.0,
    periods: Mapping[int, int] | None = None,
    like: str | None = None,
) -> Tensor:
    """Append the operator that makes `output` of `x` by `rows`, and give its tensor.

    Rows without an input pixel hold `fill`.  `periods` says after how many rows an axis repeats
    itself; `like` which tensor of the model has these values, where it has no tensor `output`.  The
    channels stay where they are if their rows only cut and join the vector; else another axis
    becomes the channels, or a new one of length 1.  Raises Rejected where the rows are too irregular.
    """
    shape = tuple(len(rows[a]) if a in rows else size for a, size in enumerate(x.shape))
    check_rows(shape, output, range(len(shape)))
    channels = _channels(x, rows)
    if channels is None:
        wide = build.view(x, (*x.shape, 1), len(x.shape))
        name = build.fresh(f"{output}.wide")
        made = add_stencil(
            build, node, wide, rows, name,
            reduction=reduction, fill=fill, periods=periods, like=like or output,
        )  # fmt: skip
        back = ReshapeOp(build.op_name(node), node.op, made.name, output, (node.label,))
        return build.add(back, shape, channel_axis(len(shape)))
    axis, parts = channels
    x = build.along(x, axis)
    pixels = [a for a in range(len(x.shape)) if a != axis]
    found = [
        runs(rows[a] if a in rows else identity(x.shape[a]), position, (periods or {}).get(a, 1))
        for position, a in enumerate(pixels)
    ]
    if math.prod(map(len, found)) * len(parts) > MAX_REGIONS:
        raise Rejected("its output is too irregular for loops")
    whole, base = (0, x.shape[axis]), (0,) * len(pixels)
    regions = [
        Region(0, box, source, target, base, fill)
        if source is not None and all(run.taps for run in box)
        else Region(None, box, whole, target, base, fill)
        for source, target in parts
        for box in itertools.product(*found)
    ]
    name = build.op_name(node)
    op = StencilOp(name, node.op, (x.name,), output, tuple(regions), reduction, (node.label,))
    return build.add(op, shape, axis, like=like)


def _channels(x: Tensor, rows: Rows) -> tuple[int, list[tuple[Part | None, Part]]] | None:
    """The axis for the channels, and which part of its vectors goes where (None: filled); None if
    every axis changes too much."""
    rank = len(x.shape)
    for axis in dict.fromkeys((x.axis, channel_axis(rank), *range(rank - 1, -1, -1))):
        parts = vector_parts(rows[axis] if axis in rows else identity(x.shape[axis]))
        if parts is not None:
            return axis, parts
    return None


def vector_parts(rows: Sequence[Row]) -> list[tuple[Part | None, Part]] | None:
    """Rows of the channel axis as (part of the input, part of the output); None if they are more
    than a vector cut and joined."""
    found = runs(rows, 0)
    plain = all(
        not run.taps or ([w for _, w in run.taps] == [1.0] and (run.step == 1 or run.count == 1))
        for run in found
    )
    if not plain or len(found) > MAX_PARTS:
        return None
    return [
        (
            (run.taps[0][0], run.taps[0][0] + run.count) if run.taps else None,
            (run.first, run.first + run.count),
        )
        for run in found
    ]
