"""Importers of what puts values elsewhere: Concat, Slice, Split, Pad, Transpose and their kin."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from redc.frontend.builder import Builder
from redc.frontend.nodes import Node
from redc.frontend.operands import operand
from redc.frontend.rejected import Broken, Rejected
from redc.frontend.sizes import check_rows
from redc.frontend.stencils import add_stencil
from redc.frontend.views import broadcast, normal_axes
from redc.ir.graph import StencilOp, Tensor
from redc.ir.stencil import Region, Row, Run


def one_axis(axis: int, rank: int) -> int:
    """`axis` counted from the front.  Raises Rejected."""
    (found,) = normal_axes([axis], rank)
    return found


def picked(pixels: Sequence[int]) -> list[Row]:
    """Rows that each read one pixel."""
    return [((int(pixel), 1.0),) for pixel in pixels]


def boxed(
    shape: Sequence[int], first: Sequence[int] | None = None, axes: Sequence[int] | None = None
) -> tuple[Run, ...]:
    """Runs of a box of pixels that is copied as it is: its sizes, where it begins in the output,
    and the input axis of each."""
    return tuple(
        Run(size, first[a] if first else 0, 1, axes[a] if axes else a, 1, ((0, 1.0),))
        for a, size in enumerate(shape)
    )


def _op(build: Builder, node: Node, inputs: Sequence[Tensor], regions: Sequence[Region]) -> StencilOp:
    names = tuple(x.name for x in inputs)
    return StencilOp(
        build.op_name(node), node.op, names, node.outputs[0], tuple(regions), nodes=(node.label,)
    )


# ---------------------------------------------------------------- several tensors


def import_concat(build: Builder, node: Node) -> None:
    """Tensors and constants side by side along one axis: each input is a region of the output."""
    tensors = [operand(build, node, i) for i in range(len(node.inputs))]
    if build.whole.intersection(node.inputs):
        codes = {x.given if isinstance(x, Tensor) else None for x in tensors}
        if len(codes) > 1:
            raise Rejected("its integers have different codes")
    shapes = [x.shape for x in tensors]
    rank = len(shapes[0])
    along = one_axis(node.attributes.get("axis", 1), rank)
    rest = {(*s[:along], *s[along + 1 :]) for s in shapes if len(s) == rank}
    if len(rest) != 1 or any(len(s) != rank for s in shapes):
        raise Broken(f"shapes {', '.join(map(str, shapes))} do not join on axis {along}")
    channels = next(x.axis for x in tensors if isinstance(x, Tensor))
    inputs = [
        build.along(x, channels) if isinstance(x, Tensor) else build.constant(x.name, x.value, channels)
        for x in tensors
    ]
    starts = list(itertools.accumulate((s[along] for s in shapes), initial=0))
    regions = []
    for number, (x, start) in enumerate(zip(inputs, starts, strict=False)):
        pixels, width = x.buffer_shape[:-1], x.buffer_shape[-1]
        first, target = [0] * len(pixels), (0, width)
        if along == channels:
            target = (start, start + width)
        else:
            first[along - (along > channels)] = start
        regions.append(Region(number, boxed(pixels, first), (0, width), target, (0,) * len(pixels)))
    shape = tuple(starts[-1] if a == along else size for a, size in enumerate(shapes[0]))
    build.add(_op(build, node, inputs, regions), shape, channels)


def import_split(build: Builder, node: Node) -> None:
    """Split: one operator for each output that is read."""
    x = build.data(node)
    axis = one_axis(node.attributes.get("axis", 0), len(x.shape))
    size, count = x.shape[axis], len(node.outputs)
    sizes = tuple(node.attributes.get("split", ()))
    if node.input(1):
        sizes = build.integers(node, 1, "list of sizes")
    if not sizes:
        each = -(-size // count)
        sizes = (*(each,) * (count - 1), size - each * (count - 1))
    if len(sizes) != count or sum(sizes) != size or min(sizes) < 0:
        raise Rejected(f"sizes {list(sizes)} do not cut axis {axis} of {x.shape} into {count}")
    check_rows(x.shape, node.outputs[0], [axis])
    start = 0
    for output, width in zip(node.outputs, sizes, strict=True):
        if build.needs(output):
            add_stencil(build, node, x, {axis: picked(range(start, start + width))}, output)
        start += width


# ---------------------------------------------------------------- one tensor


def import_slice(build: Builder, node: Node) -> None:
    """Slice; starts and ends are attributes until opset 9, inputs since."""
    x = build.data(node)
    rank = len(x.shape)
    if node.input(1):
        starts, ends = build.integers(node, 1, "starts"), build.integers(node, 2, "ends")
        axes = build.integers(node, 3, "axes") if node.input(3) else tuple(range(len(starts)))
        steps = build.integers(node, 4, "steps") if node.input(4) else (1,) * len(starts)
    else:
        starts, ends = tuple(node.attributes["starts"]), tuple(node.attributes["ends"])
        axes = tuple(node.attributes.get("axes", range(len(starts))))
        steps = (1,) * len(starts)
    if not len(starts) == len(ends) == len(axes) == len(steps) or 0 in steps:
        raise Rejected("its starts, ends, axes and steps do not fit each other")
    normal_axes(axes, rank)
    spans = {
        axis % rank: _span(start, end, step, x.shape[axis])
        for start, end, axis, step in zip(starts, ends, axes, steps, strict=True)
    }
    sliced = [len(spans[a]) if a in spans else size for a, size in enumerate(x.shape)]
    check_rows(sliced, node.outputs[0], spans)
    rows = {axis: picked(span) for axis, span in spans.items()}
    add_stencil(build, node, x, rows, node.outputs[0])


def _span(start: int, end: int, step: int, size: int) -> range:
    start, end = (v + size if v < 0 else v for v in (start, end))
    if step > 0:
        return range(min(max(start, 0), size), min(max(end, 0), size), step)
    return range(min(max(start, 0), size - 1), min(max(end, -1), size - 1), step)


PADDED: Mapping[str, Callable[[int, int], int | None]] = {
    "constant": lambda p, n: p if 0 <= p < n else None,
    "edge": lambda p, n: min(max(p, 0), n - 1),
    "reflect": lambda p, n: abs((p + n - 1) % (2 * n - 2) - (n - 1)) if n > 1 else 0,
    "wrap": lambda p, n: p % n,
}
"""Mode of Pad -> the pixel that pixel p of an axis of n is a copy of; None: the constant."""


def _fill(build: Builder, node: Node, x: Tensor) -> float:
    """The real number that a Pad of opset 11 pads with; of integers that which their code means."""
    if x.name in build.whole and x.given is not None:
        code = build.constants[node.input(2)].reshape(-1)[0] if build.is_constant(node, 2) else 0
        if node.input(2) and not build.is_constant(node, 2):
            raise Rejected("its constant is computed", tensor=node.input(2))
        return x.given.scale * (int(code) - x.given.zero)
    return float(build.numbers(node, 2, "constant", finite=False).reshape(-1)[0]) if node.input(2) else 0.0


def import_pad(build: Builder, node: Node) -> None:
    """Pad; pads and value are attributes until opset 10, inputs since.  Negative pads crop."""
    x = build.data(node)
    rank, mode = len(x.shape), node.attributes.get("mode", "constant")
    if mode not in PADDED:
        raise Rejected(f"mode {mode!r} is not supported")
    if node.input(1):
        pads = build.integers(node, 1, "list of pads")
        fill = _fill(build, node, x)
    else:
        pads = tuple(node.attributes["pads"])
        fill = float(node.attributes.get("value", 0.0))
    axes = build.integers(node, 3, "axes") if node.input(3) else tuple(range(rank))
    normal_axes(axes, rank)
    if len(pads) != 2 * len(axes):
        raise Rejected(f"{len(pads)} pads for {len(axes)} axes")
    if not math.isfinite(fill):
        raise Rejected(f"it pads with {fill}")
    rows: dict[int, Sequence[Row]] = {}
    padded = list(x.shape)
    for number, given in enumerate(axes):
        padded[given % rank] += pads[number] + pads[number + len(axes)]
    check_rows([max(0, size) for size in padded], node.outputs[0], range(rank))
    for number, given in enumerate(axes):
        axis = given % rank
        before, after, size = pads[number], pads[number + len(axes)], x.shape[axis]
        if (before, after) == (0, 0):
            continue
        if mode == "reflect" and max(before, after) >= size:
            raise Rejected(f"it reflects {max(before, after)} pixels of an axis of {size}")
        if mode != "constant" and min(before, after) < 0:
            raise Rejected(f"negative pads with mode {mode!r} are not supported")
        found = [PADDED[mode](p, size) for p in range(-before, size + after)]
        rows[axis] = [() if p is None else ((p, 1.0),) for p in found]
    add_stencil(build, node, x, rows, node.outputs[0], fill=fill)


def import_transpose(build: Builder, node: Node) -> None:
    """Transpose: the channels stay the vector, wherever their axis goes."""
    x = build.data(node)
    rank = len(x.shape)
    order = tuple(node.attributes.get("perm", range(rank - 1, -1, -1)))
    if sorted(order) != list(range(rank)):
        raise Rejected(f"perm {list(order)} is no order of {rank} axes")
    axis = order.index(x.axis)
    place = {old: number for number, old in enumerate(a for a in range(rank) if a != x.axis)}
    axes = [place[old] for old in order if old != x.axis]
    pixels, width = x.buffer_shape[:-1], x.buffer_shape[-1]
    runs = boxed([pixels[a] for a in axes], axes=axes)
    region = Region(0, runs, (0, width), (0, width), (0,) * len(pixels))
    build.add(_op(build, node, [x], [region]), tuple(x.shape[a] for a in order), axis)


def import_expand(build: Builder, node: Node) -> None:
    """Expand to a constant shape."""
    x = build.data(node)
    wanted = build.integers(node, 1, "target shape")
    rank = max(len(wanted), len(x.shape))
    shape = (*(1,) * (rank - len(x.shape)), *x.shape)
    common = broadcast([shape, (*(1,) * (rank - len(wanted)), *wanted)])
    check_rows(common, node.outputs[0], range(rank))
    x = build.view(x, shape, x.axis + rank - len(x.shape))
    rows = {a: picked([0] * n) for a, (s, n) in enumerate(zip(shape, common, strict=True)) if s != n}
    add_stencil(build, node, x, rows, node.outputs[0])


def import_tile(build: Builder, node: Node) -> None:
    """Tile by constant repeats."""
    x = build.data(node)
    repeats = build.integers(node, 1, "list of repeats")
    if len(repeats) != len(x.shape):
        raise Rejected(f"{len(repeats)} repeats for {len(x.shape)} axes")
    if min(repeats) < 0:
        raise Rejected(f"repeats {list(repeats)}")
    tiled = [size * n for size, n in zip(x.shape, repeats, strict=True)]
    check_rows(tiled, node.outputs[0], range(len(tiled)))
    rows = {a: picked([*range(x.shape[a])] * n) for a, n in enumerate(repeats) if n != 1}
    add_stencil(build, node, x, rows, node.outputs[0])


def import_gather(build: Builder, node: Node) -> None:
    """Gather by constant indices."""
    x = build.data(node)
    axis = one_axis(node.attributes.get("axis", 0), len(x.shape))
    name = node.input(1)
    if name not in build.constants:
        raise Rejected("its indices depend on the input's values", tensor=name)
    indices, size = np.asarray(build.constants[name]), x.shape[axis]
    if indices.dtype.kind != "i" or not indices.size:
        raise Rejected(f"indices of type {indices.dtype} and shape {indices.shape}", tensor=name)
    if ((indices < -size) | (indices >= size)).any():
        raise Rejected(f"indices {indices.tolist()} leave axis {axis} of {x.shape}", tensor=name)
    rows = {axis: picked((indices.reshape(-1) % size).tolist())}
    if indices.ndim == 1:
        add_stencil(build, node, x, rows, node.outputs[0])
        return
    name = node.outputs[0]
    kept = add_stencil(build, node, x, rows, build.fresh(f"{name}.kept"), like=name)
    build.reshape(node, kept, (*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]))


# ---------------------------------------------------------------- blocks of pixels


def import_depth_to_space(build: Builder, node: Node) -> None:
    """Channels become the pixels of blocks; the mode says which stand together."""
    x, block = _blocks(build, node)
    n, depth, height, width = x.shape
    channels = depth // block**2
    if depth % block**2:
        raise Rejected(f"{depth} channels do not divide into blocks of {block} x {block}")
    shape = (n, channels, height * block, width * block)
    mode = node.attributes.get("mode", "DCR")
    regions = []
    base: tuple[int, ...]
    axes: tuple[int, ...]
    x = build.along(x, 1) if mode == "DCR" else build.view(x, (n, channels, block, block, height, width), 1)
    for i, j in itertools.product(range(block), repeat=2):
        spread = [(n, 0, 1), (height, i, block), (width, j, block)]
        if mode == "DCR":
            first, base, axes = (i * block + j) * channels, (0, 0, 0), (0, 1, 2)
        else:
            first, base, axes = 0, (0, i, j, 0, 0), (0, 3, 4)
        runs = tuple(Run(c, f, t, a, 1, ((0, 1.0),)) for (c, f, t), a in zip(spread, axes, strict=True))
        regions.append(Region(0, runs, (first, first + channels), (0, channels), base))
    build.add(_op(build, node, [x], regions), shape, 1)


def import_space_to_depth(build: Builder, node: Node) -> None:
    """The pixels of a block become channels, side by side."""
    x, block = _blocks(build, node)
    if node.attributes.get("mode", "DCR") != "DCR":
        raise Rejected(f"mode {node.attributes['mode']!r} is not supported: the blocks' pixels lie outermost")
    n, depth, height, width = x.shape
    if height % block or width % block:
        raise Rejected(f"{height} x {width} pixels do not divide into blocks of {block}")
    x = build.along(x, 1)
    regions = []
    for number, (i, j) in enumerate(itertools.product(range(block), repeat=2)):
        runs = (
            Run(n, 0, 1, 0, 1, ((0, 1.0),)),
            Run(height // block, 0, 1, 1, block, ((i, 1.0),)),
            Run(width // block, 0, 1, 2, block, ((j, 1.0),)),
        )
        target = (number * depth, (number + 1) * depth)
        regions.append(Region(0, runs, (0, depth), target, (0, 0, 0)))
    build.add(_op(build, node, [x], regions), (n, depth * block**2, height // block, width // block), 1)


def _blocks(build: Builder, node: Node) -> tuple[Tensor, int]:
    x, block = build.data(node), int(node.attributes["blocksize"])
    if len(x.shape) != 4 or block < 1:
        raise Rejected(f"an input of shape {x.shape} and blocks of {block}", tensor=x.name)
    return x, block
