"""The original weights, folded and quantised once more, by the specification in docs/quantisation.md.

All arithmetic is float64 unless a value is said to be float32; the order of operations is part
of the specification, for the compiler must arrive at the same integers:

    fold        BatchNormalization f = gamma / sqrt(var + eps): W' = W * f, b' = (b - mean) * f + beta
                Add: b' = b + c                           (both in graph order, from b = 0 or the bias)
    steps       W'[c, m] is W'[c, m] * k[c], where the input has the scale s_x * k[c] in channel c
    scale       s_w[m] = float32(max |W'[m]| / (2^(bits-1) - 1)), float32(2^-16) for a zero channel,
                and no less than |b'[m]| / (s_x * 2^(bits+22)) for another
    weights     W_q = clip(rint(W' / s_w[m]), -(2^(bits-1) - 1), 2^(bits-1) - 1)
    bias        b_q = rint(b' / (s_x * s_w[m])) + d[m], where the layer declares a correction d: at most
                what its rounded weights can make of the codes of its input

Weights that the file holds as integers are those integers, s_w the file's scale (times f, where a
BatchNormalization follows); a bias whose integers are on the scale s_x * s_w stays those integers.
To such weights another bias is finer by a power of two, where whole ones would show in the output:

    point       b_q = rint(b' / (s_x * s_w[m] / 2^p)), and sums are multiplied by 2^p before it is added:
                p is the least for which |b_q * s_x * s_w[m] / 2^p - b'| is a 16th of what moves the
                output by one step, in every channel, or the largest for which sums stay in 60 bits
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from redc.oracle.given import (
    bias_input,
    given_bias,
    given_weight,
    kind,
    read_codes,
    says_codes,
    weight_input,
)
from redc.oracle.network import Chain, Network, OracleError, attributes, describe, float64

F64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False, slots=True)
class Folded:
    """W' of shape (G, C/G, M/G, *kernel) and b' of shape (M,), in real numbers.

    `codes` and `scale` (M,) are the file's own where it holds the weight as integers.
    """

    weight: F64
    bias: F64
    codes: Int64 | None = None
    scale: F64 | None = None


@dataclass(frozen=True, eq=False, slots=True)
class Quantised:
    """Integers: weight as `Folded.weight`, bias (M,); `scale` (M,) is float64 of float32 values.

    `given` says that the file holds the weight as integers; their sums count in steps that are
    2^`point` times those of the bias.
    """

    weight: Int64
    bias: Int64
    scale: F64
    given: bool = False
    point: int = 0


def fold(network: Network, chain: Chain) -> Folded:
    """Weights and bias of the operator with all that follows, short of the activation, folded in."""
    original = _operator(network, chain.operator)
    weight, bias, step = original.weight, original.bias, original.scale
    groups, _, width = weight.shape[:3]
    channel_axis_from_end = weight.ndim - 2 if kind(chain.operator).startswith("Conv") else 1
    for node in chain.affine:
        if node.op_type == "BatchNormalization":
            gamma, beta, mean, variance = (_vector(network, node, i, bias.size) for i in range(1, 5))
            named = attributes(node)
            if named.get("training_mode", 0):
                raise OracleError(f"{describe(node)} is in training mode")
            factor = gamma / np.sqrt(variance + named.get("epsilon", 1e-5))
            bias = (bias - mean) * factor + beta
            shape = (groups, 1, width) + (1,) * (weight.ndim - 3)
            weight = weight * factor.reshape(shape)
            step = step if step is None else step * factor
        elif node.op_type == "DequantizeLinear":
            factor = np.broadcast_to(float64(network.constant(node.input[1])).reshape(-1), bias.shape)
            zero = float64(network.constant(node.input[2])).reshape(-1) if len(node.input) > 2 else 0.0
            bias = bias * factor + -factor * zero
            weight = weight * factor.reshape((groups, 1, width) + (1,) * (weight.ndim - 3))
            step = step if step is None else step * factor
        else:
            constant = next(c for name in node.input if (c := network.constant(name)) is not None)
            bias = bias + _per_channel(constant, bias.size, channel_axis_from_end, describe(node))
    if step is not None and (step <= 0).any():
        raise OracleError(f"{describe(chain.operator)}: what follows turns its integers' signs")
    return Folded(weight, bias, original.codes, step)


def corrected(folded: Folded, weights: Quantised, correction: Int64, steps: Int64, reach: int) -> Quantised:
    """`weights` with a declared `correction` (M,) in the bias.

    Raises OracleError where that is more than the error of `weights` comes to on drives up to `reach`.
    """
    groups, depth, width = folded.weight.shape[:3]
    kernel = (1,) * (folded.weight.ndim - 3)
    own = np.broadcast_to(steps, groups * depth).reshape(groups, depth, 1, *kernel)
    error = np.abs(folded.weight * own / weights.scale.reshape(groups, 1, width, *kernel) - weights.weight)
    most = np.ceil(error.sum(axis=(1, *range(3, error.ndim))).reshape(-1) * reach)
    if correction.shape != most.shape or (np.abs(correction) > most).any():
        raise OracleError("the bias correction that it declares is not one that rounded weights can need")
    return replace(weights, bias=weights.bias + correction)


def quantise(
    folded: Folded, bits: int, input_scale: float, steps: Int64, reach: int, unit: float
) -> Quantised:
    """The integers that a program of `bits`-bit weights holds for these weights, whose input's
    channels have the scales `input_scale * steps` and codes up to `reach` from zero; what moves the
    output by one step is `unit`."""
    groups, depth, width = folded.weight.shape[:3]
    largest = (1 << (bits - 1)) - 1
    if steps.size not in (1, groups * depth):
        raise OracleError(f"{steps.size} steps for the {groups * depth} channels of the input")
    if folded.codes is not None and folded.scale is not None:
        if steps.size > 1:
            raise OracleError("the file holds its weights as integers, but its input has steps per channel")
        if np.abs(folded.codes).max() > largest:
            raise OracleError(f"the file's integer weights do not fit {bits} bits on a differential pair")
        exact = folded.bias / (input_scale * folded.scale)
        room = _room(folded.codes, exact, reach)
        worth = input_scale * folded.scale
        point = next((p for p in range(room) if not _shows(exact, worth, p, unit)), room)
        given_bias = np.rint(np.ldexp(exact, point)).astype(np.int64)
        return Quantised(folded.codes, given_bias, folded.scale, given=True, point=point)
    others = (1, *range(3, folded.weight.ndim))
    own = np.broadcast_to(steps, groups * depth).reshape((groups, depth) + (1,) * (folded.weight.ndim - 2))
    real = folded.weight * own
    peak = np.abs(real).max(axis=others, initial=0.0).reshape(-1)
    floor = np.abs(folded.bias) / (input_scale * 2.0 ** (bits + 22))
    wanted = np.where(peak == 0, 0.0, np.maximum(peak / largest, floor)).astype(np.float32)
    scale = np.where(wanted == 0, np.float32(2.0**-16), wanted).astype(np.float64)
    spread = scale.reshape((groups, 1, width) + (1,) * (folded.weight.ndim - 3))
    weight = np.clip(np.rint(real / spread), -largest, largest).astype(np.int64)
    bias = np.rint(folded.bias / (input_scale * scale)).astype(np.int64)
    return Quantised(weight, bias, scale)


def _shows(bias: F64, worth: F64, point: int, unit: float) -> bool:
    """Whether rounding `bias`, in steps of `worth`, to `point` bits below the point shows."""
    fine = np.ldexp(bias, point)
    return bool((np.abs(fine - np.rint(fine)) * np.ldexp(worth, -point) > unit / 16).any())


def _room(weight: Int64, bias: F64, reach: int) -> int:
    """How often sums can be doubled and stay in 60 bits."""
    pixels = np.abs(weight).sum(axis=(0, 1)).max(axis=0)
    most = max(float(pixels.sum()) * reach + float(np.abs(bias).max()), 2.0**31)
    return max(0, 60 - math.ceil(math.log2(most)))


def _operator(network: Network, node: onnx.NodeProto) -> Folded:
    """The operator's own weight as (G, C/G, M/G, *kernel) and bias as (M,)."""
    named = attributes(node)
    what = describe(node)
    if named.get("transA", 0):
        raise OracleError(f"{what}: transA=1 makes rows of the input its channels")
    alpha = named.get("alpha", 1.0) if node.op_type == "Gemm" else 1.0
    given = given_weight(network, node) if alpha == 1.0 else None
    codes: Int64 | None = None
    scale: F64 | None = None
    if given is None:
        weight = _real_weight(network, node, alpha)
    else:
        whole, steps = _arranged(given.codes, node), _arranged(given.scale, node)
        weight = whole * steps
        by_channel = np.moveaxis(steps, 1, 2).reshape(steps.shape[0] * steps.shape[2], -1)
        if (by_channel == by_channel[:, :1]).all():
            codes, scale = whole, by_channel[:, 0]
        elif says_codes(node):
            raise OracleError(f"{what}: its integer weights have several scales for one output channel")
        else:
            weight = _real_weight(network, node, alpha)
    bias = np.zeros(weight.shape[0] * weight.shape[2])
    if bias_input(node):
        beta = named.get("beta", 1.0) if kind(node) == "Gemm" else 1.0
        added = _per_channel(_bias(network, node), bias.size, 1, what)
        bias = bias + (beta * added if kind(node) == "Gemm" else added)
        bias = _integer_bias(network, node, bias, scale) if beta == 1.0 else bias
    return Folded(weight, bias, codes, scale)


def _real_weight(network: Network, node: onnx.NodeProto, alpha: float) -> F64:
    """The weight as the float32 numbers that it is, arranged."""
    return alpha * _arranged(float64(network.constant(node.input[weight_input(node)])), node)


def _integer_bias(network: Network, node: onnx.NodeProto, bias: F64, scale: F64 | None) -> F64:
    """A bias whose integers are on the accumulators' scale, to 1e-6, is those integers."""
    given, read = given_bias(network, node), read_codes(network, node)
    if given is None or read is None or scale is None:
        return bias
    step = read.scale * scale
    same = (given[1] == 0) | (np.abs(given[1] - step) <= 1e-6 * step)
    return np.where(same, given[0] * step, bias)


def _arranged(weight: npt.NDArray[Any], node: onnx.NodeProto) -> npt.NDArray[Any]:
    """A weight of ONNX's layout as (G, C/G, M/G, *kernel)."""
    named = attributes(node)
    if kind(node) in ("MatMul", "Gemm"):
        if weight.ndim != 2:
            raise OracleError(f"{describe(node)}: a weight of rank {weight.ndim}, expected 2")
        return (weight.T if named.get("transB", 0) else weight)[None]
    groups = int(named.get("group", 1))
    split = weight.reshape(groups, weight.shape[0] // groups, *weight.shape[1:])
    return split if kind(node) == "ConvTranspose" else split.swapaxes(1, 2)


def _bias(network: Network, node: onnx.NodeProto) -> npt.NDArray[Any]:
    value = network.constant(bias_input(node))
    if value is None:
        raise OracleError(f"{describe(node)}: its bias {bias_input(node)!r} is no constant")
    return value


def _vector(network: Network, node: onnx.NodeProto, index: int, size: int) -> F64:
    value = network.constant(node.input[index])
    if value is None or value.shape != (size,):
        raise OracleError(f"{describe(node)}: {node.input[index]!r} is no constant of shape ({size},)")
    return float64(value)


def _per_channel(value: npt.NDArray[Any], channels: int, axis_from_end: int, what: str) -> F64:
    """A constant that broadcasts along everything but the channels, as a vector."""
    along = value.shape[-axis_from_end] if value.ndim >= axis_from_end else 1
    if value.size != along or along not in (1, channels):
        raise OracleError(f"{what}: a constant of shape {value.shape} is not one number per channel")
    return np.broadcast_to(float64(value).reshape(-1), (channels,))
