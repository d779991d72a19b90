"""The one formula behind every mapping (docs/how-it-works.md).

Kernel pixel k reaches e = dilation * k - pad_begin.  In a deconvolution input pixel i feeds
output pixel o = stride * i + e; with e = stride * t + a (tap t, phase a, 0 <= a < stride) that
is o = stride * q + a with block q = i + t: in block q, kernel pixel k reads input pixel q - t
and feeds phase a of the block.  A convolution is the mirror relation: output pixel q, one
phase, reads input pixel stride * q + e.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

Coordinates = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class KernelPixel:
    """One kernel pixel: its index k, reach e, tap t = floor(e / stride), phase a = e mod stride."""

    index: Coordinates
    reach: Coordinates
    tap: Coordinates
    phase: Coordinates


def kernel_pixels(
    kernel: Coordinates, stride: Coordinates, dilation: Coordinates, pads: Coordinates
) -> tuple[KernelPixel, ...]:
    """Every kernel pixel in row-major order of its index.  All arguments have the spatial rank."""
    pixels = []
    for index in itertools.product(*map(range, kernel)):
        reach = tuple(d * k - p for d, k, p in zip(dilation, index, pads, strict=True))
        tap = tuple(e // s for e, s in zip(reach, stride, strict=True))
        phase = tuple(e % s for e, s in zip(reach, stride, strict=True))
        pixels.append(KernelPixel(index, reach, tap, phase))
    return tuple(pixels)
