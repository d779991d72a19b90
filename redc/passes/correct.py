"""What rounding a layer's weights shifts its outputs by, on average (docs/quantisation.md).

    y[m] - y'[m] = sum over kernel pixels k and channels c of (W'[k, c, m] - W_q[k, c, m]) * x[k, c]

in steps of the accumulators, where x is what meets the pixel.  Its mean over the outputs needs only the
mean of every channel: positions of a channel are taken to be alike, and a kernel pixel that meets no
input at some outputs (beyond a border, or between the strides of a ConvTranspose) gets 0 there.
"""

from __future__ import annotations

import functools

import numpy as np

from redc.ir.graph import F64, Array, Codes, CrossbarOp


def mean_drives(
    op: CrossbarOp, mean: F64, codes: Codes, size: tuple[int, ...], output_size: tuple[int, ...]
) -> F64:
    """(*kernel, C): what each kernel pixel meets on average, in steps of the input.

    `mean` (C,) are the channels' means in real numbers, `codes` the input's; `size` and `output_size`
    are its and the output's spatial axes.
    """
    drives = np.clip(mean / codes.scales, codes.low - codes.zero, codes.high - codes.zero)
    shares = [
        _share(op, axis, n, outputs) for axis, (n, outputs) in enumerate(zip(size, output_size, strict=True))
    ]
    met = functools.reduce(np.multiply.outer, shares, np.ones(()))
    spread: F64 = met[..., None] * drives
    return spread


def _share(op: CrossbarOp, axis: int, size: int, outputs: int) -> F64:
    """(kernel,): the part of the output's positions along `axis` at which a kernel pixel meets an input."""
    pixels = np.arange(op.kernel[axis])[:, None] * op.dilation[axis] - op.pads[axis]
    transposed = op.op == "ConvTranspose"
    sources, targets = (size, outputs) if transposed else (outputs, size)
    reached = np.arange(sources) * op.stride[axis] + pixels
    share: F64 = ((reached >= 0) & (reached < targets)).sum(axis=1) / outputs
    return share


def mean_error(rounding: F64, drives: F64, groups: int) -> Array:
    """(M,): the nearest whole steps of the accumulators to what `rounding` (*kernel, C, M / groups), the
    weights less their codes in steps, takes away from the outputs."""
    lost = (rounding * drives[..., None]).reshape(-1, groups, drives.shape[-1] // groups, rounding.shape[-1])
    error: Array = np.rint(lost.sum(axis=(0, 2)).reshape(-1)).astype(np.int64)
    return error
