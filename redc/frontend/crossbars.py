"""Importers of the operators whose constant weights lie in crossbars.

Every weight arrives as [kernel..., C, M / groups] (see `CrossbarOp`), its given codes too where it
has some.  ConvInteger and QLinearConv are a Conv, MatMulInteger and QLinearMatMul a MatMul whose
input, weight and output have codes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from redc.frontend.builder import Builder, channel_axis
from redc.frontend.constants import F64, Array
from redc.frontend.encoded import Encoded
from redc.frontend.nodes import Node
from redc.frontend.rejected import Broken, Rejected
from redc.frontend.windows import Window, convolution, deconvolution
from redc.ir.graph import Codes, CrossbarOp, GivenWeight, Tensor

SAME_SCALE = 1e-6
"""How far a bias's scale may lie from input scale * weight scale, relatively, to be that."""


@dataclass(frozen=True, eq=False, slots=True)
class Operands:
    """What a crossbar operator works on, however the node says it.

    `weight` is float64, `encoded` the same as integers where the model gives them; so with `bias`,
    whose integers are on the scale input * weight if `bias_scale` is None.  `given` are the
    output's codes, `dtype` its element type.
    """

    x: Tensor
    weight: F64
    encoded: Encoded | None
    bias: F64 | None
    encoded_bias: Encoded | None
    given: Codes | None = None
    dtype: str = "f32"


def operands(build: Builder, node: Node) -> Operands:
    """Those of a float operator.  Its weight and bias may come out of a DequantizeLinear."""
    weight = build.weights(node, 1, "weight")
    bias = build.weights(node, 2, "bias") if node.input(2) else None
    known = build.constants.encoded
    return Operands(build.data(node), weight, known.get(node.input(1)), bias, known.get(node.input(2)))


def import_conv_transpose(build: Builder, node: Node) -> None:
    """ONNX weight (C, M / groups, kernel...)."""
    given = operands(build, node)
    x, weight, groups = _image(build, node, given)
    channels, width = x.shape[1], weight.shape[1]
    if weight.shape[0] != channels:
        raise Broken(
            f"its weight is for {weight.shape[0]} channels, its input has {channels}", tensor=node.input(1)
        )
    if channels % groups:
        raise Broken(f"its {channels} channels do not divide into {groups} groups")
    window = deconvolution(x.shape[2:], weight.shape[2:], node.attributes)
    _add_windowed(
        build, node, x, given, lambda w: np.moveaxis(w, (0, 1), (-2, -1)), width * groups, groups, window
    )


def import_conv(build: Builder, node: Node) -> None:
    """ONNX weight (M, C / groups, kernel...)."""
    add_conv(build, node, operands(build, node))


def add_conv(build: Builder, node: Node, given: Operands) -> None:
    """A convolution of `given`."""
    x, weight, groups = _image(build, node, given)
    channels, outputs, depth = x.shape[1], *weight.shape[:2]
    if depth * groups != channels:
        raise Broken(
            f"its weight is for {depth} x {groups} groups = {depth * groups} channels, "
            f"its input has {channels}",
            tensor=node.input(1),
        )
    if outputs % groups:
        raise Broken(f"its {outputs} output channels do not divide into {groups} groups")
    window = convolution(x.shape[2:], weight.shape[2:], node.attributes)

    def ordered(values: Array) -> Array:
        split = values.reshape(groups, outputs // groups, depth, *weight.shape[2:])
        return np.moveaxis(split, (0, 2, 1), (-3, -2, -1)).reshape(*weight.shape[2:], channels, -1)

    _add_windowed(build, node, x, given, ordered, outputs, groups, window)


def import_gemm(build: Builder, node: Node) -> None:
    """Y = alpha * A * B + beta * C with constant B and C, one C for every row."""
    a, weight = build.data(node), _matrix(build, node)
    alpha, beta = node.attributes.get("alpha", 1.0), node.attributes.get("beta", 1.0)
    if node.attributes.get("transA", 0):
        raise Rejected("transA=1 makes rows of the input its channels", hint="transpose the other side")
    if len(a.shape) != 2:
        raise Rejected(f"its input has rank {len(a.shape)}, expected 2", tensor=a.name)
    transposed = bool(node.attributes.get("transB", 0))
    columns = weight.shape[0] if transposed else weight.shape[1]
    bias = beta * _row(build, node, build.weights(node, 2, "C"), columns) if node.input(2) else None
    known = build.constants.encoded
    encoded = known.get(node.input(1)) if alpha == 1 else None
    encoded_bias = known.get(node.input(2)) if beta == 1 else None
    if encoded_bias is not None:
        encoded_bias = encoded_bias.map(lambda c: _row(build, node, c, columns))
    given = Operands(a, weight if alpha == 1 else alpha * weight, encoded, bias, encoded_bias)
    _add_matrix(build, node, given, lambda w: w.T if transposed else w)


def import_matmul(build: Builder, node: Node) -> None:
    """Y = A * B with constant B of two axes; every axis of A but its last is batch."""
    if build.is_constant(node, 0) and not build.is_constant(node, 1):
        raise Rejected("its left operand is the constant; crossbars hold the right one", tensor=node.input(0))
    weight = _matrix(build, node)
    add_matmul(
        build,
        node,
        Operands(build.data(node), weight, build.constants.encoded.get(node.input(1)), None, None),
    )


def add_matmul(build: Builder, node: Node, given: Operands) -> None:
    """A matrix product of `given`, its weight a matrix."""
    _add_matrix(build, node, given, lambda w: w)


def add_gemm(build: Builder, node: Node, given: Operands, *, transposed: bool) -> None:
    """A matrix product of `given`, its weight a matrix, [columns, rows] if `transposed`."""
    if given.weight.ndim != 2 or given.weight.size == 0:
        raise Rejected(f"its weight has the shape {given.weight.shape}, expected a matrix")
    _add_matrix(build, node, given, lambda w: w.T if transposed else w)


def _image(build: Builder, node: Node, given: Operands) -> tuple[Tensor, F64, int]:
    """(input with channels on axis 1, weight, groups) of a Conv or ConvTranspose."""
    x, weight = given.x, given.weight
    rank, groups = len(x.shape), node.attributes.get("group", 1)
    if rank < 3:
        raise Rejected(f"its input has rank {rank}, expected 3 or more", tensor=x.name)
    if weight.ndim != rank:
        raise Broken(f"its weight has rank {weight.ndim}, its input rank {rank}", tensor=node.input(1))
    if weight.size == 0:
        raise Rejected(f"its weight has the shape {weight.shape}: no elements", tensor=node.input(1))
    if groups < 1:
        raise Rejected(f"group is {groups}")
    return build.along(x, 1), weight, groups


def _add_windowed(
    build: Builder,
    node: Node,
    x: Tensor,
    given: Operands,
    order: Callable[[Array], Array],
    outputs: int,
    groups: int,
    window: Window,
) -> None:
    weight = _given(given.encoded, order, groups)
    op = CrossbarOp(
        name=build.op_name(node),
        op="ConvTranspose" if node.op == "ConvTranspose" else "Conv",
        input=x.name,
        output=node.outputs[0],
        weight=_real(given, order, weight, groups),
        bias=_bias(node, given, weight, outputs),
        groups=groups,
        kernel=window.kernel,
        stride=window.stride,
        dilation=window.dilation,
        pads=window.pads,
        nodes=(node.label,),
        given=weight,
    )
    build.add(op, (x.shape[0], outputs, *window.output), 1, given.given, given.dtype)


def _given(encoded: Encoded | None, order: Callable[[Array], Array], groups: int) -> GivenWeight | None:
    """Given codes in the layout of CrossbarOp; None where one output channel has several scales, and a
    column of a crossbar one: then the weight counts as a float one."""
    if encoded is None:
        return None
    codes, scale = order(encoded.codes), order(encoded.scale)
    split = scale.reshape(-1, groups, scale.shape[-2] // groups, scale.shape[-1])
    first = split[0, :, 0]
    if not (split == first[:, None]).all():
        return None
    return GivenWeight(np.ascontiguousarray(codes), first.reshape(-1).astype(np.float64), encoded.bits)


def _real(given: Operands, order: Callable[[Array], Array], weight: GivenWeight | None, groups: int) -> F64:
    if weight is None:
        return np.ascontiguousarray(order(given.weight))
    rows = weight.codes.shape[-2] // groups
    return weight.codes * np.repeat(weight.scale.reshape(groups, -1), rows, axis=0)


def _bias(node: Node, given: Operands, weight: GivenWeight | None, outputs: int) -> F64:
    """The bias; given integers on the accumulators' own scale stay those integers."""
    if given.bias is None:
        return np.zeros(outputs)
    if given.bias.shape != (outputs,):
        raise Rejected(f"its bias has shape {given.bias.shape}, expected ({outputs},)", tensor=node.input(2))
    encoded, codes = given.encoded_bias, given.x.given
    if encoded is None or weight is None or codes is None:
        return given.bias
    step: F64 = codes.scale * weight.scale
    same = np.abs(encoded.scale - step) <= SAME_SCALE * step
    return np.where(same, encoded.codes * step, given.bias)


def _matrix(build: Builder, node: Node) -> F64:
    weight = build.weights(node, 1, "weight")
    if weight.ndim != 2 or weight.size == 0:
        raise Rejected(f"its weight has the shape {weight.shape}, expected a matrix", tensor=node.input(1))
    return weight


def _row(build: Builder, node: Node, value: Array, columns: int) -> Array:
    """Gemm's C, if it is one row or one number."""
    one_row = value.ndim <= 2 and value.size == (value.shape[-1] if value.ndim else 1)
    if not one_row or value.size not in (1, columns):
        raise Rejected(
            f"its C has the shape {value.shape}; one number per column ({columns}) is supported",
            tensor=node.input(2),
        )
    return np.broadcast_to(value.reshape(-1), (columns,))


def _add_matrix(build: Builder, node: Node, given: Operands, order: Callable[[Array], Array]) -> None:
    a, (rows, columns) = given.x, order(given.weight).shape
    if a.shape[-1] != rows:
        raise Broken(f"its weight has {rows} rows, its input {a.shape[-1]} columns", tensor=node.input(1))
    weight = _given(given.encoded, order, 1)
    op = CrossbarOp(
        name=build.op_name(node),
        op="Gemm" if node.op == "Gemm" else "MatMul",
        input=build.along(a, len(a.shape) - 1).name,
        output=node.outputs[0],
        weight=_real(given, order, weight, 1),
        bias=_bias(node, given, weight, columns),
        nodes=(node.label,),
        given=weight,
    )
    shape = (*a.shape[:-1], columns)
    build.add(op, shape, len(shape) - 1, given.given, given.dtype)
    assert len(shape) > 2 or len(shape) - 1 == channel_axis(len(shape))
