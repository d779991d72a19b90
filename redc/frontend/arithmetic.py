"""Importers of arithmetic: sums, differences, products, quotients, maxima, with broadcasting.

A constant of one number, or one per channel, becomes a factor or a bias; any other one is an operand
like the tensors, from a buffer that holds it.
"""

from __future__ import annotations

import math

import numpy as np

from redc.frontend.builder import Builder
from redc.frontend.constants import F64
from redc.frontend.nodes import Node
from redc.frontend.operands import (
    ONE,
    Combine,
    Known,
    along_constant,
    combine,
    constant_index,
    operand,
    vector,
)
from redc.frontend.rejected import Rejected
from redc.frontend.views import broadcast
from redc.ir.graph import Activation


def import_add(build: Builder, node: Node) -> None:
    """Add and Sub: two tensors, or a tensor and a constant."""
    sign = -ONE if node.op == "Sub" else ONE
    which = constant_index(build, node)
    found = along_constant(build, node, which) if which is not None else None
    if found is None:
        combine(build, node, [operand(build, node, i) for i in (0, 1)], "sum", (ONE, sign))
        return
    x, axis, constant = found
    if which == 1:
        vector(build, node, [x], axis, (ONE,), bias=sign * constant)
    else:
        vector(build, node, [x], axis, (sign,), bias=constant)


def import_mul(build: Builder, node: Node) -> None:
    """Mul: two tensors, or a tensor and a constant."""
    which = constant_index(build, node)
    found = along_constant(build, node, which) if which is not None else None
    if found is None:
        combine(build, node, [operand(build, node, i) for i in (0, 1)], "mul")
        return
    x, axis, constant = found
    vector(build, node, [x], axis, (constant,))


def import_div(build: Builder, node: Node) -> None:
    """Div: by a constant it is a product, by a tensor a quotient."""
    which = constant_index(build, node)
    if which != 1:
        build.steep[node.index] = node.input(1)
    if which is None:
        combine(build, node, [operand(build, node, i) for i in (0, 1)], "div")
        return
    if which == 1 and (build.numbers(node, 1, "constant", finite=False) == 0).any():
        raise Rejected("it divides by zero", tensor=node.input(1))
    found = along_constant(build, node, which)
    if found is not None:
        x, axis, constant = found
        if which == 1:
            vector(build, node, [x], axis, (1 / constant,))
        else:
            vector(build, node, [x], axis, (constant,), how="div")
        return
    known = operand(build, node, which)
    assert isinstance(known, Known)
    if which == 1:
        one_over = Known(f"{known.name}.reciprocal", _finite(1 / known.value))
        combine(build, node, [build.data(node, 0), one_over], "mul")
    else:
        combine(build, node, [known, build.data(node, 1)], "div")


def import_reciprocal(build: Builder, node: Node) -> None:
    """Reciprocal: one divided by a tensor."""
    x = build.data(node)
    build.steep[node.index] = x.name
    vector(build, node, [x], x.axis, (ONE,), how="div")


def import_sign(build: Builder, node: Node) -> None:
    """Neg and Abs."""
    x = build.data(node)
    if node.op == "Neg":
        vector(build, node, [x], x.axis, (-ONE,))
    else:
        vector(build, node, [x, x], x.axis, (ONE, -ONE), how="max")


def import_many(build: Builder, node: Node) -> None:
    """Max, Min, Sum and Mean of any number of tensors and constants; a bound of one number is a Clip."""
    constants = [i for i in range(len(node.inputs)) if build.is_constant(node, i)]
    if len(constants) == 1 and node.op in ("Max", "Min") and len(node.inputs) == 2:
        nothing = -math.inf if node.op == "Max" else math.inf  # a bound that binds nothing
        bound = build.numbers(node, constants[0], "bound", finite=False)
        if np.isinf(bound).any() and (bound != nothing).any():
            raise Rejected("its bound is infinite", tensor=node.inputs[constants[0]])
        found = along_constant(build, node, constants[0], finite=False)
        if found is not None and found[2].size == 1:
            x, axis, number = found
            value = float(number.reshape(()))
            clip = Activation("clip", low=value) if node.op == "Max" else Activation("clip", high=value)
            vector(build, node, [x], axis, (ONE,), activation=clip)
            return
    operands = [operand(build, node, i) for i in range(len(node.inputs))]
    factor = ONE / len(operands) if node.op == "Mean" else ONE
    how: Combine = "max" if node.op == "Max" else "min" if node.op == "Min" else "sum"
    combine(build, node, operands, how, (factor,) * len(operands))


def import_prelu(build: Builder, node: Node) -> None:
    """PRelu with constant slopes: the larger of x and slope * x, or the smaller for slopes above 1.

    Where slopes lie on both sides of 1 the smaller is -max(-x, -slope * x), channel by channel.
    Slopes that are computed, or vary along several axes, multiply what is negative:
    max(x, 0) + slope * min(x, 0).
    """
    found = along_constant(build, node, 1) if build.is_constant(node, 1) else None
    if found is None:
        _prelu_of_slopes(build, node)
        return
    x, axis, slope = found
    if (slope <= 1).all() or (slope >= 1).all():
        how: Combine = "max" if (slope <= 1).all() else "min"
        vector(build, node, [x, x], axis, (ONE, slope), how=how)
        return
    sign = np.where(slope <= 1, 1, -1)
    vector(build, node, [x, x], axis, (sign * ONE, sign * slope), how="max", sign=sign)


def _prelu_of_slopes(build: Builder, node: Node) -> None:
    x, slope, output = build.data(node), operand(build, node, 1), node.outputs[0]
    rank = max(len(x.shape), len(slope.shape))
    if broadcast([(1,) * (rank - len(s)) + s for s in (x.shape, slope.shape)]) != x.shape:
        raise Rejected(f"its slope of shape {slope.shape} makes the input of shape {x.shape} larger")
    halves = []
    for kind, clip in (("positive", Activation("relu")), ("negative", Activation("clip", high=0.0))):
        name = build.fresh(f"{output}.{kind}")
        half = vector(build, node, [x], x.axis, (ONE,), activation=clip, output=name, like=x.like or x.name)
        halves.append(half)
    name = build.fresh(f"{output}.sloped")
    sloped = combine(build, node, [halves[1], slope], "mul", output=name, like=output)
    combine(build, node, [halves[0], sloped], "sum")


def _finite(value: F64) -> F64:
    if not np.isfinite(value).all():
        raise Rejected("its constant is too large or too small")
    return value
