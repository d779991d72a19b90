"""Pass: an activation becomes the end of the operator before it."""

from __future__ import annotations

from dataclasses import replace

from redc.ir.graph import CrossbarOp, Graph, Op, VectorOp
from redc.passes.identity import remove_identities


def fuse_activations(graph: Graph) -> Graph:
    """Fuse each plain activation into the operator that makes its input.

    Only where that operator is a CrossbarOp or VectorOp without activation, feeds nothing else
    and is no graph output, and whose output has no given codes.  It then makes the activation's
    tensor, and carries its nodes.
    Identities in between go first (`remove_identities`).
    Post: no VectorOp that is only an activation follows an operator which could have taken it.
    """
    graph = remove_identities(graph)
    ops: list[Op] = []
    at: dict[str, int] = {}  # tensor -> index in `ops` of what makes it
    gone: set[str] = set()
    for op in graph.ops:
        if isinstance(op, VectorOp) and _is_plain(op) and op.inputs[0] in at:
            before = at[op.inputs[0]]
            maker = ops[before]
            free = graph.feeds_only(op.inputs[0], op)
            given = graph.tensors[op.inputs[0]].given is not None
            if free and not given and isinstance(maker, CrossbarOp | VectorOp) and _takes(maker, op):
                nodes = (*maker.nodes, *op.nodes)
                ops[before] = replace(maker, activation=op.activation, output=op.output, nodes=nodes)
                gone.add(op.inputs[0])
                at[op.output] = before
                continue
        at.update(dict.fromkeys(op.outputs, len(ops)))
        ops.append(op)
    tensors = {name: tensor for name, tensor in graph.tensors.items() if name not in gone}
    return replace(graph, ops=tuple(ops), tensors=tensors)


FUSED = ("Relu", "LeakyRelu", "Clip", "Tanh", "Sigmoid")
"""What the oracle of `redc diff` knows to end a crossbar operator."""


def _takes(maker: CrossbarOp | VectorOp, activation: VectorOp) -> bool:
    known = isinstance(maker, VectorOp) or activation.op in FUSED
    return known and maker.activation is None


def _is_plain(op: VectorOp) -> bool:
    """An activation and nothing else: y = act(x)."""
    return op.plain and op.activation is not None and op.activation.kind != "function"
