"""What networks that people publish hold and textbooks do not: each stopped redc once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from onnx import helper, numpy_helper

import redc
import runtime
from redc.diff import Closeness
from redc.errors import UserError
from redc.frontend import load_model
from tests.redc.test_hosts import W3, X, compared, hosts, imported, parse, weight


def test_a_bound_that_binds_nothing_is_no_broken_weight() -> None:
    """Exporters write Max(x, -inf) where a clip has no lower end."""
    model = parse(
        "(float[1, 3, 6, 6] x) => (float[1, 3, 6, 6] y)",
        "a = Max(x, low) b = Min(a, high) y = Relu(b)", "float low = {0}", "float high = {0}",
    )  # fmt: skip
    for name, value in (("low", -np.inf), ("high", np.inf)):
        next(t for t in model.graph.initializer if t.name == name).CopyFrom(
            numpy_helper.from_array(np.float32(value), name)
        )
    assert hosts(imported(model)) == []
    compared(model, {"x": X})


def test_a_mask_of_infinities_goes_to_the_host_and_saturates_what_reads_it() -> None:
    model = parse(
        "(float[1, 3, 6, 6] x) => (float[1, 3, 6, 6] y)",
        "a = Relu(x) b = Add(a, mask) c = Max(b, zero) y = Relu(c)", "float[6] mask = {0, 0, 0, 0, 0, 0}",
        "float[1] zero = {0}",
    )  # fmt: skip
    mask = np.where(np.arange(6) < 4, 0, -np.inf).astype(np.float32)
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(mask, "mask"))
    report = compared(model, {"x": X})
    assert report.outputs[0].sqnr_db > 30
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(mask * np.nan, "mask"))
    with pytest.raises(UserError, match="NaN"):
        redc.compile(model, calibrate={"x": X})


def test_log_of_zero_saturates() -> None:
    """A spectrogram's logarithm on the host: -inf becomes the lowest code of what reads it."""
    model = parse(
        "(float[1, 3, 6, 6] x) => (float[1, 4, 4, 4] y)",
        "a = Relu(x) b = Log(a) c = Max(b, low) y = Conv(c, w)", W3, "float[1] low = {-3}",
    )  # fmt: skip
    report = compared(model, {"x": X})
    assert [layer.integer_exact for layer in report.layers if layer.kind == "crossbar"] == [True]


def test_outputs_that_are_constants_are_given() -> None:
    model = parse(
        "(float[1, 3, 6, 6] x) => (float[1, 4, 4, 4] y, int64[2] n, float s)",
        "y = Conv(x, w) n = Identity(m)", W3, "int64[2] m = {4, -9}", "float s = {0.1}",
    )  # fmt: skip
    report = compared(model, {"x": X})
    assert {o.name: o.sqnr_db for o in report.outputs if o.name != "y"} == {"n": np.inf, "s": np.inf}
    with pytest.raises(UserError, match=r"float32|constant"):
        redc.compile(model, calibrate={"x": X}, host=False)


def test_a_scalar_input_has_a_shape() -> None:
    model = parse(
        "(float[1, 3, 6, 6] x, int64 n) => (float[1, 4, 4, 4] y, int64 m)", "y = Conv(x, w) m = Neg(n)", W3
    )
    program = redc.compile(model, shapes={"x": X.shape, "n": ()}, calibrate={"x": X, "n": np.array(3)})
    assert redc.diff(model, program, {"x": X, "n": np.array(3)}).passed


def test_a_negative_dimension_is_an_open_one() -> None:
    model = parse("(float[N, 3, H, W] x) => (float[N, 4, H, W] y)", "y = Conv<pads = [1, 1, 1, 1]>(x, w)", W3)
    for dimension in model.graph.input[0].type.tensor_type.shape.dim:
        if dimension.dim_param in ("N", "H"):
            dimension.dim_value = -1
    report = redc.diff(model, inputs={"x": X})
    assert report.passed
    assert report.outputs[0].shape == (1, 4, 6, 6)


def test_hosts_that_wait_for_one_another_are_one_part() -> None:
    """`s` is a sequence, so its maker and its reader are one part; `b` lies between them."""
    model = parse(
        "(float[1, 3, 6, 6] x) => (float[1, 4, 4, 4] y)",
        """a = Sinh(x) s = SequenceConstruct(a, a) b = Asinh(a) i = ReduceMin<keepdims = 0>(b)
           k = Cast<to = 7>(i) z = Sub(k, k) c = SequenceAt(s, z) y = Conv(c, w)""", W3,
    )  # fmt: skip
    assert len(hosts(imported(model))) == 1
    compared(model, {"x": X})


def test_an_operator_whose_input_has_no_known_type_does_not_stop_the_import() -> None:
    """NonZero's count is not known before it runs; what follows has no static shape either."""
    model = parse(
        "(float[1, 3, 6, 6] x) => (float[1, 4, 4, 4] y, float[K] v)",
        """y = Conv(x, w) i = NonZero(x) t = Transpose(i) g = GatherND(x, t) m = MatMul(g, g)
           v = Unsqueeze(m, z)""",
        W3, "int64[1] z = {0}",
    )  # fmt: skip
    compared(model, {"x": X})


def test_the_shape_of_a_spectrogram_is_not_taken_from_inference() -> None:
    """Of 16 samples a real transform has 9 bins; ONNX's inference says otherwise."""
    model = parse(
        "(float[1, 64] x) => (float[1, K, 3] y)",
        """s = STFT<onesided = 1>(x, step, window) p = ReduceSumSquare<keepdims = 0>(s, last)
           y = MatMul(p, w)""",
        weight("w", 9, 3), weight("window", 16), "int64 step = {8}", "int64[1] last = {-1}", opset=18,
    )  # fmt: skip
    samples = np.random.default_rng(1).standard_normal((1, 64)).astype(np.float32)
    assert compared(model, {"x": samples}).outputs[0].shape == (1, 7, 3)


def test_values_that_are_not_finite_have_a_distance() -> None:
    inf, nan = np.inf, np.nan
    assert Closeness.of(np.array([inf, 1, nan]), np.array([inf, 1, nan])) == Closeness(inf, 0.0, 1.0)
    assert Closeness.of(np.array([-inf, 1.0]), np.array([0.0, 1.0])) == Closeness(-inf, inf, None)
    some = Closeness.of(np.array([inf, 1.0, 3.0]), np.array([inf, 1.0, 4.0]))
    assert some.sqnr_db == pytest.approx(10 * np.log10(17))
    tiny = Closeness.of(np.array([1.0, 1e-200]), np.array([1.0, 2e-200]))
    assert 3000 < tiny.sqnr_db < inf
    assert Closeness.of(np.array([2e-200]), np.array([1e-200])).sqnr_db == pytest.approx(0)
    huge = Closeness.of(np.array([1e300, 2e300]), np.array([1e300, 1e300]))
    assert huge.sqnr_db == pytest.approx(10 * np.log10(2))


def test_a_shape_that_depends_on_values_is_that_of_the_samples() -> None:
    """Random integers would ask Range for any length; the sample says 5."""
    model = parse(
        "(float[1, 3, 6, 6] x, int64 n) => (float[1, 4, 4, 4] y, int64[K] r)",
        "y = Conv(x, w) r = Range(zero, n, one)", W3, "int64 zero = {0}", "int64 one = {1}",
    )  # fmt: skip
    report = compared(model, {"x": X, "n": np.array(5)})
    assert report.outputs[1].shape == (5,)


@pytest.mark.parametrize("size", [1e-30, 1e-12, 1e-6])
def test_a_channel_that_training_has_removed_gives_way_to_its_bias(size: float) -> None:
    model = parse(
        "(float[1, 3, 6, 6] x) => (float[1, 4, 4, 4] y)",
        "y = Conv(x, w, b)",
        W3,
        "float[4] b = {1, -2, 3, 0}",
    )
    weights = numpy_helper.to_array(model.graph.initializer[0]).copy()
    weights[1] *= size
    model.graph.initializer[0].CopyFrom(numpy_helper.from_array(weights, "w"))
    assert compared(model, {"x": X}).outputs[0].sqnr_db > 30
    assert compared(model, {"x": X}, weight_bits=16, input_bits=16).outputs[0].sqnr_db > 75


def test_functions_that_double_thirty_times_are_not_written_out() -> None:
    model = parse("(float[1, 3] x) => (float[1, 3] y)", "y = Relu(x)")
    nodes = [helper.make_node("Relu", ["a"], ["b"])]
    opset = [helper.make_opsetid("", 17), helper.make_opsetid("mine", 1)]
    for depth in range(30):
        model.functions.append(helper.make_function("mine", f"f{depth}", ["a"], ["b"], nodes, opset))
        call = f"f{depth}"
        nodes = [
            helper.make_node(call, ["a"], ["c"], domain="mine"),
            helper.make_node(call, ["c"], ["b"], domain="mine"),
        ]
    model.opset_import.append(opset[1])
    model.graph.node[0].CopyFrom(helper.make_node("f29", ["x"], ["y"], domain="mine"))
    with pytest.raises(UserError, match="make 536870912 nodes of it"):
        load_model(model)
    model.graph.node[0].op_type = "f3"
    assert len(load_model(model).graph.node) == 8


def test_a_reduction_whose_result_is_only_read_in_another_layout_has_a_range() -> None:
    """ReduceMean(keepdims=0) becomes two operators, and what reads its result copies it at once into
    another layout: the tensor of the model itself is made nowhere."""
    model = parse(
        "(float[4, 3, 6, 6] x) => (float[4, 4, 4, 4] y, float[4, 4, 2, 2, 4] z)",
        "a = Conv(x, w) m = ReduceMean<axes = [0], keepdims = 0>(a) y = Sub(a, m)"
        "g = Gather<axis = 2>(a, at) h = ReduceMax<axes = [2], keepdims = 0>(a)"
        "k = Unsqueeze(h, axes) z = Sub(g, k)",
        W3,
        "int64[2, 2] at = {0, 3, 2, 1}",
        "int64[2] axes = {2, 3}",
    )
    batch = np.random.default_rng(0).standard_normal((4, 3, 6, 6)).astype(np.float32)
    report = compared(model, {"x": batch}, weight_bits=16, input_bits=16)
    assert min(output.sqnr_db for output in report.outputs) > 70


def test_what_is_drawn_at_random_is_named() -> None:
    """A layer of noise and a Dropout in training mode, as exporters leave them: no SQNR means anything."""
    model = parse(
        "(float[1, 3, 6, 6] x) => (float[1, 4, 4, 4] y)",
        "a = Conv(x, w) n = RandomNormalLike(a) s = RandomUniformLike<seed = 1.0>(a)"
        "b = Add(a, n) c = Add(b, s) yes = Constant<value = bool {1}>() [drop] y = Dropout(c, half, yes)",
        W3,
        "float half = {0.5}",
    )
    (line,) = [note for note in redc.diff(model, inputs={"x": X}).about if note.startswith("random:")]
    assert "node 'n' (RandomNormalLike), node 'drop' (Dropout); export" in line
    calm = parse("(float[1, 3, 6, 6] x) => (float[1, 4, 4, 4] y)", "a = Conv(x, w) y = Dropout(a)", W3)
    assert not [note for note in redc.diff(calm, inputs={"x": X}).about if "random" in note]


def test_samples_may_hold_inputs_that_are_bound() -> None:
    """Samples and inputs have the same names; an input that became a weight needs no range."""
    model = parse(
        "(float[4, 5] x, float[3, 4] v) => (float[3, 2] y)",
        "h = MatMul(v, x) y = MatMul(h, w)",
        weight("w", 5, 2),
    )
    rng = np.random.default_rng(0)
    some = {"x": rng.standard_normal((4, 5)), "v": rng.standard_normal((3, 4))}
    inputs = {name: value.astype(np.float32) for name, value in some.items()}
    samples = {name: np.concatenate([value, value]) for name, value in inputs.items()}
    report = redc.diff(model, inputs=inputs, calibrate=samples)
    assert report.passed
    assert "bound, no longer inputs: x" in report.about


@pytest.mark.parametrize(
    "op",
    [
        "ReduceMean<keepdims = 0, axes = [2]>(x)",
        "ReduceMax<keepdims = 0, axes = [2]>(x)",
        "Gather<axis = 2>(x, at)",
    ],
)
def test_a_product_reads_what_a_reduction_or_gather_makes_in_two_steps(op: str) -> None:
    model = parse(
        "(float[2, 4, 3, 8] x) => (float[2, 4, 5] y)",
        f"r = {op} y = MatMul(r, w)",
        weight("w", 8, 5),
        "int64 at = {1}",
    )
    x = np.random.default_rng(0).standard_normal((2, 4, 3, 8)).astype(np.float32)
    assert redc.diff(model, inputs={"x": x}).passed


def test_a_vector_and_a_scalar_of_it_have_ranges() -> None:
    model = parse("(float[6] x) => (float[6] y)", "s = ReduceMean<keepdims = 0>(x) y = Add(x, s)")
    x = np.arange(6, dtype=np.float32)
    compared(model, {"x": x})


def test_outputs_come_in_the_models_order() -> None:
    model = parse("(float[4] x) => (float[4] b, float[4] a, float[4] x)", "a = Relu(x) b = Neg(a)")
    program = redc.compile(model, calibrate={"x": np.ones(4, np.float32)})
    assert [port.name for port in runtime.Session(program).get_outputs()] == ["b", "a", "x"]


def test_threads_take_turns_at_a_session() -> None:
    model = parse("(float[1, 3, 6, 6] x) => (float[1, 4, 4, 4] y)", "y = Conv(x, w)", W3)
    session = runtime.Session(redc.compile(model, calibrate={"x": X}))
    inputs = [X * scale for scale in (1.0, 0.5, -1.0, 0.25)] * 8
    alone = [session.run(None, {"x": x.astype(np.float32)})[0] for x in inputs]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda x: session.run(None, {"x": x.astype(np.float32)})[0], inputs))
    np.testing.assert_array_equal(together, alone)
