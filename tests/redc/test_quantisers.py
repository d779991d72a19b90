"""Whatever operator stands between quantisers, its codes are a step from the file's at most."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from hypothesis import given, settings
from onnx import TensorProto, helper, numpy_helper

import redc
import runtime
from redc.diff import diff
from redc.oracle import run_model
from tests.redc.layers_alone import layers_apart
from tests.redc.quantised_drawing import model_of
from tests.redc.quantiser_drawing import PRODUCTS, operators_between_quantisers


def as_the_file_says(model, inputs):
    """Every operator by itself, in floats."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    return dict(zip([o.name for o in session.get_outputs()], session.run(None, inputs), strict=True))


def last_scale(model, output):
    """The scale of an output that a DequantizeLinear makes."""
    (maker,) = (node for node in model.graph.node if output in node.output)
    constants = {t.name: t for t in model.graph.initializer}
    return float(numpy_helper.to_array(constants[maker.input[1]]))


@given(operators_between_quantisers())
@settings(max_examples=80)
def test_an_operator_between_quantisers_is_a_step_from_the_files_codes_at_most(drawn):
    model, inputs, op = drawn
    program = redc.compile(model, calibrate=inputs, host=False)
    report = diff(model, program, inputs)
    assert report.passed, report.table()
    assert any(row.kind == "crossbar" for row in report.layers) == (op in PRODUCTS)
    assert max((one.steps for one in layers_apart(model, program, inputs)), default=0) <= 1
    got = runtime.run(program, inputs).outputs
    for name, wanted in as_the_file_says(model, inputs).items():
        step = last_scale(model, name) if wanted.dtype.kind == "f" else 1
        assert (got[name].dtype, got[name].shape) == (wanted.dtype, wanted.shape)
        assert np.abs(got[name].astype(float) - wanted).max() <= 1.01 * step


def test_what_several_quantisers_read_saturates_where_they_do():
    """Not where calibration samples end."""
    constants = {"s": np.float32(0.05), "t": np.float32(0.08), "z": np.uint8(128)}
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["p"]),
        helper.make_node("QuantizeLinear", ["x", "t", "z"], ["q"]),
    ]
    x = {"x": np.linspace(-20, 20, 60, dtype=np.float32).reshape(3, 20)}
    model = model_of(nodes, constants, x, dict.fromkeys("pq", TensorProto.UINT8))
    program = redc.compile(model, calibrate={"x": x["x"] / 30}, host=False)
    for name, value in runtime.run(program, x).outputs.items():
        np.testing.assert_array_equal(value, run_model(model, model.graph, x)[name])


@pytest.mark.parametrize("axis", [0, 1])
def test_the_oracle_takes_weights_of_several_scales_for_the_floats_that_they_are(axis):
    rng = np.random.default_rng(2)
    constants = {
        "s": np.float32(0.0331),
        "z": np.int8(-7),
        "w": rng.integers(-128, 128, (6, 6)).astype(np.int8),
        "ws": rng.uniform(0.002, 0.02, 6).astype(np.float32),
        "c": rng.standard_normal(6).astype(np.float32),
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["a"]),
        helper.make_node("DequantizeLinear", ["w", "ws"], ["v"], axis=axis),
        helper.make_node("Gemm", ["a", "v", "c"], ["y"], "product"),
    ]
    inputs = {"x": rng.standard_normal((4, 6)).astype(np.float32)}
    model = model_of(nodes, constants, inputs, {"y": TensorProto.FLOAT}, opset=21)
    report = diff(model, inputs=inputs)
    assert report.passed, report.table()


@pytest.mark.parametrize("kind", [TensorProto.FLOAT8E4M3FN, TensorProto.FLOAT8E5M2])
def test_weights_of_8_bit_floats_count_as_float_ones(kind):
    rng = np.random.default_rng(0)
    inputs = {"x": rng.standard_normal((3, 8)).astype(np.float32)}
    nodes = [
        helper.make_node("DequantizeLinear", ["w", "s"], ["v"]),
        helper.make_node("MatMul", ["x", "v"], ["y"], "product"),
    ]
    model = model_of(nodes, {"s": np.float32(0.05)}, inputs, {"y": TensorProto.FLOAT}, opset=21)
    model.graph.initializer.append(helper.make_tensor("w", kind, (8, 5), rng.standard_normal(40).tolist()))
    report = diff(model, inputs=inputs, weight_bits=16, input_bits=16)
    assert report.passed, report.table()
    assert [row.nodes for row in report.layers if row.kind == "crossbar"] == [("product",)]
    assert report.outputs[0].sqnr_db > 70


@pytest.mark.parametrize("between", [[], ["DepthToSpace"]])
@pytest.mark.parametrize("kinds", [(np.uint8, np.uint8), (np.uint8, np.int8), (np.int8, np.uint8)])
def test_an_input_of_integers_keeps_the_codes_that_the_file_says_it_has(between, kinds):
    """A QuantizeLinear that reads it makes others of them."""
    read, made = kinds
    constants = {"s": np.float32(0.05), "r": read(7), "t": np.float32(0.03), "m": made(100)}
    nodes = [helper.make_node("DequantizeLinear", ["x", "s", "r"], ["0"])]
    nodes += [helper.make_node(op, [str(i)], [str(i + 1)], blocksize=2) for i, op in enumerate(between)]
    nodes.append(helper.make_node("QuantizeLinear", [str(len(between)), "t", "m"], ["y"]))
    x = {"x": np.arange(24).astype(read).reshape(1, 4, 2, 3)}
    model = model_of(nodes, constants, x, {"y": helper.np_dtype_to_tensor_dtype(np.dtype(made))}, opset=21)
    program = redc.compile(model, calibrate=x, host=False)
    np.testing.assert_array_equal(runtime.run(program, x).outputs["y"], as_the_file_says(model, x)["y"])
