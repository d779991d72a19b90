"""The one formula behind every mapping (docs/how-it-works.md).

Kernel pixel k reaches e = dilation * k - pad_begin.  In a deconvolution input pixel i feeds
output pixel o = stride * i + e; with e = stride * t + a (tap t, phase a, 0 <= a < stride) that
is o = stride * q + a with block q = i + t: in block q, kernel pixel k reads input pixel q - t
and feeds phase a of the block.  Blocks may start at -g (an origin g, 0 <= g < stride): split
e + g instead, and o = stride * q + a - g.  A convolution is the mirror relation: output pixel q, one
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

    def seen_from(self, origin: Coordinates, stride: Coordinates) -> KernelPixel:
        """Its tap and phase where blocks start at `-origin`: those of the reach e + origin."""
        ends = [e + g for e, g in zip(self.reach, origin, strict=True)]
        tap = tuple(e // s for e, s in zip(ends, stride, strict=True))
        phase = tuple(e % s for e, s in zip(ends, stride, strict=True))
        return KernelPixel(self.index, self.reach, tap, phase)


def kernel_pixels(
    kernel: Coordinates, stride: Coordinates, dilation: Coordinates, pads: Coordinates
) -> tuple[KernelPixel, ...]:
    """Every kernel pixel in row-major order of its index.  All arguments have the spatial rank."""
    pixels = []
    for index in itertools.product(*map(range, kernel)):
        reach = tuple(d * k - p for d, k, p in zip(dilation, index, pads, strict=True))
        pixels.append(KernelPixel(index, reach, (), ()).seen_from((0,) * len(stride), stride))
    return tuple(pixels)
