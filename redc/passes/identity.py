"""Clean-up: reshapes that change nothing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from redc.ir.graph import Graph, HostOp, Op, ReshapeOp, StencilOp, VectorOp


def remove_identities(graph: Graph) -> Graph:
    """Remove every reshape that leaves shape and channel axis alone, and join chains of reshapes.

    What read the copy reads the original; where the copy is a graph output, the original's maker
    makes it instead.  The nodes go to the operator that makes the original.  An identity stays
    that links a graph input or a graph output to another graph output: both names are needed.
    Post: no identity that could go, no reshape whose only reader is a reshape.
    """
    step: Graph | None = graph
    while step is not None:
        graph, step = step, _without_one(step) or _joined(step)
    return graph


def _joined(graph: Graph) -> Graph | None:
    """One pair of reshapes, the first of which feeds only the second, made one; or None."""
    for second in graph.ops:
        if not isinstance(second, ReshapeOp):
            continue
        first = graph.producer(second.input)
        if not isinstance(first, ReshapeOp):
            continue
        if graph.feeds_only(first.output, second):
            known = first if second.op == "Relayout" else second  # the model's own operator
            nodes = (*first.nodes, *second.nodes)
            joined = replace(known, input=first.input, output=second.output, nodes=nodes)
            return _rewritten(graph, {second.name: joined}, {first.name}, {first.output})
    return None


def _without_one(graph: Graph) -> Graph | None:
    """One identity removed; or None."""
    for op in graph.ops:
        if not isinstance(op, ReshapeOp):
            continue
        original, copy = graph.tensors[op.input], graph.tensors[op.output]
        if (original.shape, original.axis) != (copy.shape, copy.axis):
            continue
        maker = graph.producer(op.input)
        if op.output not in graph.outputs:
            kept, dropped = op.input, op.output
        elif maker is not None and op.input not in graph.outputs and not isinstance(maker, HostOp):
            kept, dropped = op.output, op.input
        else:
            continue
        changed = {o.name: _reading(o, dropped, kept) for o in graph.ops if dropped in o.inputs}
        if maker is not None:
            nodes = (*maker.nodes, *op.nodes)
            known = changed.get(maker.name, maker)
            changed[maker.name] = (
                replace(known, nodes=nodes)
                if isinstance(known, HostOp)
                else replace(known, output=kept, nodes=nodes)
            )
        return _rewritten(graph, changed, {op.name}, {dropped})
    return None


def _reading(op: Op, old: str, new: str) -> Op:
    """`op` with input `new` in place of `old`."""
    if isinstance(op, VectorOp | StencilOp | HostOp):
        return replace(op, inputs=tuple(new if name == old else name for name in op.inputs))
    return replace(op, input=new)


def _rewritten(graph: Graph, changed: dict[str, Op], ops: Iterable[str], tensors: Iterable[str]) -> Graph:
    kept = tuple(changed.get(op.name, op) for op in graph.ops if op.name not in set(ops))
    names = set(tensors)
    return replace(
        graph, ops=kept, tensors={name: t for name, t in graph.tensors.items() if name not in names}
    )
