"""Masks that a network computes (-1e9, the least float32, -inf) leave alone what they do not mask."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper

import redc
from redc.diff import diff
from tests.redc.quantised_drawing import model_of

LEAST = float(np.finfo(np.float32).min)
LENGTH, WIDTH = 6, 8

PADDING = [("Unsqueeze", ["mask", "first"], "m0"), ("Sub", ["one", "m0"], "m1")]
MASKED = {
    "a difference times it": [*PADDING, ("Mul", ["m1", "huge"], "m2"), ("Add", ["s1", "m2"], "s2")],
    "chosen, then added": [
        *PADDING,
        ("Cast", ["m1"], "b"),
        ("Where", ["b", "huge", "m1"], "m2"),
        ("Add", ["s1", "m2"], "s2"),
    ],
    "two of them": [
        *PADDING,
        ("Mul", ["m1", "huge"], "m2"),
        ("Add", ["m2", "causal"], "m3"),
        ("Add", ["s1", "m3"], "s2"),
    ],
}


def attention(nodes, huge, *, integers):
    """(model, inputs): one attention with weights of floats or of int8, under a mask."""
    rng = np.random.default_rng(0)
    constants = {"c": np.float32(WIDTH**-0.5), "one": np.float32(1), "huge": np.float32(huge)}
    constants |= {
        "first": np.array([1]),
        "causal": np.triu(np.full((1, LENGTH, LENGTH), huge), 1).astype("f"),
    }
    written = []
    for made, read in (("q", "x"), ("k", "x"), ("v", "x"), ("y", "o")):
        weight = (rng.standard_normal((WIDTH, WIDTH)) / WIDTH**0.5).astype(np.float32)
        if integers:
            step = np.abs(weight).max() / 127
            constants |= {f"w{made}": np.rint(weight / step).astype(np.int8), f"t{made}": np.float32(step)}
            written.append(helper.make_node("DequantizeLinear", [f"w{made}", f"t{made}"], [f"d{made}"]))
        else:
            constants[f"d{made}"] = weight
        written.append(helper.make_node("MatMul", [read, f"d{made}"], [made]))
    last = written.pop()
    written += [
        helper.make_node("Transpose", ["k"], ["kt"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["q", "kt"], ["s0"]),
        helper.make_node("Mul", ["s0", "c"], ["s1"]),
    ]
    for op, inputs, output in nodes:
        keywords = {"to": TensorProto.BOOL} if op == "Cast" else {}
        written.append(helper.make_node(op, inputs, [output], **keywords))
    written += [
        helper.make_node("Softmax", ["s2"], ["p"], axis=-1),
        helper.make_node("MatMul", ["p", "v"], ["o"]),
        last,
    ]
    read = {name for node in written for name in node.input}
    constants = {name: value for name, value in constants.items() if name in read}
    inputs = {
        "x": rng.standard_normal((1, LENGTH, WIDTH)).astype(np.float32),
        "mask": np.array([[1, 1, 1, 1, 0, 0]], np.float32),
    }
    return model_of(written, constants, inputs, {"y": TensorProto.FLOAT}, opset=21), inputs


@pytest.mark.parametrize("nodes", MASKED.values(), ids=MASKED)
@pytest.mark.parametrize("huge", [-1e6, -1e9, LEAST])
@pytest.mark.parametrize("integers", [False, True], ids=["floats", "integers"])
def test_scores_keep_their_values_beside_a_mask(nodes, huge, integers):
    """They had no codes there: 1.9 dB, every layer integer-exact."""
    model, inputs = attention(nodes, huge, integers=integers)
    bits = {} if integers else {"weight_bits": 16, "input_bits": 16}
    report = diff(model, redc.compile(model, calibrate=inputs, **bits), inputs)
    assert report.passed
    assert report.outputs[0].sqnr_db is None or report.outputs[0].sqnr_db > 60


def test_a_mask_of_minus_infinity_is_a_mask():
    model, inputs = attention(MASKED["chosen, then added"], -np.inf, integers=True)
    report = diff(model, redc.compile(model, calibrate=inputs), inputs)
    assert report.outputs[0].sqnr_db is None or report.outputs[0].sqnr_db > 60


def test_a_mask_that_is_an_input_is_told_by_its_samples():
    rng = np.random.default_rng(0)
    nodes = [
        helper.make_node("Relu", ["x"], ["a"]),
        helper.make_node("Add", ["a", "mask"], ["b"]),
        helper.make_node("Softmax", ["b"], ["y"], axis=-1),
    ]
    inputs = {
        "x": rng.standard_normal((2, 5, 5)).astype(np.float32),
        "mask": np.triu(np.full((2, 5, 5), LEAST), 1).astype(np.float32),
    }
    model = model_of(nodes, {}, inputs, {"y": TensorProto.FLOAT}, opset=21)
    report = diff(model, redc.compile(model, calibrate=inputs), inputs)
    assert report.outputs[0].sqnr_db is None or report.outputs[0].sqnr_db > 30


def test_a_largest_value_of_what_is_not_masked_is_that():
    rng = np.random.default_rng(0)
    inputs = {
        "x": rng.standard_normal((1, LENGTH, WIDTH)).astype(np.float32),
        "mask": np.array([[[1], [1], [1], [0], [0], [1]]], np.float32),
    }
    constants = {"w": rng.standard_normal((WIDTH, WIDTH)).astype(np.float32), "one": np.float32(1)}
    constants |= {"huge": np.float32(1e9), "axes": np.array([1])}
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"]),
        helper.make_node("Sub", ["one", "mask"], ["m0"]),
        helper.make_node("Mul", ["m0", "huge"], ["m1"]),
        helper.make_node("Sub", ["a", "m1"], ["b"]),
        helper.make_node("ReduceMax", ["b", "axes"], ["y"]),
    ]
    model = model_of(nodes, constants, inputs, {"y": TensorProto.FLOAT}, opset=21)
    report = diff(model, redc.compile(model, calibrate=inputs), inputs)
    assert report.outputs[0].sqnr_db > 30


def test_bounds_that_are_as_large_as_a_mask_are_none():
    """What a Clip ends at is no value of its output; a divisor makes values small."""
    rng = np.random.default_rng(0)
    inputs = {"x": rng.standard_normal((1, 3, 6, 6)).astype(np.float32)}
    constants = {"w": rng.standard_normal((4, 3, 3, 3)).astype(np.float32), "low": np.float32(0)}
    constants |= {"high": np.float32(3.4e38), "range": np.float32(2**31)}
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"]),
        helper.make_node("Clip", ["a", "low", "high"], ["b"]),
        helper.make_node("Div", ["b", "range"], ["y"]),
    ]
    model = model_of(nodes, constants, inputs, {"y": TensorProto.FLOAT}, opset=21)
    redc.compile(model, calibrate=inputs, host=False)
    program = redc.compile(model, calibrate=inputs)
    assert not any(layer.op == "host" for layer in program.layers)
