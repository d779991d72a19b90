"""Importers of BatchNormalization and of the activations that end other operators."""

from __future__ import annotations

import math

import numpy as np

from redc.frontend.builder import Builder
from redc.frontend.nodes import Node
from redc.frontend.rejected import Rejected
from redc.ir.graph import Activation, Normalisation, ReshapeOp, VectorOp

ONE = np.ones(())
ZERO = np.zeros(())
PLAIN = {"Relu": Activation("relu"), "Tanh": Activation("tanh"), "Sigmoid": Activation("sigmoid")}
F32_MAX = float(np.finfo(np.float32).max)


def import_batch_normalization(build: Builder, node: Node) -> None:
    """y = gamma * (x - mean) / sqrt(var + epsilon) + beta, per channel of axis 1."""
    x = build.data(node)
    if len(x.shape) < 2:
        raise Rejected("its input has no channel axis", tensor=x.name)
    if node.attributes.get("training_mode", 0) or any(node.outputs[1:]):
        raise Rejected("it is in training mode", hint="export the model for inference (model.eval())")
    if not node.attributes.get("spatial", 1):
        raise Rejected("spatial=0 (statistics per pixel) is not supported")
    names = ("scale", "bias", "mean", "variance")
    gamma, beta, mean, variance = (
        build.vector(node, i, what, x.shape[1]) for i, what in enumerate(names, start=1)
    )
    spread = variance + node.attributes.get("epsilon", 1e-5)
    if (spread <= 0).any():
        raise Rejected("its variance plus epsilon is not positive", tensor=node.input(4))
    factor = gamma / np.sqrt(spread)
    op = VectorOp(
        name=build.op_name(node),
        op=node.op,
        inputs=(build.along(x, 1).name,),
        output=node.outputs[0],
        factors=(factor,),
        bias=beta - mean * factor,
        normalisation=Normalisation(mean, beta),
        nodes=(node.label,),
    )
    build.add(op, x.shape, 1)


def import_activation(build: Builder, node: Node) -> None:
    """Relu, LeakyRelu, Tanh, Sigmoid, Clip; one that does nothing becomes an Identity."""
    x = build.data(node)
    activation = _activation(build, node)
    name, output, nodes = build.op_name(node), node.outputs[0], (node.label,)
    if activation is None:
        build.add(ReshapeOp(name, "Identity", x.name, output, nodes), x.shape, x.axis)
        return
    op = VectorOp(name, node.op, (x.name,), output, (ONE,), ZERO, activation, nodes)
    build.add(op, x.shape, x.axis)


def _activation(build: Builder, node: Node) -> Activation | None:
    if node.op == "Clip":
        return _clip(*_clip_bounds(build, node))
    if node.op == "LeakyRelu":
        alpha = float(node.attributes.get("alpha", 0.01))
        if not 0 <= alpha < math.inf:
            raise Rejected(f"alpha is {alpha:g}; slopes below 0 are not supported")
        return Activation("leaky", alpha=alpha) if alpha else Activation("relu")
    return PLAIN[node.op]


def _clip(low: float, high: float) -> Activation | None:
    if low == -math.inf and high == math.inf:
        return None
    if (low, high) == (0.0, math.inf):
        return Activation("relu")
    return Activation("clip", low=min(low, high), high=high)  # ONNX: high wins where they cross


def _clip_bounds(build: Builder, node: Node) -> tuple[float, float]:
    """Attributes until opset 10, optional inputs since; float32's ends mean no bound."""
    if build.opset < 11:
        low, high = node.attributes.get("min", -math.inf), node.attributes.get("max", math.inf)
    else:
        low, high = _bound(build, node, 1, -math.inf), _bound(build, node, 2, math.inf)
    if math.isnan(low) or math.isnan(high):
        raise Rejected(f"its bounds are {low} and {high}")
    return (-math.inf if low <= -F32_MAX else low), (math.inf if high >= F32_MAX else high)


def _bound(build: Builder, node: Node, index: int, absent: float) -> float:
    if not node.input(index):
        return absent
    value = build.weights(node, index, ("min", "max")[index - 1], finite=False)
    if value.size != 1:
        raise Rejected(
            f"its bound has the shape {value.shape}, expected one number", tensor=node.input(index)
        )
    return float(value.reshape(()))
