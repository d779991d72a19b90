"""ConvInteger and MatMulInteger: their sums leave the crossbars as they are, equal to onnxruntime's."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

import redc
import runtime
from redc.diff import diff
from redc.oracle import run_model
from tests.redc.quantised_drawing import model_of
from tests.redc.quantised_networks import NETWORKS, Form, quantised


@st.composite
def integer_products(draw):
    """ConvInteger or MatMulInteger of every mixture of types and zero points, and what follows it."""
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    conv, source = draw(st.booleans()), draw(st.sampled_from(["dynamic", "static", "integers"]))
    x_kind = np.uint8 if source == "dynamic" else draw(st.sampled_from([np.uint8, np.int8]))
    w_kind = draw(st.sampled_from([np.uint8, np.int8]))
    node = helper.make_node
    shape, w_shape = ((2, 3, 5, 4), (4, 3, 3, 2)) if conv else ((2, 3, 6), (6, 5))
    low = 0 if w_kind is np.uint8 else -32
    constants = {"w": rng.integers(low, low + 64, w_shape).astype(w_kind)}
    x = rng.standard_normal(shape).astype(np.float32)
    inputs, nodes = {"x": x}, []
    names = ["q", "w", "zero", ""]
    if source == "dynamic":
        nodes.append(node("DynamicQuantizeLinear", ["x"], ["q", "step", "zero"]))
    elif source == "static":
        constants |= {"zero": x_kind(draw(st.sampled_from([0, 17]))), "xs": np.float32(0.02)}
        nodes.append(node("QuantizeLinear", ["x", "xs", "zero"], ["q"]))
    else:
        names[0] = "x"
        inputs = {"x": rng.integers(np.iinfo(x_kind).min, np.iinfo(x_kind).max + 1, shape).astype(x_kind)}
        constants |= {"zero": x_kind(99)}
        names[2] = draw(st.sampled_from(["", "zero"]))
    if draw(st.booleans()):
        per_column = not conv and draw(st.booleans())
        constants["wz"] = rng.integers(0, 9, 5 if per_column else ()).astype(w_kind)
        names[3] = "wz"
    nodes.append(node("ConvInteger" if conv else "MatMulInteger", names, ["sums"], "product"))
    tail = draw(st.sampled_from(["integers", "real", "scaled"]))
    if tail == "integers":
        return model_of(nodes, constants, inputs, {"sums": TensorProto.INT32}), inputs, 0
    nodes.append(node("Cast", ["sums"], ["real"], to=TensorProto.FLOAT))
    if tail == "real":
        return model_of(nodes, constants, inputs, {"real": TensorProto.FLOAT}), inputs, 0
    constants |= {
        "ws": np.float32(0.01),
        "b": rng.standard_normal((4, 1, 1) if conv else 5).astype(np.float32),
    }
    if source == "dynamic":
        nodes.append(node("Mul", ["step", "ws"], ["scale"]))
    else:
        constants["scale"] = np.float32(0.013)
    nodes += [node("Mul", ["real", "scale"], ["scaled"]), node("Add", ["scaled", "b"], ["y"])]
    return model_of(nodes, constants, inputs, {"y": TensorProto.FLOAT}), inputs, 1e-3


@given(integer_products())
@settings(max_examples=40)
def test_sums_of_integer_operators_equal_onnxruntimes(drawn):
    model, inputs, tolerance = drawn
    report = diff(model, inputs=inputs)
    assert report.passed, report.table()
    assert [row.kind for row in report.layers if "product" in row.nodes] == ["crossbar"]
    program = redc.compile(model, calibrate=inputs)
    (output,) = (v.name for v in model.graph.output)
    got, wanted = runtime.run(program, inputs).outputs[output], run_model(model, model.graph, inputs)[output]
    assert (got.dtype, got.shape) == (wanted.dtype, wanted.shape)
    assert np.abs(got.astype(np.float64) - wanted).max() <= tolerance * np.abs(wanted).max()


def test_a_wrong_weight_below_a_computed_zero_point_is_named():
    """The oracle takes the difference that the host makes, and finds the sums anew."""
    model = quantised("mlp", Form("dynamic", "QUInt8", "QUInt8"))
    inputs = NETWORKS["mlp"]().sample(0)
    program = redc.compile(model, calibrate=inputs)
    name = next(iter(program.crossbars.values())).data
    weights = program.constant(name).copy()
    weights.flat[0] += 1
    report = diff(model, dataclasses.replace(program, data={**program.data, name: weights}), inputs)
    assert not report.passed


def test_another_tensor_in_place_of_a_difference_is_found():
    model = quantised("mlp", Form("dynamic", "QUInt8", "QUInt8"))
    inputs = NETWORKS["mlp"]().sample(0)
    program = redc.compile(model, calibrate=inputs)
    buffers = {
        name: dataclasses.replace(b, tensor="other") if b.tensor and " - " in b.tensor else b
        for name, b in program.buffers.items()
    }
    report = diff(model, dataclasses.replace(program, buffers=buffers), inputs)
    assert not report.passed
    assert "holds no tensor of the model" in report.table()


def test_another_zero_point_than_the_files_is_found():
    """Consistently used, it makes sums that are right for it."""
    rng = np.random.default_rng(0)
    constants = {"w": rng.integers(0, 64, (6, 5)).astype(np.uint8), "zero": np.uint8(99)}
    nodes = [helper.make_node("MatMulInteger", ["x", "w", "zero"], ["y"], "product")]
    inputs = {"x": rng.integers(0, 256, (3, 6)).astype(np.uint8)}
    model = model_of(nodes, constants, inputs, {"y": TensorProto.INT32})
    program = redc.compile(model, calibrate=inputs, host=False)
    assert diff(model, program, inputs).passed
    buffers = {n: dataclasses.replace(b, zero=98) if b.zero == 99 else b for n, b in program.buffers.items()}
    crossbars = {
        n: dataclasses.replace(x, input_type=buffers["x"].drive_type) for n, x in program.crossbars.items()
    }
    report = diff(model, dataclasses.replace(program, buffers=buffers, crossbars=crossbars), inputs)
    assert not report.passed
    assert "has the zero 98, the file says 99" in report.table()


def test_sums_that_may_leave_32_bits_stay_with_onnxruntime():
    """There they wrap, and crossbars do not."""
    rows = 2**17
    weight = np.full((rows, 1), 255, np.uint8)
    nodes = [helper.make_node("MatMulInteger", ["x", "w"], ["y"], "product")]
    inputs = {"x": np.full((1, rows), 1, np.uint8)}
    model = model_of(nodes, {"w": weight}, inputs, {"y": TensorProto.INT32})
    assert [layer.op for layer in redc.compile(model, calibrate=inputs).layers] == ["host"]
    with pytest.raises(redc.UserError, match="its sums may leave 32 bits"):
        redc.compile(model, calibrate=inputs, host=False)


def test_differences_have_names_of_their_own():
    """'a - b' less 'c' is not 'a' less 'b - c', and the model may have a tensor of any such name."""
    rng = np.random.default_rng(0)
    node = helper.make_node
    taken = "'a' - 'b - c'"
    nodes = [
        node("DynamicQuantizeLinear", ["x"], ["a - b", "s1", "c"]),
        node("DynamicQuantizeLinear", ["u"], ["a", "s2", "b - c"]),
        node("MatMulInteger", ["a - b", "w", "c"], ["p"], "first"),
        node("MatMulInteger", ["a", "w", "b - c"], ["q"], "second"),
        node("Cast", ["p"], [taken], to=TensorProto.FLOAT),
        node("Cast", ["q"], [f"{taken}': codes"], to=TensorProto.FLOAT),
        node("Mul", [taken, "s1"], ["y"]),
        node("Mul", [f"{taken}': codes", "s2"], ["z"]),
    ]
    inputs = {n: rng.normal(i, 1 + 2 * i, (4, 6)).astype(np.float32) for i, n in enumerate("xu")}
    constants = {"w": rng.integers(-60, 60, (6, 5)).astype(np.int8)}
    model = model_of(nodes, constants, inputs, {"y": TensorProto.FLOAT, "z": TensorProto.FLOAT})
    report = diff(model, inputs=inputs)
    assert report.passed, report.table()
    assert {n for row in report.layers if row.kind == "crossbar" for n in row.nodes} >= {"first", "second"}
    assert all(row.max_abs_err == 0 for row in report.outputs), report.table()
