"""Small networks, and what onnxruntime's own tools make of them: every form of quantisation there is."""

from __future__ import annotations

import functools
import logging
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Feeds = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Network:
    """A float model, and one sample of its input for a seed."""

    model: onnx.ModelProto
    shape: tuple[int, ...]

    def sample(self, seed: int) -> Feeds:
        """Standard normal."""
        return {"x": np.random.default_rng(1000 + seed).standard_normal(self.shape).astype(np.float32)}


def _network(nodes: list[Any], constants: dict[str, Any], shape: tuple[int, ...]) -> Network:
    values = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph([helper.make_node(*n, **named) for *n, named in nodes], "net", [x], [y], values)
    opsets = [helper.make_opsetid("", 17)]
    return Network(helper.make_model(graph, opset_imports=opsets, ir_version=10), shape)


def _drawn(seed: int, fan: Callable[..., float]) -> Callable[..., Any]:
    rng = np.random.default_rng(seed)
    return lambda *shape: (rng.standard_normal(shape) * 1.5 / np.sqrt(fan(shape))).astype(np.float32)


def cnn() -> Network:
    """Convolutions (plain, depthwise, pointwise), a residual, a deconvolution, pools, a classifier."""
    f = _drawn(0, lambda shape: np.prod(shape[1:]))
    weights = {"w0": (8, 3, 3, 3), "wd": (8, 1, 3, 3), "w1": (8, 8, 1, 1), "wt": (8, 6, 4, 4)}
    weights |= {"w2": (6, 14, 3, 3), "wg": (10, 6)}
    constants = {name: f(*shape) for name, shape in weights.items()} | {
        "lo": np.float32(0),
        "hi": np.float32(6),
    }
    constants |= {"b" + n[1:]: f(s[1] if n == "wt" else s[0]) for n, s in weights.items()}
    nodes = [
        ("Conv", ["x", "w0", "b0"], ["c0"], "conv0", {"pads": [1] * 4}),
        ("Relu", ["c0"], ["r0"], "relu0", {}),
        ("MaxPool", ["r0"], ["m0"], "pool", {"kernel_shape": [2, 2], "strides": [2, 2]}),
        ("Conv", ["m0", "wd", "bd"], ["d0"], "depthwise", {"group": 8, "pads": [1] * 4}),
        ("Clip", ["d0", "lo", "hi"], ["d1"], "relu6", {}),
        ("Conv", ["d1", "w1", "b1"], ["p0"], "pointwise", {}),
        ("Add", ["p0", "m0"], ["s0"], "residual", {}),
        ("ConvTranspose", ["s0", "wt", "bt"], ["t0"], "up", {"strides": [2, 2], "pads": [1] * 4}),
        ("LeakyRelu", ["t0"], ["t1"], "leaky", {"alpha": 0.1}),
        ("Concat", ["t1", "r0"], ["k0"], "concat", {"axis": 1}),
        ("Conv", ["k0", "w2", "b2"], ["e0"], "conv2", {"pads": [1] * 4}),
        ("Sigmoid", ["e0"], ["e1"], "sigmoid", {}),
        ("Mul", ["e0", "e1"], ["e2"], "silu", {}),
        ("AveragePool", ["e2"], ["a0"], "average", {"kernel_shape": [2, 2], "strides": [2, 2]}),
        ("GlobalAveragePool", ["a0"], ["g0"], "global", {}),
        ("Flatten", ["g0"], ["f0"], "flat", {}),
        ("Gemm", ["f0", "wg", "bg"], ["l0"], "classes", {"transB": 1}),
        ("Softmax", ["l0"], ["y"], "softmax", {"axis": -1}),
    ]
    return _network(nodes, constants, (2, 3, 8, 8))


def mlp() -> Network:
    """MatMul and Add, Gemm, Tanh."""
    f = _drawn(1, lambda shape: shape[0])
    shapes = {"w0": (12, 16), "b0": (16,), "w1": (16, 20), "b1": (20,), "w2": (20, 7), "b2": (7,)}
    nodes = [
        ("MatMul", ["x", "w0"], ["a0"], "first", {}),
        ("Add", ["a0", "b0"], ["a1"], "bias0", {}),
        ("Relu", ["a1"], ["a2"], "relu", {}),
        ("Gemm", ["a2", "w1", "b1"], ["c0"], "gemm", {}),
        ("Tanh", ["c0"], ["c1"], "tanh", {}),
        ("MatMul", ["c1", "w2"], ["d0"], "last", {}),
        ("Add", ["d0", "b2"], ["y"], "bias2", {}),
    ]
    return _network(nodes, {name: f(*shape) for name, shape in shapes.items()}, (4, 12))


def transformer() -> Network:
    """One block: attention of two heads, layer normalisations, Gelu."""
    f, length, width = _drawn(2, lambda shape: shape[0]), 6, 16
    square, one = (width, width), (width,)
    shapes = {f"w{a}": square for a in "qkvo"} | {f"b{a}": one for a in "qkvo"}
    shapes |= {"w1": (width, 64), "b1": (64,), "w2": (64, width), "b2": one}
    constants = {name: f(*shape) * (0.3 if name[0] == "b" else 1) for name, shape in shapes.items()}
    constants |= {"g": np.ones(width, np.float32), "h": np.zeros(width, np.float32)}
    constants |= {"heads": np.array([1, length, 2, width // 2]), "flat": np.array([1, length, width])}
    constants |= {"root": np.float32(np.sqrt(width / 2)), "two": np.float32(np.sqrt(2))}
    constants |= {"one": np.float32(1), "half": np.float32(0.5)}
    nodes: list[Any] = []
    for a in "qkv":
        order = [0, 2, 3, 1] if a == "k" else [0, 2, 1, 3]
        nodes += [
            ("MatMul", ["x", f"w{a}"], [f"m{a}"], f"project_{a}", {}),
            ("Add", [f"m{a}", f"b{a}"], [f"p{a}"], f"bias_{a}", {}),
            ("Reshape", [f"p{a}", "heads"], [f"r{a}"], f"split_{a}", {}),
            ("Transpose", [f"r{a}"], [f"t{a}"], f"turn_{a}", {"perm": order}),
        ]
    nodes += [
        ("MatMul", ["tq", "tk"], ["qk"], "scores", {}),
        ("Div", ["qk", "root"], ["qs"], "scaled", {}),
        ("Softmax", ["qs"], ["sm"], "softmax", {"axis": -1}),
        ("MatMul", ["sm", "tv"], ["av"], "attend", {}),
        ("Transpose", ["av"], ["at"], "back", {"perm": [0, 2, 1, 3]}),
        ("Reshape", ["at", "flat"], ["ar"], "join", {}),
        ("MatMul", ["ar", "wo"], ["mo"], "project_o", {}),
        ("Add", ["mo", "bo"], ["po"], "bias_o", {}),
        ("Add", ["po", "x"], ["s1"], "residual1", {}),
        ("LayerNormalization", ["s1", "g", "h"], ["n1"], "norm1", {"axis": -1}),
        ("MatMul", ["n1", "w1"], ["f0"], "wide", {}),
        ("Add", ["f0", "b1"], ["f1"], "bias_wide", {}),
        ("Div", ["f1", "two"], ["e0"], "gelu0", {}),
        ("Erf", ["e0"], ["e1"], "gelu1", {}),
        ("Add", ["e1", "one"], ["e2"], "gelu2", {}),
        ("Mul", ["f1", "e2"], ["e3"], "gelu3", {}),
        ("Mul", ["e3", "half"], ["e4"], "gelu4", {}),
        ("MatMul", ["e4", "w2"], ["f2"], "narrow", {}),
        ("Add", ["f2", "b2"], ["f3"], "bias_narrow", {}),
        ("Add", ["f3", "n1"], ["s2"], "residual2", {}),
        ("LayerNormalization", ["s2", "g", "h"], ["y"], "norm2", {"axis": -1}),
    ]
    return _network(nodes, constants, (1, length, width))


def deconvolutions() -> Network:
    """A small generator."""
    f = _drawn(3, lambda shape: 4 * shape[0])
    shapes = {
        "w0": (8, 12, 4, 4),
        "b0": (12,),
        "w1": (12, 6, 4, 4),
        "b1": (6,),
        "w2": (6, 3, 3, 3),
        "b2": (3,),
    }
    nodes = [
        ("ConvTranspose", ["x", "w0", "b0"], ["a0"], "ct0", {}),
        ("Relu", ["a0"], ["a1"], "relu0", {}),
        ("ConvTranspose", ["a1", "w1", "b1"], ["c0"], "ct1", {"strides": [2, 2], "pads": [1] * 4}),
        ("Relu", ["c0"], ["c1"], "relu1", {}),
        ("ConvTranspose", ["c1", "w2", "b2"], ["d0"], "ct2", {"pads": [1] * 4}),
        ("Tanh", ["d0"], ["y"], "tanh", {}),
    ]
    return _network(nodes, {name: f(*shape) for name, shape in shapes.items()}, (2, 8, 1, 1))


NETWORKS: dict[str, Callable[[], Network]] = {
    "cnn": cnn,
    "mlp": mlp,
    "transformer": transformer,
    "deconvolutions": deconvolutions,
}


@dataclass(frozen=True)
class Form:
    """How a network is quantised: by quantize_dynamic, or by quantize_static with types by their names."""

    format: str  # QDQ, QOperator, dynamic
    activations: str  # QUInt8, ...; of dynamic always unsigned
    weights: str
    per_channel: bool = False
    reduce_range: bool = False
    options: tuple[tuple[str, bool], ...] = ()

    def __str__(self) -> str:
        types = f"{self.activations[1:]} {self.weights[1:]}"
        extra = [name if on else f"{name} off" for name, on in self.options]
        extra += ["reduce_range"] * self.reduce_range
        return ", ".join([self.format, types, "per channel" if self.per_channel else "per tensor", *extra])


SYMMETRIC = (("ActivationSymmetric", True), ("WeightSymmetric", True))


def forms() -> Iterator[Form]:
    """Every one that onnxruntime's tools offer."""
    for format_ in ("QDQ", "QOperator"):
        for activations, weights in (("QUInt8", "QInt8"), ("QUInt8", "QUInt8"), ("QInt8", "QInt8")):
            for per_channel in (False, True):
                yield Form(format_, activations, weights, per_channel)
        yield Form(format_, "QInt8", "QInt8", True, options=SYMMETRIC)
        yield Form(format_, "QUInt8", "QInt8", options=(("WeightSymmetric", False),))
        yield Form(format_, "QUInt8", "QInt8", True, reduce_range=True)
    for activations, weights in (("QUInt16", "QUInt8"), ("QInt16", "QInt8"), ("QInt16", "QInt16")):
        yield Form("QDQ", activations, weights, per_channel=weights == "QInt8")
    yield Form("QDQ", "QUInt8", "QInt4")
    yield Form("QDQ", "QUInt8", "QInt4", True)
    for weights in ("QInt8", "QUInt8"):
        for per_channel in (False, True):
            yield Form("dynamic", "QUInt8", weights, per_channel)


@functools.cache
def quantised(name: str, form: Form) -> onnx.ModelProto:
    """What onnxruntime's tools make of a network."""
    from onnxruntime.quantization import (
        CalibrationDataReader,
        QuantFormat,
        QuantType,
        quantize_dynamic,
        quantize_static,
    )
    from onnxruntime.quantization.shape_inference import quant_pre_process

    network = NETWORKS[name]()

    class Reader(CalibrationDataReader):  # type: ignore[misc] # it has no types
        def __init__(self) -> None:
            self.feeds = iter([network.sample(seed) for seed in range(8)])

        def get_next(self) -> Feeds | None:
            return next(self.feeds, None)

    logging.disable(logging.WARNING)
    try:
        with tempfile.TemporaryDirectory() as folder:
            source, prepared, target = (Path(folder, n) for n in ("a.onnx", "b.onnx", "c.onnx"))
            onnx.save(network.model, source)
            quant_pre_process(source, prepared, skip_symbolic_shape=True)
            common = {
                "weight_type": QuantType[form.weights],
                "per_channel": form.per_channel,
                "reduce_range": form.reduce_range,
                "extra_options": dict(form.options),
            }
            if form.format == "dynamic":
                quantize_dynamic(prepared, target, **common)
            else:
                how = {
                    "quant_format": QuantFormat[form.format],
                    "activation_type": QuantType[form.activations],
                }
                quantize_static(prepared, target, Reader(), **how, **common)
            return onnx.load(target)
    finally:
        logging.disable(logging.NOTSET)
