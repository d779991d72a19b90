"""The original weights, folded and quantised once more, by the specification in docs/quantisation.md.

All arithmetic is float64 unless a value is said to be float32; the order of operations is part
of the specification, for the compiler must arrive at the same integers:

    fold        BatchNormalization f = gamma / sqrt(var + eps): W' = W * f, b' = (b - mean) * f + beta
                Add: b' = b + c                           (both in graph order, from b = 0 or the bias)
    scale       s_w[m] = float32(max |W'[m]| / (2^(bits-1) - 1)), float32(2^-16) for a zero channel
    weights     W_q = clip(rint(W' / s_w[m]), -(2^(bits-1) - 1), 2^(bits-1) - 1)
    bias        b_q = rint(b' / (s_x * s_w[m]))
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from redc.oracle.network import Chain, Network, OracleError, attributes, describe, float64

F64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False, slots=True)
class Folded:
    """W' of shape (G, C/G, M/G, *kernel) and b' of shape (M,), in real numbers."""

    weight: F64
    bias: F64


@dataclass(frozen=True, eq=False, slots=True)
class Quantised:
    """Integers: weight as `Folded.weight`, bias (M,); `scale` (M,) is float64 of float32 values."""

    weight: Int64
    bias: Int64
    scale: F64


def fold(network: Network, chain: Chain) -> Folded:
    """Weights and bias of the operator with all that follows, short of the activation, folded in."""
    weight, bias = _operator(network, chain.operator)
    groups, _, width = weight.shape[:3]
    channel_axis_from_end = weight.ndim - 2 if chain.operator.op_type.startswith("Conv") else 1
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
        else:
            constant = next(c for name in node.input if (c := network.constant(name)) is not None)
            bias = bias + _per_channel(constant, bias.size, channel_axis_from_end, describe(node))
    return Folded(weight, bias)


def quantise(folded: Folded, bits: int, input_scale: float) -> Quantised:
    """The integers that a program of `bits`-bit weights holds for these weights."""
    groups, _, width = folded.weight.shape[:3]
    largest = (1 << (bits - 1)) - 1
    others = (1, *range(3, folded.weight.ndim))
    peak = np.abs(folded.weight).max(axis=others, initial=0.0).reshape(-1)
    scale = (peak / largest).astype(np.float32)
    scale = np.where(scale == 0, np.float32(2.0**-16), scale).astype(np.float64)
    spread = scale.reshape((groups, 1, width) + (1,) * (folded.weight.ndim - 3))
    weight = np.clip(np.rint(folded.weight / spread), -largest, largest).astype(np.int64)
    bias = np.rint(folded.bias / (input_scale * scale)).astype(np.int64)
    return Quantised(weight, bias, scale)


def _operator(network: Network, node: onnx.NodeProto) -> tuple[F64, F64]:
    """The operator's own weight as (G, C/G, M/G, *kernel) and bias as (M,)."""
    named = attributes(node)
    weight = float64(network.constant(node.input[1]))
    what = describe(node)
    if node.op_type == "MatMul":
        if weight.ndim != 2:
            raise OracleError(f"{what}: a weight of rank {weight.ndim}, expected 2")
        return weight[None], np.zeros(weight.shape[1])
    if node.op_type == "Gemm":
        if named.get("transA", 0):
            raise OracleError(f"{what}: transA=1 makes rows of the input its channels")
        weight = named.get("alpha", 1.0) * (weight.T if named.get("transB", 0) else weight)
        bias = np.zeros(weight.shape[1])
        if len(node.input) > 2 and node.input[2]:
            added = _per_channel(_bias(network, node), bias.size, 1, what)
            bias = bias + named.get("beta", 1.0) * added
        return weight[None], bias
    groups = int(named.get("group", 1))
    if node.op_type == "ConvTranspose":
        weight = weight.reshape(groups, weight.shape[0] // groups, *weight.shape[1:])
    else:
        weight = weight.reshape(groups, weight.shape[0] // groups, *weight.shape[1:]).swapaxes(1, 2)
    bias = np.zeros(groups * weight.shape[2])
    if len(node.input) > 2 and node.input[2]:
        bias = bias + float64(_bias(network, node))
    return weight, bias


def _bias(network: Network, node: onnx.NodeProto) -> npt.NDArray[Any]:
    value = network.constant(node.input[2])
    if value is None:
        raise OracleError(f"{describe(node)}: its bias {node.input[2]!r} is no constant")
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
