"""Values known before the program runs: initializers, and what a few operators make of them.

Nothing here computes with real numbers: a constant is only found, reshaped or cut.  Exporters
wrap weights and target shapes that way (PyTorch's `x.view(x.size(0), -1)` becomes
Shape, Gather, Unsqueeze, Concat, Reshape).
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from redc.errors import UserError
from redc.frontend.encoded import Encoded, encoded, quantised
from redc.frontend.nodes import DEFAULT_DOMAINS, Node
from redc.frontend.rejected import Broken, Rejected
from redc.frontend.views import flattened, reshaped, squeezed, unsqueezed
from redc.sessions import loops_of, run_session

Array = npt.NDArray[Any]
F64 = npt.NDArray[np.float64]

FLOATS = ("float16", "float32", "float64", "bfloat16")


class Constants:
    """The constants of one graph by tensor name.  Initializers are read when asked for."""

    def __init__(self, initializers: Mapping[str, onnx.TensorProto], model: onnx.ModelProto) -> None:
        self.model = model
        self._initializers = initializers
        self._values: dict[str, Array] = {}
        self.encoded: dict[str, Encoded] = {}
        """What came out of a DequantizeLinear, as the integers it went in as."""
        self._deferred: dict[str, Node] = {}
        self._turn: dict[int, int] = {}  # of a deferred node, by its index

    def __contains__(self, tensor: object) -> bool:
        return tensor in self._values or tensor in self._initializers or tensor in self._deferred

    def __getitem__(self, tensor: str) -> Array:
        """The value of `tensor`.  Raises Rejected if its bytes are not there or not right."""
        if tensor not in self._values:
            if tensor in self._deferred:
                self._compute(tensor)
            else:
                self._values[tensor] = read_tensor(self._initializers[tensor], tensor)
        return self._values[tensor]

    def put(self, tensor: str, value: Array) -> None:
        """A constant that no node of the model makes."""
        self._values[tensor] = value

    def defer(self, node: Node) -> None:
        """Note that `node`, whose inputs are all constant, is computed when it is asked for."""
        self._deferred.update((name, node) for name in node.outputs if name)
        self._turn[node.index] = len(self._turn)

    def proto(self, tensor: str) -> onnx.TensorProto:
        """The constant as an initializer."""
        if tensor in self._initializers:
            return self._initializers[tensor]
        return numpy_helper.from_array(self[tensor], tensor)

    def _compute(self, tensor: str) -> None:
        """What leads to a deferred constant, through onnxruntime in one go."""
        nodes: dict[int, Node] = {}
        leaves: dict[str, None] = {}
        pending = [tensor]
        while pending:
            name = pending.pop()
            if name in self._values or name not in self._deferred:
                leaves[name] = None
            elif (node := self._deferred[name]).index not in nodes:
                nodes[node.index] = node
                pending.extend(node.reads)
        order = sorted(nodes.values(), key=lambda node: self._turn[node.index])
        value = run_nodes(self.model, order, {name: self.proto(name) for name in leaves}, tensor)
        self._values[tensor] = value

    def floats(self, tensor: str, *, finite: bool = True) -> F64:
        """`tensor` as float64.  Raises Rejected if it is no float, or not `finite`."""
        value = self[tensor]
        if value.dtype.name not in FLOATS:
            raise Rejected(f"it holds {value.dtype.name}, not floats", tensor=tensor)
        real: F64 = value.astype(np.float64)
        if not finite:
            return real
        bad = int(real.size - np.count_nonzero(np.isfinite(real)))
        if bad:
            first = np.argwhere(~np.isfinite(real))[0].tolist()
            raise Broken(
                f"{bad} of its {real.size} values are NaN or infinite, the first at {first}",
                tensor=tensor,
                hint="the model's weights are broken: look at its training or conversion",
            )
        return real

    def evaluate(self, node: Node, shapes: Mapping[str, Sequence[int]]) -> bool:
        """Compute `node` if it `folds`; False if it does not.

        `shapes` are those of the tensors that are no constants (for Shape).
        """
        if not folds(node, self):
            return False
        if node.operator == "Shape":
            name = node.inputs[0]
            if name not in self and name not in shapes:
                return False  # it depends on the inputs' values
            shape = self[name].shape if name in self else shapes[name]
            value: Array = np.array(shape, dtype=np.int64)[_span(node, len(shape))]
        elif node.operator == "Constant":
            value = _constant(node)
        elif node.op == "DequantizeLinear" and self[node.inputs[0]].dtype.name.startswith("float8"):
            self.defer(node)
            return True
        elif node.op == "DequantizeLinear":
            kept = encoded(*self._quantiser(node))
            value = (kept.codes.astype(np.float32) * kept.scale.astype(np.float32)).astype(np.float32)
            self.encoded[node.outputs[0]] = kept
        elif node.op == "QuantizeLinear":
            values, scale, zero, axis, block = self._quantiser(node)
            value = quantised(values, scale, np.zeros((), np.uint8) if zero is None else zero, axis, block)
        elif node.operator not in FOLDED:
            self.defer(node)
            return True
        else:
            value = FOLDED[node.operator](node, [self[name] for name in node.inputs if name])
            if node.inputs[0] in self.encoded and node.operator in MOVES:
                rest = [self[name] for name in node.inputs[1:] if name]
                self.encoded[node.outputs[0]] = self.encoded[node.inputs[0]].map(
                    lambda values: FOLDED[node.operator](node, [values, *rest])
                )
        self._values[node.outputs[0]] = value
        return True

    def _quantiser(self, node: Node) -> tuple[Array, Array, Array | None, int, int]:
        """Values, scale, zero point, axis and block size of a (De)QuantizeLinear of constants."""
        zero = self[node.input(2)] if node.input(2) else None
        named = node.attributes
        return (
            self[node.inputs[0]],
            self[node.inputs[1]],
            zero,
            named.get("axis", 1),
            named.get("block_size", 0),
        )


def read_tensor(tensor: onnx.TensorProto, name: str) -> Array:
    """A TensorProto as an array.  Raises Rejected."""
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        raise Rejected(
            "its values lie in an external file that was not loaded",
            tensor=name,
            hint="give the model's path, not the model",
        )
    if tensor.data_type not in onnx.TensorProto.DataType.values():
        raise Rejected(f"its values are of type {tensor.data_type}, which ONNX does not have", tensor=name)
    try:
        return np.asarray(numpy_helper.to_array(tensor))
    except (ValueError, TypeError) as error:
        raise Rejected(f"its values cannot be read: {error}", tensor=name) from error


def _constant(node: Node) -> Array:
    for name, value in node.attributes.items():
        if name == "value":
            return read_tensor(value, node.outputs[0])
        if name in ("value_float", "value_floats"):
            return np.array(value, dtype=np.float32)
        if name in ("value_int", "value_ints"):
            return np.array(value, dtype=np.int64)
    raise Rejected("only dense numbers are supported as constants", tensor=node.outputs[0])


def _span(node: Node, size: int) -> slice:
    """Shape's `start` and `end` (opset 15), which clamp and count from the end as slices do."""
    return slice(node.attributes.get("start", 0), node.attributes.get("end", size))


def _axes(node: Node, values: Sequence[Array]) -> tuple[int, ...] | None:
    if len(values) > 1:
        return integers(values[1], node.input(1))
    return tuple(node.attributes["axes"]) if "axes" in node.attributes else None


def integers(value: Array, tensor: str) -> tuple[int, ...]:
    """A constant list of int64.  Raises Rejected for anything else."""
    if value.ndim > 1 or value.dtype.kind != "i":
        raise Rejected(
            f"it is {value.dtype.name} of shape {value.shape}, not a list of integers", tensor=tensor
        )
    return tuple(int(v) for v in value.reshape(-1))


def _reshape(node: Node, values: Sequence[Array]) -> Array:
    wanted = integers(values[1], node.input(1))
    return values[0].reshape(reshaped(values[0].shape, wanted, bool(node.attributes.get("allowzero", 0))))


def _gather(node: Node, values: Sequence[Array]) -> Array:
    axis = node.attributes.get("axis", 0)
    try:
        return np.asarray(np.take(values[0], values[1], axis=axis))
    except (IndexError, TypeError) as error:
        raise Rejected(f"cannot gather {values[1].tolist()}: {error}") from error


def _concat(node: Node, values: Sequence[Array]) -> Array:
    try:
        return np.concatenate(values, axis=node.attributes.get("axis", 0))
    except ValueError as error:
        raise Rejected(f"cannot concatenate: {error}") from error


def _transpose(node: Node, values: Sequence[Array]) -> Array:
    try:
        return np.transpose(values[0], node.attributes.get("perm"))
    except ValueError as error:
        raise Rejected(f"cannot transpose: {error}") from error


FOLDED: Mapping[str, Callable[[Node, Sequence[Array]], Array]] = {
    "Identity": lambda node, values: values[0],
    "Reshape": _reshape,
    "Flatten": lambda node, v: v[0].reshape(flattened(v[0].shape, node.attributes.get("axis", 1))),
    "Squeeze": lambda node, v: v[0].reshape(squeezed(v[0].shape, _axes(node, v))),
    "Unsqueeze": lambda node, v: v[0].reshape(unsqueezed(v[0].shape, _axes(node, v))),
    "Transpose": _transpose,
    "Gather": _gather,
    "Concat": _concat,
}
"""What is computed here, where every input is constant."""

MOVES = ("Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose")
"""Those that only move values about."""


def computes(node: Node) -> bool:
    """Whether the node is a function of numbers to numbers: the same at every call."""
    random = node.op.startswith("Random") or node.op in ("Multinomial", "Bernoulli", "Dropout")
    other = any(word in node.op for word in ("Sequence", "Optional", "String", "Tfidf", "RegexFullMatch"))
    return node.domain in DEFAULT_DOMAINS and not random and not other


def run_nodes(
    model: onnx.ModelProto, nodes: Sequence[Node], leaves: Mapping[str, onnx.TensorProto], output: str
) -> Array:
    """One tensor that `nodes` make of constants alone, by onnxruntime.  Raises Rejected."""
    import onnxruntime

    graph = onnx.helper.make_graph(
        [node.proto for node in nodes],
        "constants",
        [],
        [onnx.ValueInfoProto(name=output)],
        list(leaves.values()),
    )
    whole = onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import, graph=graph)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what goes wrong is raised
    options.intra_op_num_threads = 1
    try:
        session = onnxruntime.InferenceSession(
            whole.SerializeToString(), options, providers=["CPUExecutionProvider"], enable_fallback=False
        )
        (value,) = run_session(session, [output], {}, loops_of(whole), f"tensor {output!r}")
    except UserError:
        raise
    except Exception as error:  # onnxruntime raises its own classes, all direct Exceptions
        raise Rejected(f"onnxruntime cannot compute it: {error}", tensor=output) from error
    return np.asarray(value)


def folds(node: Node, constants: Container[str]) -> bool:
    """Whether the node's output depends on no input's values, given the names of `constants`."""
    if node.operator in ("Constant", "Shape"):
        return True
    if not node.reads or not all(name in constants for name in node.reads):
        return False
    folded = node.operator in FOLDED or node.op in ("QuantizeLinear", "DequantizeLinear")
    return folded or computes(node)
