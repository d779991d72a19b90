"""An If whose condition is a constant, as the branch that it takes.

Exporters write one wherever Python asked for a size, and whole networks lie in one that asks for a setting
(the sampling rate, say).  Which branch that is may depend on the shapes of the inputs and on what is
bound, so it is found by importing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

import onnx

from redc.frontend.scopes import own_names, rename, subgraphs

Conditions = Callable[[onnx.ModelProto], Mapping[str, bool]]
"""Of each If of a model's graph whose condition is known, by the names of what it makes."""


def with_branches(model: onnx.ModelProto, conditions: Conditions) -> onnx.ModelProto:
    """`model` with the branch that is taken in place of every If whose condition is known, nested ones
    too; itself if it has none."""
    while any(node.op_type == "If" for node in model.graph.node):
        known = conditions(model)
        if not any(_branch(node, known) for node in model.graph.node):
            break
        model = _spliced(model, known)
    return model


def _branch(node: onnx.NodeProto, known: Mapping[str, bool]) -> onnx.GraphProto | None:
    """The branch that an If is known to take; None for other nodes, and one that is damaged."""
    first = next(filter(None, node.output), "")
    if node.op_type != "If" or first not in known:
        return None
    wanted = "then_branch" if known[first] else "else_branch"
    found = next((a.g for a in node.attribute if a.name == wanted), None)
    return found if found and len(found.output) == len(node.output) else None


def _spliced(model: onnx.ModelProto, known: Mapping[str, bool]) -> onnx.ModelProto:
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    defined: Counter[str] = Counter()
    _count(graph, defined)
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        branch = _branch(node, known)
        if branch is None:
            nodes.append(node)
            continue
        fresh = _names(node, branch, defined)
        rename(branch.node, fresh)
        nodes += branch.node
        for tensor in branch.initializer:
            graph.initializer.add().CopyFrom(tensor)
            graph.initializer[-1].name = fresh[tensor.name]
        for output, name in zip(branch.output, node.output, strict=True):
            made = fresh.get(output.name, output.name)
            if name and made != name:
                nodes.append(onnx.helper.make_node("Identity", [made], [name]))
    del graph.node[:]
    graph.node.extend(nodes)
    return result


def _names(node: onnx.NodeProto, branch: onnx.GraphProto, defined: Counter[str]) -> dict[str, str]:
    """The names of a branch's tensors in the graph around it: the If's own for what it gives out, the
    branch's where no other graph of the model has the same, else new ones."""
    fresh: dict[str, str] = {}
    made = {name for inner in branch.node for name in inner.output if name}
    for output, name in zip(branch.output, node.output, strict=True):
        if name and output.name in made:
            fresh.setdefault(output.name, name)
    for name in sorted(own_names(branch) - fresh.keys()):
        free = name
        while defined[free] > (free == name):
            free += "'"
        defined[free] += free != name
        fresh[name] = free
    return fresh


def _count(graph: onnx.GraphProto, defined: Counter[str]) -> None:
    """How many graphs of the model define each name."""
    defined.update(own_names(graph))
    for node in graph.node:
        for inner in subgraphs(node):
            _count(inner, defined)
