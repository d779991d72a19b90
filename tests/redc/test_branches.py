"""An If whose condition is known is the branch that it takes, for the compiler and for diff."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import redc
import runtime
from redc.frontend import bind_inputs, taken_branches

make = helper.make_node
X = np.random.default_rng(0).standard_normal((1, 3, 4, 4)).astype(np.float32)


def floats(name: str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, None)


def branch(op: str, name: str = "t", reads: str = "x") -> onnx.GraphProto:
    """A branch that scales what it reads, by a constant of its own, and ends in `op`; its names are those
    of every other branch."""
    factor = numpy_helper.from_array(np.array(2.0 if op == "Tanh" else 3.0, np.float32), "factor")
    nodes = [make("Mul", [reads, "factor"], ["inner"]), make(op, ["inner"], [name])]
    return helper.make_graph(nodes, op, [], [floats(name)], [factor])


def model(
    nodes: list[onnx.NodeProto], *more: onnx.ValueInfoProto, shape: Sequence[int | str] = (1, 3, 4, 4)
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "branches",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape), *more],
        [floats("y")],
        [numpy_helper.from_array(np.array(value), name) for name, value in CONSTANTS.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


CONSTANTS = {"three": np.int64(3), "one": np.int64(1), "yes": np.bool_(True), "no": np.bool_(False)}
HELD = numpy_helper.from_array(np.array([1.5], np.float32), "held")
RATE = helper.make_tensor_value_info("rate", TensorProto.INT64, [])


def by_size() -> list[onnx.NodeProto]:
    """Whether x has three channels."""
    return [
        make("Shape", ["x"], ["s"]),
        make("Gather", ["s", "one"], ["c"]),
        make("Equal", ["c", "three"], ["if"]),
    ]


def choice(condition: str, made: str = "y", reads: str = "x") -> onnx.NodeProto:
    return make(
        "If",
        [condition],
        [made],
        then_branch=branch("Tanh", reads=reads),
        else_branch=branch("Sigmoid", reads=reads),
    )


def wanted(whole: onnx.ModelProto, **inputs: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(whole.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, inputs)[0])


@pytest.mark.parametrize(
    "nodes",
    [
        pytest.param([choice("yes")], id="constant"),
        pytest.param([choice("no")], id="else"),
        pytest.param([*by_size(), choice("if")], id="of a shape"),
        pytest.param(
            [choice("yes", "a"), choice("no", "b", "a"), choice("yes", "y", "b")], id="names repeat"
        ),
        pytest.param(
            [
                make(
                    "If",
                    ["yes"],
                    ["y"],
                    then_branch=helper.make_graph([choice("no", "n")], "t", [], [floats("n")]),
                    else_branch=branch("Tanh"),
                )
            ],
            id="nested",
        ),
        pytest.param(
            [
                make(
                    "If",
                    ["yes"],
                    ["k"],
                    then_branch=helper.make_graph([], "t", [], [floats("held")], [HELD]),
                    else_branch=branch("Tanh"),
                ),
                make("Mul", ["x", "k"], ["y"]),
            ],
            id="gives out a constant",
        ),
    ],
)
def test_a_known_condition_leaves_no_host(nodes: list[onnx.NodeProto], tmp_path: Path) -> None:
    whole = model(nodes)
    program = redc.compile(whole, calibrate={"x": X}, input_bits=16, host=False)
    (y,) = runtime.Session(program).run(None, {"x": X})
    np.testing.assert_allclose(y, wanted(whole, x=X), atol=2e-3)
    onnx.save(whole, tmp_path / "m.onnx")
    assert redc.diff(str(tmp_path / "m.onnx"), inputs={"x": X}).passed


def test_open_shapes_are_settled_first() -> None:
    whole = model([*by_size(), choice("if")], shape=("N", "C", "H", "W"))
    for channels in (2, 3):
        x = np.repeat(X[:, :1], channels, axis=1)
        program = redc.compile(whole, shapes={"x": x.shape}, calibrate={"x": x}, host=False)
        (y,) = runtime.Session(program).run(None, {"x": x})
        np.testing.assert_allclose(y, wanted(whole, x=x), atol=2e-2)


def test_a_bound_input_decides_and_an_open_one_is_named() -> None:
    nodes = [make("Equal", ["rate", "three"], ["if"]), choice("if")]
    whole = model(nodes, RATE)
    report = redc.diff(whole, inputs={"x": X, "rate": np.array(3)})
    (reason,) = [text for texts in report.hosts.values() for text in texts if "(If" in text]
    assert "follows from 'rate'; with a value bound to that (--bind rate=rate.npy)" in reason
    for rate in (3, 4):
        bound = redc.diff(whole, inputs={"x": X}, bind={"rate": np.array(rate)})
        assert bound.passed
        assert not bound.hosts
        names = {
            node.op_type
            for node in taken_branches(bind_inputs(whole, {"rate": np.array(rate)}), {}).graph.node
        }
        assert names == {"Mul", "Tanh" if rate == 3 else "Sigmoid", "Equal"}


@pytest.mark.parametrize("damage", ["no branch", "an output too many", "no outputs"])
def test_a_damaged_if_is_left_to_whoever_says_so(damage: str) -> None:
    whole = model([choice("yes")])
    node = whole.graph.node[0]
    if damage == "no branch":
        del node.attribute[:]
    elif damage == "no outputs":
        del node.output[:]
    else:
        node.output.append("z")
    assert taken_branches(whole, {}).graph.node[0].op_type == "If"
    with pytest.raises(redc.UserError):
        redc.compile(whole)


def test_a_model_without_one_is_itself() -> None:
    plain = model([make("Relu", ["x"], ["y"])])
    assert taken_branches(plain, {}) is plain
