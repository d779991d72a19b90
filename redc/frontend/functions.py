"""Importers of scalar functions: each becomes a table over the codes of its input."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from redc.frontend.builder import Builder
from redc.frontend.constants import F64
from redc.frontend.nodes import Node
from redc.frontend.rejected import Rejected
from redc.ir.graph import Activation, VectorOp

Function = Callable[[F64], F64]
Attributes = Mapping[str, Any]

_erf = np.vectorize(math.erf, otypes=[np.float64])


def _elu(attributes: Attributes, alpha: float = 1.0, gamma: float = 1.0) -> Function:
    a, g = attributes.get("alpha", alpha), attributes.get("gamma", gamma)
    return lambda x: np.where(x > 0, g * x, g * a * np.expm1(np.minimum(x, 0)))


def _celu(attributes: Attributes) -> Function:
    a = attributes.get("alpha", 1.0)
    if not a:
        raise Rejected("its alpha is 0")
    return lambda x: np.maximum(x, 0) + np.minimum(0, a * np.expm1(np.minimum(x / a, 700)))


def _hard_sigmoid(attributes: Attributes) -> Function:
    a, b = attributes.get("alpha", 0.2), attributes.get("beta", 0.5)
    return lambda x: np.clip(a * x + b, 0, 1)


def _gelu(attributes: Attributes) -> Function:
    if attributes.get("approximate", "none") == "tanh":
        root = math.sqrt(2 / math.pi)
        return lambda x: 0.5 * x * (1 + np.tanh(root * (x + 0.044715 * x**3)))
    return lambda x: 0.5 * x * (1 + _erf(x / math.sqrt(2)))


def _softplus(x: F64) -> F64:
    return np.logaddexp(0, x)


FUNCTIONS: Mapping[str, Callable[[Attributes], Function]] = {
    "Atan": lambda attributes: np.arctan,
    "Celu": _celu,
    "Cos": lambda attributes: np.cos,
    "Elu": _elu,
    "Erf": lambda attributes: _erf,
    "Exp": lambda attributes: np.exp,
    "Gelu": _gelu,
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": lambda attributes: lambda x: x * np.clip(x / 6 + 0.5, 0, 1),
    "Log": lambda attributes: np.log,
    "Mish": lambda attributes: lambda x: x * np.tanh(_softplus(x)),
    "Selu": lambda attributes: _elu(attributes, 1.67326319217681884765625, 1.05070102214813232421875),
    "Sin": lambda attributes: np.sin,
    "Softplus": lambda attributes: _softplus,
    "Softsign": lambda attributes: lambda x: x / (1 + np.abs(x)),
    "Sqrt": lambda attributes: np.sqrt,
}
"""Operator -> its function, given its attributes."""

STEEP = ("Log", "Sqrt")
"""Those whose slope has no bound near 0; every other one is smooth wherever its input may lie."""

SMOOTH_POWERS = range(1, 9)
"""Exponents for which Pow is smooth too."""


def import_function(build: Builder, node: Node) -> None:
    """A function of one number, applied to every value."""
    if node.op in STEEP:
        build.steep[node.index] = node.input(0)
    _add(build, node, FUNCTIONS[node.op](node.attributes))


def import_pow(build: Builder, node: Node) -> None:
    """Pow with one constant exponent."""
    if not build.is_constant(node, 1):
        raise Rejected("its exponent is computed", tensor=node.input(1))
    value = np.asarray(build.constants[node.input(1)])
    if value.size != 1:
        raise Rejected("its exponent is not one number", tensor=node.input(1))
    if value.ndim > len(build.data(node).shape):
        raise Rejected(f"an exponent of shape {value.shape} adds axes", tensor=node.input(1))
    exponent = float(value.reshape(()))
    if not math.isfinite(exponent):
        raise Rejected(f"its exponent is {exponent}", tensor=node.input(1))
    if exponent not in SMOOTH_POWERS:
        build.steep[node.index] = node.input(0)
    _add(build, node, lambda x: np.power(x, exponent))


def _add(build: Builder, node: Node, function: Function) -> None:
    x = build.data(node)
    activation = Activation("function", function=function)
    op = VectorOp(
        name=build.op_name(node),
        op=node.op,
        inputs=(x.name,),
        output=node.outputs[0],
        factors=(np.ones(()),),
        bias=np.zeros(()),
        activation=activation,
        nodes=(node.label,),
    )
    build.add(op, x.shape, x.axis)
