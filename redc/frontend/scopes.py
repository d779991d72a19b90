"""Graphs inside graphs: what a subgraph reads from outside, what it hides, and renaming through both."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import onnx


def subgraphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """The graphs among a node's attributes."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def own_names(graph: onnx.GraphProto) -> set[str]:
    """The tensors that `graph` itself defines."""
    own = {v.name for v in graph.input} | {t.name for t in graph.initializer}
    own.update(t.values.name for t in graph.sparse_initializer)
    own.update(name for node in graph.node for name in node.output if name)
    return own


def captured(node: onnx.NodeProto) -> tuple[str, ...]:
    """The tensors of outer graphs that the subgraphs of a node read, each once, in order."""
    found: dict[str, None] = {}
    for graph in subgraphs(node):
        own = own_names(graph)
        reads = [name for inner in graph.node for name in (*inner.input, *captured(inner))]
        reads += [v.name for v in graph.output]
        found.update((name, None) for name in reads if name and name not in own)
    return tuple(found)


def rename(nodes: Iterable[onnx.NodeProto], fresh: Mapping[str, str]) -> None:
    """Give tensors of these nodes' graph their fresh names, in place, wherever they are read or made."""
    for node in nodes:
        for names in (node.input, node.output):
            for at, name in enumerate(names):
                if name in fresh:
                    names[at] = fresh[name]
        for inner in subgraphs(node):
            _rename_inside(inner, fresh)


def _rename_inside(graph: onnx.GraphProto, fresh: Mapping[str, str]) -> None:
    """The same in a subgraph, whose own tensors hide those outside."""
    outer = {name: new for name, new in fresh.items() if name not in own_names(graph)}
    if not outer:
        return
    rename(graph.node, outer)
    for value in graph.output:
        if value.name in outer:
            value.name = outer[value.name]
