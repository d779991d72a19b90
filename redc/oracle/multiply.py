"""Exact integer convolutions and deconvolutions through onnxruntime's ConvInteger.

Only ConvInteger with uint8 x and uint8 w is exact on every CPU (elsewhere int8 kernels may
saturate in 16 bits), so every value is written as unsigned bytes: a signed byte v as v + 128
with zero point 128, wider values as byte planes, recombined in int64.  Products are 1x1
ConvIntegers over columns; what surrounds them is the definition of the two operators:

    convolution      i = stride * o + dilation * k - pad     (gather the inputs of each output)
    deconvolution    o = stride * i + dilation * k - pad     (add each product where it belongs)
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import TensorProto, helper

Array = npt.NDArray[Any]
Int64 = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]

LONGEST = 32768
"""Products of bytes that may be added in int32: 32768 * 255 * 255 < 2^31."""

CHUNK = 1 << 24
"""Values of the largest intermediate that is made at once."""


@dataclass(frozen=True, eq=False, slots=True)
class Window:
    """A convolution's or deconvolution's geometry, one entry per spatial axis.

    `pads` are those at the beginning; `output` is the output's spatial size (so pads at the
    end, output_padding and auto_pad are already in it).
    """

    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    pads: tuple[int, ...]
    output: tuple[int, ...]


@dataclass(frozen=True, eq=False, slots=True)
class Plane:
    """A summand of integers as bytes: value = (bytes - zero) * 2^shift."""

    bytes: Bytes
    zero: int
    shift: int


def planes(values: Array) -> tuple[Plane, ...]:
    """Write integers as a sum of byte planes: one where 256 neighbouring integers hold them all."""
    low, high = (int(values.min()), int(values.max())) if values.size else (0, 0)
    low, high = min(low, 0), max(high, 0)
    rest = values.astype(np.int64) if high - low > 255 else values
    parts: list[Plane] = []
    while high - low > 255:
        parts.append(Plane((rest & 255).astype(np.uint8), 0, 8 * len(parts)))
        rest, low, high = rest >> 8, low >> 8, high >> 8
    zero = 128 if -128 <= low < 0 and high < 128 else -low
    # Modulo 256, where the sum, which fits a byte, is the same.
    parts.append(Plane(rest.astype(np.uint8) + np.uint8(zero % 256), zero, 8 * len(parts)))
    return tuple(parts)


def convolve(x: Array, weight: Array, window: Window) -> Int64:
    """The exact convolution of integers.

    `x` is (N, C, *I) with every value at its true zero (code - zero point), `weight`
    (G, C/G, M/G, *K); the result is (N, M, *window.output).
    """
    batch, channels, groups = x.shape[0], x.shape[1], weight.shape[0]
    kernel = weight.shape[3:]
    flat = weight.reshape(*weight.shape[:3], -1)
    padded = _padded(x, kernel, window)
    out = np.zeros((batch, groups * weight.shape[2], *window.output), np.int64)
    per_batch = math.prod(window.output)
    # As many kernel pixels at once as fit a chunk and an int32 sum.
    step = max(1, min(CHUNK // max(1, batch * channels * per_batch), LONGEST // weight.shape[1]))
    pixels = list(itertools.product(*map(range, kernel)))
    for first in range(0, len(pixels), step):
        some = pixels[first : first + step]
        gathered = np.empty((batch, groups, channels // groups, len(some), per_batch), x.dtype)
        for position, k in enumerate(some):
            reach = tuple(
                slice(d * i, d * i + s * (o - 1) + 1, s)
                for d, i, s, o in zip(window.dilation, k, window.stride, window.output, strict=True)
            )
            gathered[:, :, :, position] = padded[:, :, *reach].reshape(
                batch, groups, channels // groups, per_batch
            )
        columns = gathered.reshape(batch, channels * len(some), per_batch)
        rows = flat[..., first : first + step].transpose(0, 2, 1, 3)  # group, m, c, kernel pixel
        product = product_1x1(columns, rows.reshape(-1, weight.shape[1] * len(some)), groups)
        out += product.reshape(out.shape)
    return out


def deconvolve(x: Array, weight: Array, window: Window) -> Int64:
    """The exact deconvolution (ConvTranspose) of integers; arguments as `convolve`'s."""
    batch, size, groups = x.shape[0], x.shape[2:], weight.shape[0]
    kernel, width = weight.shape[3:], weight.shape[2]
    pixels_in = math.prod(size)
    columns = x.reshape(batch, x.shape[1], pixels_in)
    flat = weight.reshape(groups, weight.shape[1], width, -1)
    out = np.zeros((batch, groups * width, *window.output), np.int64)
    pixels = list(itertools.product(*map(range, kernel)))
    step = max(1, CHUNK // max(1, batch * groups * width * pixels_in))
    for first in range(0, len(pixels), step):
        some = pixels[first : first + step]
        rows = flat[..., first : first + step].transpose(0, 3, 2, 1)  # group, kernel pixel, m, c
        product = product_1x1(columns, rows.reshape(-1, weight.shape[1]), groups)
        product = product.reshape(batch, groups, len(some), width, *size)
        for position, k in enumerate(some):
            there, here = _overlap(size, k, window)
            part = product[:, :, position].reshape(batch, groups * width, *size)
            out[:, :, *there] += part[:, :, *here]
    return out


def product_1x1(x: Array, weight: Array, groups: int) -> Array:
    """x (N, C, P) times weight (M, C/G) -> (N, M, P): exact, int32 if one product of planes did it."""
    total: Array | None = None
    depth = weight.shape[1]
    for first in range(0, depth, LONGEST):
        part = slice(first, first + LONGEST)
        taken = x.reshape(x.shape[0], groups, depth, x.shape[2])[:, :, part]
        taken = taken.reshape(x.shape[0], -1, x.shape[2])
        for product, shift in _plane_products(taken, weight[:, part], groups):
            if total is None and shift == 0:
                total = product
            else:
                assert total is not None
                total = total.astype(np.int64) + (product.astype(np.int64) << shift)
    if total is None:
        total = np.zeros((x.shape[0], weight.shape[0], x.shape[2]), np.int64)
    return total


def _plane_products(x: Array, weight: Array, groups: int) -> Iterator[tuple[Array, int]]:
    session = _session(groups)
    weight_planes = planes(weight)
    for left in planes(x):
        for right in weight_planes:
            (product,) = session.run(
                None,
                {
                    "x": left.bytes,
                    "w": right.bytes[..., None],
                    "xz": np.array(left.zero, np.uint8),
                    "wz": np.array(right.zero, np.uint8),
                },
            )
            yield product, left.shift + right.shift


@functools.cache
def _session(groups: int) -> onnxruntime.InferenceSession:
    """A ConvInteger of kernel size 1 with `groups` groups, every shape and weight still open."""
    node = helper.make_node("ConvInteger", ["x", "w", "xz", "wz"], ["y"], kernel_shape=[1], group=groups)
    values = [
        helper.make_tensor_value_info(name, TensorProto.UINT8, shape)
        for name, shape in (("x", [None] * 3), ("w", [None] * 3), ("xz", []), ("wz", []))
    ]
    result = helper.make_tensor_value_info("y", TensorProto.INT32, [None] * 3)
    graph = helper.make_graph([node], "product", values, [result])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 10)], ir_version=8)
    onnx.checker.check_model(model)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def _padded(x: Array, kernel: tuple[int, ...], window: Window) -> Array:
    """`x` with zeros around it, exactly as far as the output's windows reach."""
    around, index = [], []
    sizes = zip(x.shape[2:], kernel, window.output, strict=True)
    steps = zip(window.stride, window.dilation, window.pads, strict=True)
    for (size, taps, out), (stride, dilation, pad) in zip(sizes, steps, strict=True):
        need = stride * (out - 1) + dilation * (taps - 1) + 1
        around.append((max(0, pad), max(0, need - pad - size)))
        start = max(0, -pad)
        index.append(slice(start, start + need))
    return np.pad(x, [(0, 0), (0, 0), *around])[:, :, *index]


def _overlap(
    size: tuple[int, ...], k: tuple[int, ...], window: Window
) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Where kernel pixel `k`'s products go in the output, and which of them are not cropped."""
    there, here = [], []
    axes = zip(size, k, window.stride, window.dilation, window.pads, window.output, strict=True)
    for inputs, tap, stride, dilation, pad, outputs in axes:
        reach = dilation * tap - pad
        first = max(0, -(reach // stride))  # the smallest i with stride * i + reach >= 0
        last = min(inputs, (outputs - 1 - reach) // stride + 1)
        count = max(0, last - first)
        start = stride * first + reach if count else 0
        there.append(slice(start, start + stride * (count - 1) + 1 if count else start, stride))
        here.append(slice(first, first + count))
    return tuple(there), tuple(here)
