"""Importers of the operators whose constant weights lie in crossbars.

Every weight arrives as [kernel..., C, M / groups] (see `CrossbarOp`).
"""

from __future__ import annotations

import numpy as np

from redc.frontend.builder import Builder, channel_axis
from redc.frontend.constants import F64
from redc.frontend.nodes import Node
from redc.frontend.rejected import Rejected
from redc.frontend.windows import Window, convolution, deconvolution
from redc.ir.graph import CrossbarOp, Tensor


def import_conv_transpose(build: Builder, node: Node) -> None:
    """ONNX weight (C, M / groups, kernel...)."""
    x, weight, groups = _image(build, node)
    channels, width = x.shape[1], weight.shape[1]
    if weight.shape[0] != channels:
        raise Rejected(
            f"its weight is for {weight.shape[0]} channels, its input has {channels}", tensor=node.input(1)
        )
    if channels % groups:
        raise Rejected(f"its {channels} channels do not divide into {groups} groups")
    window = deconvolution(x.shape[2:], weight.shape[2:], node.attributes)
    _add_windowed(build, node, x, np.moveaxis(weight, (0, 1), (-2, -1)), width * groups, groups, window)


def import_conv(build: Builder, node: Node) -> None:
    """ONNX weight (M, C / groups, kernel...)."""
    x, weight, groups = _image(build, node)
    channels, outputs, depth = x.shape[1], *weight.shape[:2]
    if depth * groups != channels:
        raise Rejected(
            f"its weight is for {depth} x {groups} groups = {depth * groups} channels, "
            f"its input has {channels}",
            tensor=node.input(1),
        )
    if outputs % groups:
        raise Rejected(f"its {outputs} output channels do not divide into {groups} groups")
    window = convolution(x.shape[2:], weight.shape[2:], node.attributes)
    split = weight.reshape(groups, outputs // groups, depth, *weight.shape[2:])
    ordered = np.moveaxis(split, (0, 2, 1), (-3, -2, -1)).reshape(*weight.shape[2:], channels, -1)
    _add_windowed(build, node, x, ordered, outputs, groups, window)


def import_gemm(build: Builder, node: Node) -> None:
    """Y = alpha * A * B + beta * C with constant B and C, one C for every row."""
    a = build.data(node)
    weight = _matrix(build, node)
    if node.attributes.get("transA", 0):
        raise Rejected("transA=1 makes rows of the input its channels", hint="transpose the other side")
    if node.attributes.get("transB", 0):
        weight = weight.T
    if len(a.shape) != 2:
        raise Rejected(f"its input has rank {len(a.shape)}, expected 2", tensor=a.name)
    bias = np.zeros(weight.shape[1])
    if node.input(2):
        bias = bias + node.attributes.get("beta", 1.0) * _row(build, node, weight.shape[1])
    _add_matrix(build, node, a, node.attributes.get("alpha", 1.0) * weight, bias)


def import_matmul(build: Builder, node: Node) -> None:
    """Y = A * B with constant B of two axes; every axis of A but its last is batch."""
    if build.is_constant(node, 0) and not build.is_constant(node, 1):
        raise Rejected("its left operand is the constant; crossbars hold the right one", tensor=node.input(0))
    weight = _matrix(build, node)
    a = build.data(node)
    _add_matrix(build, node, build.along(a, len(a.shape) - 1), weight, np.zeros(weight.shape[1]))


def _image(build: Builder, node: Node) -> tuple[Tensor, F64, int]:
    """(input with channels on axis 1, weight, groups) of a Conv or ConvTranspose."""
    x, weight = build.data(node), build.weights(node, 1, "weight")
    rank, groups = len(x.shape), node.attributes.get("group", 1)
    if rank < 3:
        raise Rejected(f"its input has rank {rank}, expected 3 or more", tensor=x.name)
    if weight.ndim != rank:
        raise Rejected(f"its weight has rank {weight.ndim}, its input rank {rank}", tensor=node.input(1))
    if weight.size == 0:
        raise Rejected(f"its weight has the shape {weight.shape}: no elements", tensor=node.input(1))
    if groups < 1:
        raise Rejected(f"group is {groups}")
    return build.along(x, 1), weight, groups


def _add_windowed(
    build: Builder, node: Node, x: Tensor, weight: F64, outputs: int, groups: int, window: Window
) -> None:
    bias = build.vector(node, 2, "bias", outputs) if node.input(2) else np.zeros(outputs)
    op = CrossbarOp(
        name=build.op_name(node),
        op="ConvTranspose" if node.op == "ConvTranspose" else "Conv",
        input=x.name,
        output=node.outputs[0],
        weight=np.ascontiguousarray(weight),
        bias=bias,
        groups=groups,
        kernel=window.kernel,
        stride=window.stride,
        dilation=window.dilation,
        pads=window.pads,
        nodes=(node.label,),
    )
    build.add(op, (x.shape[0], outputs, *window.output), 1)


def _matrix(build: Builder, node: Node) -> F64:
    weight = build.weights(node, 1, "weight")
    if weight.ndim != 2 or weight.size == 0:
        raise Rejected(f"its weight has the shape {weight.shape}, expected a matrix", tensor=node.input(1))
    return weight


def _row(build: Builder, node: Node, columns: int) -> F64:
    """Gemm's C, if it is one row or one number."""
    value = build.weights(node, 2, "C")
    one_row = value.ndim <= 2 and value.size == (value.shape[-1] if value.ndim else 1)
    if not one_row or value.size not in (1, columns):
        raise Rejected(
            f"its C has the shape {value.shape}; one number per column ({columns}) is supported",
            tensor=node.input(2),
        )
    return np.broadcast_to(value.reshape(-1), (columns,))


def _add_matrix(build: Builder, node: Node, a: Tensor, weight: F64, bias: F64) -> None:
    rows, columns = weight.shape
    if a.shape[-1] != rows:
        raise Rejected(f"its weight has {rows} rows, its input {a.shape[-1]} columns", tensor=node.input(1))
    op = CrossbarOp(
        name=build.op_name(node),
        op="Gemm" if node.op == "Gemm" else "MatMul",
        input=build.along(a, len(a.shape) - 1).name,
        output=node.outputs[0],
        weight=np.ascontiguousarray(weight),
        bias=bias,
        nodes=(node.label,),
    )
    shape = (*a.shape[:-1], columns)
    build.add(op, shape, len(shape) - 1)
    assert len(shape) > 2 or len(shape) - 1 == channel_axis(len(shape))
