"""Crossbar, vector and host: which nodes the accelerator runs, and the host parts between them.

A node is the accelerator's if its importer takes it; every other one is the host's.  Host nodes
are merged by *depth*: how often the longest way from the inputs to a node changes sides.  All
host nodes of one depth form one part.  No way leads from a part out and back into it, as it
would change sides twice.

Only tensors with a static shape and a numeric type cross a border.  Where another one links two
host nodes, both get into one part, and so does everything between them (docs/hosts.md).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping

import networkx as nx

from redc.errors import UserError
from redc.frontend.builder import Builder
from redc.frontend.delicate import away_from_zero, beside_hosts
from redc.frontend.dynamic import ON_HOST, with_differences
from redc.frontend.masks import masked
from redc.frontend.nodes import Node, Source
from redc.frontend.parts import check_part, measured, part_model
from redc.frontend.rejected import Rejected
from redc.frontend.survey import Import, Survey
from redc.ir.graph import Graph, HostOp, Op, Tensor

MOVES = frozenset(
    {
        "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Dropout", "Transpose",
        "Slice", "Split", "Concat", "Expand", "Pad", "Cast", "QuantizeLinear", "DequantizeLinear",
    }
)  # fmt: skip
"""What only moves values about, or changes their type: never worth a way to the accelerator and back."""

ATTEMPTS = 6
"""Surveys before everything goes to the host; one or two do."""


def import_with_hosts(source: Source, builder: Callable[[Source], Builder], import_node: Import) -> Graph:
    """The graph of `source`, host parts included.  Raises UserError for what no host runs."""
    forced: dict[int, Rejected] = {}
    for attempt in range(ATTEMPTS):
        survey = _survey(source, forced, builder, import_node)
        groups = _Groups(survey)
        more = groups.surrounded()
        if not more:
            return _assembled(survey, groups.depths())
        if attempt == ATTEMPTS - 2:
            more = {index: Rejected("it lies between host nodes") for index in survey.mine}
        forced |= more
    raise AssertionError("with every node on the host nothing is surrounded")


def _survey(
    source: Source, forced: dict[int, Rejected], builder: Callable[[Source], Builder], import_node: Import
) -> Survey:
    """One that refuses no node for which the host takes off a zero point; such nodes join `forced`."""
    while True:
        whole, added = with_differences(source, forced)
        reasons = forced | dict.fromkeys(added, ON_HOST)
        survey = Survey(whole, builder(whole), reasons).run(import_node)
        eased = {node.index for node in whole.nodes if node.input(0) in whole.differences}
        refused = {index: survey.host[index] for index in eased if index in survey.host}
        if not refused:
            return survey
        forced |= refused


class _Groups:
    """The nodes that are no constants, those that must stay together as one."""

    def __init__(self, survey: Survey) -> None:
        self.survey = survey
        self.nodes = [n for n in survey.source.nodes if n.index in survey.mine or n.index in survey.host]
        self.makers = {name: n.index for n in self.nodes for name in n.outputs if name}
        self.outputs = {v.name for v in survey.source.outputs}
        self.edges = [
            (self.makers[name], n.index, name) for n in self.nodes for name in n.reads if name in self.makers
        ]
        bound: nx.Graph[int] = nx.Graph()
        bound.add_nodes_from(n.index for n in self.nodes)
        host = survey.host
        borders: dict[str, bool] = {}
        for maker, reader, name in self.edges:
            if maker in host and reader in host:
                if name not in borders:
                    borders[name] = survey.border(name) is not None
                if not borders[name]:
                    bound.add_edge(maker, reader)
        self.group = {i: min(members) for members in nx.connected_components(bound) for i in members}
        rings = [ring for ring in self._rings() if not any(i in survey.mine for i in ring)]
        whole = {group: min(ring) for ring in rings for group in ring}
        self.group = {i: whole.get(group, group) for i, group in self.group.items()}

    def _rings(self) -> list[set[int]]:
        """Groups that wait for one another."""
        return [c for c in nx.strongly_connected_components(self._condensed()) if len(c) > 1]

    def _condensed(self) -> nx.DiGraph[int]:
        graph: nx.DiGraph[int] = nx.DiGraph()
        graph.add_nodes_from(self.group.values())
        ends = ((self.group[a], self.group[b]) for a, b, _ in self.edges)
        graph.add_edges_from((a, b) for a, b in ends if a != b)
        return graph

    def surrounded(self) -> dict[int, Rejected]:
        """Nodes of the accelerator that the host has to run, and why."""
        ring = set().union(*self._rings())
        inside = {i for i in self.survey.mine if self.group[i] in ring}
        reason = Rejected("it lies between host nodes linked by a tensor that cannot leave the host")
        found = dict.fromkeys(inside, reason)
        found |= dict.fromkeys(self._unheard_of(), Rejected("no buffer hands on what it makes to a host"))
        found |= dict.fromkeys(self._converters(), Rejected("it only converts what the host reads or makes"))
        found |= dict.fromkeys(self._numbers(), Rejected("it makes a scalar that the host reads"))
        moves = Rejected("it only moves what the host reads")
        found |= dict.fromkeys(self._movers(), moves)
        masks = Rejected("beside values as large as a mask's, like -1e9, others would have no code")
        found |= dict.fromkeys(self._masks(), masks)
        delicate = Rejected("it stands beside host nodes, where codes would round more than the host does")
        return found | dict.fromkeys(self._delicate(), delicate)

    def _masks(self) -> set[int]:
        """See `redc.frontend.masks`."""
        source = self.survey.source
        return masked(self.nodes, self.survey.build.constants, source.samples) & self.survey.mine

    def _delicate(self) -> set[int]:
        """See `redc.frontend.delicate`."""
        survey = self.survey
        build, mine = survey.build, survey.mine
        steep = {index: name for index, name in build.steep.items() if index in mine}
        held = {
            survey.source.nodes[at].index
            for at, op in zip(survey.at, build.ops, strict=True)
            if build.held.intersection(op.inputs)
        }
        readers = Counter(name for n in self.nodes if n.index in mine for name in set(n.reads))
        # Nothing else needs these inputs of the network as codes; else they are codes for all.
        alone = {name for name in build.inputs if readers[name] == 1}
        safe = {name for name in alone if away_from_zero(name, survey.source.samples)}
        raw = {index for index, name in steep.items() if name in alone - safe}
        edges = ((maker, reader) for maker, reader, _ in self.edges)
        return beside_hosts(edges, survey.host.keys(), steep.keys(), held, raw)

    def _converters(self) -> set[int]:
        """Casts and DequantizeLinears that only hosts read, QuantizeLinears of what a host makes: with
        them onnxruntime finds the same kernels there as in the whole model."""
        mine = self.survey.mine
        read = {maker for maker, reader, _ in self.edges if reader in mine}
        made = {reader for maker, reader, _ in self.edges if maker in self.survey.host}
        return {
            node.index
            for node in self.nodes
            if node.index in mine
            and (
                (node.op in ("Cast", "DequantizeLinear") and node.index not in read and self._inside(node))
                or (node.op == "QuantizeLinear" and node.index in made and self._leaves(node.outputs[0]))
            )
        }

    def _inside(self, node: Node) -> bool:
        """Whether no output of the node is one of the network."""
        return self.outputs.isdisjoint(node.outputs)

    def _leaves(self, name: str) -> bool:
        """Whether a tensor of integers can cross a border."""
        return self.survey.build.tensor(name).dtype != "f32"

    def _unheard_of(self) -> set[int]:
        """Makers of integers of 4 bits, and of floats of other widths, that leave the accelerator."""
        build, host = self.survey.build, self.survey.host
        kept = build.other_floats | {name for name in build.whole if not self._leaves(name)}
        read = {maker for maker, reader, name in self.edges if reader in host and name in kept}
        read |= {self.makers[name] for name in self.outputs & kept if name in self.makers}
        return read & self.survey.mine

    def _numbers(self) -> set[int]:
        """Makers of scalars that a host reads: conditions and scales, which codes could change for good."""
        shapes, mine, host = self.survey.build.shapes, self.survey.mine, self.survey.host
        return {
            maker
            for maker, reader, name in self.edges
            if maker in mine and reader in host and shapes[name] == ()
        }

    def _movers(self) -> set[int]:
        """Nodes that only move values from inputs and hosts to hosts and outputs."""
        candidates = {n.index for n in self.nodes if n.index in self.survey.mine and n.op in MOVES}
        free = candidates | set(self.survey.host)
        around: dict[int, list[int]] = {}
        pending = set()
        for maker, reader, _ in self.edges:
            for one, other in ((maker, reader), (reader, maker)):
                if one in candidates:
                    around.setdefault(one, []).append(other)
                    if other not in free:
                        pending.add(one)
        while pending:
            gone = pending.pop()
            candidates.discard(gone)
            pending.update(o for o in around.get(gone, ()) if o in candidates)
        hosts = self.survey.host
        linked = {i for i in candidates if any(o in hosts for o in around.get(i, ()))}
        pending = set(linked)
        while pending:  # with a mover that touches a host go those that it touches
            new = {o for o in around.get(pending.pop(), ()) if o in candidates} - linked
            linked |= new
            pending |= new
        return linked

    def depths(self) -> dict[int, int]:
        """The depth of every node."""
        graph, host = self._condensed(), self.survey.host
        depth: dict[int, int] = {}
        for group in nx.topological_sort(graph):
            changes = (depth[p] + ((p in host) != (group in host)) for p in graph.predecessors(group))
            depth[group] = max(changes, default=0)
        return {index: depth[group] for index, group in self.group.items()}


def _assembled(survey: Survey, depth: Mapping[int, int]) -> Graph:
    """The builder's graph with its host parts, in an order that can run."""
    source, build = survey.source, survey.build
    parts: dict[int, list[Node]] = {}
    position = {node.index: at for at, node in enumerate(source.nodes)}
    for node in source.nodes:
        if node.index in survey.host:
            parts.setdefault(depth[node.index], []).append(node)
    readers: dict[str, list[int]] = {}
    for node in source.nodes:
        side = depth[node.index] if node.index in survey.host else -1
        if node.index in depth:
            for name in node.reads:
                readers.setdefault(name, []).append(side)
    ports = {v.name for v in source.outputs}
    unknown = [name for name in ports if name not in build.constants and survey.border(name) is None]
    hosted = [n for n in source.nodes if n.index in survey.host]
    survey.types.update(measured(source, build, unknown, hosted, [survey.host[n.index] for n in hosted]))
    ops: list[tuple[int, Op]] = list(zip(survey.at, build.ops, strict=True))
    tensors: dict[str, Tensor] = {}
    for level, nodes in sorted(parts.items()):
        inside = {name for n in nodes for name in n.outputs if name}
        reads = dict.fromkeys(name for n in nodes for name in n.reads if name not in inside)
        leaves = [name for name in reads if name in build.constants]
        outputs = [
            name
            for name in dict.fromkeys(name for n in nodes for name in n.outputs if name)
            if name in ports or any(side != level for side in readers.get(name, ()))
        ]
        borders = {}
        for name in (*(r for r in reads if r not in build.constants), *outputs):
            border = survey.border(name)
            if border is None:
                raise UserError(
                    "its type is not numeric; only numbers and booleans enter or leave a program",
                    place=source.place(f"tensor {name!r}"),
                    hint="keep it within the nodes that only a host runs",
                )
            borders[name] = tensors[name] = border
        inputs = [name for name in reads if name not in build.constants]
        model = part_model(
            source, build, nodes, leaves, [borders[n] for n in inputs], [borders[n] for n in outputs]
        )
        reasons = [survey.host[n.index] for n in nodes]
        check_part(source, nodes, reasons, model)
        name = build.free_name(f"host{level}")
        texts = tuple(f"{n.describe(r.tensor)}: {r.message}" for n, r in zip(nodes, reasons, strict=True))
        op = HostOp(name, tuple(inputs), tuple(outputs), model, tuple(n.label for n in nodes), texts)
        ops.append((position[nodes[0].index], op))
    for name in build.inputs:
        found = build.host_only.get(name)
        if found is not None and name not in build:
            tensors[name] = found
    return build.graph((), _ordered(ops), tensors)


def _ordered(ops: Iterable[tuple[int, Op]]) -> tuple[Op, ...]:
    """Operators so that each comes after what it reads; ties in the order of the file."""
    listed = [op for _, op in sorted(ops, key=lambda pair: pair[0])]
    makers = {name: at for at, op in enumerate(listed) for name in op.outputs}
    order: nx.DiGraph[int] = nx.DiGraph()
    order.add_nodes_from(range(len(listed)))
    for at, op in enumerate(listed):
        order.add_edges_from((makers[name], at) for name in op.inputs if name in makers)
    return tuple(listed[at] for at in nx.lexicographical_topological_sort(order))
