"""What a quantised model computes in float between its codes is so fine that these are a step off at most."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

import redc
import runtime
from redc.diff import diff
from tests.redc.quantised_drawing import model_of
from tests.redc.quantiser_drawing import KINDS, Between
from tests.redc.test_quantisers import as_the_file_says

FUNCTIONS = ["HardSwish", "HardSigmoid", "Softplus", "Gelu", "Erf", "Neg", "Sigmoid", "Elu"]
ARITHMETIC = ["Add", "Sub", "Mul", "Max"]
POOLS = ["MaxPool", "AveragePool", "Concat"]


@st.composite
def floats_between_codes(draw):
    """(model, inputs): a layer of 8-bit weights, two or three operators in float, codes of 8 or 16 bits."""
    net = Between(draw)
    net.kind = draw(st.sampled_from([np.uint8, np.int8]))
    given_codes, others = net.codes(4.0), net.codes(4.0)
    at, shape = net.product(
        "Conv", net.node("DequantizeLinear", ["x", *given_codes]), net.constants[given_codes[0]]
    )
    x = {"x": net.rng.integers(np.iinfo(net.kind).min, np.iinfo(net.kind).max + 1, shape).astype(net.kind)}
    for op in draw(st.lists(st.sampled_from(["Square", *FUNCTIONS, *ARITHMETIC]), min_size=1, max_size=2)):
        other = []
        if op in ARITHMETIC:
            wide = draw(st.sampled_from([(), (4, 1, 1), (4, 2, 3)]))
            other = [net.constant((net.rng.standard_normal(wide) * 2).astype(np.float32))]
        at = net.node("Mul", [at, at]) if op == "Square" else net.node(op, [at, *other])
    last = draw(st.sampled_from([None, *POOLS]))
    if last == "Concat":
        z = {"z": net.rng.integers(0, 100, (2, 1, 2, 3)).astype(net.kind)}
        at, x = net.node("Concat", [at, net.node("DequantizeLinear", ["z", *others])], axis=1), x | z
    elif last:
        at = net.node(last, [at], kernel_shape=[2, 2])
    net.kind = draw(st.sampled_from(list(KINDS)))
    out = net.quantised(at, net.codes(draw(st.sampled_from([0.25, 1.0, 8.0]))))
    return model_of(net.nodes, net.constants, x, {out: KINDS[net.kind]}, opset=21), x


@given(floats_between_codes())
def test_codes_behind_floats_are_a_step_from_the_files_at_most(drawn):
    hold_against_the_file(*drawn)


BOUNDED = {
    "HardSigmoid": ["HardSigmoid"],
    "Softsign": ["Softsign"],
    "Tanh": ["Tanh"],
    "of its magnitude": ["Abs", "Erf"],
    "a bell": ["Abs", "Neg", "Exp"],
}


@st.composite
def far_values(draw):
    """(model, inputs): a layer whose values may go far beyond what the function behind tells apart."""
    net = Between(draw)
    net.kind = draw(st.sampled_from([np.uint8, np.int8]))
    size = 10.0 ** draw(st.integers(0, 6))
    given_codes = net.codes(4.0)
    shape = (6, 4)
    inputs = [net.node("DequantizeLinear", ["x", *given_codes])]
    if draw(st.booleans()):
        steps = np.float32(size / (127 * 4.0))
        weight = [net.rng.integers(-127, 128, (4, 5)).astype(np.int8), steps]
        inputs.append(net.node("DequantizeLinear", [net.constant(value) for value in weight]))
    else:
        inputs.append(net.constant((net.rng.standard_normal((4, 5)) * size / 8).astype(np.float32)))
    inputs.append(net.constant(net.rng.standard_normal(5).astype(np.float32)))
    at = net.node("Gemm", inputs)
    for op in BOUNDED[draw(st.sampled_from(list(BOUNDED)))]:
        at = net.node(op, [at])
    bounds = np.iinfo(net.kind)
    x = net.rng.integers(bounds.min, bounds.max + 1, shape).astype(net.kind)
    x[:3] = net.constants[given_codes[1]] if len(given_codes) > 1 else 0  # the bias alone is left
    net.kind = draw(st.sampled_from([np.uint8, np.int8]))
    out = net.quantised(at, net.codes(1.0))
    return model_of(net.nodes, net.constants, {"x": x}, {out: KINDS[net.kind]}, opset=21), {"x": x}


@given(far_values())
def test_functions_are_fine_near_zero_however_far_their_values_go(drawn):
    hold_against_the_file(*drawn)


@st.composite
def float_layers(draw):
    """(model, inputs): a convolution of floats with float weights, codes of any size behind it."""
    net = Between(draw)
    size = 10.0 ** draw(st.integers(-6, 3))
    weight = net.rng.standard_normal((3, 2, 2, 3)).astype(np.float32)
    bias = (net.rng.standard_normal(3) * size).astype(np.float32)
    x = (net.rng.standard_normal((2, 2, 5, 6)) * size).astype(np.float32)
    op = draw(st.sampled_from(["Conv", "ConvTranspose"]))
    if op == "ConvTranspose":
        weight = weight.transpose(1, 0, 2, 3)
    at = net.node(op, ["x", net.constant(np.ascontiguousarray(weight)), net.constant(bias)])
    if draw(st.booleans()):
        at = net.node(draw(st.sampled_from(["Relu", "LeakyRelu", "Neg"])), [at])
    out = net.quantised(at, net.codes(size * draw(st.sampled_from([1.0, 8.0]))))
    return model_of(net.nodes, net.constants, {"x": x}, {out: KINDS[net.kind]}, opset=21), {"x": x}


@given(float_layers())
def test_codes_of_a_float_layer_are_a_step_from_the_files_at_most(drawn):
    hold_against_the_file(*drawn)


@pytest.mark.parametrize("layers", [2, 3])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_codes_of_several_float_layers_are_a_step_from_the_files_at_most(layers, kind):
    rng = np.random.default_rng(0)
    constants = {"t": np.float32(64 / (1 << 8 * np.dtype(kind).itemsize)), "z": kind(np.iinfo(kind).max // 2)}
    nodes = []
    for number in range(layers):
        name = f"w{number}"
        constants[name] = rng.standard_normal((6, 6, 3, 3)).astype(np.float32)
        nodes.append(helper.make_node("Conv", [str(number), name], [str(number + 1)]))
        constants[name] /= 4
    nodes.append(helper.make_node("QuantizeLinear", [str(layers), "t", "z"], ["y"]))
    x = {"0": (rng.standard_normal((1, 6, 9, 9)) * 3).astype(np.float32)}
    hold_against_the_file(model_of(nodes, constants, x, {"y": KINDS[kind]}, opset=21), x)


def test_what_is_moved_between_a_tanh_and_a_function_has_no_more_bits_than_the_tanh():
    rng = np.random.default_rng(0)
    constants = {"s": np.float32(0.02), "z": np.int8(3), "w": rng.standard_normal((4, 5)).astype(np.float32)}
    constants |= {"repeats": np.array([2, 1]), "p": np.float32(-0.5), "t": np.float32(0.02), "o": np.int8(0)}
    nodes = [
        helper.make_node("DequantizeLinear", ["x", "s", "z"], ["a"]),
        helper.make_node("MatMul", ["a", "w"], ["b"]),
        helper.make_node("Tanh", ["b"], ["c"]),
        helper.make_node("Tile", ["c", "repeats"], ["d"]),
        helper.make_node("Abs", ["d"], ["e"]),
        helper.make_node("Pow", ["e", "p"], ["f"]),
        helper.make_node("QuantizeLinear", ["f", "t", "o"], ["y"]),
    ]
    x = {"x": rng.integers(-128, 128, (6, 4)).astype(np.int8)}
    hold_against_the_file(model_of(nodes, constants, x, {"y": TensorProto.INT8}, opset=21), x, host=True)


@pytest.mark.parametrize("function", ["Tanh", "Sigmoid"])
def test_what_a_crossbar_streams_of_a_tanh_has_no_more_bits_than_the_tanh(function):
    rng = np.random.default_rng(0)
    constants = {"s": np.float32(0.02), "z": np.int8(3), "w": rng.standard_normal((4, 5)).astype(np.float32)}
    constants |= {"v": rng.standard_normal((5, 6)).astype(np.float32)}
    constants |= {"t": np.float32(1e-7), "o": np.int16(0)}
    nodes = [
        helper.make_node("DequantizeLinear", ["x", "s", "z"], ["a"]),
        helper.make_node("MatMul", ["a", "w"], ["b"]),
        helper.make_node(function, ["b"], ["c"]),
        helper.make_node("MatMul", ["c", "v"], ["d"]),
        helper.make_node("QuantizeLinear", ["d", "t", "o"], ["y"]),
    ]
    x = {"x": rng.integers(-128, 128, (40, 4)).astype(np.int8)}
    model = model_of(nodes, constants, x, {"y": TensorProto.INT16}, opset=21)
    report = diff(model, redc.compile(model, calibrate=x), x)
    assert report.passed, report.table()


def test_a_sigmoid_whose_codes_end_before_it_is_the_table_that_its_program_says():
    """Cut to where the Clip ends, its table had no entry of its own, and `diff` said NO."""
    rng = np.random.default_rng(0)
    constants = {
        "s": np.float32(0.0008),
        "z": np.uint8(0),
        "w": rng.standard_normal((4, 5)).astype(np.float32),
    }
    constants |= {"low": np.float32(-0.0012), "high": np.float32(0.0012397543)}
    constants |= {"t": np.float32(9.458718e-9), "o": np.uint16(0)}
    nodes = [
        helper.make_node("DequantizeLinear", ["x", "s", "z"], ["a"]),
        helper.make_node("MatMul", ["a", "w"], ["b"]),
        helper.make_node("Sigmoid", ["b"], ["c"]),
        helper.make_node("Clip", ["c", "low", "high"], ["d"]),
        helper.make_node("QuantizeLinear", ["d", "t", "o"], ["y"]),
    ]
    x = {"x": rng.integers(0, 256, (6, 4)).astype(np.uint8)}
    hold_against_the_file(model_of(nodes, constants, x, {"y": TensorProto.UINT16}, opset=21), x)


def test_what_is_small_beside_the_largest_value_keeps_its_sign():
    """In 16 bits all negative values were less than a step, and the codes began at zero."""
    constants = {"s": np.float32(7.4), "z": np.int8(0), "t": np.float32(1.8e-5), "o": np.uint8(218)}
    constants |= {"u": np.float32(1.5e-5), "p": np.uint16(300)}
    nodes = [
        helper.make_node("DequantizeLinear", ["x", "s", "z"], ["a"]),
        helper.make_node("DequantizeLinear", ["w", "t", "o"], ["b"]),
        helper.make_node("Add", ["a", "b"], ["c"]),
        helper.make_node("Erf", ["c"], ["d"]),
        helper.make_node("QuantizeLinear", ["d", "u", "p"], ["y"]),
    ]
    inputs = {"x": np.zeros((1, 256), np.int8), "w": np.arange(256, dtype=np.uint8).reshape(1, 256)}
    inputs["x"][0, 7] = 127
    hold_against_the_file(model_of(nodes, constants, inputs, {"y": TensorProto.UINT16}, opset=21), inputs)


def test_a_function_of_few_codes_into_fine_ones_fits_64_bits():
    constants = {"s": np.float32(0.0026), "z": np.uint8(0), "t": np.float32(0.0099), "o": np.int8(0)}
    constants |= {"k": np.float32(2.1e-5), "n": np.uint16(0), "many": np.float32(257)}
    nodes = [
        helper.make_node("DequantizeLinear", ["x", "s", "z"], ["a"]),
        helper.make_node("Mul", ["a", "many"], ["b"]),
        helper.make_node("QuantizeLinear", ["b", "s", "n"], ["c"]),
        helper.make_node("DequantizeLinear", ["c", "s", "n"], ["d"]),
        helper.make_node("Elu", ["d"], ["e"]),
        helper.make_node("DequantizeLinear", ["w", "t", "o"], ["f"]),
        helper.make_node("Div", ["f", "e"], ["g"]),
        helper.make_node("QuantizeLinear", ["g", "k", "n"], ["y"]),
    ]
    x = {"x": np.arange(1, 256, dtype=np.uint8).reshape(1, 255)}
    x["w"] = np.random.default_rng(0).integers(-128, 128, (1, 255)).astype(np.int8)
    hold_against_the_file(model_of(nodes, constants, x, {"y": TensorProto.UINT16}, opset=21), x)


def hold_against_the_file(model, inputs, *, host=False):
    program = redc.compile(model, calibrate=inputs, host=host)
    report = diff(model, program, inputs)
    assert report.passed, report.table()
    got = runtime.run(program, inputs).outputs
    for name, wanted in as_the_file_says(model, inputs).items():
        assert np.abs(got[name].astype(np.int64) - wanted).max() <= 1


def test_a_model_whose_only_codes_a_host_part_makes_arrives_quantised():
    """In the 8 bits of a model of floats these codes were hundreds of steps off."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 3, 8, 8)).astype(np.float32)
    constants = {"w": rng.standard_normal((4, 3, 3, 3)).astype(np.float32), "axes": np.array([1])}
    constants |= {"s": np.float32(20 / 65535), "z": np.uint16(0)}
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"]),
        helper.make_node("ReduceL2", ["a", "axes"], ["b"]),
        helper.make_node("QuantizeLinear", ["b", "s", "z"], ["y"]),
    ]
    model = model_of(nodes, constants, {"x": x}, {"y": TensorProto.UINT16}, opset=21)
    hold_against_the_file(model, {"x": x}, host=True)


def test_what_a_host_part_may_quantise_reaches_it_as_a_float_would():
    """In 16 bits some bytes come out otherwise, and the next layer makes hundreds of steps of one."""
    constants = {"s": np.float32(0.04), "z": np.uint8(128)}
    nodes = [
        helper.make_node("DequantizeLinear", ["x", "s", "z"], ["a"]),
        helper.make_node("Softplus", ["a"], ["b"]),
        helper.make_node("DynamicQuantizeLinear", ["b"], ["y", "scale", "zero"]),
    ]
    inputs = {"x": np.arange(256, dtype=np.uint8).reshape(1, 256)}
    model = model_of(nodes, constants, inputs, {"y": TensorProto.UINT8})
    program = redc.compile(model, calibrate=inputs)
    (made,) = (buffer for buffer in program.buffers.values() if buffer.tensor == "b")
    assert made.type.bits == 36
    assert math.frexp(made.scale)[0] == 0.5, "a power of two"
    np.testing.assert_array_equal(
        runtime.run(program, inputs).outputs["y"], as_the_file_says(model, inputs)["y"]
    )


MEAN = [("ReduceMean", ["a", "axes"], "mean"), ("Sub", ["a", "mean"], "d")]
WRITTEN_OUT = {
    "instance norm": [
        *MEAN,
        ("Mul", ["d", "d"], "dd"),
        ("ReduceMean", ["dd", "axes"], "square"),
        ("Add", ["square", "small"], "var"),
        ("Sqrt", ["var"], "deviation"),
        ("Div", ["d", "deviation"], "y"),
    ],
    "softmax": [
        ("ReduceMax", ["a", "axes"], "most"),
        ("Sub", ["a", "most"], "d"),
        ("Exp", ["d"], "e"),
        ("ReduceSum", ["e", "axes"], "sum"),
        ("Div", ["e", "sum"], "y"),
    ],
    "L2 norm": [
        ("Mul", ["a", "a"], "aa"),
        ("ReduceSum", ["aa", "axes"], "square"),
        ("Sqrt", ["square"], "root"),
        ("Clip", ["root", "small"], "norm"),
        ("Div", ["a", "norm"], "y"),
    ],
    "RMS norm of channels": [
        ("Mul", ["a", "a"], "aa"),
        ("ReduceMean", ["aa", "one"], "square"),
        ("Sqrt", ["square"], "root"),
        ("Reciprocal", ["root"], "factor"),
        ("Mul", ["a", "factor"], "y"),
    ],
    "a gate of floats": [
        ("GlobalAveragePool", ["a"], "mean"),
        ("Sigmoid", ["mean"], "gate"),
        ("Sub", ["a", "mean"], "d"),
        ("Mul", ["d", "gate"], "y"),
    ],
    "a product of moved values": [
        ("Slice", ["a", "one", "two", "one"], "moved"),
        ("Slice", ["a", "zero", "one", "one"], "first"),
        ("Mul", ["moved", "first"], "squares"),
        ("Abs", ["squares"], "size"),
        ("Add", ["size", "small"], "below"),
        ("Div", ["squares", "below"], "y"),
    ],
    "a constant of all axes, divided": [
        ("Abs", ["a"], "size"),
        ("Add", ["size", "small"], "below"),
        ("Div", ["full", "below"], "far"),
        ("Div", ["far", "ten"], "y"),
    ],
}


@pytest.mark.parametrize("nodes", WRITTEN_OUT.values(), ids=WRITTEN_OUT)
@pytest.mark.parametrize("kind", [np.int8, np.uint16])
def test_normalisations_written_out_in_floats_are_a_step_from_the_files_codes_at_most(nodes, kind):
    """Products of their widest codes and the multipliers that these deserve would not fit 64 bits."""
    rng = np.random.default_rng(0)
    constants = {
        "s": np.float32(0.031),
        "z": np.uint8(131),
        "axes": np.array([2, 3]),
        "zero": np.array([0]),
        "one": np.array([1]),
        "two": np.array([2]),
        "small": np.float32(1e-3),
        "ten": np.float32(10),
        "full": rng.standard_normal((2, 3, 4, 5)).astype(np.float32) ** 3,
        "t": np.float32(0.5 / (1 << 8 * np.dtype(kind).itemsize)),
        "u": kind(np.iinfo(kind).max // 2),
    }
    written = [
        helper.make_node("DequantizeLinear", ["x", "s", "z"], ["x real"]),
        helper.make_node("Elu", ["x real"], ["a"]),
        *(helper.make_node(op, inputs, [output]) for op, inputs, output in nodes),
        helper.make_node("QuantizeLinear", ["y", "t", "u"], ["q"]),
    ]
    inputs = {"x": rng.integers(0, 256, (2, 3, 4, 5)).astype(np.uint8)}
    read = {name for node in written for name in node.input}
    constants = {name: value for name, value in constants.items() if name in read}
    model = model_of(written, constants, inputs, {"q": KINDS[kind]}, opset=21)
    hold_against_the_file(model, inputs)


def test_functions_of_what_a_host_makes_are_a_step_from_the_files_codes_at_most():
    """Two quantisers read them, each what the function makes; their codes are not those of its input."""
    rng = np.random.default_rng(0)
    constants = {"s": np.float32(0.1), "t": np.float32(2**-15), "u": np.float32(2**-7), "z": np.int8(0)}
    nodes = [
        helper.make_node("DequantizeLinear", ["x", "s", "z"], ["a"]),
        helper.make_node("DequantizeLinear", ["w", "s", "z"], ["v"]),
        helper.make_node("MatMul", ["a", "v"], ["b"]),
        helper.make_node("Tanh", ["b"], ["c"]),
        helper.make_node("QuantizeLinear", ["c", "t"], ["fine"], output_dtype=TensorProto.INT16),
        helper.make_node("QuantizeLinear", ["c", "u", "z"], ["coarse"]),
    ]
    inputs = {
        "x": rng.integers(-128, 128, (3, 5)).astype(np.int8),
        "w": rng.integers(-128, 128, (5, 4)).astype(np.int8),
    }
    outputs = {"fine": TensorProto.INT16, "coarse": TensorProto.INT8}
    model = model_of(nodes, constants, inputs, outputs, opset=21)
    hold_against_the_file(model, inputs, host=True)
