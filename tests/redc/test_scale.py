"""Large networks: the work grows with the count of nodes, and no step copies large weights."""

from __future__ import annotations

import sys
import warnings
from typing import Any
from unittest import mock

import numpy as np
import onnx
import onnx.numpy_helper
import pytest
from onnx import TensorProto, helper

import redc
import redc.compiler
import redc.diff
import runtime.hosts  # noqa: F401  # what is imported late would count as work

SHAPE = [1, 2, 2, 2]

KINDS: dict[str, tuple[tuple[str, tuple[str, ...], dict[str, Any]], ...]] = {
    "crossbar": (("Conv", ("w",), {}),),
    "vector": (("Sigmoid", (), {}), ("Add", ("c",), {}), ("Transpose", (), {"perm": [0, 1, 3, 2]})),
    "scalar functions": (("Relu", (), {}),),
    "identities": (("Identity", (), {}),),
    "reshapes": (("Reshape", ("s",), {}),),
    "host": (("Round", (), {}),),
    "both sides": (("Conv", ("w",), {}), ("Round", (), {}), ("MaxPool", (), {"kernel_shape": [1, 1]})),
}


def chain(kind: str, count: int) -> onnx.ModelProto:
    """`count` operators one after the other, in turn those of the kind."""
    rng = np.random.default_rng(0)
    constants = {
        "w": rng.uniform(-0.7, 0.7, (2, 2, 1, 1)).astype(np.float32),
        "c": np.full((1,), 0.01, np.float32),
        "s": np.array(SHAPE),
    }
    nodes = []
    for number in range(count):
        op, more, attributes = KINDS[kind][number % len(KINDS[kind])]
        output = "y" if number == count - 1 else f"t{number}"
        nodes.append(
            helper.make_node(op, ["x" if not number else f"t{number - 1}", *more], [output], **attributes)
        )
    return helper.make_model(
        helper.make_graph(
            nodes, "chain",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, SHAPE)],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, SHAPE)],
            [onnx.numpy_helper.from_array(value, name) for name, value in constants.items()],
        ),
        opset_imports=[helper.make_opsetid("", 17)], ir_version=8,
    )  # fmt: skip


def lines_of(kind: str, count: int) -> int:
    """Lines of Python that `diff` takes, iterations of its loops included."""
    model, total = chain(kind, count), 0

    def local(frame: Any, event: str, argument: object) -> Any:
        nonlocal total
        total += event == "line"
        return local

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", redc.AssumedInputs)
        before = sys.gettrace()
        sys.settrace(lambda frame, event, argument: local)
        try:
            report = redc.diff(model)
        finally:
            sys.settrace(before)
    assert report.passed
    return total


@pytest.mark.parametrize("kind", KINDS)
def test_twice_the_nodes_are_twice_the_work(kind: str) -> None:
    lines_of(kind, 6)  # what is made once
    counts = (64, 128, 256) if kind == "scalar functions" else (24, 48, 96)  # those are cut at 64
    few, many, more = (lines_of(kind, count) for count in counts)
    assert more - many < 2.2 * (many - few) + 1000


def test_a_long_chain_of_functions_is_cut_and_computed_once_each() -> None:
    """y = x + x, over and over: each of 2^n terms would be one of a sum."""
    nodes = [helper.make_node("Mul", [f"t{i}", f"t{i}"], [f"t{i + 1}"]) for i in range(200)]
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3]) for name in ("t0", "t200")]
    model = helper.make_model(
        helper.make_graph(nodes, "squares", ports[:1], ports[1:]),
        opset_imports=[helper.make_opsetid("", 17)], ir_version=8,
    )  # fmt: skip
    program = redc.compile(model, calibrate={"t0": np.full((1, 3), 1, np.float32)})
    assert [len(layer.nodes) for layer in program.layers] == [64, 64, 64, 8]


def test_large_weights_are_handed_over_and_give_the_same() -> None:
    rng = np.random.default_rng(1)
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["": 17]> g (float[2, 8] x) => (float[2, 4] y)'
        "{ a = Gemm(x, w) b = Relu(a) y = MatMul(b, v) }"
    )
    for name, shape in (("w", (8, 6)), ("v", (6, 4))):
        value = rng.standard_normal(shape).astype(np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(value, name))
    x = {"x": rng.standard_normal((2, 8)).astype(np.float32)}
    whole = redc.diff(model, inputs=x)
    with mock.patch("redc.sessions.LARGE", 1):
        apart = redc.diff(model, inputs=x)
    assert whole.passed
    assert apart.table() == whole.table()


def test_nodes_of_one_name_get_names_of_their_own_in_one_step_each() -> None:
    nodes = [helper.make_node("Sigmoid", [f"t{i}"], [f"t{i + 1}"], name="same" * 20) for i in range(3000)]
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3]) for name in ("t0", "t3000")]
    model = helper.make_model(
        helper.make_graph(nodes, "same", ports[:1], ports[1:]),
        opset_imports=[helper.make_opsetid("", 17)], ir_version=8,
    )  # fmt: skip
    from redc.frontend import import_graph

    names = [op.name for op in import_graph(model).ops]
    assert names[:3] == ["same" * 20, "same" * 20 + "_2", "same" * 20 + "_3"]
    assert len(set(names)) == 3000


def test_a_table_keeps_no_more_than_its_entries() -> None:
    from redc.ir.graph import Codes
    from redc.passes.tables import tabulate

    table = tabulate(np.sin, Codes(16, True, 1e-4), Codes(16, True, 1e-4))
    assert len(table.entries) < 1 << 12
    assert table.entries.base is None
