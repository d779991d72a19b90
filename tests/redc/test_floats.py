"""Models of float16, bfloat16 and double: compiled in float32, compared with onnxruntime on the file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

import redc
import runtime
from redc.frontend.floats import in_float32
from tests.redc.random_layers import layers

HALF = TensorProto.FLOAT16


def halved(model: onnx.ModelProto, element: int = HALF) -> onnx.ModelProto:
    """A float32 model with weights, inputs and outputs of float16 (or another type)."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    for value in (*result.graph.input, *result.graph.output):
        value.type.tensor_type.elem_type = element
    for tensor in result.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT:
            dtype = helper.tensor_dtype_to_np_dtype(element)
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(dtype), tensor.name))
    return result


def network(element: int = HALF) -> onnx.ModelProto:
    """Conv, Relu, ConvTranspose, Tanh; a Cast to half and back lies between."""
    rng = np.random.default_rng(0)
    weights = {"w": (4, 3, 3, 3), "v": (4, 3, 4, 4), "bias": (3,)}
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], pads=[1] * 4),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Cast", ["b"], ["narrow"], to=HALF),
        helper.make_node("Cast", ["narrow"], ["wide"], to=element),
        helper.make_node("ConvTranspose", ["wide", "v", "bias"], ["c"], strides=[2, 2], pads=[1] * 4),
        helper.make_node("Tanh", ["c"], ["y"]),
    ]
    values = [
        numpy_helper.from_array((0.3 * rng.standard_normal(shape)).astype(np.float32), name)
        for name, shape in weights.items()
    ]
    ports = (("x", [2, 3, 8, 8]), ("y", [2, 3, 16, 16]))
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in ports)
    graph = helper.make_graph(nodes, "halves", [x], [y], values)
    opset = [helper.make_opsetid("", 17)]
    return halved(helper.make_model(graph, opset_imports=opset, ir_version=8), element)


def sqnr(wanted: np.ndarray, found: np.ndarray) -> float:
    wanted, found = wanted.astype(np.float64), found.astype(np.float64)
    error = ((wanted - found) ** 2).sum()
    return float(10 * np.log10((wanted**2).sum() / error)) if error else np.inf


def by_onnxruntime(model: onnx.ModelProto, **inputs: np.ndarray) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
    return np.asarray(session.run(None, inputs)[0])


@pytest.mark.parametrize("element", [HALF, TensorProto.DOUBLE])
def test_a_network_of_other_floats_runs_on_crossbars_and_speaks_its_own_types(element: int) -> None:
    model = network(element)
    dtype = helper.tensor_dtype_to_np_dtype(element)
    x = np.random.default_rng(1).standard_normal((2, 3, 8, 8)).astype(dtype)
    program = redc.compile(model, calibrate={"x": x}, weight_bits=16, input_bits=16, host=False)
    session = runtime.Session(program)
    name = {HALF: "tensor(float16)", TensorProto.DOUBLE: "tensor(double)"}[element]
    assert [port.type for port in (*session.get_inputs(), *session.get_outputs())] == [name] * 2
    (y,) = session.run(None, {"x": x})
    assert y.dtype == dtype
    same = model if element == HALF else in_float32(model)  # onnxruntime has no Conv of doubles
    assert sqnr(by_onnxruntime(same, x=x), y) > 55  # float16 has 11 bits


@pytest.mark.parametrize("element", [HALF, TensorProto.DOUBLE, TensorProto.BFLOAT16])
def test_diff_proves_every_crossbar_layer_of_other_floats(element: int, tmp_path: Path) -> None:
    path = tmp_path / "other.onnx"
    onnx.save(network(element), path)
    report = redc.diff(str(path))
    assert report.passed
    assert [layer.integer_exact for layer in report.layers] == [True, True]


@settings(max_examples=15, deadline=None)
@given(st.sampled_from(["Conv", "ConvTranspose"]).flatmap(lambda op: st.tuples(st.just(op), layers(op))))
def test_any_half_layer_gives_what_onnxruntime_gives(drawn: tuple[str, Any]) -> None:
    op, (attributes, x_shape, w_shape) = drawn
    rng = np.random.default_rng(0)
    x, w = (rng.standard_normal(shape).astype(np.float16) for shape in (x_shape, w_shape))
    graph = helper.make_graph(
        [helper.make_node(op, ["x", "w"], ["y"], **attributes)],
        "half",
        [helper.make_tensor_value_info("x", HALF, x_shape)],
        [helper.make_tensor_value_info("y", HALF, None)],
        [numpy_helper.from_array(w, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    wanted = by_onnxruntime(model, x=x)
    program = redc.compile(model, calibrate={"x": x}, weight_bits=16, input_bits=16, host=False)
    (y,) = runtime.Session(program).run(None, {"x": x})
    assert (y.shape, y.dtype) == (wanted.shape, wanted.dtype)
    assert sqnr(wanted, y) > 45


def test_bfloat16_which_onnxruntime_does_not_run_becomes_float32() -> None:
    program = redc.compile(network(TensorProto.BFLOAT16))
    assert [buffer.onnx_type for buffer in (*program.inputs, *program.outputs)] == ["f32", "f32"]


@pytest.mark.parametrize("element", [HALF, TensorProto.DOUBLE])
def test_ports_of_other_floats_behind_a_cast_hold_codes(element: int) -> None:
    nodes = [
        helper.make_node("Cast", ["x"], ["a"], to=TensorProto.FLOAT),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Cast", ["b"], ["y"], to=element),
    ]
    x, y = (helper.make_tensor_value_info(name, element, [1, 4]) for name in "xy")
    opset = [helper.make_opsetid("", 17)]
    model = helper.make_model(helper.make_graph(nodes, "ports", [x], [y]), opset_imports=opset, ir_version=8)
    value = np.array([[-1.0, 0.5, 0.25, 1.0]], helper.tensor_dtype_to_np_dtype(element))
    program = redc.compile(model, calibrate={"x": value}, host=False)
    (result,) = runtime.Session(program).run(None, {"x": value})
    assert result.dtype == value.dtype
    np.testing.assert_allclose(result, np.maximum(value, 0), atol=0.01)


def test_converting_knows_what_subgraphs_read_and_what_they_hide() -> None:
    """`then` reads the outer x, `else` has an x of its own."""
    make = helper.make_node
    out = [helper.make_tensor_value_info(name, HALF, [4]) for name in ("t", "e")]
    then = helper.make_graph([make("Relu", ["x"], ["t"])], "then", [], [out[0]])
    inner = numpy_helper.from_array(np.full(4, 7, np.float16), "x")
    other = helper.make_graph([make("Relu", ["x"], ["e"])], "else", [], [out[1]], [inner])
    model = helper.make_model(
        helper.make_graph(
            [make("If", ["flag"], ["y"], then_branch=then, else_branch=other)],
            "branches",
            [
                helper.make_tensor_value_info("x", HALF, [4]),
                helper.make_tensor_value_info("flag", TensorProto.BOOL, []),
            ],
            [helper.make_tensor_value_info("y", HALF, [4])],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    wide = in_float32(model)
    x = np.array([-1, 0, 1, 2], np.float16)
    for flag in (True, False):
        given = {"x": x, "flag": np.array(flag)}
        wanted = by_onnxruntime(wide, **given)
        assert wanted.dtype == np.float16
        np.testing.assert_array_equal(wanted, np.maximum(x, 0) if flag else np.full(4, 7))


@pytest.mark.parametrize("element", [HALF, TensorProto.DOUBLE, TensorProto.BFLOAT16])
def test_converting_is_done_once(element: int) -> None:
    once = in_float32(network(element))
    assert in_float32(once) is once
    assert in_float32(layerless := onnx.ModelProto()) is layerless


def test_doubles_beside_float32_weights_stay_the_hosts() -> None:
    nodes = [
        helper.make_node("CumSum", ["t", "axis"], ["s"]),
        helper.make_node("Cast", ["s"], ["x"], to=TensorProto.FLOAT),
        helper.make_node("MatMul", ["x", "w"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "times",
        [helper.make_tensor_value_info("t", TensorProto.DOUBLE, [4, 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [4, 3])],
        [
            numpy_helper.from_array(np.ones((2, 3), np.float32), "w"),
            numpy_helper.from_array(np.array(0), "axis"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    assert in_float32(model) is model
    program = redc.compile(model, calibrate={"t": np.ones((4, 2))})
    assert program.inputs[0].raw
    assert program.inputs[0].onnx_type == "f64"


@pytest.mark.parametrize("element", [HALF, TensorProto.DOUBLE])
def test_a_constant_that_is_an_output_keeps_its_type(element: int) -> None:
    model = network(element)
    model.graph.output.append(helper.make_tensor_value_info("w", element, [4, 3, 3, 3]))
    program = redc.compile(model)
    assert [port.type for port in runtime.Session(program).get_outputs()][1] == (
        "tensor(float16)" if element == HALF else "tensor(double)"
    )


def test_a_shape_that_only_the_run_tells_is_measured_with_halves_too() -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["r"]),
        helper.make_node("NonZero", ["r"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "places",
        [helper.make_tensor_value_info("x", HALF, [4])],
        [helper.make_tensor_value_info("y", TensorProto.INT64, None)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    assert redc.diff(model, inputs={"x": np.array([1, -1, 2, 0], np.float16)}).passed
