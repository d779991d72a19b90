"""The ONNX model as the oracle reads it: from a layer's tensor back to its crossbar operator.

Nothing here is shared with the compiler's importer: a mistake in one must not hide in the other.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from redc.declared import shape_text
from redc.oracle.given import MOVES, Given, difference, made_codes, weight_input
from redc.oracle.reference import run_model

Array = npt.NDArray[Any]

CROSSBAR = (
    "ConvTranspose",
    "Conv",
    "Gemm",
    "MatMul",
    "QLinearConv",
    "QLinearMatMul",
    "ConvInteger",
    "MatMulInteger",
    "QGemm",
)
ACTIVATIONS = ("Relu", "LeakyRelu", "Clip", "Tanh", "Sigmoid")
FLOATS = (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE)
NO_OPS = ("Identity", "Dropout")
RESHAPES = (*NO_OPS, "Reshape", "Flatten", "Squeeze", "Unsqueeze")
SHAPERS = ("Shape", "Size")
QUANTISERS = ("QuantizeLinear", "DequantizeLinear")


class OracleError(Exception):
    """The model and the program's text do not say together what a layer should compute."""


@dataclass(frozen=True, eq=False, slots=True)
class Chain:
    """One crossbar operator of the model and what follows it up to a layer's tensor.

    `affine` are the BatchNormalization and constant Add nodes in graph order (and a
    DequantizeLinear of an integer operator's sums), `activation` the node that ends the layer, if
    any; `given` are the codes that the file gives its tensor.
    """

    operator: onnx.NodeProto
    affine: tuple[onnx.NodeProto, ...]
    activation: onnx.NodeProto | None
    given: Given | None = None


class Network:
    """Producers and constants of one model, found on demand."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        graph = model.graph
        self._initializers = {tensor.name: tensor for tensor in graph.initializer}
        self._makers = {name: node for node in graph.node for name in node.output if name}
        self._order = {name: at for at, node in enumerate(graph.node) for name in node.output}
        self._declared = {value.name: value.type.tensor_type for value in graph.input}
        self._constants: dict[str, Array | None] = {}
        self._shaped: dict[str, onnx.NodeProto | None] = {}  # what makes a tensor, reshapes left out
        self.shapes: dict[str, tuple[int, ...]] = {}
        """What `learn` was told."""
        self.inputs = tuple(v.name for v in graph.input if v.name not in self._initializers)
        self.outputs = tuple(dict.fromkeys(v.name for v in graph.output))

    def maker(self, tensor: str) -> onnx.NodeProto | None:
        """The node that makes `tensor`; None for the model's inputs and initializers."""
        return self._makers.get(tensor)

    def declared_shape(self, name: str) -> tuple[int | None, ...] | None:
        """The shape the file gives an input, None for each open axis; None if it gives no rank."""
        declared = self._declared.get(name)
        if declared is None or not declared.HasField("shape"):
            return None
        return tuple(
            d.dim_value if d.WhichOneof("value") == "dim_value" and d.dim_value >= 0 else None
            for d in declared.shape.dim
        )

    def shape_text(self, name: str) -> str:
        """`declared_shape` for people, open axes by their names."""
        return shape_text(self._declared[name])

    def input_type(self, name: str) -> np.dtype[Any]:
        """The numpy type of an input; float32 where the file leaves it open."""
        declared = self._declared.get(name)
        if declared is None or not declared.elem_type:
            return np.dtype(np.float32)
        return np.dtype(onnx.helper.tensor_dtype_to_np_dtype(declared.elem_type))

    def constant(self, tensor: str) -> Array | None:
        """The value of `tensor` where it depends on no input, else None."""
        if tensor not in self._constants:
            self._constants[tensor] = self._find_constant(tensor)
        return self._constants[tensor]

    def has(self, name: str) -> bool:
        """Whether the file has a tensor of this name."""
        return name in self._makers or name in self._declared or name in self._initializers

    def knows(self, tensor: str) -> bool:
        """Whether the model has a tensor of this name that is no initializer."""
        inside = tensor in self._makers or (tensor in self._declared and tensor not in self._initializers)
        return inside or tensor in self._differences

    def driven(self, node: onnx.NodeProto) -> str:
        """The tensor that a crossbar operator streams: its input, or that less a zero point."""
        return difference(self, node) or str(node.input[0])

    @cached_property
    def _differences(self) -> set[str]:
        return {name for node in self.model.graph.node if (name := difference(self, node))}

    def acts_as(self, node: onnx.NodeProto) -> str:
        """The node's operator; Identity for a Clip without bounds, and a Cast that keeps real numbers."""
        if node.op_type == "Cast":
            to = next((a.i for a in node.attribute if a.name == "to"), 0)
            return "Identity" if to in FLOATS and self.codes(node.input[0]) is None else "Cast"
        if node.op_type != "Clip":
            return str(node.op_type)
        bounds = [a.f for a in node.attribute if a.name in ("min", "max")]
        for name in filter(None, node.input[1:]):
            value = self.constant(name)
            bounds += [0.0] if value is None else [float(v) for v in value.reshape(-1)]
        bounded = any(abs(bound) < np.finfo(np.float32).max for bound in bounds)
        return "Clip" if bounded or any(map(math.isnan, bounds)) else "Identity"

    def chain(self, tensor: str) -> Chain:
        """Walk back from `tensor` to the crossbar operator behind it.

        Raises OracleError where anything but activation, BatchNormalization, constant Add and
        reshapes that change no shape lies between.
        """
        passed: list[onnx.NodeProto] = []
        at = tensor
        while (node := self.maker(at)) is not None and not self.is_crossbar(node):
            passed.append(node)
            if node.op_type == "Add" and (variable := self._variable_addend(node)) is not None:
                at = variable
            elif self.acts_as(node) in (*RESHAPES, *QUANTISERS, *ACTIVATIONS, "BatchNormalization"):
                at = node.input[0]
            else:
                raise _no_layer(node, tensor)
        if node is None:
            raise OracleError(f"no crossbar operator of the model leads to tensor {tensor!r}")
        affine: list[onnx.NodeProto] = []
        activation: onnx.NodeProto | None = None
        own: tuple[int, ...] | None = None  # the operator's shape, once a reshape asks
        changed = False
        given = made_codes(self, node)
        held = given is not None or activation is None  # false: a function of codes not rounded yet
        for after in reversed(passed):
            if after.op_type in QUANTISERS:
                codes = made_codes(self, after)
                if after.op_type == "QuantizeLinear" and codes and given in (None, codes):
                    given, held = codes, True
                elif codes is None and given is None and not changed and activation is None:
                    affine += [after] if after.op_type == "DequantizeLinear" else []
                elif codes is None or codes != given:
                    raise _no_layer(after, tensor)
            elif self.acts_as(after) in RESHAPES:
                if self.acts_as(after) not in NO_OPS:
                    own = own or self.shapes.get(after.input[0])
                    changed = own is None or self.shapes.get(after.output[0]) != own
            elif (
                after.op_type in ACTIVATIONS
                and activation is None
                and (given is None or after.op_type in ("Relu", "Clip"))
            ):
                activation, held = after, given is None
            elif after.op_type not in ACTIVATIONS and activation is None and given is None and not changed:
                affine.append(after)
            else:
                raise _no_layer(after, tensor)
        if changed or not held:
            raise _no_layer(passed[0], tensor)
        return Chain(node, tuple(affine), activation, given)

    def is_crossbar(self, node: onnx.NodeProto) -> bool:
        """True for an operator of these kinds whose weight is a constant."""
        return (
            node.op_type in CROSSBAR
            and node.domain in ("", "ai.onnx", *(("com.microsoft",) if node.op_type == "QGemm" else ()))
            and self.constant(node.input[weight_input(node)]) is not None
            and self.constant(node.input[0]) is None
        )

    def shaping(self) -> Iterator[str]:
        """The tensors whose shapes say something: those around reshapes, for `chain`, and those of which
        some node takes the shape, for `constant`."""
        for node in self.model.graph.node:
            if self.acts_as(node) in RESHAPES:
                yield from (node.input[0], node.output[0])
            elif node.op_type in SHAPERS:
                yield node.input[0]

    def learn(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """The shapes of tensors in the run that is looked at; what follows from them is a constant there."""
        self.shapes.update(shapes)
        self._constants = {name: value for name, value in self._constants.items() if value is not None}
        self.__dict__.pop("_variable", None)

    def crossbar_nodes(self) -> Iterator[onnx.NodeProto]:
        """Every crossbar operator that an output of the model depends on, in graph order."""
        alive: set[str] = set()
        pending = list(self.outputs)
        while pending:
            tensor = pending.pop()
            if tensor in alive:
                continue
            alive.add(tensor)
            node = self.maker(tensor)
            if node is not None:
                pending.extend(name for name in _reads(node) if name)
        for node in self.model.graph.node:
            if alive.intersection(node.output) and self.is_crossbar(node):
                yield node

    def root(self, tensor: str) -> str:
        """The tensor with the same values in the same order that is nearest to the inputs.

        Rounding to codes counts for nothing here: whether codes are right is asked elsewhere.
        """
        node = self.maker(tensor)
        while node is not None and self.moves(node) and node.output[0] == tensor:
            tensor = node.input[0]
            node = self.maker(tensor)
        return tensor

    def moves(self, node: onnx.NodeProto) -> bool:
        """Whether the node leaves the values alone, or only rounds them to codes."""
        return self.acts_as(node) in (*RESHAPES, *QUANTISERS)

    def codes(self, tensor: str) -> Given | None:
        """The codes of `tensor` where it is one of integers that stand for real numbers."""
        passed: list[str] = []
        while tensor not in self._shaped:
            node = self.maker(tensor)
            passed.append(tensor)
            if node is None or self.acts_as(node) not in (*RESHAPES, *MOVES) or tensor in node.output[1:]:
                self._shaped[tensor] = node
            else:
                tensor = node.input[0]
        node = self._shaped[tensor]
        self._shaped.update(dict.fromkeys(passed, node))
        if node is None or node.op_type == "DequantizeLinear":
            return None
        return made_codes(self, node)

    @cached_property
    def _variable(self) -> set[str]:
        """Every tensor that depends on an input, on chance, or on what nothing makes."""
        readers: dict[str, list[onnx.NodeProto]] = {}
        pending: list[str] = []
        for node in self.model.graph.node:
            if node.op_type in SHAPERS and node.input[0] in self.shapes:
                continue
            for name in filter(None, _reads(node)):
                readers.setdefault(name, []).append(node)
            if node.op_type.startswith("Random"):
                pending += node.output
        pending += [
            n for n in (*readers, *self.inputs) if n not in self._makers and n not in self._initializers
        ]
        found: set[str] = set()
        while pending:
            name = pending.pop()
            if name not in found:
                found.add(name)
                pending += [made for node in readers.get(name, ()) for made in node.output if made]
        return found

    def _variable_addend(self, node: onnx.NodeProto) -> str | None:
        left, right = str(node.input[0]), str(node.input[1])
        if self.constant(right) is not None and self.constant(left) is None:
            return left
        if self.constant(left) is not None and self.constant(right) is None:
            return right
        return None

    def _find_constant(self, tensor: str) -> Array | None:
        if tensor in self._initializers:
            return numpy_helper.to_array(self._initializers[tensor])
        if tensor in self._variable:
            return None
        nodes: dict[str, onnx.NodeProto] = {}
        leaves: dict[str, onnx.TensorProto] = {}
        pending = [tensor]
        while pending:
            name = pending.pop()
            if name in self._initializers:
                leaves[name] = self._initializers[name]
                continue
            node = self._makers[name]
            if node.op_type in SHAPERS and node.input[0] in self.shapes:
                leaves[name] = numpy_helper.from_array(_size(node, self.shapes[node.input[0]]), name)
            elif node.output[0] not in nodes:
                nodes[node.output[0]] = node
                pending.extend(part for part in _reads(node) if part)
        order = sorted(nodes.values(), key=lambda node: self._order[node.output[0]])
        made, four = tensor, self._of_four_bits(tensor)
        if four:  # numpy has no type for them, nor a Cast of a file before opset 21
            made, one = f"{tensor} as floats", f"{tensor} step"
            leaves[one] = numpy_helper.from_array(np.array(1, np.float32), one)
            domain = self._makers[tensor].domain
            order.append(onnx.helper.make_node("DequantizeLinear", [tensor, one], [made], domain=domain))
        value = onnx.ValueInfoProto(name=made)
        graph = onnx.helper.make_graph(order, "constant", [], [value], list(leaves.values()))
        found = run_model(self.model, graph, {})[made]
        return found.astype(np.int8) if four else found

    def _of_four_bits(self, tensor: str) -> bool:
        """Whether a QuantizeLinear makes codes of 4 bits of constants."""
        node = self._makers[tensor]
        zero = self._initializers.get(node.input[2]) if len(node.input) > 2 else None
        asked = next((a.i for a in node.attribute if a.name == "output_dtype"), 0)
        four = (onnx.TensorProto.INT4, onnx.TensorProto.UINT4)
        return node.op_type == "QuantizeLinear" and (zero.data_type if zero is not None else asked) in four


def attributes(node: onnx.NodeProto) -> dict[str, Any]:
    """The attributes that `node` spells out, as Python values."""
    return {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}


def describe(node: onnx.NodeProto) -> str:
    """`ConvTranspose 'ct1'`, or by its output where the node has no name."""
    return f"{node.op_type} {node.name!r}" if node.name else f"{node.op_type} of {node.output[0]!r}"


def float64(value: Array | None) -> npt.NDArray[np.float64]:
    """A constant that is known to be there, as float64."""
    assert value is not None
    return np.asarray(value, dtype=np.float64)


def _size(node: onnx.NodeProto, shape: tuple[int, ...]) -> Array:
    """What a Shape or Size gives for a tensor of this shape."""
    named = attributes(node)
    span = slice(named.get("start"), named.get("end"))
    return np.array(math.prod(shape) if node.op_type == "Size" else shape[span], np.int64)


def _no_layer(node: onnx.NodeProto, tensor: str) -> OracleError:
    return OracleError(
        f"{describe(node)} lies between tensor {tensor!r} and the crossbar operator behind it; a "
        "crossbar layer may hold only BatchNormalizations, constant Adds and, at its end, one activation"
    )


def _reads(node: onnx.NodeProto) -> Iterator[str]:
    """Tensors a node depends on, those that its subgraphs capture included."""
    yield from node.input
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            made = {name for inner in graph.node for name in inner.output}
            made |= {value.name for value in (*graph.input, *graph.initializer)}
            for inner in graph.node:
                yield from (name for name in _reads(inner) if name not in made)
            yield from (value.name for value in graph.output if value.name not in made)
