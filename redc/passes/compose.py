"""Pass: a chain of scalar functions of one tensor becomes one function, one table."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from redc.ir.graph import F64, Activation, Graph, Op, VectorOp

Function = Callable[[F64], F64]

MOST = 64
"""Operators in one function: a longer chain is cut into several."""


@dataclass(frozen=True, eq=False, slots=True)
class Scalar:
    """A tensor as a function of another of its shape: the operators that make it so, in order."""

    root: str
    ops: tuple[VectorOp, ...]


def compose_functions(graph: Graph) -> Graph:
    """Replace scalar functions of scalar functions of one tensor by the function that they are.

    x * clip(x + 3, 0, 6) / 6 is one function of x however many nodes write it, and rounds once.
    What is read elsewhere, or is a graph output, is made from the same tensor by a function of
    its own.  Codes that the model gives are kept: nothing is composed across them.
    Post: no such operator reads another that feeds nothing else, unless it makes one of MOST.
    """
    known: dict[str, Scalar] = {}
    for op in graph.ops:
        found = _scalar(graph, op, known)
        if found is not None:
            known[op.outputs[0]] = found
    ops: list[Op] = []
    gone: set[str] = set()
    for op in graph.ops:
        scalar = known.get(op.outputs[0])
        if scalar is None or not isinstance(op, VectorOp):
            ops.append(op)
        elif not _needed(graph, op, known):
            gone.add(op.output)
        elif len(scalar.ops) == 1:
            ops.append(op)
        else:
            ops.append(_function(op, scalar))
    tensors = {name: tensor for name, tensor in graph.tensors.items() if name not in gone}
    return replace(graph, ops=tuple(ops), tensors=tensors)


def _scalar(graph: Graph, op: Op, known: dict[str, Scalar]) -> Scalar | None:
    """What `op` makes as a function of one tensor; None if it is none."""
    if not isinstance(op, VectorOp) or op.sign is not None:
        return None
    if any(f.size != 1 for f in (*op.factors, op.bias)):
        return None
    out = graph.tensors[op.output]
    inputs = [graph.tensors[name] for name in op.inputs]
    if any((x.shape, x.axis) != (out.shape, out.axis) for x in inputs):
        return None
    own = {name: Scalar(name, ()) for name in op.inputs}
    composed = {name: known[name] for name in op.inputs if name in known}
    composed = {name: s for name, s in composed.items() if graph.tensors[name].given is None}
    for sources in (own | composed, own):
        if len({s.root for s in sources.values()}) == 1:
            before = dict.fromkeys(o for name in op.inputs for o in sources[name].ops)
            if len(before) < MOST:
                return Scalar(sources[op.inputs[0]].root, (*before, op))
    return None


def _composed(scalar: Scalar) -> Function:
    """What the operators make of a value, each computed once."""

    def function(x: F64) -> F64:
        values = {scalar.root: x}
        for op in scalar.ops:
            values[op.output] = _value(op, [values[name] for name in op.inputs])
        return values[scalar.ops[-1].output]

    return function


def _value(op: VectorOp, terms: list[F64]) -> F64:
    if op.combine == "div":
        above, below = terms if len(terms) > 1 else (np.broadcast_to(op.factors[0], terms[0].shape), terms[0])
        return _end(op.activation)(_quotient(above, below))
    combine = {"sum": np.add, "mul": np.multiply, "max": np.maximum, "min": np.minimum}[op.combine]
    scaled = [float(factor.reshape(())) * term for factor, term in zip(op.factors, terms, strict=True)]
    value: F64 = functools.reduce(combine, scaled) + float(op.bias.reshape(()))
    return _end(op.activation)(value)


def _quotient(above: F64, below: F64) -> F64:
    """By zero an infinity with the sign of what is divided; 0 by 0 is 0, as on the vector unit."""
    with np.errstate(divide="ignore", invalid="ignore"):
        quotient: F64 = np.where(below == 0, np.sign(above) * np.inf, above / below)
    return np.where(np.isnan(quotient), 0.0, quotient)


def _end(activation: Activation | None) -> Function:
    """An activation as a function."""
    if activation is None:
        return lambda x: x
    if activation.function is not None:
        return activation.function
    ends: dict[str, Function] = {
        "relu": lambda x: np.maximum(x, 0),
        "leaky": lambda x: np.where(x < 0, activation.alpha * x, x),
        "clip": lambda x: np.clip(x, activation.low, activation.high),
        "tanh": np.tanh,
        "sigmoid": lambda x: 0.5 * (1 + np.tanh(x / 2)),
    }
    return ends[activation.kind]


def _needed(graph: Graph, op: VectorOp, known: dict[str, Scalar]) -> bool:
    """Whether anything still reads what `op` makes, once its readers are made from its root."""
    if graph.is_output(op.output) or graph.tensors[op.output].given is not None:
        return True
    return any(
        reader.outputs[0] not in known or op not in known[reader.outputs[0]].ops
        for reader in graph.consumers(op.output)
    )


def _function(op: VectorOp, scalar: Scalar) -> VectorOp:
    nodes = dict.fromkeys(node for part in scalar.ops for node in part.nodes)
    return replace(
        op,
        inputs=(scalar.root,),
        factors=(np.ones(()),),
        bias=np.zeros(()),
        combine="sum",
        normalisation=None,
        activation=Activation("function", function=_composed(scalar)),
        nodes=tuple(nodes),
    )
