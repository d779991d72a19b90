"""A small file can ask for anything: it gets one clear error, in bounded time and memory."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import redc
import runtime
from redc import sessions
from redc.errors import UserError

X = np.linspace(-1, 1, 32, dtype=np.float32).reshape(1, 2, 4, 4)
SHAPE = [1, 2, 4, 4]


def port(name: str, shape: Any = None, kind: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def model(*nodes: onnx.NodeProto, shape: Any = SHAPE, **constants: Any) -> onnx.ModelProto:
    """x -> y by `nodes`."""
    graph = helper.make_graph(
        list(nodes), "g", [port("x", shape)], [port("y")],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def y(op: str, *inputs: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(op, ["x", *inputs], ["y"], **attributes)


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Processor time, not the clock's: other tests run beside this one."""
    begin = time.process_time()
    yield
    assert time.process_time() - begin < seconds


HUGE = 10**6
BOMBS = {
    "Tile": model(y("Tile", "n"), n=[1, HUGE, 1000, 1000]),
    "Expand": model(y("Expand", "n"), shape=[1, 2, 1, 1], n=[1000, 2, HUGE, 1000]),
    "Resize by sizes": model(y("Resize", "", "", "n"), n=[1, 2, HUGE, HUGE]),
    "Resize by scales": model(y("Resize", "", "n"), n=np.array([1, 1, 1e5, 1e6], np.float32)),
    "Pad": model(y("Pad", "n"), n=[0, 0, 0, 0, 0, 0, HUGE, HUGE]),
    "MaxPool": model(y("MaxPool", kernel_shape=[1 << 20] * 2, pads=[(1 << 20) - 1] * 4)),
    "Conv": model(y("Conv", "w", pads=[0, 0, HUGE, HUGE]), w=np.ones((1, 2, 1, 1), np.float32)),
    "ConvTranspose": model(y("ConvTranspose", "w", strides=[HUGE] * 2), w=np.ones((2, 1, 1, 1), np.float32)),
    "an input": model(y("Relu"), shape=[1, HUGE, HUGE, 1]),
    "an input of 2^96 values": model(y("Relu"), shape=[1 << 32] * 3),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_tensor_that_no_machine_holds_is_refused_before_anything_is_made_of_it(name: str) -> None:
    with within(2), pytest.raises(UserError, match="more than 2\\^38 values") as raised:
        redc.compile(BOMBS[name], calibrate={"x": X})
    assert raised.value.errors[0].hint
    assert "damaged" in raised.value.errors[0].hint


@pytest.mark.parametrize(
    "bomb",
    [
        model(y("Relu"), shape=[1] * 70),
        model(y("Unsqueeze", "a"), a=np.arange(4, 100)),
    ],
    ids=["input", "Unsqueeze"],
)
def test_more_axes_than_arrays_have_are_refused(bomb: onnx.ModelProto) -> None:
    with pytest.raises(UserError, match=r"axes, more than 64"):
        redc.compile(bomb)


def test_a_window_of_very_many_pixels_is_not_listed() -> None:
    pool = model(y("AveragePool", kernel_shape=[1 << 14] * 2, pads=[(1 << 14) - 1] * 4))
    with within(5), pytest.raises(UserError):
        redc.compile(pool, calibrate={"x": np.ones(SHAPE, np.float32)}, host=False)


def test_a_long_slice_is_not_listed() -> None:
    long = model(y("Slice", "a", "b"), shape=[1, 1 << 30], a=[0, 0], b=[1, 1 << 29])
    with within(2), pytest.raises(UserError, match="too large to be taken apart"):
        redc.compile(long, host=False)


def test_sizes_of_initializers_are_not_believed() -> None:
    liar = model(y("Add", "w"))
    liar.graph.initializer.add(name="w", data_type=TensorProto.FLOAT, dims=[HUGE, HUGE], raw_data=b"four")
    with within(2), pytest.raises(UserError, match="node 0"):
        redc.compile(liar)


# ---------------------------------------------------------------- loops


def looping(trips: int | None, *, known: bool = True, constant: bool = False) -> onnx.ModelProto:
    """y = relu(x + x, `trips` times over); None: for ever.  `known`: with a shape that ONNX can infer."""
    shape = [1] if constant else SHAPE if known else None
    body = helper.make_graph(
        [helper.make_node("Identity", ["c"], ["c2"]), helper.make_node("Add", ["v", "v"], ["v2"])], "body",
        [port("i", [], TensorProto.INT64), port("c", [], TensorProto.BOOL), port("v", shape)],
        [port("c2", [], TensorProto.BOOL), port("v2", shape)],
    )  # fmt: skip
    start = "k" if constant else "x"
    loop = helper.make_node("Loop", ["" if trips is None else "n", "on", start], ["l"], "loop", body=body)
    last = y("Add", "l") if constant else helper.make_node("Relu", ["l"], ["y"])
    more = {} if trips is None else {"n": np.int64(trips)}
    return model(loop, last, on=np.array(True), k=np.zeros(1, np.float32), **more)


@pytest.mark.parametrize(
    "endless",
    [looping(10**9), looping(None), looping(10**9, known=False), looping(10**9, constant=True)],
    ids=["10^9 trips", "endless", "of an unknown shape", "of constants"],
)
def test_a_loop_that_does_not_end_is_told_by_name(
    endless: onnx.ModelProto, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "PATIENCE", 0.3)
    with within(10), pytest.raises(UserError, match=r"ran it for 0.3 s.*a Loop: 'loop'") as raised:
        redc.compile(endless, calibrate={"x": X})
    assert raised.value.place
    assert raised.value.hint


def test_a_loop_that_ends_is_run() -> None:
    report = redc.diff(looping(3), inputs={"x": X}, calibrate={"x": X})
    assert report.passed
    assert report.outputs[0].sqnr_db > 60


@contextmanager
def ctrl_c(seconds: float) -> Iterator[None]:
    """Ctrl-C after so many seconds."""
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_ctrl_c_stops_a_loop_while_compiling() -> None:
    with within(10), pytest.raises(KeyboardInterrupt), ctrl_c(0.5):
        redc.compile(looping(None), calibrate={"x": X})


def test_ctrl_c_stops_a_loop_while_running() -> None:
    """Its condition is an input: it ends on the calibration samples, and never on others."""
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["c2"]), helper.make_node("Identity", ["v"], ["v2"])], "body",
        [port("i", [], TensorProto.INT64), port("c", [], TensorProto.BOOL), port("v", SHAPE)],
        [port("c2", [], TensorProto.BOOL), port("v2", SHAPE)],
    )  # fmt: skip
    whole = model(
        helper.make_node("ReduceMax", ["x"], ["m"], keepdims=0),
        helper.make_node("Greater", ["m", "one"], ["go"]),
        helper.make_node("Loop", ["", "go", "x"], ["y"], body=body),
        one=np.float32(1),
    )
    program = redc.compile(whole, calibrate={"x": X})
    assert (runtime.run(program, {"x": X}).outputs["y"] == X).all()
    with within(10), pytest.raises(KeyboardInterrupt), ctrl_c(0.5):
        runtime.run(program, {"x": X * 2})


# ---------------------------------------------------------------- damaged graphs


def test_a_node_without_its_inputs_is_one_error() -> None:
    """ONNX's own inference raises another class of exception for it than for anything else."""
    with pytest.raises(UserError, match="node 0"):
        redc.compile(model(helper.make_node("Erf", [], ["y"])))


def test_an_input_that_is_left_out_is_one_error() -> None:
    with pytest.raises(UserError, match="node 0"):
        redc.compile(model(helper.make_node("Concat", ["x", ""], ["y"], axis=1)))


def test_an_output_of_constants_that_nobody_can_compute_is_one_error() -> None:
    wrong = model(helper.make_node("Exp", ["n"], ["y"]), n=[1, 2])
    with pytest.raises(UserError, match="'y': onnxruntime cannot compute it"):
        redc.compile(wrong)


def test_dead_nodes_that_onnxruntime_refuses_are_one_error() -> None:
    dead = model(y("Relu"), helper.make_node("Add", ["x", "nowhere"], ["z"]))
    with pytest.raises(UserError, match="onnxruntime refuses the model"):
        redc.diff(dead, inputs={"x": X}, calibrate={"x": X})


def test_a_name_of_megabytes_is_refused() -> None:
    with within(2), pytest.raises(UserError, match="a name has 20000000 characters") as raised:
        redc.compile(model(helper.make_node("Relu", ["x"], ["y"], "n" * 20_000_000)))
    assert len(str(raised.value)) < 1000


MINE = [helper.make_opsetid("", 17), helper.make_opsetid("my", 1)]


def calling(name: str, *calls: str) -> onnx.FunctionProto:
    """A function that calls others (named f...) and operators, one after the other."""
    names = ["a", *(f"t{i}" for i in range(len(calls) - 1)), "b"]
    nodes = [
        helper.make_node(op, [i], [o], domain="my" if op[0] == "f" else "")
        for op, i, o in zip(calls, names, names[1:], strict=False)
    ]
    return helper.make_function("my", name, ["a"], ["b"], nodes, MINE)


def with_functions(last: str, functions: list[onnx.FunctionProto]) -> onnx.ModelProto:
    found = model(helper.make_node(last, ["x"], ["y"], domain="my"))
    found.opset_import.append(MINE[1])
    found.functions.extend(functions)
    return found


def test_functions_that_double_at_every_step_are_refused() -> None:
    functions = [calling(f"f{i}", f"f{i - 1}", f"f{i - 1}") for i in range(1, 40)]
    doubling = with_functions("f39", [calling("f0", "Relu"), *functions])
    with within(2), pytest.raises(UserError, match=f"make {2**39} nodes"):
        redc.compile(doubling)


def test_functions_that_lie_thousands_deep_are_refused() -> None:
    functions = [calling(f"f{i}", f"f{i - 1}") for i in range(1, 2000)]
    deep = with_functions("f1999", [calling("f0", "Relu"), *functions])
    with within(2), pytest.raises(UserError, match="more than 256 deep"):
        redc.compile(deep)


def test_thousands_of_errors_are_told_in_bounded_time_and_space() -> None:
    nodes = [helper.make_node("Add", [f"left{i}", f"right{i}"], [f"t{i}"]) for i in range(2000)]
    with within(3), pytest.raises(UserError) as raised:
        redc.compile(model(*nodes, helper.make_node("Sum", [f"t{i}" for i in range(2000)], ["y"])))
    assert str(raised.value).endswith("and 3900 more errors")


def test_a_name_with_a_zero_byte_is_refused() -> None:
    """No .npz file could hold an array of that name."""
    with pytest.raises(UserError, match="holds a zero byte"):
        redc.compile(model(helper.make_node("Relu", ["x"], ["y"], "a\0b")))


def test_an_attribute_that_is_missing_is_one_error() -> None:
    old = model(y("Pad"))
    old.opset_import[0].version = 10
    with pytest.raises(UserError, match="'pads' is missing"):
        redc.compile(old, calibrate={"x": X})


def test_what_the_version_converter_cannot_read_is_one_error() -> None:
    old = model(y("Reshape", "n"), n=[1, 32])
    old.opset_import[0].version = 1
    with pytest.raises(UserError, match="operator set 1 is too old"):
        redc.compile(old, calibrate={"x": X})
