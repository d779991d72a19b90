"""Which codes tensors have: narrow where a crossbar streams them, steps of their own per channel."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import isa
import redc
import runtime
from redc.channels import Channels
from redc.compiler import compile_with
from redc.ir.graph import CrossbarOp
from redc.passes import Options, equalise
from redc.passes.equalise import DIGITS, whole_steps
from redc.ranges import Range, _typical_extremes

SIZES = (8, 1, 0.02, 3)
"""How far the channels of the uneven network's middle tensor reach, about."""


def uneven(*, end: str = "Relu") -> onnx.ModelProto:
    """Conv, Relu, MaxPool and Concat before Conv, whose channels differ in size, and whose weights make
    up for it; then `end`."""
    rng = np.random.default_rng(0)
    first = rng.standard_normal((4, 2, 3, 3)) * np.reshape(SIZES, (4, 1, 1, 1))
    second = rng.standard_normal((3, 6, 3, 3)) / np.reshape((*SIZES, 1, 1), (1, 6, 1, 1))
    weights = {"w": first, "v": second, "b": rng.standard_normal(3)}
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["r"]),
        helper.make_node("Concat", ["r", "x"], ["c"], axis=1),
        helper.make_node("MaxPool", ["c"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Conv", ["p", "v", "b"], ["d"]),
        helper.make_node(end, ["d"], ["y"]),
    ]
    ports = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in (("x", [1, 2, 12, 12]), ("y", None))
    ]
    held = [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "uneven", ports[:1], ports[1:], held)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


FEED = {"x": np.random.default_rng(1).standard_normal((1, 2, 12, 12)).astype(np.float32)}


@pytest.mark.parametrize("end", ["Relu", "LeakyRelu", "Tanh", "HardSwish"])
@pytest.mark.parametrize("bits", [4, 8, 16])
def test_channels_of_unequal_size_get_steps_and_every_layer_stays_exact(end: str, bits: int) -> None:
    report = redc.diff(uneven(end=end), inputs=FEED, weight_bits=bits, input_bits=bits)
    assert report.passed, report.problems
    assert all(row.integer_exact for row in report.layers if row.kind == "crossbar")
    least = {4: 3, 8: 25, 16: 75}[bits]
    assert report.outputs[0].sqnr_db > least


def test_without_steps_the_narrow_channels_drown(monkeypatch: pytest.MonkeyPatch) -> None:
    with_steps = redc.diff(uneven(), inputs=FEED).outputs[0].sqnr_db
    monkeypatch.setattr(equalise, "POWERS", ())
    assert redc.diff(uneven(), inputs=FEED).outputs[0].sqnr_db < with_steps - 10


def test_values_of_a_vector_are_no_samples() -> None:
    """Of rank 1: axis 0 holds one sample's values, and the largest seen is the bound."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1000])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1000])
    graph = helper.make_graph([helper.make_node("HardSwish", ["x"], ["y"])], "g", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    values = np.exp(np.random.default_rng(0).standard_normal(1000)).astype(np.float32)
    program = redc.compile(model, calibrate={"x": values}, calibration="log-normal")
    assert program.inputs[0].scale * 65535 == pytest.approx(values.max(), rel=0.01)


def test_steps_stand_in_the_text_and_both_engines_agree() -> None:
    program = redc.compile(uneven(), calibrate=FEED)
    stepped = [buffer for buffer in program.buffers.values() if buffer.steps]
    assert {buffer.tensor for buffer in stepped} >= {"p"}
    text = isa.to_text(program)
    assert ' steps "' in text
    parsed = isa.parse(text)
    assert parsed.buffers == program.buffers
    steps = program.constant(next(b.steps for b in stepped if b.tensor == "p"))
    assert steps[0] > steps[2], "the widest channel has the widest step"
    fast = runtime.run(program, FEED)
    slow = runtime.run(program, FEED, engine="step")
    assert fast.counters == slow.counters
    np.testing.assert_array_equal(fast.outputs["y"], slow.outputs["y"])


def test_wrong_steps_are_found() -> None:
    program = redc.compile(uneven(), calibrate=FEED)
    name = next(b.steps for b in program.buffers.values() if b.steps and b.tensor == "p")
    steps = program.constant(name).copy()
    steps[0] *= 2
    wrong = replace(program, data={**program.data, name: steps})
    assert not redc.diff(uneven(), wrong, FEED).passed


def test_only_what_crossbars_stream_is_narrow() -> None:
    options = Options(weight_bits=6, input_bits=6)
    graph = compile_with(uneven(end="HardSwish"), options, calibrate=FEED).graph
    driven = {op.input for op in graph.ops if isinstance(op, CrossbarOp)}
    found = {name: tensor.codes.bits for name, tensor in graph.tensors.items() if tensor.codes}
    assert {found[name] for name in driven} == {6}
    assert found["r"] == found["c"] == 6, "what only moves into a driven tensor has its codes"
    assert found["d"] == found["y"] == 16
    narrow = compile_with(uneven(), Options(vector_bits=8), calibrate=FEED).graph
    assert all(tensor.codes.bits == 8 for tensor in narrow.tensors.values() if tensor.codes)


def test_steps_have_few_digits_and_cover_their_channel() -> None:
    relative = np.random.default_rng(2).uniform(1e-4, 1, 100)
    steps = whole_steps(relative)
    for step in steps:
        assert int(step).bit_length() - (int(step) & -int(step)).bit_length() < DIGITS
    ratio = steps / relative
    assert ratio.max() / ratio.min() < 1 + 2 ** -(DIGITS - 2)


def test_what_a_channel_takes_does_not_depend_on_the_order_of_samples() -> None:
    rng = np.random.default_rng(3)
    parts = [(rng.standard_normal((2, 3, 4)) * 10.0**k).astype(np.float32) for k in (0, 2, -3)]
    whole = Channels.of(np.concatenate(parts), 1, 6)
    merged = Channels.of(parts[2], 1, 2).merge(Channels.of(parts[0], 1, 2)).merge(Channels.of(parts[1], 1, 2))
    np.testing.assert_array_equal(whole.counts, merged.counts)
    np.testing.assert_array_equal(whole.exponents, merged.exponents)
    np.testing.assert_allclose(whole.power, merged.power)


def test_dividing_channels_by_one_step_gives_the_tensor_itself() -> None:
    values = np.random.default_rng(4).standard_normal((5, 3, 40)).astype(np.float32)
    seen = Range.of(values, 5, 1)
    again = seen.divided(np.ones(3, np.int64))
    np.testing.assert_array_equal(again.lows, seen.lows)
    np.testing.assert_array_equal(again.highs, seen.highs)
    assert again.bounds(16) == pytest.approx(seen.bounds(16), rel=0.02)


def test_few_samples_leave_wide_codes_room_for_others() -> None:
    """A seventh sample 1.5 times as large as six finds codes of 16 bits; 8 are spent on what is common."""
    values = np.random.default_rng(0).uniform(-1, 1, (6, 50))
    low, high = Range.of(values, 6).bounds(16)
    assert low < -1.5
    assert high > 1.5
    low, high = Range.of(values, 6).bounds(8)
    assert -1.1 < low < high < 1.1
    many = np.random.default_rng(0).uniform(-1, 1, (600, 50))
    assert Range.of(many, 600).bounds(16)[1] < 1.2  # so many say more
    assert Range.of(values, 1).bounds(16)[1] == pytest.approx(values.max())  # one says nothing of others


def test_samples_on_one_side_of_zero_say_nothing_of_the_other() -> None:
    """A single number per sample, of either sign: the negative ones are no zeros that bound the others."""
    numbers = np.array([[0.5], [-2.0], [1.0], [-0.1], [2.0], [-0.7]])
    (found,) = _typical_extremes(np.maximum(numbers, 0), 12)
    assert found == pytest.approx(_typical_extremes(numbers[numbers > 0].reshape(3, 1), 12)[0])
    assert found > 2.0


def test_extremes_of_many_channels_are_those_of_each_alone() -> None:
    """Channels that some samples leave at zero have quantiles of the others; all at once, or it takes
    minutes for a network of many channels."""
    extremes = np.maximum(np.random.default_rng(0).standard_normal((7, 100_000)), 0)
    extremes[:, 0], extremes[0, 1:] = 0.0, 1.0
    start = time.process_time()
    found = _typical_extremes(extremes, 16)
    assert time.process_time() - start < 5
    assert found[0] == 0
    for channel in range(1, 50):
        logs = np.log(extremes[extremes[:, channel] > 0, channel])
        middle, upper = np.quantile(logs, (0.5, 0.8413))
        wanted = min(np.exp(middle + 3.6 * (upper - middle)), 4 * np.exp(logs.max()))
        assert found[channel] == pytest.approx(wanted)


def test_steps_are_held_against_samples_that_they_do_not_come_from() -> None:
    """A vector gives each channel one value a sample: six say next to nothing of a channel's range."""
    rng = np.random.default_rng(0)
    weights = {"w": rng.standard_normal((64, 128)) / 8, "v": rng.standard_normal((128, 8)) / 11}
    nodes = [
        helper.make_node("Gemm", ["x", "w"], ["a"]),
        helper.make_node("Relu", ["a"], ["r"]),
        helper.make_node("Gemm", ["r", "v"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "mlp",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 64])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(v.astype(np.float32), k) for k, v in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    x = rng.standard_normal((14, 64)).astype(np.float32)
    program = redc.compile(model, calibrate={"x": x[:6]})
    reports = [redc.diff(model, program, {"x": row[None]}) for row in x[6:]]
    assert min(report.outputs[0].sqnr_db for report in reports) > 25
