"""What a model computes, as onnxruntime finds it: the reference of every comparison.

Where a file has an operator between quantisers, onnxruntime runs an integer kernel instead, which
is welcome as long as it computes the same.  Some do not (docs/decisions/0040), and `misread` knows
them: there the operators themselves run, in floats.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import TensorProto, numpy_helper
from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidArgument, RuntimeException
from onnxruntime.capi.onnxruntime_pybind11_state import NotImplemented as NotImplemented_

from redc.sessions import exposing, loops_of, make_session, run_session

Array = npt.NDArray[Any]

FAILURES = (NotImplemented_, Fail, InvalidArgument, RuntimeException)
"""What onnxruntime raises where one of its optimisers leaves a graph that cannot run."""

MANY = 10_000
"""Nodes: onnxruntime's further optimisations take time with the square of their number."""

SAME_SCALE = 1e-6
"""How far a bias's scale may lie from that of the sums, relatively, to be that: float32's rounding."""

WIDER = {"tensor(int4)": TensorProto.INT8, "tensor(uint4)": TensorProto.UINT8}

PASSED = ("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Slice", "MaxPool", "Identity")
"""What onnxruntime moves quantisers across."""


def run_model(
    model: onnx.ModelProto,
    graph: onnx.GraphProto,
    feeds: Mapping[str, Array],
    outputs: Sequence[str] | None = None,
) -> dict[str, Array]:
    """Run `graph`, of `model`'s versions and functions, with onnxruntime on the CPU.

    `outputs` are the tensors to give; without them, the graph's own outputs.
    """
    if outputs is not None and not outputs:
        return {}  # a session without outputs is an error
    light, large = exposing(model, graph, outputs)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what goes wrong is raised: once is enough
    options.add_session_config_entry("session.x64quantprecision", "1")
    # A MatMul of weights behind a DequantizeLinear in floats, not with inputs rounded to 8 bits.
    options.add_session_config_entry("session.qdq_matmulnbits_accuracy_level", "1")
    level = onnxruntime.GraphOptimizationLevel
    levels = [level.ORT_ENABLE_ALL, level.ORT_ENABLE_BASIC, level.ORT_DISABLE_ALL]
    names = [value.name for value in light.graph.output]
    plain = len(graph.node) > MANY or misread(graph)
    for options.graph_optimization_level in levels[1 if plain else 0 :]:
        # Its layout optimiser makes an NHWC QLinearConv of signed inputs and unsigned weights, for which
        # it has no kernel; another one gives two constants one name where some tensors are outputs too;
        # its integer kernels take one zero point for several scales, which some of them refuse.
        try:
            session = make_session(light, large, options)
            if _widened(light, session):
                session = make_session(light, large, options)
            asked = [value.name for value in light.graph.output]
            values = run_session(session, asked, feeds, loops_of(light), "the model")
            return dict(zip(names, values, strict=True))
        except FAILURES:
            if options.graph_optimization_level == level.ORT_DISABLE_ALL:
                raise
    raise AssertionError("unreachable")


def _widened(light: onnx.ModelProto, session: Any) -> bool:
    """Whether outputs are of 4 bits, for which onnxruntime has no arrays in Python; they are cast to 8."""
    types = {value.name: WIDER[value.type] for value in session.get_outputs() if value.type in WIDER}
    for value in light.graph.output:
        if value.name in types:
            wide = f"{value.name} in 8 bits"
            light.graph.node.append(onnx.helper.make_node("Cast", [value.name], [wide], to=types[value.name]))
            value.CopyFrom(onnx.ValueInfoProto(name=wide))
    return bool(types)


def misread(graph: onnx.GraphProto) -> bool:
    """Whether an integer kernel of onnxruntime would compute something else than the quantisers and
    the operator that it stands for."""
    reading = _Reading(graph)
    return any(
        reading.other_bias(node)
        or reading.other_axis(node)
        or reading.of_4_bits(node)
        or _other_average(node)
        for node in graph.node
    )


def _other_average(node: onnx.NodeProto) -> bool:
    """QLinearAveragePool divides by the whole kernel where it overhangs the padding."""
    return node.op_type == "AveragePool" and bool(
        _attribute(node, "ceil_mode", 0) and _attribute(node, "count_include_pad", 0)
    )


class _Reading:
    """One graph, read by makers and readers."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self._constants = {tensor.name: tensor for tensor in graph.initializer}
        self._makers: dict[str, onnx.NodeProto] = {}
        self._readers: dict[str, list[onnx.NodeProto]] = {}
        for node in graph.node:
            for attribute in node.attribute:
                if node.op_type == "Constant" and attribute.name == "value":
                    self._constants[node.output[0]] = attribute.t
            self._makers.update((name, node) for name in node.output)
            for name in node.input:
                self._readers.setdefault(name, []).append(node)

    def other_bias(self, node: onnx.NodeProto) -> bool:
        """Integer kernels take a bias for integers on the scale of the sums, whatever its own is."""
        codes = self._constants.get(node.input[0]) if node.op_type == "DequantizeLinear" else None
        if codes is None or codes.data_type != TensorProto.INT32:
            return False
        scale = self._value(node.input[1])
        return any(
            scale is None or not self._on_the_sums_scale(reader, numpy_helper.to_array(codes), scale)
            for reader in self._readers.get(node.output[0], ())
        )

    def _on_the_sums_scale(self, reader: onnx.NodeProto, codes: Array, scale: Array) -> bool:
        product: onnx.NodeProto | None = reader
        if reader.op_type == "Add":
            product = next((n for name in reader.input if (n := self._product(name))), None)
        if product is None:
            return False
        factors = [self._scale(name) for name in product.input[:2]]
        if factors[0] is None or factors[1] is None or factors[0].size != 1:
            return False
        alpha = _attribute(product, "alpha", 1.0) if product.op_type == "Gemm" else 1.0
        sums = alpha * factors[0].reshape(()).astype(np.float64) * factors[1].astype(np.float64)
        if sums.size > 1 and scale.size > 1 and sums.size != scale.size:
            return False
        apart = np.abs(scale.astype(np.float64).reshape(-1) / sums.reshape(-1) - 1)
        return bool((apart <= SAME_SCALE).all() or (np.abs(codes).max(initial=0) * apart < 0.5).all())

    def other_axis(self, node: onnx.NodeProto) -> bool:
        """Integer kernels take several scales of a weight for those of the output channels."""
        if node.op_type not in ("Conv", "Gemm", "MatMul"):
            return False
        wanted = 0 if node.op_type == "Conv" or _attribute(node, "transB", 0) else -1
        made = self._makers.get(node.input[1])
        perm = None
        while made is not None and made.op_type in ("Transpose", "Identity"):
            if made.op_type == "Transpose":
                if perm is not None:
                    return True
                perm = list(_attribute(made, "perm", ()))
            made = self._makers.get(made.input[0])
        if made is None or made.op_type != "DequantizeLinear" or _attribute(made, "block_size", 0):
            return False
        scale, codes = self._value(made.input[1]), self._constants.get(made.input[0])
        if scale is None or codes is None or scale.size == 1:
            return False
        rank = len(codes.dims)
        axis = _attribute(made, "axis", 1) % rank
        if perm is not None:
            axis = (perm or list(range(rank))[::-1]).index(axis)
        return bool(axis != wanted % rank)

    def of_4_bits(self, node: onnx.NodeProto) -> bool:
        """Integer kernels make something else than codes of 4 bits of what a layer computes."""
        if node.op_type != "QuantizeLinear" or node.input[0] in self._constants:
            return False
        zero = self._constants.get(node.input[2]) if len(node.input) > 2 else None
        kind = zero.data_type if zero is not None else _attribute(node, "output_dtype", 0)
        return kind in (TensorProto.INT4, TensorProto.UINT4)

    def _product(self, name: str) -> onnx.NodeProto | None:
        made = self._makers.get(name)
        while made is not None and made.op_type in PASSED:
            made = self._makers.get(made.input[0])
        return made if made is not None and made.op_type == "MatMul" else None

    def _scale(self, name: str) -> Array | None:
        """The scale of what a DequantizeLinear makes."""
        made = self._makers.get(name)
        while made is not None and made.op_type in PASSED:
            made = self._makers.get(made.input[0])
        if made is None or made.op_type != "DequantizeLinear":
            return None
        return self._value(made.input[1])

    def _value(self, name: str) -> Array | None:
        return numpy_helper.to_array(self._constants[name]) if name in self._constants else None


def _attribute(node: onnx.NodeProto, name: str, default: Any) -> Any:
    return next((onnx.helper.get_attribute_value(a) for a in node.attribute if a.name == name), default)
