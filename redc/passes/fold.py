"""Pass: what is affine per channel goes into the weights of the crossbar before it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from redc.ir.graph import F64, CrossbarOp, Graph, Op, VectorOp
from redc.passes.identity import remove_identities

FOLDED = ("BatchNormalization", "Add")
"""What the oracle of `redc diff` knows to lie in a crossbar operator's weights and bias."""


def fold_batchnorm_and_add(graph: Graph) -> Graph:
    """Fold BatchNormalization and Add of a constant into the crossbar operator before them.

    Only where that operator feeds nothing else, is no graph output, has no activation and no given
    codes yet;
    chains fold one by one, in graph order, in float64: W' = W * f, and b' = (b - mean) * f + beta
    or b' = b * f + c.  Identities in between go first (`remove_identities`).
    Pre: weights are not quantised yet.  Post: no VectorOp of one input that is not an activation
    follows a linear CrossbarOp which feeds it alone.
    """
    graph = remove_identities(graph)
    ops: list[Op] = []
    at: dict[str, int] = {}  # tensor -> index in `ops` of the crossbar operator that makes it
    gone: set[str] = set()
    for op in graph.ops:
        before = at.get(op.inputs[0]) if isinstance(op, VectorOp) and op.op in FOLDED else None
        if before is not None and isinstance(op, VectorOp) and graph.feeds_only(op.inputs[0], op):
            crossbar = ops[before]
            assert isinstance(crossbar, CrossbarOp)
            plain = crossbar.activation is None and len(op.inputs) == 1
            if plain and _may_fold(crossbar, op, graph):
                ops[before] = _fold(crossbar, op)
                gone.add(op.inputs[0])
                at[op.output] = before
                continue
        if isinstance(op, CrossbarOp):
            at[op.output] = len(ops)
        ops.append(op)
    tensors = {name: tensor for name, tensor in graph.tensors.items() if name not in gone}
    return replace(graph, ops=tuple(ops), tensors=tensors)


def _may_fold(crossbar: CrossbarOp, affine: VectorOp, graph: Graph) -> bool:
    """Not past codes that the model gives; given weights can take a positive factor on their scale."""
    if graph.tensors[crossbar.output].given is not None:
        return False
    return crossbar.given is None or bool((affine.factors[0] > 0).all())


def _fold(crossbar: CrossbarOp, affine: VectorOp) -> CrossbarOp:
    width = crossbar.out_channels
    factor = np.broadcast_to(affine.factors[0], (width,))
    weight: F64 = crossbar.weight * _per_weight(factor, crossbar)
    if affine.normalisation is not None:
        bias = (crossbar.bias - affine.normalisation.mean) * factor + affine.normalisation.beta
    else:
        bias = crossbar.bias * factor + affine.bias
    given = crossbar.given
    return replace(
        crossbar,
        given=given and replace(given, scale=given.scale * factor),
        weight=weight,
        bias=bias,
        activation=affine.activation,
        output=affine.output,
        nodes=(*crossbar.nodes, *affine.nodes),
    )


def _per_weight(factor: F64, crossbar: CrossbarOp) -> F64:
    """(M,) as (C, M // groups): channel c of group g feeds outputs g * (M // groups) + m."""
    rows = crossbar.in_channels // crossbar.groups
    return np.repeat(factor.reshape(crossbar.groups, -1), rows, axis=0)
