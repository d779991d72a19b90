"""What elementwise operators work on: computed tensors and constants, which broadcast."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from redc.frontend.builder import Builder, channel_axis
from redc.frontend.constants import F64
from redc.frontend.nodes import Node
from redc.frontend.rejected import Rejected
from redc.frontend.stencils import add_stencil
from redc.frontend.views import broadcast
from redc.ir.graph import Activation, Tensor, VectorOp

ONE = np.ones(())
ZERO = np.zeros(())
Combine = Literal["sum", "mul", "max", "min", "div"]


@dataclass(frozen=True, eq=False, slots=True)
class Known:
    """A constant among the operands; `name` says which, or what was made of one."""

    name: str
    value: F64

    @property
    def shape(self) -> tuple[int, ...]:
        return self.value.shape


Operand = Tensor | Known


def operand(build: Builder, node: Node, index: int) -> Operand:
    """Input `index`, computed or constant.  Raises Rejected for infinities."""
    if build.is_constant(node, index):
        return Known(node.input(index), build.numbers(node, index, "constant"))
    return build.data(node, index)


def constant_index(build: Builder, node: Node) -> int | None:
    """Which of two inputs is a constant."""
    return next((i for i in (0, 1) if build.is_constant(node, i)), None)


def along_constant(
    build: Builder, node: Node, which: int, *, finite: bool = True
) -> tuple[Tensor, int, F64] | None:
    """(tensor, axis, constant) where input `which` is a constant: one number, or one per channel
    of the tensor, whose channels now lie on the one axis where the constant has several.

    None where the constant varies along more axes, or makes the tensor larger.
    """
    x, constant = build.data(node, 1 - which), build.numbers(node, which, "constant", finite=finite)
    rank = max(len(x.shape), constant.ndim)
    shape = (*(1,) * (rank - len(x.shape)), *x.shape)
    spread = constant.reshape((1,) * (rank - constant.ndim) + constant.shape)
    varying = [axis for axis, size in enumerate(spread.shape) if size > 1]
    if broadcast((shape, spread.shape)) != shape or len(varying) > 1:
        return None
    axis = varying[0] if varying else x.axis + rank - len(x.shape)
    values: F64 = spread.reshape(-1) if varying else spread.reshape(())
    return build.view(x, shape, axis), axis, values


def combine(
    build: Builder,
    node: Node,
    operands: list[Operand],
    how: Combine,
    factors: tuple[F64, ...] = (),
    *,
    output: str | None = None,
    like: str | None = None,
) -> Tensor:
    """One operator of tensors and constants that broadcast; it makes the output of `node`, or `output`,
    whose range is `like` another's.

    The channel axis is the vector, and a vector is never spread over another.  So it lies on an axis
    where all are equally long; where there is none on one where the tensors are, and constants are
    widened there; else tensors are.
    """
    rank = max(len(x.shape) for x in operands)
    shapes = [(*(1,) * (rank - len(x.shape)), *x.shape) for x in operands]
    common = broadcast(shapes)
    computed = [(x, shape) for x, shape in zip(operands, shapes, strict=True) if isinstance(x, Tensor)]
    wanted = [x.axis + rank - len(x.shape) for x, _ in computed]
    candidates = (*wanted, channel_axis(rank), *range(rank - 1, -1, -1))
    narrow = [shape for _, shape in computed]
    axis = next(
        (i for some in (shapes, narrow) for i in candidates if all(s[i] == common[i] for s in some)),
        wanted[0],
    )
    inputs = []
    for x, shape in zip(operands, shapes, strict=True):
        if isinstance(x, Known):
            wide = tuple(common[i] if i == axis else size for i, size in enumerate(shape))
            inputs.append(build.constant(x.name, np.broadcast_to(x.value.reshape(shape), wide), axis))
            continue
        own = x.like or x.name
        x = build.view(x, shape, axis)
        if shape[axis] != common[axis]:
            rows = {axis: [((0, 1.0),)] * common[axis]}
            x = add_stencil(build, node, x, rows, build.fresh(f"{x.name}.spread"), like=own)
            x = build.along(x, axis)
        inputs.append(x)
    return vector(
        build, node, inputs, axis, factors or (ONE,) * len(inputs), how=how, output=output, like=like
    )


def vector(
    build: Builder,
    node: Node,
    inputs: list[Tensor],
    axis: int,
    factors: tuple[F64, ...],
    *,
    bias: F64 = ZERO,
    how: Combine = "sum",
    activation: Activation | None = None,
    sign: npt.NDArray[np.int64] | None = None,
    output: str | None = None,
    like: str | None = None,
) -> Tensor:
    """Append the operator of tensors that lie alike."""
    if any(not math.isfinite(float(np.abs(f).max())) for f in (*factors, bias)):
        raise Rejected("its constant is too large or too small")
    op = VectorOp(
        name=build.op_name(node),
        op=node.op,
        inputs=tuple(x.name for x in inputs),
        output=output or node.outputs[0],
        factors=factors,
        bias=bias,
        activation=activation,
        nodes=(node.label,),
        combine=how,
        sign=sign,
    )
    return build.add(op, broadcast([x.shape for x in inputs]), axis, like=like)
