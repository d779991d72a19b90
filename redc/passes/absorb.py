"""Pass: QuantizeLinear becomes the codes of the operator before it."""

from __future__ import annotations

from dataclasses import replace

from redc.ir.graph import Codes, CrossbarOp, Graph, HostOp, Op, ReshapeOp, StencilOp, VectorOp
from redc.passes.identity import remove_identities

SATURATING = ("relu", "clip")
"""Activations that only move the bounds between which codes saturate."""


def absorb_quantisers(graph: Graph) -> Graph:
    """Remove every QuantizeLinear that an operator, or an input of the program, can stand for.

    It vanishes where its input has the same codes already.  The operator before it takes its
    codes, if that feeds nothing else; so does a graph input that only such ones read.  A Relu or
    Clip between two tensors of the same codes becomes the end of the operator before it.
    Post: what is left as a QuantizeLinear changes codes, on the vector unit.
    """
    graph = _inputs(graph)
    ops: dict[str, Op] = {}  # by the tensor they make
    given = {name: tensor.given for name, tensor in graph.tensors.items()}
    for op in graph.ops:
        if isinstance(op, HostOp):
            ops[op.outputs[0]] = op
            continue
        if isinstance(op, ReshapeOp):
            given[op.output] = given[op.output] or given[op.input]
        elif isinstance(op, VectorOp) and is_quantiser(op) and given[op.inputs[0]] == given[op.output]:
            op = ReshapeOp(op.name, op.op, op.inputs[0], op.output, op.nodes)
        while (joined := _joined(ops.get(op.inputs[0]), op, given, graph)) is not None:
            del ops[op.inputs[0]]
            op = joined
        ops[op.output] = op
    kept = {*graph.inputs, *graph.constants, *(name for op in ops.values() for name in op.outputs)}
    tensors = {n: replace(t, given=given[n]) for n, t in graph.tensors.items() if n in kept}
    return remove_identities(replace(graph, ops=tuple(ops.values()), tensors=tensors))


def is_quantiser(op: Op) -> bool:
    """A QuantizeLinear and nothing else."""
    return isinstance(op, VectorOp) and op.op == "QuantizeLinear" and op.activation is None and op.plain


def _joined(
    maker: Op | None, op: Op, given: dict[str, Codes | None], graph: Graph
) -> CrossbarOp | VectorOp | StencilOp | None:
    """`maker` with what `op` does to its output at the end; None where that is not the same."""
    if not isinstance(maker, CrossbarOp | VectorOp | StencilOp) or not isinstance(op, VectorOp):
        return None
    source, nodes = maker.output, (*maker.nodes, *op.nodes)
    if graph.is_output(source) or len(graph.consumers(source)) > 1 or len(op.inputs) > 1:
        return None
    if given[source] is None:
        return replace(maker, output=op.output, nodes=nodes) if is_quantiser(op) else None
    if isinstance(maker, StencilOp):
        return None
    act = op.activation
    same = op.plain and given[source] == given[op.output]
    if same and act is not None and act.kind in SATURATING and maker.activation is None:
        return replace(maker, activation=act, output=op.output, nodes=nodes)
    return None


def _inputs(graph: Graph) -> Graph:
    """Graph inputs that only QuantizeLinears of one scale read have their codes."""
    tensors = dict(graph.tensors)
    for name in graph.inputs:
        readers = graph.consumers(name)
        wanted = {graph.tensors[op.outputs[0]].given for op in readers if is_quantiser(op)}
        if graph.tensors[name].given is None and len(wanted) == 1 and all(map(is_quantiser, readers)):
            tensors[name] = replace(tensors[name], given=wanted.pop())
    return replace(graph, tensors=tensors)
