"""Integers whose zero point only a run tells, as DynamicQuantizeLinear makes them.

A crossbar streams codes less their zero point, and that is a number of the program.  So the host,
which knows the zero point, takes it off: `x - zero`, integers of nine bits that stand for
themselves, lies in a buffer of its own, and the crossbars' sums are those of the integer operator.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import replace
from types import MappingProxyType

import onnx

from redc.frontend.constants import folds
from redc.frontend.nodes import DEFAULT_DOMAINS, Node, Source
from redc.frontend.rejected import Rejected

OPERATORS = ("MatMulInteger", "ConvInteger")
"""Inputs: x, weight, zero point of x, zero point of the weight."""

ON_HOST = Rejected("a zero point is computed at run time, and the host takes it off")


def difference(x: str, zero: str, names: Container[str]) -> str:
    """The name of the tensor that holds `x` less its zero point; none of `names`, and no other
    difference's (`redc.oracle` finds it too)."""
    return _unused(f"{x!r} - {zero!r}", names)


def _unused(name: str, names: Container[str]) -> str:
    while name in names:
        name += "'"
    return name


def with_differences(source: Source, refused: Container[int]) -> tuple[Source, set[int]]:
    """`source` with nodes for every difference, before what reads it, and their indices.

    Nodes whose index is among `refused` are left as they are.
    """
    if not any(node.op in OPERATORS for node in source.nodes):
        return source, set()
    constants = set(source.initializers)
    graph = source.model.graph
    names = {name for node in graph.node for name in (*node.input, *node.output)}
    names |= {value.name for value in (*graph.input, *graph.initializer)}
    made: set[str] = set()
    nodes: list[Node] = []
    added: set[int] = set()
    index = 1 + max((node.index for node in source.nodes), default=0)
    for node in source.nodes:
        if folds(node, constants):
            constants.update(node.outputs)
        x, zero = node.input(0), node.input(2)
        computed = node.op in OPERATORS and node.domain in DEFAULT_DOMAINS and zero and zero not in constants
        if not computed or node.index in refused:
            nodes.append(node)
            continue
        name = difference(x, zero, names)
        if name not in made:
            made.add(name)
            for proto in _subtraction(x, zero, name, names):
                nodes.append(_node(index, proto))
                added.add(index)
                index += 1
        nodes.append(replace(node, inputs=(name, node.inputs[1], "", *node.inputs[3:])))
    return replace(source, nodes=tuple(nodes), differences=frozenset(made)), added


def _subtraction(x: str, zero: str, name: str, names: Container[str]) -> list[onnx.NodeProto]:
    make = onnx.helper.make_node
    wide = [_unused(f"{name}: {part}", names) for part in ("codes", "zero")]
    return [
        make("Cast", [x], wide[:1], to=onnx.TensorProto.INT32),
        make("Cast", [zero], wide[1:], to=onnx.TensorProto.INT32),
        make("Sub", wide, [name]),
    ]


def _node(index: int, proto: onnx.NodeProto) -> Node:
    return Node(
        index=index,
        op=proto.op_type,
        domain="",
        name="",
        inputs=tuple(proto.input),
        outputs=tuple(proto.output),
        attributes=MappingProxyType({a.name: onnx.helper.get_attribute_value(a) for a in proto.attribute}),
        kinds=MappingProxyType({a.name: a.type for a in proto.attribute}),
        captures=(),
        proto=proto,
    )
