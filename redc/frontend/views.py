"""Shapes of what moves no value: Reshape, Flatten, Squeeze, Unsqueeze, and broadcasting."""

from __future__ import annotations

import math
from collections.abc import Sequence

from redc.frontend.rejected import Broken, Rejected

Shape = tuple[int, ...]


def reshaped(shape: Shape, wanted: Sequence[int], allow_zero: bool = False) -> Shape:
    """The output shape of Reshape: 0 copies a dimension (unless `allow_zero`), one -1 is the rest."""
    size, result = math.prod(shape), list(wanted)
    for axis, dimension in enumerate(wanted):
        if dimension == 0 and not allow_zero:
            if axis >= len(shape):
                raise Broken(f"0 on axis {axis} of {list(wanted)} copies an axis that {_text(shape)} lacks")
            result[axis] = shape[axis]
    if result.count(-1) > 1 or any(d < -1 for d in result):
        raise Broken(f"{list(wanted)} is no shape: one -1 at most, and nothing below it")
    if -1 in result:
        rest = math.prod(d for d in result if d != -1)
        if rest == 0 or size % rest:
            raise Broken(f"cannot reshape {_text(shape)} into {list(wanted)}: {size} values do not divide")
        result[result.index(-1)] = size // rest
    if math.prod(result) != size:
        raise Broken(
            f"cannot reshape {_text(shape)} into {list(wanted)}: {size} values, not {math.prod(result)}"
        )
    return tuple(result)


def flattened(shape: Shape, axis: int) -> Shape:
    """The output shape of Flatten: two axes, cut before `axis`."""
    if not -len(shape) <= axis <= len(shape):
        raise Broken(f"axis {axis} is out of range for shape {_text(shape)}")
    axis = axis + len(shape) if axis < 0 else axis
    return math.prod(shape[:axis]), math.prod(shape[axis:])


def squeezed(shape: Shape, axes: Sequence[int] | None) -> Shape:
    """The output shape of Squeeze: without `axes`; none or an empty list mean every axis of length 1."""
    if not axes:  # an empty list: onnxruntime's reading
        return tuple(d for d in shape if d != 1)
    dropped = normal_axes(axes, len(shape))
    for axis in dropped:
        if shape[axis] != 1:
            raise Broken(f"axis {axis} of {_text(shape)} is not 1 and cannot be squeezed")
    return tuple(d for axis, d in enumerate(shape) if axis not in dropped)


def unsqueezed(shape: Shape, axes: Sequence[int] | None) -> Shape:
    """The output shape of Unsqueeze: 1 at each of `axes`, counted in the output."""
    if axes is None:
        raise Rejected("it does not say which axes to insert")
    rank = len(shape) + len(axes)
    inserted, rest = normal_axes(axes, rank), iter(shape)
    return tuple(1 if axis in inserted else next(rest) for axis in range(rank))


def broadcast(shapes: Sequence[Shape]) -> Shape:
    """The common shape of `shapes`, all of one rank.  Raises Rejected."""
    common = []
    for axis, sizes in enumerate(zip(*shapes, strict=True)):
        size = max(sizes)
        if any(s not in (1, size) for s in sizes):
            raise Broken(f"shapes {' and '.join(map(_text, shapes))} do not broadcast on axis {axis}")
        common.append(size)
    return tuple(common)


def normal_axes(axes: Sequence[int], rank: int) -> set[int]:
    """Axes counted from the front.  Raises Rejected unless they are distinct axes of `rank`."""
    normal = {axis + rank if axis < 0 else axis for axis in axes}
    if len(normal) != len(axes) or any(not 0 <= axis < rank for axis in normal):
        raise Broken(f"axes {list(axes)} are not distinct axes of a tensor of rank {rank}")
    return normal


def _text(shape: Shape) -> str:
    return "x".join(map(str, shape)) or "a scalar"
