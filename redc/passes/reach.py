"""How far floats must go for the codes that a model gives behind them: beyond, these end."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from redc.ir.graph import F64, Activation, Codes, Graph, Op, ReshapeOp, StencilOp, VectorOp
from redc.passes.fineness import Span, points

Bounds = tuple[float, float]

EVERYWHERE: Bounds = (-math.inf, math.inf)


def reaches(graph: Graph, given: Mapping[str, Codes], span: Span) -> dict[str, Bounds]:
    """From where to where the values of each tensor tell: what lies beyond may as well be the end, for
    none of the codes that the model gives behind it would be others.  Tensors that are not named tell
    everywhere, as what the world outside, a host part or a crossbar reads."""
    found: dict[str, Bounds] = {}
    everywhere = set(graph.outputs)
    for op in reversed(graph.ops):
        for name in {*op.inputs}:
            if name in everywhere or name in given:
                continue
            made = _told(op.outputs[0], given, found)
            low, high = EVERYWHERE if made is None else _asked(op, name, made, graph, span)
            if math.isinf(low) and math.isinf(high):
                everywhere.add(name)
                found.pop(name, None)
                continue
            lowest, highest = found.get(name, (low, high))
            found[name] = min(low, lowest), max(high, highest)
    return found


def _told(output: str, given: Mapping[str, Codes], found: Mapping[str, Bounds]) -> Bounds | None:
    codes = given.get(output)
    if codes is None:
        return found.get(output)
    return (codes.low - codes.zero) * codes.scale, (codes.high - codes.zero) * codes.scale


def _asked(op: Op, tensor: str, made: Bounds, graph: Graph, span: Span) -> Bounds:
    """From where to where `op` must know the input `tensor`, if what it makes tells within `made`."""
    if isinstance(op, ReshapeOp) or (isinstance(op, StencilOp) and op.moves):
        return made
    if not isinstance(op, VectorOp):
        return EVERYWHERE
    low, high = _before(op.activation, made, span(tensor))
    at = [i for i, name in enumerate(op.inputs) if name == tensor]
    others = [i for i, name in enumerate(op.inputs) if name != tensor]
    values = [graph.tensors[op.inputs[i]].value for i in others]
    if op.combine in ("max", "min"):
        sign = np.ones(()) if op.sign is None else op.sign
        ends = np.sort([sign * (low - op.bias), sign * (high - op.bias)], axis=0)
        return _divided(ends[0], ends[1], np.stack(np.broadcast_arrays(*(op.factors[i] for i in at))))
    if len(at) > 1 or op.combine == "div":
        return EVERYWHERE
    known = [value for value in values if value is not None]
    if len(known) < len(values) or (op.combine == "mul" and len(known) > 1):
        return EVERYWHERE
    if op.combine == "mul":
        return _divided(np.asarray(low), np.asarray(high), known[0] if known else np.ones(()))
    rest = [op.factors[i] * value for i, value in zip(others, known, strict=True)]
    least, most = (sum(float(getattr(r, end)()) for r in rest) for end in ("min", "max"))
    return _divided(low - most - op.bias, high - least - op.bias, op.factors[at[0]])


def _divided(low: F64, high: F64, factors: F64) -> Bounds:
    """From where to where x tells, if all `factors` * x do from `low` to `high`."""
    low, high, factors = np.broadcast_arrays(low, high, factors)
    some = factors != 0
    if not some.any():
        return 0.0, 0.0
    ends = np.stack([low[some] / factors[some], high[some] / factors[some]])
    return float(ends.min()), float(ends.max())


def _before(activation: Activation | None, made: Bounds, span: Bounds) -> Bounds:
    """From where to where an activation must know what it is given, in `span`, to make what tells."""
    low, high = made
    if activation is None:
        return low, high
    if activation.kind == "relu":
        return max(low, 0.0), max(high, 0.0)
    if activation.kind == "leaky":
        slope = activation.alpha
        if slope <= 0:
            return EVERYWHERE
        return (low / slope if low < 0 else low), (high / slope if high < 0 else high)
    if activation.kind == "clip":
        return max(low, activation.low), min(high, activation.high)
    if activation.function is None:
        return EVERYWHERE
    x = points(span)
    with np.errstate(all="ignore"):
        y = np.clip(activation.function(x), low, high)
    moves = np.flatnonzero(np.diff(y) != 0)
    if not moves.size or np.isnan(y).any():
        return EVERYWHERE
    first, last = moves[0], moves[-1] + 1
    return (x[first] if first else -math.inf), (x[last] if last + 1 < x.size else math.inf)
