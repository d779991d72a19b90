"""Every operator of the vector unit against onnxruntime, at 16 bits: a few steps of the output
apart at most, and both engines agree."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import assume, event, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

import redc
import runtime
from redc.errors import UserError
from redc.frontend import import_graph
from tests.redc.reference import agree, run_onnx

STEPS = 6
"""How far apart two results of 16 bits may lie, in steps of the output or of a coarser input."""


def model(
    op: str,
    inputs: list[Any],
    *,
    opset: int = 18,
    outputs: int = 1,
    **attributes: Any,
) -> onnx.ModelProto:
    """One node.  A tuple is the shape of an input, an array a constant, None a missing input."""
    names, ports, weights = [], [], []
    for number, value in enumerate(inputs):
        names.append("" if value is None else f"i{number}")
        if isinstance(value, tuple):
            ports.append(helper.make_tensor_value_info(names[-1], TensorProto.FLOAT, value))
        elif value is not None:
            weights.append(numpy_helper.from_array(np.asarray(value), names[-1]))
    made = [f"y{number}" for number in range(outputs)]
    graph = helper.make_graph(
        [helper.make_node(op, names, made, **attributes)],
        "g",
        ports,
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in made],
        weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def check(
    proto: onnx.ModelProto,
    *,
    steps: float = STEPS,
    scale: float = 2.0,
    coarsest: bool = False,
    positive: bool = False,
    host: bool = True,
) -> None:
    """`proto` compiled at 16 bits computes what onnxruntime does, on both engines, to so many steps:
    of the output or of a coarser input, or of the `coarsest` buffer.  Inputs that are `positive` keep
    away from 0."""
    rng = np.random.default_rng(0)
    feeds = {
        v.name: (rng.standard_normal([d.dim_value for d in v.type.tensor_type.shape.dim]) * scale).astype(
            np.float32
        )
        for v in proto.graph.input
    }
    if positive:
        feeds = {name: np.abs(value) / 2 + np.float32(0.5) for name, value in feeds.items()}
    expected = run_onnx(proto, feeds)
    agree(proto, feeds=feeds)
    program = redc.compile(proto, weight_bits=16, input_bits=16, calibrate=feeds, host=host)
    fast = runtime.run(program, feeds)
    slow = runtime.run(program, feeds, engine="step")
    assert fast.counters == slow.counters
    for buffer in program.outputs:
        assert buffer.scale is not None
        name = str(buffer.tensor)
        np.testing.assert_array_equal(fast.outputs[name], slow.outputs[name])
        assert fast.outputs[name].shape == expected[name].shape
        error = np.abs(fast.outputs[name].astype(np.float64) - expected[name]).max()
        held = program.buffers.values() if coarsest else (buffer, *program.inputs)
        step = max(b.scale or 0.0 for b in held)
        assert error <= steps * step, f"{name}: {error / step:.1f} steps"


def ints(*values: int) -> np.ndarray[Any, Any]:
    return np.array(values, np.int64)


def floats(*values: float) -> np.ndarray[Any, Any]:
    return np.array(values, np.float32)


X = (2, 3, 4, 5)
C = floats(0.5, -1.5, 2.0).reshape(3, 1, 1)

OVER_ALL = np.random.default_rng(1).standard_normal(X).astype(np.float32)
OVER_PIXELS = OVER_ALL[0, 0]

CASES = {
    "sub": model("Sub", [X, X]),
    "sub constant": model("Sub", [X, C]),
    "constant sub": model("Sub", [C, X]),
    "sub broadcast": model("Sub", [X, (3, 1, 5)]),
    "mul": model("Mul", [X, X]),
    "mul gate": model("Mul", [X, (2, 3, 1, 1)]),
    "mul along every axis": model("Mul", [(2, 3, 1, 1), (1, 1, 4, 5)]),
    "mul outer": model("Mul", [(3, 1), (1, 4)]),
    "mul constant": model("Mul", [C, X]),
    "mul number": model("Mul", [X, floats(0.3).reshape(())]),
    "div constant": model("Div", [X, C]),
    "add of a constant for every pixel": model("Add", [X, OVER_PIXELS]),
    "sub from a constant for every value": model("Sub", [OVER_ALL, X]),
    "add of a larger constant": model("Add", [(3, 1, 5), OVER_ALL]),
    "mul by a constant for every pixel": model("Mul", [X, OVER_PIXELS]),
    "max of constants": model("Max", [X, OVER_ALL, floats(0.5).reshape(()), OVER_PIXELS]),
    "mean with a constant": model("Mean", [X, OVER_PIXELS]),
    "concat of a constant": model("Concat", [X, OVER_ALL, X], axis=-1),
    "concat of a constant in channels": model("Concat", [OVER_ALL, X], axis=1),
    "prelu of a slope for every pixel": model("PRelu", [X, OVER_PIXELS]),
    "neg": model("Neg", [X]),
    "abs": model("Abs", [X]),
    "max": model("Max", [X, X, (3, 1, 1)]),
    "min": model("Min", [X, (5,)]),
    "max number": model("Max", [X, floats(0.25)]),
    "min number": model("Min", [floats(0.25), X]),
    "sum": model("Sum", [X, X, (4, 1)]),
    "mean": model("Mean", [X, X, X]),
    "prelu": model("PRelu", [X, floats(0.1, 0.5, -0.3).reshape(3, 1, 1)]),
    "prelu steep": model("PRelu", [X, floats(1.5).reshape(1)]),
    "hard sigmoid": model("HardSigmoid", [X], alpha=0.3),
    "hard swish": model("HardSwish", [X]),
    "elu": model("Elu", [X], alpha=0.7),
    "selu": model("Selu", [X]),
    "celu": model("Celu", [X], alpha=1.5),
    "softplus": model("Softplus", [X]),
    "softsign": model("Softsign", [X]),
    "erf": model("Erf", [X]),
    "gelu": model("Gelu", [X], opset=20),
    "gelu tanh": model("Gelu", [X], opset=20, approximate="tanh"),
    "mish": model("Mish", [X]),
    "exp": model("Exp", [X]),
    "sin": model("Sin", [X]),
    "cos": model("Cos", [X]),
    "atan": model("Atan", [X]),
    "pow": model("Pow", [X, floats(3).reshape(())]),
    "pow integer": model("Pow", [X, np.array([2])]),
    "global average": model("GlobalAveragePool", [(2, 3, 9, 11)]),
    "global average 1-d": model("GlobalAveragePool", [(2, 3, 200)]),
    "global max": model("GlobalMaxPool", [(2, 3, 19, 11)]),
    "global max 3-d": model("GlobalMaxPool", [(1, 2, 9, 5, 6)]),
    "reduce mean": model("ReduceMean", [X, ints(-1)]),
    "reduce mean dropped": model("ReduceMean", [X, ints(2, 3)], keepdims=0),
    "reduce mean of channels": model("ReduceMean", [X], opset=13, axes=[1]),
    "reduce sum": model("ReduceSum", [X, ints(0)]),
    "reduce max": model("ReduceMax", [X, ints(1)], keepdims=0),
    "concat channels": model("Concat", [X, (2, 2, 4, 5), X], axis=1),
    "concat pixels": model("Concat", [X, (2, 3, 1, 5)], axis=-2),
    "concat batch": model("Concat", [X, X], axis=0),
    "concat vectors": model("Concat", [(3,), (2,)], axis=0),
    "split": model("Split", [X, ints(2, 3)], axis=3, outputs=2),
    "split channels": model("Split", [X, ints(1, 2)], axis=1, outputs=2),
    "split evenly": model("Split", [X], opset=11, axis=2, outputs=2),
    "slice": model("Slice", [X, ints(1, 0), ints(9, -1), ints(2, 1), ints(2, 1)]),
    "slice backwards": model("Slice", [X, ints(-1), ints(-99), ints(3), ints(-2)]),
    "slice channels backwards": model("Slice", [X, ints(2), ints(-99), ints(1), ints(-1)]),
    "slice attributes": model("Slice", [X], opset=9, starts=[1, 1], ends=[2, 3], axes=[0, 3]),
    "pad": model("Pad", [X, ints(0, 1, 2, 0, 1, 0, 0, 3), floats(-1.5).reshape(())]),
    "pad crop": model("Pad", [X, ints(0, 0, -1, 2, 0, 0, -1, -1)]),
    "pad reflect": model("Pad", [X, ints(0, 0, 2, 1, 0, 0, 3, 4)], mode="reflect"),
    "pad edge": model("Pad", [X, ints(0, 1, 2, 1, 0, 0, 3, 4)], mode="edge"),
    "pad wrap": model("Pad", [X, ints(2, 1, 1, 2), None, ints(2, 3)], opset=19, mode="wrap"),
    "pad attributes": model("Pad", [X], opset=9, pads=[0, 0, 1, 1, 0, 0, 1, 1], value=0.5),
    "transpose": model("Transpose", [X]),
    "transpose to channels last": model("Transpose", [X], perm=[0, 2, 3, 1]),
    "transpose pixels": model("Transpose", [X], perm=[2, 1, 3, 0]),
    "expand": model("Expand", [(3, 1, 5), ints(2, 1, 4, 1)]),
    "tile": model("Tile", [X, ints(1, 2, 1, 3)]),
    "gather": model("Gather", [X, ints(3, 0, -1)], axis=3),
    "gather one": model("Gather", [X, np.array(1)], axis=1),
    "gather a table": model("Gather", [X, np.array([[0, -1, 1], [1, 0, 0]])], axis=2),
    "depth to space": model("DepthToSpace", [(2, 12, 2, 3)], blocksize=2),
    "pixel shuffle": model("DepthToSpace", [(2, 18, 2, 3)], blocksize=3, mode="CRD"),
    "space to depth": model("SpaceToDepth", [(1, 2, 4, 6)], blocksize=2),
    "upsample": model("Upsample", [X, floats(1, 1, 2, 3)], opset=9),
    "upsample linear": model("Upsample", [X, floats(1, 1, 2, 2)], opset=9, mode="linear"),
    "resize 10": model("Resize", [X, floats(1, 1, 2, 2)], opset=10),
    "resize down": model("Resize", [(1, 2, 6, 8), None, floats(1, 1, 0.5, 0.25)]),
    "resize sizes": model("Resize", [X, None, None, ints(2, 3, 8, 15)]),
    "resize by 3/2": model("Resize", [(1, 2, 4, 6), None, floats(1, 1, 1.5, 1.5)], mode="linear"),
}


@pytest.mark.parametrize("name", CASES)
def test_an_operator_computes_what_onnxruntime_does(name: str) -> None:
    check(CASES[name])


STEEP = {
    "div": model("Div", [X, X]),
    "div broadcast": model("Div", [X, (3, 1, 5)]),
    "div outer": model("Div", [(4, 1), (1, 5)]),
    "div by a constant for every pixel": model("Div", [X, np.abs(OVER_PIXELS) + 1]),
    "number div": model("Div", [floats(-3).reshape(()), X]),
    "constant div": model("Div", [C, X]),
    "constant for every pixel div": model("Div", [OVER_PIXELS, X]),
    "reciprocal": model("Reciprocal", [X]),
    "sqrt": model("Sqrt", [X]),
    "log": model("Log", [X]),
    "pow fraction": model("Pow", [X, floats(1.7).reshape(())]),
    "pow negative": model("Pow", [X, floats(-0.5).reshape(())]),
}


@pytest.mark.parametrize("name", STEEP)
def test_a_steep_operator_computes_what_onnxruntime_does_away_from_zero(name: str) -> None:
    check(STEEP[name], positive=True, host=False)


@st.composite
def pools(draw: st.DrawFn) -> onnx.ModelProto:
    op = draw(st.sampled_from(["MaxPool", "AveragePool"]))
    rank = draw(st.integers(1, 3))
    kernel = [draw(st.integers(1, 3)) for _ in range(rank)]
    attributes: dict[str, Any] = {"kernel_shape": kernel}
    if draw(st.booleans()):
        attributes["strides"] = [draw(st.integers(1, 3)) for _ in range(rank)]
    if draw(st.integers(0, 3)) == 0:
        attributes["auto_pad"] = draw(st.sampled_from(["SAME_UPPER", "SAME_LOWER", "VALID"]))
    else:
        attributes["pads"] = [draw(st.integers(0, k - 1)) for k in (*kernel, *kernel)]
        attributes["ceil_mode"] = draw(st.integers(0, 1))
    if draw(st.booleans()):
        attributes["dilations"] = [draw(st.integers(1, 2)) for _ in range(rank)]
    if op == "AveragePool":
        attributes["count_include_pad"] = draw(st.integers(0, 1))
    shape = (
        draw(st.integers(1, 2)),
        draw(st.integers(1, 3)),
        *(draw(st.integers(3, 7)) for _ in range(rank)),
    )
    return model(op, [shape], opset=19, **attributes)


@st.composite
def resizes(draw: st.DrawFn) -> onnx.ModelProto:
    rank = draw(st.integers(1, 2))
    factors = [draw(st.sampled_from([1, 2, 3, 4])) for _ in range(rank)]
    modes = ["half_pixel", "pytorch_half_pixel", "asymmetric", "align_corners"]
    attributes = {
        "mode": draw(st.sampled_from(["nearest", "linear"])),
        "coordinate_transformation_mode": draw(st.sampled_from(modes)),
        "nearest_mode": draw(st.sampled_from(["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"])),
    }
    shape = (1, draw(st.integers(1, 3)), *(draw(st.integers(1, 5)) for _ in range(rank)))
    return model("Resize", [shape, None, floats(1, 1, *factors)], opset=13, **attributes)


def _judged(proto: onnx.ModelProto) -> None:
    try:
        import_graph(proto)
    except UserError as error:
        event(f"left to the host: {error.message[:40]}")
        return
    feeds = {
        v.name: np.ones([d.dim_value for d in v.type.tensor_type.shape.dim], np.float32)
        for v in proto.graph.input
    }
    try:
        run_onnx(proto, feeds)
    except Exception:  # noqa: BLE001  # onnxruntime's errors share no public base
        assume(False)
    check(proto)


@settings(max_examples=60)
@given(pools())
def test_every_pool_computes_what_onnxruntime_does(proto: onnx.ModelProto) -> None:
    _judged(proto)


@settings(max_examples=40)
@given(resizes())
def test_every_resize_by_whole_factors_computes_what_onnxruntime_does(proto: onnx.ModelProto) -> None:
    _judged(proto)
