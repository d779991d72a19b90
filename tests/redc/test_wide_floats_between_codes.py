"""Floats between a file's codes whose range, or whose reader, asks for more than 24 bits."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from onnx import TensorProto, helper

from tests.redc.quantised_drawing import model_of
from tests.redc.quantiser_drawing import KINDS
from tests.redc.test_floats_between_codes import hold_against_the_file


def test_a_host_part_that_decides_by_a_threshold_decides_as_onnxruntime_does():
    """What equals the threshold fell on its other side at every other scale."""
    x = {"x": np.arange(-128, 128).astype(np.int8).reshape(4, 64)}
    for seed in range(20):
        rng = np.random.default_rng(seed)
        scale = np.float32(rng.uniform(0.001, 0.1))
        alpha = float(np.float32(rng.integers(1, 100)) * scale)
        constants = {"s": scale, "z": np.int8(3), "t": np.float32(scale * 0.7), "o": np.int8(-128)}
        nodes = [
            helper.make_node("DequantizeLinear", ["x", "s", "z"], ["a"]),
            helper.make_node("Neg", ["a"], ["b"]),
            helper.make_node("ThresholdedRelu", ["b"], ["c"], alpha=alpha),
            helper.make_node("QuantizeLinear", ["c", "t", "o"], ["y"]),
        ]
        model = model_of(nodes, constants, x, {"y": TensorProto.INT8}, opset=21)
        hold_against_the_file(model, x, host=True)


@pytest.mark.parametrize("layers", [1, 2])
def test_float_layers_in_front_of_a_host_part_are_as_fine_as_the_codes_behind_it_ask(layers):
    """The host's product of two tensors makes 16 bits of them: of layers in 16 bits, 2 to 4 steps."""
    for seed in range(20):
        rng = np.random.default_rng(seed)
        inputs = {
            "x": rng.standard_normal((1, 2, 5, 6)).astype(np.float32),
            "q": rng.integers(-128, 128, (1, 2, 4, 3)).astype(np.int8),
        }
        widths = [*[6, 5, 4][:layers], 4]
        constants = {"s": np.float32(0.03), "z": np.int8(-20), "o": np.int16(0)}
        nodes, at = [], "x"
        for number, (rows, columns) in enumerate(itertools.pairwise(widths)):
            constants[f"w{number}"] = (rng.standard_normal((rows, columns)) * 0.3).astype(np.float32)
            nodes.append(helper.make_node("MatMul", [at, f"w{number}"], [f"m{number}"]))
            at = f"m{number}"
        nodes += [
            helper.make_node("DequantizeLinear", ["q", "s", "z"], ["other"]),
            helper.make_node("MatMul", [at, "other"], ["p"]),
            helper.make_node("Relu", ["p"], ["r"]),
            helper.make_node("QuantizeLinear", ["r", "t", "o"], ["y"]),
        ]
        constants["t"] = np.float32(2.0**-15)
        model = model_of(nodes, constants, inputs, {"y": TensorProto.INT16}, opset=21)
        hold_against_the_file(model, inputs, host=True)


def test_constants_are_what_they_are_beside_codes_that_reach_much_further():
    """The largest of a wide tensor and a constant was a constant times 1.00008."""
    rng = np.random.default_rng(0)
    x = {"x": (rng.standard_normal((4, 6)) * 100).astype(np.float32)}
    constants = {"c": rng.uniform(-0.6, 0.4, 6).astype(np.float32), "half": np.float32(0.5)}
    constants |= {"low": np.float32(-1.1), "high": np.float32(0.64)}
    constants |= {"s": np.float32(7.2e-6), "z": np.uint16(0)}
    nodes = [
        helper.make_node("Max", ["c", "x"], ["a"]),
        helper.make_node("Abs", ["a"], ["b"]),
        helper.make_node("Pow", ["b", "half"], ["d"]),
        helper.make_node("Clip", ["d", "low", "high"], ["e"]),
        helper.make_node("Gelu", ["e"], ["f"]),
        helper.make_node("QuantizeLinear", ["f", "s", "z"], ["y"]),
    ]
    hold_against_the_file(model_of(nodes, constants, x, {"y": TensorProto.UINT16}, opset=21), x)


@pytest.mark.parametrize("seed", [14, 18, 23, 36, 38, 46, 52])
def test_quotients_by_sums_near_zero_have_more_bits_than_24(seed):
    """Of so many in what the crossbar streams, and in its weights, these codes were 2 to 5 steps off."""
    rng = np.random.default_rng(seed)
    x = {"x": rng.integers(-128, 128, (2, 2, 9, 9)).astype(np.int8)}
    constants = {"s": np.float32(0.0012), "z": np.int8(-50), "d": np.float32(0.0044977)}
    constants |= {"w": (rng.standard_normal((3, 2, 1, 2)) * 0.1).astype(np.float32)}
    constants |= {"t": np.float32(0.05), "o": np.int16(0)}
    nodes = [
        helper.make_node("DequantizeLinear", ["x", "s", "z"], ["a"]),
        helper.make_node("Div", ["a", "d"], ["b"]),
        helper.make_node("Conv", ["b", "w"], ["c"], kernel_shape=[1, 2]),
        helper.make_node("Reciprocal", ["c"], ["e"]),
        helper.make_node("QuantizeLinear", ["e", "t", "o"], ["y"]),
    ]
    hold_against_the_file(model_of(nodes, constants, x, {"y": TensorProto.INT16}, opset=21), x)


def test_squares_of_tiny_values_are_not_taken_for_nothing():
    """Variances below 10^-20 became 0, and the normalised values 100 steps off."""
    rng = np.random.default_rng(0)
    x = {"x": rng.integers(-128, 128, (6, 8)).astype(np.int8)}
    constants = {"s": np.float32(9.2e-6), "z": np.int8(90), "c": np.float32(2e-8), "axes": np.array([1])}
    constants |= {"small": np.float32(3e-26), "t": np.float32(0.05), "o": np.int8(19)}
    nodes = [
        helper.make_node("DequantizeLinear", ["x", "s", "z"], ["a"]),
        helper.make_node("Mul", ["a", "c"], ["b"]),
        helper.make_node("ReduceMean", ["b", "axes"], ["mean"]),
        helper.make_node("Sub", ["b", "mean"], ["d"]),
        helper.make_node("Mul", ["d", "d"], ["dd"]),
        helper.make_node("ReduceMean", ["dd", "axes"], ["square"]),
        helper.make_node("Add", ["square", "small"], ["var"]),
        helper.make_node("Sqrt", ["var"], ["deviation"]),
        helper.make_node("Div", ["d", "deviation"], ["e"]),
        helper.make_node("QuantizeLinear", ["e", "t", "o"], ["y"]),
    ]
    hold_against_the_file(model_of(nodes, constants, x, {"y": TensorProto.INT8}, opset=21), x)


def test_a_tanh_that_is_moved_has_the_bits_that_its_own_values_need():
    """It had the steps of 16 bits over what a Tanh can give, for values of a thousandth of that."""
    x = {"x": np.arange(28807, 32767, 30).astype(np.int16).reshape(1, 4, 33)}
    constants = {"s": np.float32(2.3e-8), "z": np.int16(28807), "t": np.float32(6.8e-7), "o": np.int8(0)}
    constants |= {"parts": np.array([1, 3]), "axes": np.array([1])}
    nodes = [
        helper.make_node("DequantizeLinear", ["x", "s", "z"], ["a"]),
        helper.make_node("Split", ["a", "parts"], ["b", "c"], axis=1),
        helper.make_node("Tanh", ["b"], ["d"]),
        helper.make_node("Relu", ["c"], ["e"]),
        helper.make_node("Concat", ["e", "d"], ["f"], axis=1),
        helper.make_node("ReduceMean", ["f", "axes"], ["g"]),
        helper.make_node("QuantizeLinear", ["g", "t", "o"], ["y"]),
    ]
    hold_against_the_file(model_of(nodes, constants, x, {"y": TensorProto.INT8}, opset=21), x)


CUT = {
    "slopes and a clip": [("PRelu", ["slope"]), ("Clip", ["low", "high"])],
    "a smallest value and a bounded function": [("Min", ["most"]), ("Softsign", [])],
    "factors": [("Mul", ["factors"]), ("Sub", ["factors"]), ("Relu", [])],
    "the largest, moved": [("Max", ["factors"]), ("Neg", []), ("Transpose", []), ("Mul", ["slope"])],
}


@pytest.mark.parametrize("chain", CUT.values(), ids=CUT)
@pytest.mark.parametrize("kind", [np.int8, np.uint16])
def test_values_go_no_further_than_the_codes_behind_them_tell(chain, kind):
    """36 bits of what an Exp makes of 25 have steps of 4, and the codes end at 11."""
    low = np.iinfo(kind).min
    constants = {"s": np.float32(0.198), "z": np.int8(0), "t": np.float32(0.0446), "o": kind(max(low, -100))}
    constants |= {"slope": np.array([[[0.7]], [[0.66]], [[-0.94]]], np.float32)}
    constants |= {"low": np.float32(-14.7), "high": np.float32(11.4), "most": np.float32(3e9)}
    constants |= {"factors": np.array([[[0.7]], [[-2.5]], [[0.0]]], np.float32)}
    x = {"x": np.random.default_rng(0).integers(-128, 128, (2, 3, 4, 6)).astype(np.int8)}
    nodes = [
        helper.make_node("DequantizeLinear", ["x", "s", "z"], ["a"]),
        helper.make_node("Exp", ["a"], ["v0"]),
    ]
    for number, (op, more) in enumerate(chain):
        keywords = {"perm": [0, 1, 3, 2]} if op == "Transpose" else {}
        nodes.append(helper.make_node(op, [f"v{number}", *more], [f"v{number + 1}"], **keywords))
    nodes.append(helper.make_node("QuantizeLinear", [f"v{len(chain)}", "t", "o"], ["y"]))
    read = {name for node in nodes for name in node.input}
    constants = {name: value for name, value in constants.items() if name in read}
    hold_against_the_file(model_of(nodes, constants, x, {"y": KINDS[kind]}, opset=21), x)


def test_roots_of_small_values_are_theirs_in_a_table_that_reaches_far():
    """A root of 2e-4 in a table up to 10^5 lay on its first segment's line: a quarter of itself."""
    constants = {"s": np.float32(2e-3), "z": np.int16(0), "axes": np.array([1]), "eps": np.float32(1e-5)}
    constants |= {"t": np.float32(2.0**-9), "o": np.uint8(0)}
    nodes = [
        helper.make_node("DequantizeLinear", ["x", "s", "z"], ["a"]),
        helper.make_node("Mul", ["a", "a"], ["b"]),
        helper.make_node("ReduceMean", ["b", "axes"], ["c"]),
        helper.make_node("Add", ["c", "eps"], ["d"]),
        helper.make_node("Sqrt", ["d"], ["e"]),
        helper.make_node("Div", ["a", "e"], ["f"]),
        helper.make_node("QuantizeLinear", ["f", "t", "o"], ["y"]),
    ]
    codes = np.unique(np.geomspace(4, 32767, 300).astype(np.int16))
    x = {"x": np.stack([codes, codes // 2], axis=1)}
    hold_against_the_file(model_of(nodes, constants, x, {"y": TensorProto.UINT8}, opset=21), x)
