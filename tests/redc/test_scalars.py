"""Tensors without axes, on the vector unit: they lie in buffers of one value and broadcast like any other."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx.parser
import pytest

import isa
import redc
import runtime

Array = npt.NDArray[Any]
RNG = np.random.default_rng(11)
X = RNG.standard_normal((1, 3, 6, 6)).astype(np.float32)
W = "float[3, 3, 1, 1] w = {1, 0.5, -1, 2, 0.25, 0, 1, 1, -0.5}"
S, T = np.float32(-1.5), np.float32(0.75)


def parse(ports: str, body: str) -> onnx.ModelProto:
    return onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["": 17]> g {ports} <{W}> {{ {body} }}')


@pytest.mark.parametrize(
    ("ports", "body"),
    [
        ("(float[1, 3, 6, 6] x, float s) => (float[1, 3, 6, 6] y)",
         "a = Conv(x, w) b = Mul(a, s) y = Conv(b, w)"),
        ("(float[1, 3, 6, 6] x) => (float[1, 3, 6, 6] y, float m)",
         "a = Conv(x, w) m = ReduceMax<keepdims = 0>(a) c = Sub(m, a) y = Conv(c, w)"),
        ("(float[1, 3, 6, 6] x, float s, float t) => (float[1, 3, 6, 6] y, float u)",
         "p = Mul(s, t) q = Sub(p, s) u = Tanh(q) a = Conv(x, w) y = Max(a, u)"),
        ("(float[7] v, float s) => (float z, float g)",
         "i = Constant<value_int = 2>() g = Gather(v, i) z = Add(g, s)"),
        ("(float[1, 3, 6, 6] x, float s) => (float[1, 1] y, float[1] v, float t)",
         """c = Constant<value_ints = [1, 1]>() f = Relu(s) y = Reshape(f, c)
            e = Constant<value_ints = [0]>() n = Neg(s) k = Unsqueeze(n, e) v = Sigmoid(k)
            o = ReduceSum<keepdims = 0>(x) t = LeakyRelu(o)"""),
        ("(float[1, 3, 6, 6] x, float s) => (float[1, 3, 6, 6] y)",
         "two = Constant<value_float = 2.0>() d = Add(s, two) h = Clip(d, lo, hi) y = PRelu(x, h)"
         " lo = Constant<value_float = 0.0>() hi = Constant<value_float = 9.0>()"),
    ],
)  # fmt: skip
def test_scalars_need_no_host(ports: str, body: str) -> None:
    model = parse(ports, body)
    given = {"x": X, "s": S, "t": T, "v": X.ravel()[:7]}
    inputs = {port.name: np.asarray(given[port.name]) for port in model.graph.input}
    options: dict[str, Any] = {"weight_bits": 16, "input_bits": 16}
    program = redc.compile(model, calibrate=inputs, **options)
    fast, step = (runtime.run(program, inputs, engine=engine) for engine in ("fast", "step"))
    assert fast.counters == step.counters
    assert not [layer for layer in program.layers if layer.op == "host"]
    report = redc.diff(model, program=program, inputs=inputs)
    assert report.passed, report.table()
    for output in report.outputs:
        assert output.sqnr_db > 60, report.table()
        assert fast.outputs[output.name].shape == output.shape
        np.testing.assert_array_equal(fast.outputs[output.name], step.outputs[output.name])
    assert isa.to_text(isa.parse(isa.to_text(program))) == isa.to_text(program)


def test_a_scalar_that_a_host_makes_stays_there_with_its_readers() -> None:
    """It may be the scale of a DynamicQuantizeLinear, whose range only a run tells."""
    model = parse(
        "(float[1, 3, 6, 6] x) => (float[1, 3, 6, 6] y)",
        "a = Conv(x, w) m = ReduceLogSum<keepdims = 0>(p) p = Abs(x) b = Mul(a, m) y = Conv(b, w)",
    )
    report = redc.diff(model, inputs={"x": X})
    assert [layer.nodes for layer in report.layers if layer.kind == "host"] == [("m", "b")]


def test_a_scalar_that_a_host_reads_is_made_there() -> None:
    """It may be a condition: 1.0 clipped to 0.9 takes the other branch."""
    model = parse(
        "(float[1, 3, 6, 6] x, float s) => (float[1, 3, 6, 6] y, bool c)",
        "a = Conv(x, w) m = ReduceMax<keepdims = 0>(a) c = Greater(m, s) y = Relu(a)",
    )
    program = redc.compile(model, calibrate={"x": X, "s": S}, weight_bits=16, input_bits=16)
    (part,) = [layer for layer in program.layers if layer.op == "host"]
    assert part.nodes == ("m", "c")
    assert runtime.run(program, {"x": X, "s": np.float32(1000)}).outputs["c"] == np.False_


def test_samples_of_a_scalar_are_as_many_as_those_of_the_other_inputs() -> None:
    """Each run has its own; one number is the same for all."""
    model = parse("(float[N, 3, 6, 6] x, float s) => (float[N, 3, 6, 6] y)", "y = Mul(x, s)")
    several = np.linspace(-4, 4, 5).astype(np.float32)
    images = np.ones((5, 3, 6, 6), np.float32)
    program = redc.compile(model, calibrate={"x": images, "s": several})
    for number in (-4, -1, 4):
        values = {"x": images[:1], "s": np.float32(number)}
        result = runtime.run(program, values)
        np.testing.assert_allclose(result.outputs["y"], number, rtol=1e-2)
        assert result.clipped["s"] == 0
    with pytest.raises(redc.UserError, match=r"samples of 's' are float32 \[5, 1\]"):
        redc.compile(model, calibrate={"x": images, "s": several[:, None]})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", redc.AssumedInputs)
        assert runtime.run(redc.compile(model), values | {"s": np.float32(-1)}).clipped["s"] == 0


def test_a_scalar_lies_in_a_buffer_of_one_value() -> None:
    text = isa.to_text(redc.compile(parse("(float s) => (float y)", "y = Relu(s)"), calibrate={"s": T}))
    assert 'onnx "s" f32[] axis 0' in text
    wrong = text.replace("f32[] axis 0", "f32[] axis 1", 1)
    with pytest.raises(isa.ProgramError, match="axis 1 is no axis"):
        isa.verify(isa.parse(wrong))
