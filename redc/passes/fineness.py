"""How fine floats must be for the codes that a model gives behind them, or for a host part behind them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np

from redc.ir.graph import Codes, CrossbarOp, Graph, HostOp, Op, StencilOp, VectorOp
from redc.passes.tables import SATURATING

SMALL = 1 / 16
"""Steps of what an operator makes by which the rounding of one of its inputs may move it."""

POINTS = 4097
"""At so many points of its input a function's slope is taken, and at as many whose magnitudes are a
geometric series: what functions do, they do near zero."""
NEAREST = 1e-9
"""The first of the series, as a part of the last."""

Extent = Callable[[str], float]
"""How far from zero a tensor's values go, as far as is known."""
Span = Callable[[str], tuple[float, float]]
"""From where to where."""


def allowances(graph: Graph, given: Mapping[str, Codes], extent: Extent, span: Span) -> dict[str, float]:
    """By how much each tensor may be off, of those that have no codes by the model but vector operators
    alone between them and some that have: so little that these are off by SMALL steps at most.  Not
    at all where a host part, or a quotient, is on the way, of which nobody knows how much it amplifies."""
    allowed: dict[str, float] = {}
    fixed = {*given, *graph.constants}
    for op in reversed(graph.ops):
        if isinstance(op, CrossbarOp):
            continue
        if isinstance(op, HostOp):
            allowed |= dict.fromkeys({*op.inputs} - fixed, 0.0)
            continue
        codes = given.get(op.output)
        behind = SMALL * codes.scale if codes else allowed.get(op.output, math.inf)
        if math.isinf(behind):
            continue
        for name in {*op.inputs} - fixed:
            found = gain(op, name, extent, span)
            allowed[name] = min(allowed.get(name, math.inf), behind / found if found else math.inf)
    return allowed


def gain(op: Op, tensor: str, extent: Extent, span: Span) -> float:
    """By how much more than the input `tensor` what `op` makes of it may be off."""
    if isinstance(op, StencilOp):
        if op.reduction == "max":
            return 1.0
        read = [region for region in op.regions if region.input is not None]
        return max((sum(abs(weight) for _, weight in region.taps()) for region in read), default=0.0)
    if not isinstance(op, VectorOp):
        return 1.0
    if op.combine == "div":
        return math.inf
    at = [i for i, name in enumerate(op.inputs) if name == tensor]
    if op.combine == "mul":
        own = sum(math.prod(extent(name) for j, name in enumerate(op.inputs) if j != i) for i in at)
    else:
        own = sum(float(np.abs(op.factors[i]).max()) for i in at)
    return own * _slope(op, tensor, span)


def _slope(op: VectorOp, tensor: str, span: Span) -> float:
    """Of the activation, where it is steepest."""
    activation = op.activation
    if activation is None:
        return 1.0
    if activation.kind in SATURATING:
        return SATURATING[activation.kind].steepest
    if activation.kind == "leaky":
        return max(1.0, abs(activation.alpha))
    if activation.function is None:
        return 1.0
    ends = span(tensor)
    series = [np.geomspace(NEAREST * end, end, POINTS) for end in ends if end]
    x = np.unique(np.concatenate([np.linspace(*ends, POINTS), *series]))
    with np.errstate(all="ignore"):
        slopes = np.abs(np.diff(activation.function(x)) / np.diff(x))
    return float(slopes[np.isfinite(slopes)].max(initial=0.0))
