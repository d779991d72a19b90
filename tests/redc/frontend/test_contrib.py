"""A model that onnxruntime has optimised compiles as the one it was made of."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from redc.diff import diff
from redc.frontend.contrib import EXPANSIONS, expanded
from redc.oracle import run_model
from tests.redc.quantised_networks import NETWORKS, Form, quantised


def optimised(model, level="ORT_ENABLE_EXTENDED"):
    """What onnxruntime writes down of a model."""
    with tempfile.TemporaryDirectory() as folder:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
        options.optimized_model_filepath = str(Path(folder, "optimised.onnx"))
        onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return onnx.load(options.optimized_model_filepath)


@pytest.mark.parametrize(
    ("network", "form", "fused"),
    [
        ("cnn", None, "FusedConv"),
        ("mlp", None, "FusedGemm"),
        ("mlp", Form("dynamic", "QUInt8", "QUInt8"), "DynamicQuantizeMatMul"),
        ("transformer", Form("dynamic", "QUInt8", "QInt8", reduce_range=True), "MatMulIntegerToFloat"),
    ],
)
def test_fused_operators_run_on_crossbars(network, form, fused):
    model = optimised(NETWORKS[network]().model if form is None else quantised(network, form))
    assert fused in {node.op_type for node in model.graph.node}
    inputs = NETWORKS[network]().sample(7)
    (before,), (after,) = (run_model(m, m.graph, inputs).values() for m in (model, expanded(model)))
    np.testing.assert_allclose(before, after, atol=2e-2 if form else 1e-5)  # a code may flip
    report = diff(model, inputs=inputs)
    assert report.passed, report.table()
    assert report.work["crossbar"] > 0.65 * sum(report.work.values())


def test_channels_last_are_turned_first():
    model = optimised(
        quantised("cnn", Form("QOperator", "QUInt8", "QInt8", reduce_range=True)), "ORT_ENABLE_ALL"
    )
    assert "NhwcMaxPool" in {node.op_type for node in model.graph.node}
    inputs = NETWORKS["cnn"]().sample(7)
    (before,), (after,) = (run_model(m, m.graph, inputs).values() for m in (model, expanded(model)))
    np.testing.assert_array_equal(before, after)
    assert diff(model, inputs=inputs).work["crossbar"] > 0


X = np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)
CONSTANTS = {
    "m": X.T.copy(),
    "n": X[:, :2].copy(),
    "b": np.arange(4, dtype=np.float32),
    "row": np.arange(3, dtype=np.float32),
    "image": np.ones((3, 1, 1), np.float32),
}


@pytest.mark.parametrize(
    ("op", "inputs", "attributes"),
    [
        ("FusedMatMul", ["x", "m"], {"alpha": 0.5}),
        ("FusedMatMul", ["x", "b2"], {"transB": 1}),
        ("FusedMatMul", ["x", "n"], {"transA": 1}),  # of a computed tensor: stays
        ("FusedGemm", ["x", "m", "row"], {"activation": "LeakyRelu", "activation_alpha": 0.3}),
        (
            "FusedGemm",
            ["x", "m", "row"],
            {"activation": "HardSigmoid", "activation_alpha": 0.1, "activation_beta": 0.4},
        ),
        ("Gelu", ["x"], {}),
        ("BiasGelu", ["x", "b"], {}),
        ("QuickGelu", ["x"], {"alpha": 1.5}),
        ("QuickGelu", ["x"], {"alpha": 1.0}),
    ],
)
def test_an_expansion_computes_what_the_fused_operator_does(op, inputs, attributes):
    values = [numpy_helper.from_array(v, n) for n, v in {**CONSTANTS, "b2": X[:2].copy()}.items()]
    node = helper.make_node(op, inputs, ["y"], domain="com.microsoft", **attributes)
    port = helper.make_tensor_value_info("x", TensorProto.FLOAT, (3, 4))
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph([node], "g", [port], [result], values)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    after = expanded(model)
    stays = attributes.get("transA") == 1
    assert any(n.op_type in EXPANSIONS for n in after.graph.node) == (stays or op == "MatMul")
    wanted, got = (run_model(m, m.graph, {"x": X})["y"] for m in (model, after))
    np.testing.assert_allclose(got, wanted, atol=1e-6)


def test_a_fused_convolution_adds_and_clips():
    rng = np.random.default_rng(1)
    values = {
        "w": rng.standard_normal((2, 3, 3, 3)),
        "b": rng.standard_normal(2),
        "z": rng.standard_normal((1, 2, 3, 3)),
    }
    tensors = [numpy_helper.from_array(v.astype(np.float32), n) for n, v in values.items()]
    x = rng.standard_normal((1, 3, 5, 5)).astype(np.float32)
    for activation, numbers in (("Relu", []), ("Clip", [-0.5, 0.75]), ("LeakyRelu", [0.2])):
        named = {"activation": activation, **({"activation_params": numbers} if numbers else {})}
        node = helper.make_node(
            "FusedConv", ["x", "w", "b", "z"], ["y"], "conv", domain="com.microsoft", **named
        )
        port = helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)
        result = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
        graph = helper.make_graph([node], "g", [port], [result], tensors)
        opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
        wanted, got = (run_model(m, m.graph, {"x": x})["y"] for m in (model, expanded(model)))
        np.testing.assert_allclose(got, wanted, atol=1e-5)
        assert "conv" in {n.name for n in expanded(model).graph.node}


@pytest.mark.parametrize(
    ("bits", "zeros"),
    # onnxruntime has no kernel for 8 bits with zero points in floats
    [*((bits, zeros) for bits in (2, 4, 8) for zeros in ("none", "packed")), (2, "float"), (4, "float")],
)
def test_packed_weights_of_few_bits_are_unpacked(bits, zeros):
    """Rows that are no multiple of the block; the products then run on crossbars."""
    rng = np.random.default_rng(bits)
    rows, columns, block = 40, 6, 16
    blocks = -(-rows // block)
    each = 8 // bits
    values = {
        "w": rng.integers(0, 256, (columns, blocks, block // each)).astype(np.uint8),
        "s": rng.uniform(0.01, 0.1, columns * blocks).astype(np.float32),
        "b": rng.standard_normal(columns).astype(np.float32),
    }
    inputs = ["x", "w", "s", "", "", "b"]
    if zeros == "packed":
        values["z"] = rng.integers(0, 256, columns * -(-blocks // each)).astype(np.uint8)
    if zeros == "float":
        values["z"] = rng.uniform(0, 1 << bits, columns * blocks).astype(np.float32)
    inputs[3] = "" if zeros == "none" else "z"
    named = {"K": rows, "N": columns, "bits": bits, "block_size": block}
    node = helper.make_node("MatMulNBits", inputs, ["y"], "product", domain="com.microsoft", **named)
    tensors = [numpy_helper.from_array(v, n) for n, v in values.items()]
    port = helper.make_tensor_value_info("x", TensorProto.FLOAT, (3, rows))
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph([node], "g", [port], [result], tensors)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    x = {"x": rng.standard_normal((3, rows)).astype(np.float32)}
    wanted = run_model(model, model.graph, x)["y"]
    np.testing.assert_allclose(run_model(model, expanded(model).graph, x)["y"], wanted, atol=1e-4)
    report = diff(model, inputs=x)
    assert report.passed, report.table()
    assert report.work["host"] == 0
