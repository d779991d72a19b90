"""Pooling, moving and resizing in integers: codes kept where values only move, else requantised."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from redc.ir.graph import Codes, RegionCodes, StencilOp
from redc.ir.stencil import Region

MULTIPLIER = 1 << 18
"""The largest multiplier of a weighted sum: finer than 16-bit codes can tell."""


def kept_codes(op: StencilOp, codes: Mapping[str, Codes]) -> Codes | None:
    """The codes that the output takes from its inputs: where it moves values of equal codes, and
    what it fills in is one of them.  None: it needs codes of its own."""
    sources = {codes[name] for name in op.inputs}
    if not op.moves or len(sources) != 1:
        return None
    kept = sources.pop()
    fills = [region.fill for region in op.regions if region.input is None]
    inside = all(kept.low <= round(fill / kept.scale) + kept.zero <= kept.high for fill in fills)
    return kept if inside else None


def stencil_codes(op: StencilOp, codes: Mapping[str, Codes]) -> StencilOp:
    """Give every region its multipliers, its scale and the code of its fill."""
    out = codes[op.output]
    return replace(op, codes=tuple(_region(op, region, codes, out) for region in op.regions))


def _region(op: StencilOp, region: Region, codes: Mapping[str, Codes], out: Codes) -> RegionCodes:
    if region.input is None:
        fill = int(np.clip(np.rint(region.fill / out.scale) + out.zero, out.low, out.high))
        return RegionCodes((), None, fill)
    source = codes[op.inputs[region.input]]
    weights = [weight for _, weight in region.taps()]
    if len(set(weights)) == 1:
        step = weights[0]
        multipliers = (1,) * len(weights)
    else:
        step = max(map(abs, weights)) / MULTIPLIER
        multipliers = tuple(round(weight / step) for weight in weights)
    if step == 1.0 and source == out and (op.reduction == "max" or len(weights) == 1):
        return RegionCodes(multipliers, None, 0)
    scale = float(np.float32(step * source.scale / out.scale))
    return RegionCodes(multipliers, scale, 0)
