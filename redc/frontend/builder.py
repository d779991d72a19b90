"""What the operators' importers build with: the graph under construction."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from isa.program import REAL_TYPES
from redc.frontend.constants import F64, FOLDED, Constants, integers
from redc.frontend.inputs import cast_ports
from redc.frontend.nodes import Node, Source
from redc.frontend.rejected import Rejected
from redc.frontend.sizes import check_size
from redc.ir.graph import Codes, Graph, MachineOp, Op, ReshapeOp, StencilOp, Tensor

ScalarsAre = Literal["scalars", "vectors"]


def channel_axis(rank: int) -> int:
    """The axis that ONNX calls channels: 1, or the only one; 0 of a scalar."""
    return max(0, min(1, rank - 1))


class Builder:
    """Operators and tensors so far, in order.  Every method that can fail raises Rejected."""

    def __init__(
        self, source: Source, inputs: Mapping[str, tuple[int, ...]], dtypes: Mapping[str, str] | None = None
    ) -> None:
        """`dtypes` are the element types of inputs that are not f32."""
        self.opset = source.opset
        self.constants = Constants(source.initializers, source.model)
        self._source = source
        self._inputs = tuple(inputs)
        self._makers = {name: node for node in source.nodes for name in node.outputs}
        self._tensors: dict[str, Tensor] = {}
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._ops: list[Op] = []
        self._kinds: dict[str, str] = {}
        self._views: dict[tuple[str, tuple[int, ...], int], Tensor] = {}
        self.held: set[str] = set()
        """Tensors that are constants."""
        self.steep: dict[int, str] = {}
        """Nodes that amplify the rounding of what is near 0, by their index, and which input that is."""
        self.whole: set[str] = set()
        """Tensors of an integer type, all with given codes: their value here is the real one."""
        self.other_floats: set[str] = set()
        """Tensors that are float16 or the like in the model; real numbers here, that no host can read."""
        self.differences = source.differences
        self._scalars_are: ScalarsAre | None = None
        self._makes: frozenset[str] = frozenset()  # scalars, by the node that is imported now
        self._op_names: set[str] = set()
        self._numbers: dict[str, int] = {}  # of names that were taken, the last one tried
        onnx_names = {name for node in source.nodes for name in (*node.inputs, *node.outputs)}
        self._read = {name for node in source.nodes for name in node.reads}
        self._read |= {value.name for value in source.outputs}
        self._tensor_names = {*onnx_names, *inputs, *source.initializers}
        self.host_only: dict[str, Tensor] = {}
        """Inputs that only a host can read: not f32, or empty."""
        self.outside: dict[str, Tensor] = {}
        """Tensors of integers, inputs or made by a host, that an operator may take as codes."""
        self.cast = cast_ports(source)
        """Inputs and outputs of the network that only Casts touch."""
        for name, shape in inputs.items():
            dtype = (dtypes or {}).get(name, "f32")
            real = dtype == "f32" or (dtype in REAL_TYPES and name in self.cast)
            if real and 0 not in shape:
                self._define(Tensor(name, shape, channel_axis(len(shape)), dtype=dtype))
            else:
                self.host_only[name] = Tensor(name, shape, 0, dtype=dtype)
                self.know_shape(name, shape, dtype)

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """The shape of every tensor so far."""
        return self._shapes

    # ------------------------------------------------------------ reading

    def data(self, node: Node, index: int = 0) -> Tensor:
        """The tensor at input `index`: computed, or a graph input.  Scalars are as `scalars` says."""
        name = node.input(index)
        if not name:
            raise Rejected(f"its input {index} is left out")
        if name in self.constants:
            raise Rejected(
                "it is a constant here; the accelerator works on computed tensors",
                tensor=name,
                hint="fold constants first, e.g. with onnxsim",
            )
        tensor = self._tensors[name]
        if not tensor.shape and self._scalars_are is None:
            raise Rejected(self.why_unreadable(name), tensor=name)
        whole = tensor.shape or self._scalars_are == "scalars"
        return tensor if whole else self.view(tensor, (1,), 0)

    def is_constant(self, node: Node, index: int) -> bool:
        return node.input(index) in self.constants

    def weights(self, node: Node, index: int, what: str, *, finite: bool = True) -> F64:
        """The constant at input `index` as float64; `what` is its part, for the error."""
        name = node.input(index)
        if name not in self.constants:
            raise self._unknown(name, what)
        return self.constants.floats(name, finite=finite)

    def numbers(self, node: Node, index: int, what: str, *, finite: bool = True) -> F64:
        """As `weights`, where infinities are no fault, as in masks: the host takes them where they
        must be `finite`.  NaN still is one."""
        value = self.weights(node, index, what, finite=False)
        if np.isnan(value).any():
            self.weights(node, index, what)  # says so
        if finite and np.isinf(value).any():
            raise Rejected(f"its {what} holds infinity, for which there is no code", tensor=node.input(index))
        return value

    def vector(self, node: Node, index: int, what: str, size: int) -> F64:
        """The constant at input `index`, of shape (size,)."""
        value = self.weights(node, index, what)
        if value.shape != (size,):
            raise Rejected(
                f"its {what} has shape {value.shape}, expected ({size},)", tensor=node.input(index)
            )
        return value

    def integers(self, node: Node, index: int, what: str) -> tuple[int, ...]:
        """The constant list of integers at input `index`."""
        name = node.input(index)
        if name not in self.constants:
            raise self._unknown(name, what)
        return integers(self.constants[name], name)

    def _unknown(self, name: str, what: str) -> Rejected:
        """The error for a part that must be constant; binding graph inputs may put it right."""
        needs: dict[str, None] = {}
        pending = [name]
        while pending:
            at = pending.pop()
            maker = self._makers.get(at)
            if maker is not None and maker.operator not in FOLDED:
                return Rejected(
                    f"its {what} is computed by {maker.describe()}; it must be known before the program runs",
                    tensor=name,
                    hint="fold constants first, e.g. with onnxsim",
                )
            if maker is not None:
                pending += [i for i in maker.inputs if i and i not in self.constants]
            else:
                needs[at] = None
        binding = " ".join(f"--bind {i}={i}.npy" for i in needs)
        return Rejected(
            f"its {what} is a graph input; it must be known before the program runs",
            tensor=name,
            hint=f"bind its value: {binding} (or make it an initializer)",
            needs=tuple(needs),
        )

    # ------------------------------------------------------------ writing

    def op_name(self, node: Node) -> str:
        """A name no other operator has: the node's own, or made of operator and output."""
        return self._fresh(node.name or f"{node.op}_{node.label}", self._op_names)

    def fresh(self, name: str) -> str:
        """A name that no tensor has, like `name`."""
        return self._fresh(name, self._tensor_names)

    def needs(self, tensor: str) -> bool:
        """Whether some node reads `tensor`, or the graph gives it out."""
        return tensor in self._read

    def add(
        self,
        op: MachineOp,
        shape: tuple[int, ...],
        axis: int,
        given: Codes | None = None,
        dtype: str = "f32",
        like: str | None = None,
    ) -> Tensor:
        """Append `op`, whose output has this shape and channel axis, and perhaps `given` codes (with
        an integer `dtype` these codes themselves), or a range `like` that of a tensor of the model.

        What only moves values keeps the codes and the type of its inputs.  Gives the output.
        """
        shape = () if op.output in self._makes else shape
        if not shape and not isinstance(op, ReshapeOp):  # whatever computes makes vectors
            made = replace(op, output=self.fresh(f"{op.output}.rank1"))
            inner = self.add(made, (1,), 0, given, dtype, like or op.output)
            name = self._fresh(f"Relayout_{op.output}", self._op_names)
            self._views[op.output, (1,), 0] = inner
            return self.add(ReshapeOp(name, "Relayout", inner.name, op.output), (), 0)
        if any(size < 1 for size in shape):
            raise Rejected(f"its output has the shape {shape}: no elements", tensor=op.output)
        check_size(shape, op.output)
        self._ops.append(op)
        source = self._tensors[op.inputs[0]]
        if isinstance(op, ReshapeOp):
            given = given or source.given
        moves = isinstance(op, ReshapeOp) and op.op not in ("DequantizeLinear", "Cast")
        if moves or (isinstance(op, StencilOp) and source.name in self.whole and given is None):
            given, dtype = source.given, source.dtype
            if source.name in self.whole:
                self.whole.add(op.output)
        elif dtype not in REAL_TYPES:
            self.whole.add(op.output)
        elif self.other_floats.intersection(op.inputs):
            self.other_floats.add(op.output)
        self._define(Tensor(op.output, shape, axis, given, dtype=dtype, like=like))
        return self._tensors[op.output]

    def reshape(self, node: Node, x: Tensor, shape: tuple[int, ...]) -> None:
        """The values of `x` in another shape: the output of `node`."""
        op = ReshapeOp(self.op_name(node), node.op, x.name, node.outputs[0], (node.label,))
        self.add(op, shape, channel_axis(len(shape)))

    @contextmanager
    def scalars(self, node: Node, how: ScalarsAre | None) -> Iterator[None]:
        """While `node` is imported its scalars are read like this, or not at all; what broadcasts makes
        a scalar of scalars alone."""
        ranks = [
            self.constants[name].ndim if name in self.constants else len(self._shapes[name])
            for name in node.reads
        ]
        self._scalars_are = how
        self._makes = frozenset(node.outputs if how == "vectors" and not any(ranks) else ())
        try:
            yield
        finally:
            self._scalars_are, self._makes = None, frozenset()

    @contextmanager
    def undone_if_rejected(self) -> Iterator[None]:
        """Nothing is added where an importer raises Rejected halfway."""
        kept = len(self._ops)
        tables: list[dict[Any, Any]] = [self._tensors, self._shapes, self._views]
        sizes = [len(table) for table in tables]
        try:
            yield
        except Rejected:
            del self._ops[kept:]
            for table, size in zip(tables, sizes, strict=True):
                while len(table) > size:
                    self.whole.discard(table.popitem()[0])
            raise

    def view(self, tensor: Tensor, shape: tuple[int, ...], axis: int) -> Tensor:
        """The values of `tensor` under another shape or channel axis; itself if it fits."""
        if (tensor.shape, tensor.axis) == (shape, axis):
            return tensor
        key = (tensor.name, shape, axis)
        if key not in self._views:
            changed = f"axis{axis}" if shape == tensor.shape else f"rank{len(shape)}"
            name = self._fresh(f"{tensor.name}.{changed}", self._tensor_names)
            self.add(
                ReshapeOp(self._fresh(f"Relayout_{name}", self._op_names), "Relayout", tensor.name, name),
                shape,
                axis,
            )
            self._views[key] = self._tensors[name]
        return self._views[key]

    def constant(self, name: str, value: F64, axis: int) -> Tensor:
        """A tensor that holds `value`, its channels on `axis`; `name` says which constant, or what was
        made of one, that is.  Asked again for the same, it gives the same."""
        key = (name, value.shape, axis)
        if key not in self._views:
            made = self._fresh(f"{name}.held", self._tensor_names)
            self._define(Tensor(made, value.shape, axis, value=value))
            self.held.add(made)
            self._views[key] = self._tensors[made]
        return self._views[key]

    def inputs_behind(self, tensor: str) -> list[str]:
        """The graph inputs that `tensor` depends on, in order."""
        found: set[str] = set()
        pending = [tensor]
        while pending:
            name = pending.pop()
            if name not in found:
                found.add(name)
                pending += self._makers[name].reads if name in self._makers else ()
        return [name for name in self._inputs if name in found]

    def fresh_tensor(self, name: str) -> str:
        """A tensor's name that is not taken, made of `name`."""
        return self._fresh(name, self._tensor_names)

    def along(self, tensor: Tensor, axis: int) -> Tensor:
        """`tensor` with its channels on `axis`."""
        return self.view(tensor, tensor.shape, axis)

    # ------------------------------------------------------------ hosts

    def __contains__(self, tensor: str) -> bool:
        """Whether the accelerator can read `tensor`."""
        return tensor in self._tensors

    @property
    def inputs(self) -> tuple[str, ...]:
        return self._inputs

    @property
    def ops(self) -> tuple[Op, ...]:
        return tuple(self._ops)

    def dtype(self, name: str) -> str:
        """The element type of an input."""
        return (self.host_only.get(name) or self._tensors[name]).dtype

    def tensor(self, name: str) -> Tensor:
        """A tensor that the accelerator can read."""
        return self._tensors[name]

    def free_name(self, name: str) -> str:
        """A name that no operator has, made of `name`."""
        return self._fresh(name, self._op_names)

    @property
    def count(self) -> int:
        """Operators so far."""
        return len(self._ops)

    def take_back(self, count: int) -> None:
        """Leave the first `count` operators, and forget the others with what they make."""
        if len(self._ops) == count:
            return
        for op in self._ops[count:]:
            for name in op.outputs:
                self._tensors.pop(name, None)
                self._shapes.pop(name, None)
                self.whole.discard(name)
        del self._ops[count:]
        self._views = {key: view for key, view in self._views.items() if view.name in self._tensors}

    def accept(self, tensor: Tensor) -> None:
        """A tensor that the host makes and the accelerator can read."""
        self._define(tensor)

    def why_unreadable(self, name: str) -> str:
        """Why the accelerator cannot read a tensor that is no constant: what it is, and whose."""
        kind, shape = self._kinds.get(name, ""), self._shapes.get(name)
        if kind not in ("f32", ""):
            what = f"it is {kind}, not f32"
        elif shape is None:
            what = "its shape is known only in the run"
        elif not shape:
            what = "it is a scalar, without an axis of channels"
        else:
            what = f"its shape {list(shape)} has no values"
        maker = self._makers.get(name)
        if maker is None:
            return f"{what}; it is a graph input"
        who = repr(maker.name) if maker.name else maker.index
        return f"{what}; node {who} ({maker.operator}) makes it"

    def know_kind(self, name: str, kind: str) -> None:
        """A tensor that a host makes has this element type, or is a `sequence`, `optional`, ...."""
        self._kinds[name] = kind

    def know_shape(self, name: str, shape: tuple[int, ...], dtype: str = "") -> None:
        """A tensor that a host makes, or an input, has this shape and element type."""
        self._shapes[name] = shape
        self.know_kind(name, dtype)
        if dtype[:1] in ("i", "u") and shape and 0 not in shape:
            self.outside[name] = Tensor(name, shape, channel_axis(len(shape)), dtype=dtype)

    def take(self, name: str, codes: Codes) -> Tensor:
        """Read integers from outside as `codes`, whoever reads them from now on."""
        tensor = replace(self.outside[name], given=codes)
        self._define(tensor)
        self.whole.add(name)
        return tensor

    def graph(
        self,
        notes: tuple[str, ...],
        ops: tuple[Op, ...] | None = None,
        others: Mapping[str, Tensor] | None = None,
    ) -> Graph:
        """The graph; with `ops` those in place of the builder's own, and `others` the tensors
        that hosts touch.  Tensors that nothing makes are left out."""
        ops = tuple(self._ops) if ops is None else ops
        made = {*self._inputs, *(name for op in ops for name in op.outputs)}
        made |= {name for op in ops for name in op.inputs if name in self.held}
        known = {**self._tensors, **(others or {})}
        return Graph(
            name=self._source.name,
            inputs=self._inputs,
            outputs=tuple(v.name for v in self._source.outputs),
            tensors={name: tensor for name, tensor in known.items() if name in made},
            ops=ops,
            notes=notes,
            quantised=self._source.quantised,
        )

    def _define(self, tensor: Tensor) -> None:
        self._tensors[tensor.name] = tensor
        self._shapes[tensor.name] = tensor.shape

    def _fresh(self, name: str, taken: set[str]) -> str:
        candidate, number = name, self._numbers.get(name, 1)
        while candidate in taken:
            number += 1
            candidate = f"{name}_{number}"
            self._numbers[name] = number
        taken.add(candidate)
        return candidate
