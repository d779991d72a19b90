"""redc as an ONNX backend, so that ONNX's own conformance runner can judge it.

    import redc.onnx_backend as backend
    image, = backend.prepare(model).run([z])
    tests = onnx.backend.test.BackendTest(backend.RedcBackend, __name__)

A program is made for one shape of every input and for one value of every input that crossbars
must hold.  So nothing is compiled before the first `run`; each new combination costs one more
compilation, and scales are calibrated on the inputs of that first call unless `calibrate` gives
samples.

Nodes that the accelerator does not run are an error, so that a runner judges what redc itself runs;
`prepare(model, host=True)` lets onnxruntime run them, as `redc.compile` does unless told otherwise.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper
from onnx.backend.base import Backend, BackendRep

import runtime
from redc.compiler import compile as compile_model
from redc.errors import UserError, did_you_mean
from redc.frontend import graph_inputs, load_model, needed_values
from redc.frontend.importer import unsupported_nodes
from redc.frontend.nodes import DEFAULT_DOMAINS, read_source

Array = npt.NDArray[Any]

BITS = 16
"""Of weights and of inputs where nobody says: the suite's tolerances are those of float32."""
OWN_BITS = frozenset(
    f"{domain}{op}"
    for op in (
        "QuantizeLinear",
        "DequantizeLinear",
        "QLinearConv",
        "QLinearMatMul",
        "ConvInteger",
        "MatMulInteger",
    )
    for domain in ("", "com.microsoft.")
)
"""Operators of a model that arrives quantised, and keeps its own."""
COMPILING = frozenset(inspect.signature(compile_model).parameters) - {"model", "shapes", "bind", "own"}
RUNNING = frozenset({"engine", "fidelity", "seed", "device"})
IGNORED = frozenset({"rtol", "atol", "no_host"})
"""What the runner hands on for itself; and no operator goes to a host unless `host` says so."""


class RedcRep(BackendRep):
    """A model made ready: it compiles when it sees inputs of a new shape or new weights.

    `options` are those of `redc.compile` but shapes and bind, and engine, fidelity, seed, device of
    `runtime.load`.  `programs` holds what was compiled, by shapes and bound values.
    """

    def __init__(self, model: onnx.ModelProto, **options: Any) -> None:
        known = COMPILING | RUNNING | IGNORED
        for name in options:
            if name not in known:
                hint = did_you_mean(name, known) or f"options are {', '.join(sorted(known))}"
                raise UserError(f"there is no option {name!r}", place="backend", hint=hint)
        self._model = model
        self._inputs = graph_inputs(model)
        self._outputs = [value.name for value in model.graph.output]
        self._running = {name: options[name] for name in RUNNING & options.keys()}
        bits = None if any(_operator(node) in OWN_BITS for node in model.graph.node) else BITS
        self._compiling: dict[str, Any] = {"weight_bits": bits, "input_bits": bits, "host": False}
        self._compiling |= {name: options[name] for name in COMPILING & options.keys()}
        self._bound: dict[Any, tuple[str, ...]] = {}
        self.programs: dict[Any, runtime.Loaded] = {}

    def run(self, inputs: Any, **kwargs: Any) -> tuple[Array, ...]:
        """The outputs in the model's order.

        inputs   arrays in the model's order, or by name, or the one array of a model with one input

        Raises UserError and runtime.InputError for a model or inputs that redc does not take.
        """
        feeds = self._feeds(inputs)
        shapes = tuple((name, value.shape) for name, value in feeds.items())
        if shapes not in self._bound:
            hosts = bool(self._compiling["host"])
            self._bound[shapes] = tuple(needed_values(self._model, feeds, hosts=hosts))
        bound = {name: feeds.pop(name) for name in self._bound[shapes]}
        key = (shapes, tuple(_digest(value) for value in bound.values()))
        if key not in self.programs:
            self.programs[key] = self._load(feeds, bound)
        outputs = self.programs[key].run(feeds, buffers=False).outputs
        return tuple(outputs[name] for name in self._outputs)

    def _load(self, feeds: Mapping[str, Array], bound: Mapping[str, Array]) -> runtime.Loaded:
        shapes = {name: value.shape for name, value in feeds.items()}
        options: dict[str, Any] = {
            "calibrate": feeds,
            "own": "calibrate" not in self._compiling,
        } | self._compiling
        program = compile_model(self._model, shapes=shapes, bind=bound, **options)
        return runtime.load(program, verify=False, **self._running)

    def _feeds(self, inputs: Any) -> dict[str, Array]:
        """The inputs by name, in the model's types."""
        names = tuple(self._inputs)
        if isinstance(inputs, Mapping):
            given: Mapping[str, Any] = inputs
            if unknown := [name for name in inputs if name not in self._inputs]:
                hint = did_you_mean(str(unknown[0]), names) or f"the inputs are {', '.join(names)}"
                raise UserError(f"the model has no input {unknown[0]!r}", place="inputs", hint=hint)
        else:
            values = [inputs] if isinstance(inputs, np.ndarray) else list(inputs)
            if len(values) > len(names):
                message = f"{len(values)} inputs are given, the model has {len(names)}"
                raise UserError(message, place="inputs", hint=f"they are {', '.join(names)}")
            given = dict(zip(names, values, strict=False))
        if missing := [name for name in names if name not in given]:
            raise UserError(f"inputs are missing: {', '.join(missing)}", place="inputs")
        return {name: self._array(name, given[name]) for name in names}

    def _array(self, name: str, value: Any) -> Array:
        if isinstance(value, np.ndarray):
            return value
        declared = self._inputs[name].type.tensor_type.elem_type or onnx.TensorProto.FLOAT
        return np.asarray(value, helper.tensor_dtype_to_np_dtype(declared))


class RedcBackend(Backend):
    """`onnx.backend.base.Backend`: every method takes the options of `RedcRep` as keywords."""

    @classmethod
    def is_compatible(cls, model: onnx.ModelProto, device: str = "CPU", **kwargs: Any) -> bool:
        """Whether the device is known, and the opset and every operator supported."""
        if not cls.supports_device(device):
            return False
        try:
            return not unsupported_nodes(read_source(load_model(model), model.graph.name or "model"))
        except UserError:
            return False

    @classmethod
    def is_opset_supported(cls, model: onnx.ModelProto) -> tuple[bool, str]:
        """Whether the operator sets of `model` are, and else why not."""
        try:
            read_source(load_model(model), model.graph.name or "model")
        except UserError as error:
            return False, str(error)
        return True, ""

    @classmethod
    def prepare(cls, model: onnx.ModelProto, device: str = "CPU", **kwargs: Any) -> RedcRep:
        """Check `model` with onnx.checker; compiling waits for the first inputs.

        Raises UserError for a device or an option that does not exist.
        """
        super().prepare(model, device)
        cls._check_device(device)
        return RedcRep(load_model(model), **kwargs)

    @classmethod
    def run_node(
        cls,
        node: onnx.NodeProto,
        inputs: Any,
        device: str = "CPU",
        outputs_info: Sequence[tuple[np.dtype[Any], tuple[int, ...]]] | None = None,
        **kwargs: Any,
    ) -> tuple[Array, ...]:
        """Run one node.  `opset_version` says which operator set it is of (default: the newest)."""
        opset = kwargs.pop("opset_version", onnx.defs.onnx_opset_version())
        super().run_node(node, inputs, device, opset_version=opset)
        names = [name for name in dict.fromkeys(node.input) if name]
        given = inputs if isinstance(inputs, Mapping) else dict(zip(names, inputs, strict=True))
        arrays = {name: np.asarray(value) for name, value in given.items()}
        types = {name: helper.np_dtype_to_tensor_dtype(value.dtype) for name, value in arrays.items()}
        made = [name for name in node.output if name]
        kinds = [np.dtype(info[0]) for info in outputs_info or ()] or [np.dtype(np.float32)] * len(made)
        graph = helper.make_graph(
            [node],
            node.name or node.op_type,
            [helper.make_tensor_value_info(n, types[n], arrays[n].shape) for n in names],
            [
                helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(k), None)
                for n, k in zip(made, kinds, strict=True)
            ],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid(node.domain, opset)])
        cls._check_device(device)
        return RedcRep(load_model(model), **kwargs).run(arrays)

    @classmethod
    def supports_device(cls, device: str) -> bool:
        """`CPU`: the machine that is simulated runs on it."""
        return device.partition(":")[0].upper() == "CPU"

    @classmethod
    def _check_device(cls, device: str) -> None:
        if not cls.supports_device(device):
            raise UserError(f"there is no device {device!r}", place="backend", hint='"CPU" simulates')


def _operator(node: onnx.NodeProto) -> str:
    return node.op_type if node.domain in DEFAULT_DOMAINS else f"{node.domain}.{node.op_type}"


def _digest(value: Array) -> bytes:
    return hashlib.sha256(np.ascontiguousarray(value).tobytes()).digest()


is_compatible = RedcBackend.is_compatible
is_opset_supported = RedcBackend.is_opset_supported
prepare = RedcBackend.prepare
run_model = RedcBackend.run_model
run_node = RedcBackend.run_node
supports_device = RedcBackend.supports_device
