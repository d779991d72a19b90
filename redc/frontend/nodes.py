"""One ONNX graph, read: its live nodes in order, their attributes as Python values, its constants.

Everything that can be wrong with a graph's wiring is found here; what the operators mean is
not known yet.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import networkx as nx
import numpy.typing as npt
import onnx

from redc.errors import UserError, did_you_mean, raise_all
from redc.frontend.scopes import captured

DEFAULT_DOMAINS = ("", "ai.onnx")
OLDEST_OPSET = 7
BROKEN = "the file is damaged, or what exported it is: onnx.checker.check_model may tell more"
MOST_HINTS = 10
"""Missing names that are compared with all others."""
LONGEST_NAME = 1 << 14
"""Characters; what people write has hundreds."""


@dataclass(frozen=True, slots=True)
class Node:
    """One node.  Missing optional inputs and outputs are empty strings, as in ONNX."""

    index: int
    op: str
    domain: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    kinds: Mapping[str, int]  # AttributeProto.type of each attribute
    captures: tuple[str, ...]  # tensors of this graph that its subgraphs (If, Loop, Scan) read
    proto: onnx.NodeProto

    @property
    def label(self) -> str:
        """The name users know it by: its own, or else the tensor it makes."""
        return self.name or next((o for o in self.outputs if o), f"#{self.index}")

    @property
    def operator(self) -> str:
        return self.op if self.domain in DEFAULT_DOMAINS else f"{self.domain}.{self.op}"

    def describe(self, tensor: str | None = None) -> str:
        """`node 'ct1' (ConvTranspose), tensor 'x'`; an unnamed node goes by what it makes."""
        who = (
            f"node {self.name!r} ({self.operator})"
            if self.name
            else f"node {self.index} ({self.operator}, unnamed, makes {self.label!r})"
        )
        return f"{who}, tensor {tensor!r}" if tensor else who

    @property
    def reads(self) -> tuple[str, ...]:
        """Every tensor it depends on."""
        return (*filter(None, self.inputs), *self.captures)

    def input(self, index: int) -> str:
        """The name of input `index`, empty if it is left out."""
        return self.inputs[index] if index < len(self.inputs) else ""


@dataclass(frozen=True)
class Source:
    """A graph whose wiring is sound.

    `nodes` are those an output depends on, in topological order (ties in the file's order).
    `inputs` are the graph inputs that are no initializers, `outputs` the graph outputs, each once.
    `samples` are values of inputs, if there are any: for shapes that only a run tells.  `differences`
    are tensors of integers less a zero point that only a run tells (redc/frontend/dynamic.py).
    """

    title: str
    name: str
    opset: int
    nodes: tuple[Node, ...]
    inputs: tuple[onnx.ValueInfoProto, ...]
    outputs: tuple[onnx.ValueInfoProto, ...]
    initializers: Mapping[str, onnx.TensorProto]
    model: onnx.ModelProto
    samples: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)
    differences: frozenset[str] = frozenset()

    @property
    def quantised(self) -> bool:
        """Whether any operator makes or reads codes: what such a file leaves in float, it means so."""
        return any(
            node.op.endswith(("QuantizeLinear", "DequantizeLinear", "Integer"))
            or node.op.startswith(("QLinear", "QGemm"))
            for node in self.nodes
        )

    @property
    def passed(self) -> list[str]:
        """Outputs that are inputs."""
        inputs = {v.name for v in self.inputs}
        return [v.name for v in self.outputs if v.name in inputs]

    def place(self, where: str) -> str:
        return f"{self.title}: {where}"


def read_source(model: onnx.ModelProto, title: str) -> Source:
    """Check the wiring of the model's graph and keep what its outputs need.

    Raises UserError (several at once) for a graph that is not one: no outputs, an opset that
    is missing, too old or too new, a tensor made twice or never, a cycle.
    """
    graph = model.graph
    _reject_damaged_names(graph, title)
    opset = _opset(model, title)
    errors: list[UserError] = []
    nodes = [_node(index, proto, title, errors) for index, proto in enumerate(graph.node)]
    initializers = {t.name: t for t in graph.initializer}
    if graph.sparse_initializer:
        names = ", ".join(repr(t.values.name) for t in graph.sparse_initializer)
        errors.append(
            UserError(f"sparse initializers are not supported: {names}", place=title, hint="store them dense")
        )
    inputs = tuple(v for v in graph.input if v.name not in initializers)
    makers = _makers(nodes, graph, initializers, title, errors)
    if not graph.output:
        errors.append(
            UserError("the graph has no outputs, so there is nothing to compute", place=title, hint=BROKEN)
        )
    raise_all(errors)
    known = {*makers, *initializers, *(v.name for v in inputs)}
    live = _live(nodes, makers, [v.name for v in graph.output])
    raise_all([*_missing(live, known, title), *_bad_outputs(graph, known, title)])
    ordered = _sorted(live, makers, title)
    return Source(
        title=title,
        name=graph.name or "model",
        opset=opset,
        nodes=ordered,
        inputs=inputs,
        outputs=tuple({v.name: v for v in graph.output}.values()),
        initializers=MappingProxyType(initializers),
        model=model,
    )


def _reject_damaged_names(graph: onnx.GraphProto, title: str) -> None:
    """Names that are no text (protobuf hands out strings that are not valid UTF-8 as bytes), or no names."""
    names: list[object] = [graph.name]
    for node in graph.node:
        names += [node.name, node.op_type, node.domain, *node.input, *node.output]
        names += [attribute.name for attribute in node.attribute]
    names += [value.name for value in (*graph.input, *graph.output, *graph.initializer)]
    for value in (*graph.input, *graph.output):
        names += [dimension.dim_param for dimension in value.type.tensor_type.shape.dim]
    for name in names:
        if isinstance(name, bytes):
            raise UserError(
                f"the name {name!r} is not valid UTF-8",
                place=title,
                hint="the file is damaged: copy it again",
            )
        if isinstance(name, str) and "\0" in name:
            raise UserError(
                f"the name {name[:40]!r} holds a zero byte",
                place=title,
                hint="the file is damaged: copy it again",
            )
        if isinstance(name, str) and len(name) > LONGEST_NAME:
            raise UserError(
                f"a name has {len(name)} characters, at most {LONGEST_NAME} are allowed: {name[:40]!r}...",
                place=title,
                hint="is the file damaged?",
            )


def _opset(model: onnx.ModelProto, title: str) -> int:
    if not 1 <= model.ir_version <= onnx.IR_VERSION:
        raise UserError(
            f"its ONNX IR version is {model.ir_version}; "
            f"onnx {onnx.__version__} knows 1 to {onnx.IR_VERSION}",
            place=title,
            hint="install a newer onnx, or export the model again",
        )
    found = [o.version for o in model.opset_import if o.domain in DEFAULT_DOMAINS]
    newest = onnx.defs.onnx_opset_version()
    if not found:
        raise UserError(
            "the model does not say which ONNX operator set it uses",
            place=title,
            hint="opset_import is missing: export the model again",
        )
    if found[0] < OLDEST_OPSET:
        raise UserError(
            f"operator set {found[0]} is too old: {OLDEST_OPSET} to {newest} are supported",
            place=title,
            hint="raise it with onnx.version_converter.convert_version(model, 13)",
        )
    if found[0] > newest:
        raise UserError(
            f"operator set {found[0]} is newer than onnx {onnx.__version__} knows ({newest})",
            place=title,
            hint="install a newer onnx, or export the model for an older operator set",
        )
    return int(found[0])


def _node(index: int, proto: onnx.NodeProto, title: str, errors: list[UserError]) -> Node:
    attributes = {}
    for attribute in proto.attribute:
        try:
            value = onnx.helper.get_attribute_value(attribute)
        except ValueError:  # no type, or a type from the future
            what = proto.name or ", ".join(proto.output)
            errors.append(
                UserError(
                    f"attribute {attribute.name!r} has no readable value",
                    place=f"{title}: node {what!r} ({proto.op_type})",
                    hint=BROKEN,
                )
            )
            continue
        if isinstance(value, bytes):
            value = value.decode("utf-8", "replace")
        attributes[attribute.name] = value
    return Node(
        index=index,
        op=proto.op_type,
        domain=proto.domain,
        name=proto.name,
        inputs=tuple(proto.input),
        outputs=tuple(proto.output),
        attributes=MappingProxyType(attributes),
        kinds=MappingProxyType({a.name: a.type for a in proto.attribute}),
        captures=captured(proto),
        proto=proto,
    )


def _makers(
    nodes: Iterable[Node],
    graph: onnx.GraphProto,
    initializers: Mapping[str, onnx.TensorProto],
    title: str,
    errors: list[UserError],
) -> dict[str, Node]:
    """Which node makes each tensor; tensors that are defined twice become errors."""
    given: set[str] = set()
    for kind, names in (
        ("graph inputs", [v.name for v in graph.input]),
        ("initializers", [t.name for t in graph.initializer]),
        ("graph outputs", [v.name for v in graph.output]),
    ):
        seen: set[str] = set()
        for name in names:
            if not name:
                errors.append(UserError(f"one of the {kind} has no name", place=title, hint=BROKEN))
            elif name in seen and kind != "graph outputs":
                errors.append(UserError(f"two {kind} are called {name!r}", place=title, hint=BROKEN))
            seen.add(name)
        if kind != "graph outputs":
            given |= seen
    makers: dict[str, Node] = {}
    for node in nodes:
        for output in filter(None, node.outputs):
            if output in makers or output in given:
                other = makers[output].describe() if output in makers else "an input or initializer"
                errors.append(
                    UserError(
                        f"tensor {output!r} is made twice: by this node and by {other}",
                        place=f"{title}: {node.describe()}",
                        hint=BROKEN,
                    )
                )
            makers.setdefault(output, node)
    return makers


def _live(nodes: Iterable[Node], makers: Mapping[str, Node], outputs: list[str]) -> list[Node]:
    """The nodes that `outputs` depend on, in the file's order."""
    needed: set[int] = set()
    pending = [makers[name] for name in outputs if name in makers]
    while pending:
        node = pending.pop()
        if node.index not in needed:
            needed.add(node.index)
            pending.extend(makers[name] for name in node.reads if name in makers)
    return [node for node in nodes if node.index in needed]


def _missing(live: Iterable[Node], known: set[str], title: str) -> list[UserError]:
    lost = [(node, name) for node in live for name in node.reads if name not in known]
    return [
        UserError(
            f"tensor {name!r} is read, but nothing makes it",
            place=f"{title}: {node.describe()}",
            hint=did_you_mean(name, known) if number < MOST_HINTS else None,
        )
        for number, (node, name) in enumerate(lost)
    ]


def _bad_outputs(graph: onnx.GraphProto, known: set[str], title: str) -> list[UserError]:
    return [
        UserError("nothing makes it", place=f"{title}: graph output {name!r}", hint=did_you_mean(name, known))
        for name in (v.name for v in graph.output)
        if name not in known
    ]


def _sorted(live: list[Node], makers: Mapping[str, Node], title: str) -> tuple[Node, ...]:
    by_index = {node.index: node for node in live}
    order: nx.DiGraph[int] = nx.DiGraph()
    order.add_nodes_from(by_index)
    for node in live:
        order.add_edges_from((makers[n].index, node.index) for n in node.reads if n in makers)
    try:
        return tuple(by_index[i] for i in nx.lexicographical_topological_sort(order))
    except nx.NetworkXUnfeasible:
        cycle = [by_index[edge[0]] for edge in nx.find_cycle(order)]
        raise UserError(
            "the graph has a cycle: " + " -> ".join(repr(n.label) for n in (*cycle, cycle[0])),
            place=f"{title}: {cycle[0].describe()}",
            hint=BROKEN,
        ) from None
