"""What one crossbar layer must compute: accumulators with bias, and output codes.

Linear, Relu, LeakyRelu and Clip layers are exact to the last bit, requantisation included: it is
a chain of single float32 operations, written down in the instruction set and done again here.

Tanh and Sigmoid go through a table of straight lines, whose meaning is not the function itself.
Their accumulators must be equal all the same; their codes are held against the function in
float64, and may lie up to 3/4 of a step from its value before rounding: half a step is the
rounding, a quarter is left to the table.  So a code is at most 1 off the nearest one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from isa.program import Buffer
from redc.oracle.given import Given, kind, read_codes, zero_point
from redc.oracle.multiply import Window, convolve, deconvolve
from redc.oracle.network import Chain, Network, OracleError, attributes, describe
from redc.oracle.weights import Quantised, corrected, fold, quantise
from redc.oracle.window import conv_transpose_window, conv_window

Array = npt.NDArray[Any]
Int64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]

TABLE_TOLERANCE = 0.75
"""Steps that a code out of a table may lie from the exact function, rounding included."""


@dataclass(frozen=True, eq=False, slots=True)
class LayerText:
    """What a program's text says about one crossbar layer.

    `tensor` is the ONNX tensor it makes, `held` the one whose values it drives, perhaps in
    another shape; `source` and `result` are the buffers it drives from and stores codes to,
    `weight_bits` the bits of its weights.  `source_steps` and `result_steps` are the whole numbers
    that the buffers declare to multiply their scale by, one per channel or one for all; `correction`
    are those that the layer declares to be in its bias.
    """

    tensor: str
    held: str
    source: Buffer
    result: Buffer
    weight_bits: int
    source_steps: Int64 = field(default_factory=lambda: np.ones(1, np.int64))
    result_steps: Int64 = field(default_factory=lambda: np.ones(1, np.int64))
    correction: Int64 | None = None


@dataclass(frozen=True, eq=False, slots=True)
class Expected:
    """Both tensors in the shape of the result's buffer (channels last), int64.

    A code from `lowest` to `highest` keeps the promise: both are `codes` but for a table.
    """

    accumulators: Int64
    codes: Int64
    lowest: Int64
    highest: Int64


class Oracle:
    """Expected integers for the crossbar layers of one model."""

    def __init__(self, network: Network) -> None:
        self.network = network

    def expect(self, layer: LayerText, codes: Array, shape: tuple[int, ...]) -> Expected:
        """What `layer` must compute from `codes`, the contents of its source buffer.

        `shape` is the ONNX shape of the crossbar operator's own input, which the source may
        hold in another shape.  Raises OracleError where model and text contradict each other.
        """
        chain = self.network.chain(layer.tensor)
        self._check_source(chain, layer)
        _check_codes(read_codes(self.network, chain.operator), layer.source)
        _check_codes(chain.given, layer.result)
        self._check_zero(chain.operator, layer.source)
        scale_x, scale_y = _scale(layer.source), _scale(layer.result)
        folded = fold(self.network, chain)
        zero, kind_x = layer.source.zero, layer.source.type
        reach = max(kind_x.high - zero, zero - kind_x.low)
        unit = scale_y / _steepest(chain.activation)
        weights = quantise(folded, layer.weight_bits, scale_x, layer.source_steps, reach, unit)
        if layer.correction is not None:
            weights = corrected(folded, weights, layer.correction, layer.source_steps, reach)
        x = np.moveaxis(codes.astype(np.int64), -1, layer.source.axis) - layer.source.zero
        if x.size != math.prod(shape):
            raise OracleError(
                f"buffer %{layer.source.name} holds {x.size} values, the input of "
                f"{describe(chain.operator)} has {math.prod(shape)}"
            )
        _check_batch_normalization(chain, len(shape))
        accumulators = _accumulate(chain.operator, x.reshape(shape), weights)
        if accumulators.size != math.prod(layer.result.shape):
            raise OracleError(
                f"{describe(chain.operator)} makes {accumulators.shape[1:]} values of each sample, "
                f"buffer %{layer.result.name} has the shape {layer.result.shape}"
            )
        last = accumulators.reshape(layer.result.shape)
        function = chain.activation
        if function is not None and function.op_type in ("Tanh", "Sigmoid", "Clip"):
            _check_one_scale(function, layer)
        if function is not None and function.op_type in ("Tanh", "Sigmoid"):
            step = np.ldexp(scale_x * weights.scale, -weights.point)
            return _by_function(function.op_type, last, step, layer.result)
        factor = (scale_x * weights.scale / (scale_y * layer.result_steps)).astype(np.float32)
        if _are_sums(chain) and (scale_y, layer.result.zero, layer.result_steps.size) == (1.0, 0, 1):
            return Expected(last, last, last, last)
        if weights.given:  # in float32, as onnxruntime's integer kernels do it
            _check_one_scale(chain.operator, layer)
            factor = np.float32(scale_x) * weights.scale.astype(np.float32) / np.float32(scale_y)
            factor = np.ldexp(factor, -weights.point)
        exact = self._requantised(function, last, factor, layer.result)
        return Expected(last, exact, exact, exact)

    def _check_source(self, chain: Chain, layer: LayerText) -> None:
        """The buffer that is driven must hold the operator's input, not another tensor."""
        wanted = self.network.driven(chain.operator)
        if self.network.root(layer.held) != self.network.root(wanted):
            raise OracleError(
                f"{describe(chain.operator)} reads tensor {wanted!r}, but the layer drives from "
                f"buffer %{layer.source.name}, which holds {layer.held!r}"
            )

    def _check_zero(self, node: onnx.NodeProto, source: Buffer) -> None:
        """An integer operator's zero point counts whatever its input's codes mean."""
        if node.op_type.endswith("Integer") and source.zero != zero_point(self.network, node):
            raise OracleError(
                f"buffer %{source.name} has the zero {source.zero}, "
                f"the file says {zero_point(self.network, node)}"
            )

    def _requantised(
        self, function: onnx.NodeProto | None, accumulators: Int64, factor: Array, result: Buffer
    ) -> Int64:
        """Channels last.  Every step is one float32 operation, as the instruction `quant` says."""
        low, high, slope = result.type.low, result.type.high, np.float32(1)
        if function is not None and function.op_type == "Relu":
            low = max(low, result.zero)
        elif function is not None and function.op_type == "LeakyRelu":
            slope = np.float32(attributes(function).get("alpha", 0.01))
        elif function is not None and function.op_type == "Clip":
            bounds = self._clip_bounds(function)
            low, high = (_code(bound, result) for bound in bounds)
        real = accumulators.astype(np.float32) * factor
        real = np.where(real < 0, real * slope, real)
        steps = np.rint(real) + np.float32(result.zero)
        return np.minimum(np.maximum(steps, _float32(low)), _float32(high)).astype(np.int64)

    def _clip_bounds(self, node: onnx.NodeProto) -> tuple[float, float]:
        named = attributes(node)
        bounds = [named.get("min", -math.inf), named.get("max", math.inf)]
        for position, name in enumerate(node.input[1:3]):
            if name:
                value = self.network.constant(name)
                if value is None:
                    raise OracleError(f"{describe(node)}: its bound {name!r} is no constant")
                bounds[position] = float(value.reshape(-1)[0])
        return bounds[0], bounds[1]


def _steepest(function: onnx.NodeProto | None) -> float:
    """The slope of the function that ends the layer, or 1 where that is less, but for a Sigmoid."""
    if function is not None and function.op_type == "LeakyRelu":
        return max(1.0, float(attributes(function).get("alpha", 0.01)))
    return 0.25 if function is not None and function.op_type == "Sigmoid" else 1.0


def _are_sums(chain: Chain) -> bool:
    """Whether the layer makes what an integer operator does, and nothing else."""
    return chain.operator.op_type.endswith("Integer") and not chain.affine and chain.activation is None


def _accumulate(node: onnx.NodeProto, x: Int64, weights: Quantised) -> Int64:
    """The operator on integers, bias added; channels last, whatever the operator's own layout."""
    if kind(node) in ("Gemm", "MatMul"):
        columns = x.reshape(1, -1, x.shape[-1]).swapaxes(1, 2)
        window = Window((1,), (1,), (0,), columns.shape[2:])
        product = convolve(columns, weights.weight[..., None], window)
    elif kind(node) == "ConvTranspose":
        window = conv_transpose_window(node, x.shape[2:], weights.weight.shape[3:])
        product = deconvolve(x, weights.weight, window)
    else:
        window = conv_window(node, x.shape[2:], weights.weight.shape[3:])
        product = convolve(x, weights.weight, window)
    total: Int64 = (np.moveaxis(product, 1, -1) << weights.point) + weights.bias
    return total


def _by_function(kind: str, accumulators: Int64, step: F64, result: Buffer) -> Expected:
    real = accumulators * step
    value = np.tanh(real) if kind == "Tanh" else 1.0 / (1.0 + np.exp(-np.maximum(real, -700.0)))
    codes = value / _scale(result) + result.zero

    def saturated(steps: F64) -> Int64:
        whole: Int64 = np.clip(steps, result.type.low, result.type.high).astype(np.int64)
        return whole

    lowest, highest = np.ceil(codes - TABLE_TOLERANCE), np.floor(codes + TABLE_TOLERANCE)
    return Expected(accumulators, saturated(np.rint(codes)), saturated(lowest), saturated(highest))


def _float32(bound: int) -> np.float32:
    """A bound as `quant` has it: no further from zero than it is."""
    near = np.float32(bound)
    return near if abs(int(near)) <= abs(bound) else np.nextafter(near, np.float32(0))


def _code(real: float, result: Buffer) -> int:
    """The code nearest to a bound of Clip; an end of its type where there is no bound."""
    low, high = result.type.low, result.type.high
    if math.isinf(real):
        return low if real < 0 else high
    return min(max(int(np.rint(real / _scale(result))) + result.zero, low), high)


def _scale(buffer: Buffer) -> float:
    if buffer.scale is None:
        raise OracleError(f"buffer %{buffer.name} has no scale")
    return buffer.scale


def _check_codes(given: Given | None, buffer: Buffer) -> None:
    """A buffer of a tensor that the file gives codes must have those."""
    held = Given(_scale(buffer), buffer.zero, buffer.type.low, buffer.type.high)
    if given is not None and given != held:
        raise OracleError(f"buffer %{buffer.name} has the codes {held}, the file says {given}")


def _check_one_scale(node: onnx.NodeProto, layer: LayerText) -> None:
    """Steps per channel would make a bound or a table another one for each channel."""
    if layer.result_steps.size > 1:
        raise OracleError(f"{describe(node)} makes codes of one scale, %{layer.result.name} has steps")


def _check_batch_normalization(chain: Chain, rank: int) -> None:
    """BatchNormalization works on axis 1, the channels of a MatMul on the last."""
    if kind(chain.operator) == "MatMul" and rank != 2:
        for node in chain.affine:
            if node.op_type == "BatchNormalization":
                raise OracleError(f"{describe(node)} does not work on the channels of the MatMul")
