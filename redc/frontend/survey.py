"""One walk through a model's nodes: which are the accelerator's, and what is known of the host's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import onnx

from redc.errors import UserError, raise_all
from redc.frontend.builder import Builder, channel_axis
from redc.frontend.constants import FOLDED
from redc.frontend.elements import ELEMENTS, NAMES
from redc.frontend.nodes import Node, Source
from redc.frontend.rejected import Broken, Rejected
from redc.inference import SMALL, inferred
from redc.ir.graph import Tensor

Import = Callable[[Builder, Node], bool]
"""Import one node, or raise Rejected; True where it turned out to be a constant."""

WEIGHTED = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
"""Their weights lie in crossbars; where these are graph inputs, they are to be bound."""

MISJUDGED = ("STFT",)
"""Operators for which ONNX's inference gives a shape that onnxruntime's result does not have."""


@dataclass
class Survey:
    """One walk through the nodes: `host` says why a node is not the accelerator's.

    `types` are those of the tensors that hosts make or that only hosts can read, as far as known;
    `at` is the node at which each operator of `build` was added.
    """

    source: Source
    build: Builder
    forced: Mapping[int, Rejected]
    types: dict[str, onnx.TypeProto] = field(default_factory=dict)
    host: dict[int, Rejected] = field(default_factory=dict)
    mine: set[int] = field(default_factory=set)
    at: list[int] = field(default_factory=list)

    def run(self, import_node: Import) -> Survey:
        """Raises UserError for broken nodes, and crossbar operators whose weights are graph inputs."""
        errors: list[UserError] = []
        for position, node in enumerate(self.source.nodes):
            before = self.build.count
            try:
                if node.index in self.forced:
                    raise self.forced[node.index]
                if not import_node(self.build, node):
                    self.mine.add(node.index)
            except Rejected as reason:
                if isinstance(reason, Broken) or self._to_bind(node, reason):
                    errors.append(reason.at(self.source.place(node.describe(reason.tensor))))
                self.build.take_back(before)
                self.host[node.index] = reason
                self._accept(node)
            self.at += [position] * (self.build.count - before)
        raise_all(errors)
        return self

    def _to_bind(self, node: Node, reason: Rejected) -> bool:
        """Whether `node` only lacks the values of graph inputs that can be nothing but weights."""
        if not reason.needs or node.op not in WEIGHTED:
            return False
        weight = _static(self.type_of(node.input(1)))
        if node.op == "MatMul" and weight is not None and len(weight) != 2:
            return False  # a batch of matrices, as attention has them
        return not self._data.intersection(reason.needs)

    @cached_property
    def _data(self) -> set[str]:
        """Every tensor that some node reads as other than a weight, and what it is folded from."""
        found: set[str] = {output.name for output in self.source.outputs}
        for node in reversed(self.source.nodes):
            if node.op in WEIGHTED:
                found.update(node.inputs[:1])
            elif node.operator not in FOLDED or found.intersection(node.outputs):
                found.update(node.reads)
        return found

    def type_of(self, name: str) -> onnx.TypeProto | None:
        """The type of a tensor that is no constant, as far as it is known."""
        if name in self.types:
            return self.types[name]
        if name in self.build:
            element = ELEMENTS[self.build.tensor(name).dtype]
            return onnx.helper.make_tensor_type_proto(element, self.build.shapes[name])
        raw = self.build.host_only.get(name)
        return onnx.helper.make_tensor_type_proto(ELEMENTS[raw.dtype], raw.shape) if raw else None

    def border(self, name: str) -> Tensor | None:
        """The tensor, if it can cross a border: numeric, its shape static."""
        if name in self.build:
            return self.build.tensor(name)
        found = self.type_of(name)
        static = _static(found)
        if found is None or static is None or found.tensor_type.elem_type not in NAMES:
            return None
        return Tensor(name, static, 0, dtype=NAMES[found.tensor_type.elem_type])

    def _accept(self, node: Node) -> None:
        """What a host node makes: of use to the accelerator, to other hosts, or unknown."""
        for name, kind in self._infer(node).items():
            self.types[name] = kind
            self.build.know_kind(name, _word(kind))
            shape = _static(kind)
            if shape is None:
                continue
            real = kind.tensor_type.elem_type == onnx.TensorProto.FLOAT
            if real and shape and 0 not in shape:
                self.build.accept(Tensor(name, shape, channel_axis(len(shape))))
            else:
                self.build.know_shape(name, shape, NAMES.get(kind.tensor_type.elem_type, ""))

    def _infer(self, node: Node) -> Mapping[str, onnx.TypeProto]:
        """The types of a node's outputs, as far as they follow from its operator."""
        if node.op in MISJUDGED:
            return {}
        types: dict[str, onnx.TypeProto] = {}
        data: dict[str, onnx.TensorProto] = {}
        try:
            for name in node.reads:
                if name in self.build.constants:
                    value = self.build.constants.proto(name)
                    types[name] = onnx.helper.make_tensor_type_proto(value.data_type, list(value.dims))
                    if sum(value.dims) <= SMALL:
                        data[name] = value
                elif (known := self.type_of(name)) is not None:
                    types[name] = known
                elif name in node.inputs:
                    return {}
        except Rejected:
            return {}  # a constant that nobody can read
        found = inferred(_named(node), types, data, self.source.model)
        return {name: found[name] for name in node.outputs if name in found}


def _named(node: Node) -> onnx.NodeProto:
    """The node with the names of what it reads today: a rewrite may have given it another tensor."""
    if list(node.proto.input) == list(node.inputs):
        return node.proto
    proto = onnx.NodeProto()
    proto.CopyFrom(node.proto)
    proto.input[:] = node.inputs
    return proto


def _word(kind: onnx.TypeProto) -> str:
    """The element type of a tensor in the assembly's words, else ONNX's: `f32`, `bfloat16`, `sequence`."""
    form = str(kind.WhichOneof("value") or "").removesuffix("_type")
    if form != "tensor":
        return form.replace("_", " ")
    element = kind.tensor_type.elem_type
    known = element in onnx.TensorProto.DataType.values() and element != onnx.TensorProto.UNDEFINED
    return NAMES.get(element) or (onnx.TensorProto.DataType.Name(element).lower() if known else "")


def _static(kind: onnx.TypeProto | None) -> tuple[int, ...] | None:
    """The shape, if the type is that of a tensor and every dimension is a number."""
    if kind is None or not kind.HasField("tensor_type") or not kind.tensor_type.HasField("shape"):
        return None
    dims = kind.tensor_type.shape.dim
    if any(not d.HasField("dim_value") or d.dim_value < 0 for d in dims):
        return None
    return tuple(d.dim_value for d in dims)
