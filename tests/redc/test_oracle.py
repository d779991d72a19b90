"""The oracle against onnxruntime: where weights and inputs are small integers, float is exact too.

Every model here has weights whose largest value per output channel is 2^(bits-1) - 1, so that a
weight's scale is 1 and its code the weight itself: accumulators must equal the float result.
"""

from __future__ import annotations

import ast
import math
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

import redc.oracle
from isa.program import Buffer, IntType, parse_type
from redc.oracle import LayerText, Network, Oracle, OracleError
from tests.redc.random_layers import layers

WIDE = parse_type("i32")


def build(nodes, x_shape, constants, output="y"):
    """A model with one float input x; constants are float32 unless they are integers."""
    values = [
        numpy_helper.from_array(
            np.asarray(v, np.int64 if np.asarray(v).dtype.kind == "i" else np.float32), name
        )
        for name, v in constants.items()
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, x_shape)
    graph = helper.make_graph(nodes, "test", [x], [onnx.ValueInfoProto(name=output)], values)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def run_float(model, x):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
    return session.run(None, {"x": x.astype(np.float32)})[0]


def buffer(name, tensor, shape, *, axis=1, type_=WIDE, scale=1.0, zero=0):
    last = (*(d for i, d in enumerate(shape) if i != axis), shape[axis])
    return Buffer(name, "buffer", type_, last, scale, zero, tensor=tensor, onnx_shape=tuple(shape), axis=axis)


def expect(model, x_codes, y_shape, *, bits=8, axis=1, x=None, y=None, tensor="y"):
    """Ask the oracle about a one-layer model; codes in ONNX order.  Keywords x, y: buffer fields."""
    source = buffer("x", "x", x_codes.shape, **{"axis": axis, "type_": parse_type("i17"), **(x or {})})
    result = buffer("y", tensor, y_shape, **{"axis": axis, **(y or {})})
    held = np.moveaxis(x_codes, source.axis, -1)
    return Oracle(Network(model)).expect(
        LayerText(tensor, source.tensor, source, result, bits), held, tuple(x_codes.shape)
    )


def in_onnx_order(values, axis=1):
    return np.moveaxis(values, -1, axis)


def integer_weights(rng, shape, channel_axes, bits):
    """Integers that quantise to themselves: each output channel reaches 2^(bits-1) - 1."""
    top = (1 << (bits - 1)) - 1
    weights = rng.integers(-top, top + 1, shape)
    for channel in np.ndindex(*(shape[a] for a in channel_axes)):
        index = [0] * len(shape)
        for axis, value in zip(channel_axes, channel, strict=True):
            index[axis] = value
        weights[tuple(index)] = top
    return weights


@pytest.mark.parametrize("op", ["ConvTranspose", "Conv"])
@given(data=st.data())
def test_accumulators_equal_onnxruntime_on_integers(op, data):
    attributes, x_shape, w_shape = data.draw(layers(op))
    bits = data.draw(st.integers(2, 10))
    zero = data.draw(st.integers(-3, 3))
    rng = np.random.default_rng(data.draw(st.integers(0, 999)))
    groups = attributes["group"]
    if op == "ConvTranspose":  # channel m of group g: rows of group g, column m
        grouped = (groups, w_shape[0] // groups, *w_shape[1:])
        w = integer_weights(rng, grouped, (0, 2), bits).reshape(w_shape)
        width = groups * w_shape[1]
    else:
        w, width = integer_weights(rng, w_shape, (0,), bits), w_shape[0]
    bias = rng.integers(-50, 50, width)
    model = build(
        [helper.make_node(op, ["x", "w", "b"], ["y"], **attributes)], x_shape, {"w": w * 1.0, "b": bias * 1.0}
    )
    x = rng.integers(-20, 20, x_shape)
    y = run_float(model, x - zero)
    assert np.abs(y).max() < 2**24
    found = expect(model, x, y.shape, bits=bits, x={"zero": zero})
    np.testing.assert_array_equal(in_onnx_order(found.accumulators), y.astype(np.int64))
    np.testing.assert_array_equal(found.codes, found.accumulators)  # every scale is 1
    assert found.lowest is found.highest is found.codes


@given(st.data())
def test_any_bits_from_2_to_16_give_the_integer_deconvolution(data):
    """Weights and inputs of 2 to 16 bits against a deconvolution by its definition, in int64."""
    w_bits, x_bits = data.draw(st.integers(2, 16)), data.draw(st.integers(2, 16))
    signed = data.draw(st.booleans())
    rng = np.random.default_rng(data.draw(st.integers(0, 999)))
    kind = IntType(signed, x_bits)
    x = rng.integers(kind.low, kind.high + 1, (1, 3, 4))
    w = integer_weights(rng, (3, 2, 3), (1,), w_bits)
    model = build(
        [helper.make_node("ConvTranspose", ["x", "w"], ["y"], strides=[2])], x.shape, {"w": w * 1.0}
    )
    expected = np.zeros((1, 2, 9), np.int64)
    for i in range(4):
        for k in range(3):
            expected[:, :, 2 * i + k] += x[:, :, i] @ w[:, :, k]
    found = expect(model, x, expected.shape, bits=w_bits, x={"type_": kind})
    np.testing.assert_array_equal(in_onnx_order(found.accumulators), expected)


def test_real_weights_are_quantised_per_output_channel():
    w = np.array([[[0.5, -1.0], [0.0, 0.0]], [[0.25, 0.124], [0.0, 0.0]]])  # channel 1 is zero
    model = build(
        [helper.make_node("ConvTranspose", ["x", "w", "b"], ["y"])], (1, 2, 1), {"w": w, "b": [1.0, 0.5]}
    )
    x = np.array([[[10], [4]]])
    found = expect(model, x, (1, 2, 2), x={"scale": 0.5})
    s = float(np.float32(1.0 / 127))
    bias = round(1.0 / (0.5 * s)), round(0.5 / (0.5 * 2.0**-16))
    wq = [[64, -127], [32, 16]]  # 0.5 / s = 63.5 -> 64 by the float32 scale; 0.25 / s = 31.75
    expected = [[bias[0] + 10 * wq[0][k] + 4 * wq[1][k] for k in (0, 1)], [bias[1]] * 2]
    np.testing.assert_array_equal(in_onnx_order(found.accumulators)[0], expected)


def test_batchnormalization_and_constant_add_fold_in_graph_order():
    rng = np.random.default_rng(1)
    w = rng.standard_normal((2, 3, 3)).astype(np.float32)
    gamma, beta, mean, c = (rng.standard_normal(3).astype(np.float32) for _ in range(4))
    variance = (rng.random(3) + 0.5).astype(np.float32)
    nodes = [
        helper.make_node("ConvTranspose", ["x", "w"], ["t"]),
        helper.make_node("Add", ["c", "t"], ["u"]),
        helper.make_node("BatchNormalization", ["u", "gamma", "beta", "mean", "var"], ["v"], epsilon=0.01),
        helper.make_node("Identity", ["v"], ["w_"]),
        helper.make_node("Relu", ["w_"], ["y"]),
    ]
    constants = {"w": w, "c": c[:, None], "gamma": gamma, "beta": beta, "mean": mean, "var": variance}
    model = build(nodes, (1, 2, 4), constants)
    x = rng.integers(0, 1 << 15, (1, 2, 4))
    y = run_float(model, x * 2.0**-14)
    step = float(y.max()) / 60000
    found = expect(
        model, x, y.shape, bits=16, x={"scale": 2.0**-14}, y={"type_": parse_type("u16"), "scale": step}
    )
    np.testing.assert_allclose(in_onnx_order(found.codes) * step, y, atol=float(y.max()) * 1e-4)


@pytest.mark.parametrize("trans", [0, 1])
def test_gemm_with_alpha_beta_and_a_transposed_weight(trans):
    rng = np.random.default_rng(2)
    w = integer_weights(rng, (5, 3), (1,), 6)
    node = helper.make_node("Gemm", ["x", "w", "c"], ["y"], alpha=2.0, beta=3.0, transB=trans)
    model = build([node], (4, 5), {"w": (w.T if trans else w) / 2, "c": np.array([[4.0, 5, 6]])})
    x = rng.integers(-9, 9, (4, 5))
    found = expect(model, x, (4, 3), bits=6)
    np.testing.assert_array_equal(found.accumulators, x @ w + 3 * np.array([4, 5, 6]))


def test_matmul_of_rank_3_with_an_added_bias():
    rng = np.random.default_rng(2)
    w = integer_weights(rng, (5, 3), (1,), 6)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["t"]), helper.make_node("Add", ["t", "b"], ["y"])]
    model = build(nodes, (2, 4, 5), {"w": w * 1.0, "b": np.array([1.0, 2, 3])})
    x = rng.integers(-9, 9, (2, 4, 5))
    found = expect(model, x, (2, 4, 3), bits=6, axis=2)
    np.testing.assert_array_equal(found.accumulators, x @ w + np.array([1, 2, 3]))


@pytest.mark.parametrize(
    ("node", "function"),
    [
        (helper.make_node("Relu", ["t"], ["y"]), lambda r: np.maximum(r, 0)),
        (helper.make_node("LeakyRelu", ["t"], ["y"], alpha=0.25), lambda r: np.where(r < 0, r / 4, r)),
        (helper.make_node("Clip", ["t", "lo", "hi"], ["y"]), lambda r: np.clip(r, -2, 6)),
        (helper.make_node("Clip", ["t", "", "hi"], ["y"]), lambda r: np.minimum(r, 6)),
        (helper.make_node("Tanh", ["t"], ["y"]), np.tanh),
        (helper.make_node("Sigmoid", ["t"], ["y"]), lambda r: 1 / (1 + np.exp(-r))),
    ],
)
def test_activations_end_in_the_nearest_code(node, function):
    """Scales are powers of two, so that requantisation has no rounding of its own."""
    rng = np.random.default_rng(4)
    w = integer_weights(rng, (3, 2, 3), (1,), 5)
    nodes = [helper.make_node("ConvTranspose", ["x", "w"], ["t"], strides=[2]), node]
    model = build(nodes, (1, 3, 40), {"w": w * 1.0, "lo": np.float32(-2), "hi": np.float32(6)})
    x = rng.integers(-16, 16, (1, 3, 40))
    found = expect(
        model,
        x,
        (1, 2, 81),
        bits=5,
        x={"scale": 2.0**-6},
        y={"type_": parse_type("u8"), "scale": 2.0**-5, "zero": 100},
    )
    exact = function(found.accumulators * 2.0**-6)
    np.testing.assert_array_equal(found.codes, np.clip(np.rint(exact * 32) + 100, 0, 255))
    if node.op_type in ("Tanh", "Sigmoid"):
        real = exact * 32 + 100
        assert (np.abs(found.lowest - real) <= 0.75).all()
        assert (np.abs(found.highest - real) <= 0.75).all()
        assert (found.lowest < found.codes).any()
    else:
        assert found.lowest is found.highest is found.codes


def test_requantisation_rounds_in_float32_half_to_even():
    model = build([helper.make_node("Gemm", ["x", "w"], ["y"])], (5, 1), {"w": np.array([[1.0]])})
    x = np.array([[1], [3], [5], [-1], [2**25 + 2]])
    found = expect(model, x, (5, 1), bits=2, x={"type_": parse_type("i32")}, y={"scale": 2.0})
    assert found.codes.ravel().tolist() == [0, 2, 2, 0, 2**24]  # 2^25 + 2 is a tie in float32


def test_codes_reach_the_operator_through_a_reshape():
    rng = np.random.default_rng(5)
    w = integer_weights(rng, (6, 2, 3), (1,), 8)
    nodes = [
        helper.make_node("Reshape", ["x", "shape"], ["r"]),
        helper.make_node("ConvTranspose", ["r", "w"], ["y"]),
    ]
    model = build(nodes, (2, 12), {"w": w * 1.0, "shape": np.array([0, 6, 2])})
    x = rng.integers(-9, 9, (2, 12))
    y = run_float(model, x)
    source = buffer("x", "x", (2, 12))
    text = LayerText("y", "x", source, buffer("y", "y", y.shape), 8)
    found = Oracle(Network(model)).expect(text, x, (2, 6, 2))
    np.testing.assert_array_equal(in_onnx_order(found.accumulators), y.astype(np.int64))


def test_weights_may_be_computed_from_constants():
    rng = np.random.default_rng(6)
    w = integer_weights(rng, (3, 4), (1,), 8)
    nodes = [
        helper.make_node("Constant", [], ["stored"], value=numpy_helper.from_array(w.T.astype(np.float16))),
        helper.make_node("Cast", ["stored"], ["cast"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["cast"], ["w"], perm=[1, 0]),
        helper.make_node("MatMul", ["x", "w"], ["y"]),
    ]
    x = rng.integers(-9, 9, (2, 3))
    found = expect(build(nodes, (2, 3), {}), x, (2, 4))
    np.testing.assert_array_equal(found.accumulators, x @ w)


def _two_layers():
    nodes = [
        helper.make_node("Gemm", ["x", "w"], ["a"], name="first"),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Gemm", ["b", "w"], ["y"], name="second"),
        helper.make_node("Neg", ["y"], ["z"]),
    ]
    return build(nodes, (2, 3), {"w": np.eye(3)}, output="z")


def test_a_program_that_drives_the_wrong_tensor_is_refused():
    with pytest.raises(OracleError, match=r"'second' reads tensor 'b'.*holds 'x'"):
        expect(_two_layers(), np.ones((2, 3), np.int64), (2, 3))


def test_what_cannot_be_one_layer_is_refused():
    with pytest.raises(OracleError, match=r"Neg of 'z' lies between tensor 'z'"):
        expect(_two_layers(), np.ones((2, 3), np.int64), (2, 3), tensor="z")
    with pytest.raises(OracleError, match=r"no crossbar operator .* tensor 'x'"):
        Network(_two_layers()).chain("x")
    text = LayerText("a", "x", buffer("x", "x", (2, 3)), buffer("y", "a", (2, 2)), 8)
    with pytest.raises(OracleError, match=r"buffer %y has the shape \(2, 2\)"):
        Oracle(Network(_two_layers())).expect(text, np.ones((2, 3), np.int64), (2, 3))


def test_crossbar_operators_that_no_output_needs_are_not_asked_for():
    model = _two_layers()
    model.graph.node.append(helper.make_node("Gemm", ["b", "w"], ["unused"], name="dead"))
    assert [n.name for n in Network(model).crossbar_nodes()] == ["first", "second"]


def test_the_oracle_shares_no_code_with_the_compiler():
    for file in Path(redc.oracle.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                # How a model gets into onnxruntime and how a message writes a shape, not what it means.
                if name in ("redc.sessions", "redc.declared"):
                    continue
                assert not name.startswith(("redc", "runtime", "models")) or name.startswith("redc.oracle")
                assert not name.startswith("isa") or name == "isa.program"


def test_a_large_deconvolution_takes_little_time_and_memory():
    """FCN_Deconv2 (70 x 70 x 21 to 568 x 568 x 21, kernel 16, stride 8): chunks, not one product."""
    rng = np.random.default_rng(7)
    w = integer_weights(rng, (21, 21, 16, 16), (1,), 8)
    model = build(
        [helper.make_node("ConvTranspose", ["x", "w"], ["y"], strides=[8, 8])],
        (1, 21, 70, 70),
        {"w": w * 1.0},
    )
    found = expect(model, rng.integers(0, 256, (1, 21, 70, 70)), (1, 21, 568, 568))
    assert found.accumulators.shape == (1, 568, 568, 21)
    assert math.prod(found.accumulators.shape) * 8 < 2**26


def test_what_follows_from_a_shape_is_a_constant_once_the_run_has_told_it():
    """A recurrent state of zeros as long as the batch, as exporters write it: y = x w + zeros."""
    nodes = [
        helper.make_node("Identity", ["x"], ["seen"]),
        helper.make_node("Shape", ["seen"], ["size"]),
        helper.make_node("ConstantOfShape", ["size"], ["zeros"]),
        helper.make_node("MatMul", ["x", "w"], ["product"]),
        helper.make_node("MatMul", ["zeros", "w"], ["state"]),
        helper.make_node("Add", ["product", "state"], ["y"]),
    ]
    network = Network(build(nodes, [3, 2], {"w": [[1.0, 0.0], [0.0, 1.0]]}))
    with pytest.raises(OracleError):
        network.chain("y")
    assert "seen" in network.shaping()
    network.learn({"seen": (3, 2)})
    np.testing.assert_array_equal(network.constant("zeros"), np.zeros((3, 2)))
    assert network.chain("y").operator.output[0] == "product"
    assert [node.output[0] for node in network.crossbar_nodes()] == ["product"]
