"""Importers of arithmetic: sums, differences, products, maxima, with broadcasting."""

from __future__ import annotations

import math
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
Combine = Literal["sum", "mul", "max", "min"]


def import_add(build: Builder, node: Node) -> None:
    """Add and Sub: two tensors, or a tensor and a constant."""
    sign = -ONE if node.op == "Sub" else ONE
    which = _constant(build, node)
    if which is None:
        tensors = [build.data(node, i) for i in (0, 1)]
        _combine(build, node, tensors, "sum", (ONE, sign))
    elif which == 1:
        x, axis, constant = along_constant(build, node, 1)
        _vector(build, node, [x], axis, (ONE,), bias=sign * constant)
    else:
        x, axis, constant = along_constant(build, node, 0)
        _vector(build, node, [x], axis, (sign,), bias=constant)


def import_mul(build: Builder, node: Node) -> None:
    """Mul: two tensors, or a tensor and a constant."""
    which = _constant(build, node)
    if which is None:
        _combine(build, node, [build.data(node, i) for i in (0, 1)], "mul")
        return
    x, axis, constant = along_constant(build, node, which)
    _vector(build, node, [x], axis, (constant,))


def import_div(build: Builder, node: Node) -> None:
    """Div by a constant."""
    if not build.is_constant(node, 1):
        raise Rejected("it divides by a computed tensor", tensor=node.input(1))
    x, axis, constant = along_constant(build, node, 1)
    if (constant == 0).any():
        raise Rejected("it divides by zero", tensor=node.input(1))
    _vector(build, node, [x], axis, (1 / constant,))


def import_sign(build: Builder, node: Node) -> None:
    """Neg and Abs."""
    x = build.data(node)
    if node.op == "Neg":
        _vector(build, node, [x], x.axis, (-ONE,))
    else:
        _vector(build, node, [x, x], x.axis, (ONE, -ONE), combine="max")


def import_many(build: Builder, node: Node) -> None:
    """Max, Min, Sum and Mean of any number of tensors; Max and Min also with one number."""
    constants = [i for i in range(len(node.inputs)) if build.is_constant(node, i)]
    if constants and node.op in ("Max", "Min") and len(node.inputs) == 2:
        nothing = -math.inf if node.op == "Max" else math.inf  # a bound that binds nothing
        bound = build.numbers(node, constants[0], "bound", finite=False)
        if np.isinf(bound).any() and (bound != nothing).any():
            raise Rejected("its bound is infinite", tensor=node.inputs[constants[0]])
        if bound.size != 1:
            raise Rejected("its bound is no single number", tensor=node.inputs[constants[0]])
        x, axis, number = along_constant(build, node, constants[0], finite=False)
        value = float(number.reshape(()))
        clip = Activation("clip", low=value) if node.op == "Max" else Activation("clip", high=value)
        _vector(build, node, [x], axis, (ONE,), activation=clip)
        return
    tensors = [build.data(node, i) for i in range(len(node.inputs))]
    factor = ONE / len(tensors) if node.op == "Mean" else ONE
    combine: Combine = "max" if node.op == "Max" else "min" if node.op == "Min" else "sum"
    _combine(build, node, tensors, combine, (factor,) * len(tensors))


def import_prelu(build: Builder, node: Node) -> None:
    """PRelu with constant slopes: the larger of x and slope * x, or the smaller for slopes above 1.

    Where slopes lie on both sides of 1 the smaller is -max(-x, -slope * x), channel by channel.
    """
    x, axis, slope = along_constant(build, node, 1)
    if (slope <= 1).all() or (slope >= 1).all():
        combine: Combine = "max" if (slope <= 1).all() else "min"
        _vector(build, node, [x, x], axis, (ONE, slope), combine=combine)
        return
    sign = np.where(slope <= 1, 1, -1)
    _vector(build, node, [x, x], axis, (sign * ONE, sign * slope), combine="max", sign=sign)


# ---------------------------------------------------------------- broadcasting


def _constant(build: Builder, node: Node) -> int | None:
    """Which of two inputs is a constant."""
    return next((i for i in (0, 1) if build.is_constant(node, i)), None)


def along_constant(build: Builder, node: Node, which: int, *, finite: bool = True) -> tuple[Tensor, int, F64]:
    """(tensor, axis, constant) where input `which` is a constant: one number, or one per channel
    of the tensor, whose channels now lie on the one axis where the constant has several."""
    x, constant = build.data(node, 1 - which), build.numbers(node, which, "constant", finite=finite)
    rank = max(len(x.shape), constant.ndim)
    shape = (*(1,) * (rank - len(x.shape)), *x.shape)
    spread = constant.reshape((1,) * (rank - constant.ndim) + constant.shape)
    varying = [axis for axis, size in enumerate(spread.shape) if size > 1]
    if broadcast((shape, spread.shape)) != shape:
        raise Rejected(
            f"a constant of shape {constant.shape} makes the input of shape {x.shape} larger; "
            "that is not supported",
            tensor=node.inputs[which],
        )
    if len(varying) > 1:
        raise Rejected(
            f"the constant has the shape {constant.shape}; one number, or one per channel, is supported",
            tensor=node.inputs[which],
        )
    axis = varying[0] if varying else x.axis + rank - len(x.shape)
    values: F64 = spread.reshape(-1) if varying else spread.reshape(())
    return build.view(x, shape, axis), axis, values


def _combine(
    build: Builder, node: Node, tensors: list[Tensor], combine: Combine, factors: tuple[F64, ...] = ()
) -> None:
    """One operator of tensors that broadcast."""
    rank = max(len(x.shape) for x in tensors)
    shapes = [(*(1,) * (rank - len(x.shape)), *x.shape) for x in tensors]
    common = broadcast(shapes)
    wanted = [x.axis + rank - len(x.shape) for x in tensors]
    candidates = (*wanted, channel_axis(rank), *range(rank - 1, -1, -1))
    # The channel axis is the vector, and a vector is never spread over another.
    axis = next((i for i in candidates if all(s[i] == common[i] for s in shapes)), wanted[0])
    inputs = []
    for x, shape in zip(tensors, shapes, strict=True):
        x = build.view(x, shape, axis)
        if shape[axis] != common[axis]:
            rows = {axis: [((0, 1.0),)] * common[axis]}
            x = add_stencil(build, node, x, rows, build.fresh(f"{x.name}.spread"))
            x = build.along(x, axis)
        inputs.append(x)
    _vector(build, node, inputs, axis, factors or (ONE,) * len(inputs), combine=combine)


def _vector(
    build: Builder,
    node: Node,
    inputs: list[Tensor],
    axis: int,
    factors: tuple[F64, ...],
    *,
    bias: F64 = ZERO,
    combine: Combine = "sum",
    activation: Activation | None = None,
    sign: npt.NDArray[np.int64] | None = None,
) -> None:
    if any(not math.isfinite(float(np.abs(f).max())) for f in (*factors, bias)):
        raise Rejected("its constant is too large or too small")
    op = VectorOp(
        name=build.op_name(node),
        op=node.op,
        inputs=tuple(x.name for x in inputs),
        output=node.outputs[0],
        factors=factors,
        bias=bias,
        activation=activation,
        nodes=(node.label,),
        combine=combine,
        sign=sign,
    )
    build.add(op, broadcast([x.shape for x in inputs]), axis)
