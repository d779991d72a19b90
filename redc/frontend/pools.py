"""Importers of pooling: windows, whole images, reductions over axes."""

from __future__ import annotations

from collections.abc import Sequence

from redc.frontend.builder import Builder
from redc.frontend.nodes import Node
from redc.frontend.rejected import Rejected
from redc.frontend.sizes import check_rows
from redc.frontend.stencils import add_stencil
from redc.frontend.views import normal_axes
from redc.frontend.windows import Window, pooling
from redc.ir.graph import Tensor
from redc.ir.stencil import Row

MAX_TAPS = 64
"""Pixels that one instruction compares; a larger maximum is taken in several layers."""


def import_max_pool(build: Builder, node: Node) -> None:
    """MaxPool; padding is never the largest."""
    x, window = _windowed(build, node)
    add_stencil(build, node, x, _rows(x, window), node.outputs[0], reduction="max")


def import_average_pool(build: Builder, node: Node) -> None:
    """AveragePool: over the pixels inside the image, or with `count_include_pad` inside the padding.

    What of a window lies beyond the padding (`ceil_mode`) counts for nothing.
    """
    x, window = _windowed(build, node)
    rows = _rows(x, window)
    if node.attributes.get("count_include_pad", 0):
        counts = {a: _counted(window, a - 2) for a in rows}
        averaged = {
            a: [tuple((p, 1 / n) for p, _ in row) for row, n in zip(rows[a], counts[a], strict=True)]
            for a in rows
        }
    else:
        averaged = {a: [tuple((p, 1 / len(row)) for p, _ in row) for row in rows[a]] for a in rows}
    add_stencil(build, node, x, averaged, node.outputs[0])


def _counted(window: Window, axis: int) -> list[int]:
    """How many pixels of each window lie before the end of the padding."""
    reach = [window.dilation[axis] * k - window.pads[axis] for k in range(window.kernel[axis])]
    starts = (window.stride[axis] * o for o in range(window.output[axis]))
    return [sum(start + e < window.padded[axis] for e in reach) for start in starts]


def _windowed(build: Builder, node: Node) -> tuple[Tensor, Window]:
    x = build.data(node)
    if len(x.shape) < 3:
        raise Rejected(f"its input has rank {len(x.shape)}, expected 3 or more", tensor=x.name)
    window = pooling(x.shape[2:], node.attributes)
    check_rows((*x.shape[:2], *window.output), node.outputs[0], range(2, len(x.shape)), window.kernel)
    return x, window


def _rows(x: Tensor, window: Window) -> dict[int, Sequence[Row]]:
    """The pixels inside the image that each window sees, axis by axis."""
    rows: dict[int, Sequence[Row]] = {}
    for axis, size in enumerate(x.shape[2:]):
        reach = [window.dilation[axis] * k - window.pads[axis] for k in range(window.kernel[axis])]
        rows[axis + 2] = [
            tuple((p, 1.0) for e in reach if 0 <= (p := window.stride[axis] * o + e) < size)
            for o in range(window.output[axis])
        ]
        if not all(rows[axis + 2]):
            raise Rejected("one of its windows lies in the padding alone")
    return rows


def import_global_average_pool(build: Builder, node: Node) -> None:
    """The mean over all axes but the first two."""
    x = build.data(node)
    _reduce(build, node, x, range(2, len(x.shape)), "mean", node.outputs[0])


def import_global_max_pool(build: Builder, node: Node) -> None:
    """The maximum over all axes but the first two."""
    x = build.data(node)
    _reduce(build, node, x, range(2, len(x.shape)), "max", node.outputs[0])


def import_reduce(build: Builder, node: Node) -> None:
    """ReduceMean, ReduceSum, ReduceMax; axes are an attribute at first, an input later."""
    x = build.data(node)
    axes = node.attributes.get("axes")
    if node.input(1):
        axes = build.integers(node, 1, "list of axes")
    if not axes and node.attributes.get("noop_with_empty_axes", 0):
        axes = ()
    elif not axes:
        axes = range(len(x.shape))
    chosen = sorted(normal_axes(axes, len(x.shape)))
    kind = node.op.removeprefix("Reduce").lower()
    if node.attributes.get("keepdims", 1):
        _reduce(build, node, x, chosen, kind, node.outputs[0])
        return
    kept = build.fresh(f"{node.outputs[0]}.kept")
    inner = _reduce(build, node, x, chosen, kind, kept, like=node.outputs[0])
    shape = tuple(d for axis, d in enumerate(x.shape) if axis not in chosen)
    build.reshape(node, inner, shape)


def _reduce(
    build: Builder,
    node: Node,
    x: Tensor,
    axes: Sequence[int],
    kind: str,
    output: str,
    like: str | None = None,
) -> Tensor:
    """One value where there were many; a maximum of many pixels goes in stages."""
    if kind != "max":
        check_rows(
            [1 if a in axes else n for a, n in enumerate(x.shape)], output, axes, [x.shape[a] for a in axes]
        )
        weights = {a: 1 / x.shape[a] if kind == "mean" else 1.0 for a in axes}
        rows = {a: [tuple((p, weights[a]) for p in range(x.shape[a]))] for a in axes}
        return add_stencil(build, node, x, rows, output, like=like)
    width = max(2, int(MAX_TAPS ** (1 / max(1, len(axes))) + 1e-9))
    stage = 0
    while True:
        left = [a for a in axes if x.shape[a] > width]
        rows = {
            a: [
                tuple((p, 1.0) for p in range(o, min(o + width, x.shape[a])))
                for o in range(0, x.shape[a], width)
            ]
            for a in axes
        }
        stage += 1
        name = build.fresh(f"{output}.stage{stage}") if left else output
        x = add_stencil(build, node, x, rows, name, reduction="max", like=like or output)
        if not left:
            return x
