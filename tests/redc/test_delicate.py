"""What is steep near 0, and what constants of several axes go into: where it runs, and what it gives."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx.parser
import pytest

import redc
import runtime
from isa.program import Program, walk
from redc.frontend.delicate import beside_hosts
from tests.redc.reference import run_onnx

Array = npt.NDArray[Any]
RNG = np.random.default_rng(5)
X = RNG.standard_normal((1, 4, 6)).astype(np.float32)
W = "float[6, 6] w = {" + ", ".join(f"{v:.3f}" for v in RNG.standard_normal(36)) + "}"
PORTS = "(float[1, 4, 6] x) => (float[1, 4, 6] y)"


def parse(body: str, *constants: str, ports: str = PORTS) -> onnx.ModelProto:
    return onnx.parser.parse_model(
        f'<ir_version: 8, opset_import: ["": 18]> g {ports} <{", ".join(constants)}> {{ {body} }}'
    )


def compiled(model: onnx.ModelProto, feeds: dict[str, Array], **options: Any) -> Program:
    return redc.compile(model, weight_bits=16, input_bits=16, calibrate=feeds, **options)


def hosts(program: Program) -> int:
    return sum(i.mnemonic == "host" for layer in program.layers for i in walk(layer.body))


def near(model: onnx.ModelProto, program: Program, feeds: dict[str, Array], decibels: float) -> None:
    fast, slow = (runtime.run(program, feeds, engine=engine) for engine in ("fast", "step"))
    assert fast.counters == slow.counters
    for name, wanted in run_onnx(model, feeds).items():
        np.testing.assert_array_equal(fast.outputs[name], slow.outputs[name])
        error = np.square(fast.outputs[name].astype(np.float64) - wanted).sum()
        assert 10 * np.log10(np.square(wanted.astype(np.float64)).sum() / error) >= decibels


GRAPHS = {
    "layer norm": (
        "m = MatMul(x, w) u = ReduceMean(m, last) d = Sub(m, u) s = Mul(d, d) v = ReduceMean(s, last) "
        "e = Add(v, tiny) r = Sqrt(e) y = Div(d, r)"
    ),
    "rms norm": (
        "m = MatMul(x, w) s = Mul(m, m) v = ReduceMean(s, last) e = Add(v, tiny) r = Sqrt(e) "
        "q = Reciprocal(r) y = Mul(m, q)"
    ),
    "softmax": (
        "m = MatMul(x, w) t = ReduceMax(m, last) d = Sub(m, t) e = Exp(d) "
        "s = ReduceSum(e, last) y = Div(e, s)"
    ),
    "softsign": "m = MatMul(x, w) a = Abs(m) b = Add(a, one) y = Div(m, b)",
}


@pytest.mark.parametrize("name", GRAPHS)
def test_a_normalisation_runs_whole_on_the_accelerator(name: str) -> None:
    model = parse(GRAPHS[name], W, "int64[1] last = {-1}", "float tiny = {0.00001}", "float one = {1}")
    program = compiled(model, {"x": X})
    assert hosts(program) == 0
    near(model, program, {"x": X}, 60)


@pytest.mark.parametrize(
    "body",
    [
        "m = MatMul(x, w) a = Abs(m) r = Sqrt(a) y = Softmax(r)",  # the host would round it once more
        "s = Softmax(x) r = Log(s) y = MatMul(r, w)",  # the host has floats
        "a = Abs(x) n = Sinh(a) p = Add(n, n) r = Sqrt(n) y = MatMul(r, w)",
    ],
)
def test_a_steep_function_stays_with_the_host_that_it_touches(body: str) -> None:
    program = compiled(parse(body, W), {"x": X})
    assert hosts(program) == 1


@pytest.mark.parametrize("body", ["r = Sqrt(x) y = MatMul(r, w)", "r = Div(one, x) y = MatMul(r, w)"])
def test_a_steep_function_of_an_input_is_the_hosts_unless_samples_keep_away_from_zero(body: str) -> None:
    model = parse(body, W, "float one = {1}")
    away = np.abs(X) + np.float32(0.5)
    near_zero = away - away.min() + np.float32(1e-3)
    assert hosts(compiled(model, {"x": near_zero})) == 1
    program = compiled(model, {"x": away})
    assert hosts(program) == 0
    near(model, program, {"x": away}, 70)


def test_an_input_that_is_codes_anyway_is_no_reason_for_a_host() -> None:
    model = parse("r = Sqrt(x) n = Neg(x) t = Add(r, n) y = MatMul(t, w)", W)
    assert hosts(compiled(model, {"x": np.abs(X)})) == 0


def test_a_long_chain_falls_to_the_host_at_its_end_in_one_go() -> None:
    edges = [(i, i + 1) for i in range(100_000)]
    taken = beside_hosts(edges, {100_000}, set(range(1, 100_000)), {0}, set())
    assert taken == set(range(100_000))


def test_without_hosts_all_of_them_run_on_the_accelerator() -> None:
    model = parse("r = Sqrt(x) q = Reciprocal(r) y = Div(x, q)")
    feeds = {"x": np.abs(X) + np.float32(0.5)}
    near(model, compiled(model, feeds, host=False), feeds, 80)


MASK = "float[4, 6] k = {" + ", ".join("0" if v > 0 else "-1e9" for v in range(-4, 20)) + "}"


def test_a_mask_in_front_of_a_host_stays_there() -> None:
    """Beside -1e9 nothing else has a code; added on the host it costs nothing."""
    model = parse("m = MatMul(x, w) a = Add(m, k) y = Softmax(a)", W, MASK)
    program = compiled(model, {"x": X})
    assert hosts(program) == 1
    near(model, program, {"x": X}, 60)


def test_division_by_zero_saturates_with_the_sign_of_what_is_divided() -> None:
    ports = "(float[4] a, float[4] b) => (float[4] y)"
    calibrate = {"a": np.float32([1, -1, 2, -8]), "b": np.float32([1, 2, 4, 4])}
    program = compiled(parse("y = Div(a, b)", ports=ports), calibrate, host=False)
    feeds = {"a": np.float32([1, -1, 0, 1]), "b": np.float32([0, 0, 0, 1])}
    given = runtime.run(program, feeds).outputs["y"]
    (output,) = program.outputs
    assert output.scale is not None
    ends = [(output.type.high - output.zero) * output.scale, (output.type.low - output.zero) * output.scale]
    np.testing.assert_allclose(given, [*ends, 0, 1], atol=2 * output.scale)


def test_infinities_of_poles_are_no_fault_of_the_samples() -> None:
    model = parse(
        "a = Relu(x) p = MatMul(a, w) r = Relu(p) l = Log(r) n = Neg(r) t = Max(l, n) y = MatMul(t, w)", W
    )
    assert hosts(compiled(model, {"x": X})) == 0


def test_a_constant_lies_in_the_data_file_as_it_broadcasts() -> None:
    """Read by two operators it lies there once, and an index that does not move spreads it."""
    values = ", ".join(map(str, range(24)))
    model = parse(
        "a = Add(x, k) b = Mul(a, k) y = Concat<axis = 1>(b, x)", f"float[4, 1, 6] k = {{{values}}}",
        ports="(float[2, 4, 5, 6] x) => (float[2, 8, 5, 6] y)",
    )  # fmt: skip
    feeds = {"x": RNG.standard_normal((2, 4, 5, 6)).astype(np.float32)}
    program = compiled(model, feeds, host=False)
    held = [buffer for buffer in program.buffers.values() if buffer.holds]
    assert [sorted(buffer.shape) for buffer in held] == [[1, 1, 4, 6]]
    codes = program.data[str(held[0].holds)]
    real = (codes.astype(np.float64) - held[0].zero) * np.float64(held[0].scale or 0)
    np.testing.assert_allclose(np.sort(real.ravel()), np.arange(24), rtol=1e-11)  # whole numbers are codes
    near(model, program, feeds, 90)
