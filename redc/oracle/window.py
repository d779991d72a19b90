"""Pads and output sizes of Conv and ConvTranspose, every way ONNX can say them.

onnxruntime is the judge where the specification is vague: with `output_shape` and auto_pad
NOTSET an odd total padding puts the extra at the beginning.
"""

from __future__ import annotations

from typing import Any

import onnx

from redc.oracle.multiply import Window
from redc.oracle.network import attributes


def conv_transpose_window(node: onnx.NodeProto, size: tuple[int, ...], kernel: tuple[int, ...]) -> Window:
    """The window of a ConvTranspose over an input of spatial `size`."""
    named = attributes(node)
    stride, dilation, begin, end, auto = _common(named, len(size))
    extra = named.get("output_padding") or [0] * len(size)
    wanted = named.get("output_shape") or None
    pads, outputs = [], []
    for axis, inputs in enumerate(size):
        full = stride[axis] * (inputs - 1) + dilation[axis] * (kernel[axis] - 1) + 1 + extra[axis]
        before, after = begin[axis], end[axis]
        if wanted is not None:
            before, after = _split(full - wanted[-len(size) :][axis], auto)
        elif auto.startswith("SAME"):
            before, after = _split(full - inputs * stride[axis], auto)
        pads.append(before)
        outputs.append(full - before - after if wanted is None else wanted[-len(size) :][axis])
    return Window(stride, dilation, tuple(pads), tuple(outputs))


def conv_window(node: onnx.NodeProto, size: tuple[int, ...], kernel: tuple[int, ...]) -> Window:
    """The window of a Conv over an input of spatial `size`."""
    stride, dilation, begin, end, auto = _common(attributes(node), len(size))
    pads, outputs = [], []
    for axis, inputs in enumerate(size):
        reach = dilation[axis] * (kernel[axis] - 1) + 1
        before, after = begin[axis], end[axis]
        if auto.startswith("SAME"):
            rows = -(-inputs // stride[axis])
            before, after = _split(stride[axis] * (rows - 1) + reach - inputs, auto)
        pads.append(before)
        outputs.append((inputs + before + after - reach) // stride[axis] + 1)
    return Window(stride, dilation, tuple(pads), tuple(outputs))


def _common(
    named: dict[str, Any], rank: int
) -> tuple[tuple[int, ...], tuple[int, ...], list[int], list[int], str]:
    """Strides, dilations, pads at the beginning and at the end, auto_pad."""
    auto = named.get("auto_pad", b"NOTSET").decode()
    pads = named.get("pads") if auto == "NOTSET" else None
    pads = list(pads or [0] * (2 * rank))
    stride = tuple(named.get("strides") or [1] * rank)
    dilation = tuple(named.get("dilations") or [1] * rank)
    return stride, dilation, pads[:rank], pads[rank:], auto


def _split(total: int, auto: str) -> tuple[int, int]:
    """Share out the padding: the odd one at the end for SAME_UPPER, else at the beginning."""
    total = max(0, total)
    half = total // 2
    return (half, total - half) if auto == "SAME_UPPER" else (total - half, half)
