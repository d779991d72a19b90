"""How fine floats must be for the codes that a model gives behind them, or for a host part behind them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np

from redc.ir.graph import F64, Codes, CrossbarOp, Graph, HostOp, Op, StencilOp, VectorOp
from redc.passes.tables import SATURATING

SMALL = 1 / 16
"""Steps of what an operator makes by which the rounding of one of its inputs may move it."""

TOLD = 2.0**-24
"""Part of a number that float32 tells."""

POINTS = 4097
"""At so many points of its input a function's slope is taken, and at as many whose magnitudes are a
geometric series: what functions do, they do near zero."""
NEAREST = 1e-9
"""The first of the series, as a part of the last."""

SURE = 4 / math.sqrt(3)
"""Of many roundings of half a step at most, independent of each other: four standard deviations of
their sum, over half a step and the root of their number."""

Extent = Callable[[str], float]
"""How far from zero a tensor's values go, as far as is known."""
Span = Callable[[str], tuple[float, float]]
"""From where to where."""


def allowances(graph: Graph, given: Mapping[str, Codes], extent: Extent, span: Span) -> dict[str, float]:
    """By how much each tensor may be off, of those behind which codes by the model follow: so little that
    these are off by SMALL steps at most; by a part of TOLD of what it reaches, if a host part of a model
    that arrives quantised reads it; not at all where a quotient is on the way, of which nobody knows how
    much it amplifies."""
    allowed: dict[str, float] = {}
    fixed = {*given, *graph.constants}
    for op in reversed(graph.ops):
        if isinstance(op, HostOp):
            for name in {*op.inputs} - fixed if graph.quantised else ():
                allowed[name] = min(allowed.get(name, math.inf), extent(name) * TOLD)
            continue
        codes = given.get(op.output)
        own = SMALL * codes.scale if codes else allowed.get(op.output, math.inf)
        if math.isinf(own):
            continue
        for name in {*op.inputs} - fixed:
            found = gain(op, name, extent, span)
            allowed[name] = min(allowed.get(name, math.inf), own / found if found else math.inf)
    return allowed


def read_by_hosts(graph: Graph, given: Mapping[str, Codes]) -> set[str]:
    """The tensors that a host part reads, which may quantise, and those without codes by the model that
    vector operators make into them."""
    read: set[str] = set()
    fixed = {*given, *graph.constants}
    for op in reversed(graph.ops):
        reads = op.output in read if not isinstance(op, HostOp | CrossbarOp) else isinstance(op, HostOp)
        read |= {*op.inputs} - fixed if reads else set()
    return read


def gain(op: Op, tensor: str, extent: Extent, span: Span) -> float:
    """By how much more than the input `tensor` what `op` makes of it may be off."""
    if isinstance(op, StencilOp):
        if op.reduction == "max":
            return 1.0
        read = [region for region in op.regions if region.input is not None]
        return max((sum(abs(weight) for _, weight in region.taps()) for region in read), default=0.0)
    if isinstance(op, CrossbarOp):
        taps = (*range(op.weight.ndim - 2), op.weight.ndim - 2)
        return SURE * float(np.sqrt(np.square(op.weight).sum(axis=taps)).max()) * _slope(op, tensor, span)
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


def weight_bits(op: CrossbarOp, allowed: float, extent: Extent, span: Span) -> int:
    """So many that rounding the weights moves what `op` makes by no more than `allowed`."""
    largest = float(np.abs(op.weight).max(initial=0.0))
    terms = op.weight[..., 0].size
    most = SURE * math.sqrt(terms) * extent(op.input) * largest / 2 * _slope(op, op.input, span)
    return 1 + math.ceil(math.log2(min(max(most / allowed, 1.0), 2.0**62))) if allowed else 63


def _slope(op: VectorOp | CrossbarOp, tensor: str, span: Span) -> float:
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
    x = points(span(tensor))
    with np.errstate(all="ignore"):
        slopes = np.abs(np.diff(activation.function(x)) / np.diff(x))
    return float(slopes[np.isfinite(slopes)].max(initial=0.0))


def points(span: tuple[float, float]) -> F64:
    """Points of `span` at which a function is looked at."""
    series = [np.geomspace(NEAREST * end, end, POINTS) for end in span if end]
    return np.unique(np.concatenate([np.linspace(*span, POINTS), *series]))
