"""Importers of what the vector unit does: BatchNormalization, Add, activations."""

from __future__ import annotations

import math

import numpy as np

from redc.frontend.builder import Builder, channel_axis
from redc.frontend.constants import F64
from redc.frontend.nodes import Node
from redc.frontend.rejected import Rejected
from redc.frontend.views import broadcast
from redc.ir.graph import Activation, Normalisation, ReshapeOp, Tensor, VectorOp

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


def import_add(build: Builder, node: Node) -> None:
    """The sum of two tensors, or of a tensor and a constant per channel."""
    constant = [build.is_constant(node, i) for i in (0, 1)]
    if any(constant):
        which = constant.index(True)
        _add_constant(build, node, which)
    else:
        _add_tensors(build, node, build.data(node, 0), build.data(node, 1))


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


def _add_constant(build: Builder, node: Node, which: int) -> None:
    """Input `which` is the constant.  Its one axis of more than one number becomes the channels."""
    x, constant = build.data(node, 1 - which), build.weights(node, which, "addend")
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
    kept = x.axis + rank - len(x.shape)
    axis = varying[0] if varying else kept
    bias = spread.reshape(-1) if varying else spread.reshape(())
    _add_vector(build, node, [build.view(x, shape, axis)], axis, bias)


def _add_tensors(build: Builder, node: Node, a: Tensor, b: Tensor) -> None:
    rank = max(len(a.shape), len(b.shape))
    shapes = [(*(1,) * (rank - len(x.shape)), *x.shape) for x in (a, b)]
    common = broadcast(shapes)
    wanted = [x.axis + rank - len(x.shape) for x in (a, b)]
    candidates = (*wanted, channel_axis(rank), *range(rank - 1, -1, -1))
    # The channel axis is the vector, and a vector is never spread over another.
    axis = next((i for i in candidates if all(s[i] == common[i] for s in shapes)), None)
    if axis is None:
        raise Rejected(f"shapes {a.shape} and {b.shape} broadcast along every axis; that is not supported")
    inputs = [build.view(x, s, axis) for x, s in zip((a, b), shapes, strict=True)]
    _add_vector(build, node, inputs, axis, ZERO)


def _add_vector(build: Builder, node: Node, inputs: list[Tensor], axis: int, bias: F64) -> None:
    op = VectorOp(
        name=build.op_name(node),
        op=node.op,
        inputs=tuple(x.name for x in inputs),
        output=node.outputs[0],
        factors=(ONE,) * len(inputs),
        bias=bias,
        nodes=(node.label,),
    )
    build.add(op, broadcast([x.shape for x in inputs]), axis)
