"""Pooling, moving and resizing in integers: codes kept where values only move, else requantised."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from redc.ir.graph import Codes, RegionCodes, StencilOp
from redc.ir.stencil import Region

MULTIPLIER_BITS = 18
"""Of a weighted sum, finer than 16-bit codes can tell; of finer codes as many more."""

SUM_BITS = 60
"""A weighted sum stays below so many."""


def kept_codes(op: StencilOp, codes: Mapping[str, Codes], off: float = 1 / 2) -> Codes | None:
    """The codes that the output takes from its inputs: where it moves values of equal codes, and
    what it fills in is one of them, give or take `off` steps.  None: it needs codes of its own."""
    sources = [codes[name] for name in op.inputs]
    kept = sources[0]
    if not op.moves or any(replace(source, steps=()) != replace(kept, steps=()) for source in sources):
        return None
    read = [region for region in op.regions if region.input is not None]
    parts = [(region.target, sources[region.input or 0].of(*region.source).steps) for region in read]
    if any(source.steps for source in sources):
        steps = _gathered(parts, max(region.target[1] for region in op.regions))
        if steps is None or len(read) < len(op.regions):
            return None
        return replace(kept, steps=steps)
    fills = [region.fill for region in op.regions if region.input is None]
    whole = [(fill / kept.scale, round(fill / kept.scale)) for fill in fills]
    inside = all(kept.low <= code + kept.zero <= kept.high for _, code in whole)
    return kept if inside and all(abs(exact - code) <= off for exact, code in whole) else None


def source_codes(op: StencilOp, position: int, out: Codes, channels: int) -> Codes | None:
    """The codes that input `position`, of so many channels, must have for `op` to move its values into
    the codes `out`; None where there are none."""
    if not out.steps:
        return out
    read = [region for region in op.regions if region.input == position]
    steps = _gathered([(region.source, out.of(*region.target).steps) for region in read], channels)
    return None if steps is None else replace(out, steps=steps)


def _gathered(parts: list[tuple[tuple[int, int], tuple[int, ...]]], channels: int) -> tuple[int, ...] | None:
    """One step for each channel, from those of parts; None where they contradict or leave some out."""
    steps = [0] * channels
    for (first, last), own in parts:
        held = steps[first:last]
        if len(own) != len(held) or any(old not in (0, new) for old, new in zip(held, own, strict=True)):
            return None
        steps[first:last] = own
    return tuple(steps) if all(steps) else None


def stencil_codes(op: StencilOp, codes: Mapping[str, Codes]) -> StencilOp:
    """Give every region its multipliers, its scale and the code of its fill."""
    out = codes[op.output]
    return replace(op, codes=tuple(_region(op, region, codes, out) for region in op.regions))


def _region(op: StencilOp, region: Region, codes: Mapping[str, Codes], out: Codes) -> RegionCodes:
    out = out.of(*region.target)
    none = np.zeros((), np.int64)
    if region.input is None:
        real = np.full(region.target[1] - region.target[0], region.fill)
        fill = np.clip(np.rint(real / out.scales) + out.zero, out.low, out.high)
        return RegionCodes((), None, fill.astype(np.int64))
    source = codes[op.inputs[region.input]].of(*region.source)
    weights = [weight for _, weight in region.taps()]
    if len(set(weights)) == 1:
        step = weights[0]
        multipliers = (1,) * len(weights)
    else:
        room = SUM_BITS - source.bits - len(weights).bit_length()
        step = max(map(abs, weights)) / (1 << min(max(MULTIPLIER_BITS, source.bits + 2), room))
        multipliers = tuple(round(weight / step) for weight in weights)
    if step == 1.0 and source == out and (op.reduction == "max" or len(weights) == 1):
        return RegionCodes(multipliers, None, none)
    scale = (step * source.scales / out.scales).astype(np.float32)
    return RegionCodes(multipliers, scale.reshape(scale.shape or (1,)), none)
