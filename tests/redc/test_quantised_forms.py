"""Whatever way a network is quantised, its products run on crossbars and its integers are onnxruntime's.

Weights have 7 bits here where a test asks onnxruntime's own integer kernels: on CPUs without VNNI these
saturate sums of two products, and 8 bits would be wrong there.
"""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from onnx import TensorProto, helper, numpy_helper

import redc
import runtime
from redc.diff import diff
from redc.oracle import run_model
from tests.redc.layers_alone import layers_apart
from tests.redc.quantised_drawing import model_of, networks
from tests.redc.quantised_networks import NETWORKS, SYMMETRIC, Form, quantised
from tests.redc.test_quantisers import as_the_file_says


@pytest.mark.parametrize("network", ["cnn", "transformer"])
@pytest.mark.parametrize(
    ("form", "share"),
    [
        (Form("QDQ", "QUInt8", "QInt8", reduce_range=True), 0.75),
        (Form("QDQ", "QInt16", "QInt8", True, reduce_range=True), 0.75),
        (Form("QDQ", "QUInt8", "QInt4", True), 0.75),
        (Form("QOperator", "QUInt8", "QInt8", reduce_range=True), 0.8),
        (Form("QOperator", "QInt8", "QInt8", True, reduce_range=True, options=SYMMETRIC), 0.8),
        (Form("dynamic", "QUInt8", "QUInt8"), 0.65),
    ],
    ids=str,
)
def test_what_onnxruntimes_tools_make_runs_on_crossbars_a_step_away_at_most(network, form, share):
    model = quantised(network, form)
    inputs = NETWORKS[network]().sample(50)
    report = diff(model, inputs=inputs)
    assert report.passed, report.table()
    assert report.work["crossbar"] > share * sum(report.work.values())
    apart = layers_apart(model, redc.compile(model, calibrate=inputs), inputs)
    assert max((one.steps for one in apart if one.given), default=0) <= 1
    integers = [
        n for n in model.graph.node if n.op_type in ("ConvInteger", "MatMulInteger", "QGemm", "QLinearConv")
    ]
    crossbars = {row.name for row in report.layers if row.kind == "crossbar"}
    assert {n.name for n in integers} <= crossbars


EXACT = ("Conv", "Gemm", "MaxPool", "Transpose", "Slice", "Pad", "Resize")


@given(networks())
@settings(max_examples=40)
def test_random_quantised_networks_stay_in_integers_a_step_away_at_most(drawn):
    model, inputs = drawn
    program = redc.compile(model, calibrate=inputs, host=False)
    assert {buffer.type.bits for buffer in program.buffers.values() if buffer.scale is not None} == {8}
    report = diff(model, program, inputs)
    assert report.passed, report.table()
    apart = layers_apart(model, program, inputs)
    assert apart
    for one in apart:
        assert one.steps <= (0 if one.op in EXACT else 1), one
    (output,) = (v.name for v in model.graph.output)
    got, wanted = runtime.run(program, inputs).outputs[output], run_model(model, model.graph, inputs)[output]
    assert (got.dtype, got.shape) == (wanted.dtype, wanted.shape)


def test_integers_of_a_host_are_read_as_codes_and_codes_leave_as_integers():
    """Between a Softmax of the host and the crossbars, and back, only bytes travel."""
    model = quantised("transformer", Form("QOperator", "QUInt8", "QInt8", reduce_range=True))
    program = redc.compile(model, calibrate=NETWORKS["transformer"]().sample(0))
    touched = {
        ref.name
        for layer in program.layers
        for i in layer.body
        if getattr(i, "mnemonic", "") == "host"
        for ref in i.operands[1:]
    }
    held = [b for name, b in program.buffers.items() if name in touched and not b.raw]
    assert held
    assert {(b.onnx_type, str(b.type)) for b in held if b.kind == "buffer"} >= {("u8", "u8")}


def test_the_model_onnxruntime_sees_is_the_files():
    """Its optimiser would round float weights between quantisers to 8 bits, and inputs of 16 bits to 8."""
    model = quantised("cnn", Form("QOperator", "QUInt8", "QInt8", reduce_range=True))
    assert isinstance(model, onnx.ModelProto)
    (up,) = (n for n in model.graph.node if n.op_type == "ConvTranspose")
    inputs = NETWORKS["cnn"]().sample(3)
    values = run_model(model, model.graph, inputs, [up.input[0], up.output[0], "t0_quantized"])
    scale, zero = (
        numpy_helper.to_array(t)
        for n in ("t0_scale", "t0_zero_point")
        for t in model.graph.initializer
        if t.name == n
    )
    real = np.clip(np.rint(values[up.output[0]] / scale) + zero, 0, 255)
    assert (real == values["t0_quantized"]).mean() > 0.99


@pytest.mark.parametrize("blocks", [False, True])
def test_weights_of_several_scales_for_one_column_count_as_float_ones(blocks):
    """A column of a crossbar has one scale; with 16 bits the codes after it are a step away at most."""
    rng = np.random.default_rng(0)
    shape = (3, 5) if blocks else (6,)
    constants = {
        "s": np.float32(0.02),
        "z": np.uint8(120),
        "w": rng.integers(-128, 128, (6, 5)).astype(np.int8),
        "ws": rng.uniform(0.002, 0.01, shape).astype(np.float32),
        "wz": np.zeros(shape, np.int8),
        "ys": np.float32(0.05),
    }
    node = helper.make_node
    nodes = [
        node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        node("DequantizeLinear", ["q", "s", "z"], ["a"]),
        node("DequantizeLinear", ["w", "ws", "wz"], ["v"], axis=0, **({"block_size": 2} if blocks else {})),
        node("MatMul", ["a", "v"], ["c"], "product"),
        node("QuantizeLinear", ["c", "ys", "z"], ["r"]),
        node("DequantizeLinear", ["r", "ys", "z"], ["y"]),
    ]
    inputs = {"x": rng.standard_normal((4, 6)).astype(np.float32)}
    model = model_of(nodes, constants, inputs, {"y": TensorProto.FLOAT}, opset=21)
    program = redc.compile(model, host=False)
    assert diff(model, program, inputs).passed
    apart = layers_apart(model, program, inputs)
    assert [one.op for one in apart] == ["MatMul"]
    assert apart[0].steps <= 1


def test_outputs_of_integers_are_compared_as_what_they_mean():
    model, inputs = (
        quantised("mlp", Form("QOperator", "QUInt8", "QInt8", reduce_range=True)),
        NETWORKS["mlp"]().sample(0),
    )
    del model.graph.output[:]
    model.graph.output.append(helper.make_tensor_value_info("y_quantized", TensorProto.UINT8, None))
    (row,) = diff(model, inputs=inputs).outputs
    assert row.sqnr_db is None or row.sqnr_db > 30


def test_half_floats_between_quantisers_leave_for_no_host():
    """Scales of float16 make float16; what a host reads of it, the host makes."""
    rng = np.random.default_rng(0)
    half = np.float16
    constants = {
        "s": half(0.02),
        "z": np.uint8(120),
        "w": rng.integers(-64, 64, (6, 5)).astype(np.int8),
        "ws": half(0.01),
        "ys": half(0.05),
    }
    node = helper.make_node
    nodes = [
        node("Cast", ["x"], ["h"], to=TensorProto.FLOAT16),
        node("QuantizeLinear", ["h", "s", "z"], ["q"]),
        node("DequantizeLinear", ["q", "s", "z"], ["a"]),
        node("DequantizeLinear", ["w", "ws"], ["v"]),
        node("MatMul", ["a", "v"], ["c"], "product"),
        node("QuantizeLinear", ["c", "ys", "z"], ["r"]),
        node("DequantizeLinear", ["r", "ys", "z"], ["d"]),
        node("Relu", ["d"], ["e"]),
        node("Softmax", ["e"], ["f"]),
        node("Cast", ["f"], ["y"], to=TensorProto.FLOAT),
        node("Transpose", ["d"], ["t"], perm=[1, 0]),
    ]
    inputs = {"x": rng.standard_normal((4, 6)).astype(np.float32)}
    outputs = {"y": TensorProto.FLOAT, "t": TensorProto.FLOAT16}
    model = model_of(nodes, constants, inputs, outputs, opset=19)
    report = diff(model, inputs=inputs)
    assert report.passed, report.table()
    assert [row.nodes[0] for row in report.layers if row.kind == "crossbar"] == ["product"]
    got = runtime.run(redc.compile(model, calibrate=inputs), inputs).outputs
    assert {name: value.dtype for name, value in got.items()} == {"y": np.float32, "t": np.float16}


@pytest.mark.parametrize("op", ["Min", "Max", "Add", "Sub", "Mul"])
def test_a_constant_is_as_fine_as_what_is_made_of_it(op):
    """Codes of 16 bits that span 1.8 are 3 steps off in codes of 16 bits that span 0.28."""
    rng = np.random.default_rng(0)
    constants = {"s": np.float32(0.035), "c": rng.uniform(-1.8, 1.8, (4, 6)), "ys": np.float32(8.4e-6)}
    if op in ("Add", "Sub"):
        constants["c"] = 0.035 * rng.integers(-9, 9, (4, 6)) + rng.uniform(-0.2, 0.2, (4, 6))
    constants["c"] = constants["c"].astype(np.float32)
    constants |= {"z": np.uint8(0 if op in ("Min", "Mul") else 120), "yz": np.int16(0)}
    nodes = [
        helper.make_node("DequantizeLinear", ["x", "s", "z"], ["a"]),
        helper.make_node(op, ["a", "c"], ["b"]),
        helper.make_node("QuantizeLinear", ["b", "ys", "yz"], ["y"]),
    ]
    inputs = {"x": rng.integers(0, 256, (3, 4, 6)).astype(np.uint8)}
    model = model_of(nodes, constants, inputs, {"y": TensorProto.INT16}, opset=21)
    got = runtime.run(redc.compile(model, host=False), inputs).outputs["y"].astype(int)
    assert np.abs(got - run_model(model, model.graph, inputs)["y"]).max() <= 1


@pytest.mark.parametrize(
    "moves", [["nearest"], ["linear"], ["nearest", "MaxPool"], ["pad", "Transpose"], ["fill"]]
)
def test_what_moves_codes_without_a_quantiser_of_its_own_keeps_them(moves):
    """And what makes others of them, a linear Resize or a Pad with another value, is none that does."""
    rng = np.random.default_rng(0)
    constants = {
        "s": np.float32(0.011),
        "z": np.uint8(117),
        "w": rng.integers(-128, 128, (3, 2, 2, 2)).astype(np.int8),
        "ws": np.float32(0.013),
        "sizes": np.array([1, 1, 2, 2], np.float32),
        "pads": np.array([0, 0, 1, 0, 0, 0, 0, 1]),
        "fill": np.float32(0.123),
        "t": np.float32(0.05),
    }
    written = {
        "nearest": ("Resize", ["", "sizes"], {"mode": "nearest"}),
        "linear": ("Resize", ["", "sizes"], {"mode": "linear"}),
        "MaxPool": ("MaxPool", [], {"kernel_shape": [2, 2]}),
        "pad": ("Pad", ["pads"], {}),
        "fill": ("Pad", ["pads", "fill"], {}),
        "Transpose": ("Transpose", [], {"perm": [0, 1, 3, 2]}),
    }
    nodes = [helper.make_node("DequantizeLinear", ["x", "s", "z"], ["0"])]
    for number, move in enumerate(moves):
        op, more, attributes = written[move]
        nodes.append(helper.make_node(op, [str(number), *more], [str(number + 1)], **attributes))
    nodes += [
        helper.make_node("DequantizeLinear", ["w", "ws"], ["v"]),
        helper.make_node("Conv", [str(len(moves)), "v"], ["c"]),
        helper.make_node("QuantizeLinear", ["c", "t", "z"], ["y"]),
    ]
    read = {name for node in nodes for name in node.input}
    constants = {name: value for name, value in constants.items() if name in read}
    x = {"x": rng.integers(0, 256, (1, 2, 5, 6)).astype(np.uint8)}
    model = model_of(nodes, constants, x, {"y": TensorProto.UINT8}, opset=21)
    program = redc.compile(model, calibrate=x, host=False)
    report = diff(model, program, x)
    assert report.passed, report.table()
    kept = {b.scale for b in program.buffers.values() if b.tensor != "y"} == {float(np.float32(0.011))}
    assert kept == (moves[0] not in ("linear", "fill"))
    got = runtime.run(program, x).outputs["y"].astype(int)
    assert np.abs(got - as_the_file_says(model, x)["y"]).max() <= 1


@pytest.mark.parametrize("first", ["floats", "integers"])
def test_layers_whose_weights_alone_are_integers_have_one_step_for_all_channels(first):
    """The file's weights take no steps of their input's channels, nor do they make any."""
    rng = np.random.default_rng(0)
    sizes = (10 ** rng.uniform(-3, 0, 16)).astype(np.float32)
    constants = {
        "a": (rng.standard_normal((16, 3, 3, 3)) * sizes[:, None, None, None]).astype(np.float32),
        "b": rng.integers(-127, 128, (16, 3, 3, 3)).astype(np.int8),
        "s": sizes,
        "c": rng.integers(-127, 128, (4, 16, 3, 3)).astype(np.int8),
        "t": np.float32(0.01),
    }
    nodes = [
        helper.make_node("DequantizeLinear", ["b", "s"], ["v"], axis=0),
        helper.make_node("Conv", ["x", "a" if first == "floats" else "v"], ["y"]),
        helper.make_node("Relu", ["y"], ["z"]),
        helper.make_node("DequantizeLinear", ["c", "t"], ["w"]),
        helper.make_node("Conv", ["z", "w"], ["out"]),
    ]
    nodes = nodes[first == "floats" :]
    read = {name for node in nodes for name in node.input}
    constants = {name: value for name, value in constants.items() if name in read}
    x = {"x": rng.standard_normal((2, 3, 8, 8)).astype(np.float32)}
    model = model_of(nodes, constants, x, {"out": TensorProto.FLOAT}, opset=21)
    report = diff(model, inputs=x, host=False)
    assert report.passed, report.table()
    assert report.outputs[0].sqnr_db > 30
