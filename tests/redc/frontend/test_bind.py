"""Weights that are graph inputs: bound by name, checked, and no input of the program any more."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

import redc
from redc import UserError
from redc.cli import main
from redc.frontend import bind_inputs, graph_inputs, needed_values
from tests.redc.frontend.test_operators import parse

X = np.arange(6, dtype=np.float32).reshape(1, 2, 3)
W = np.arange(1, 9, dtype=np.float32).reshape(2, 2, 2)


@pytest.fixture
def model() -> onnx.ModelProto:
    """A deconvolution of weight W, seen through an Identity, and bias B; both are inputs."""
    return parse(
        "v = Identity(W)\n y = ConvTranspose(x, v, B)",
        x="float[1, 2, L] x, float[2, 2, K] W, float[2] B",
        y="float[1, 2, M] y",
    )


VALUES = {"x": X, "W": W, "B": np.array([1, -1], np.float32)}


def test_what_must_be_known_is_found_and_nothing_else(model: onnx.ModelProto) -> None:
    assert sorted(needed_values(model, VALUES)) == ["B", "W"]
    added = parse("y = Add(x, z)", x="float[2] x, float[2] z", y="float[2] y")
    assert needed_values(added, {"x": X, "z": X}) == {}


def test_a_bound_input_is_an_initializer_and_its_sizes_hold_everywhere() -> None:
    model = parse("y = MatMul(x, w)", x="float[1, K] x, float[K, 2] w", y="float[1, 2] y")
    bound = bind_inputs(model, {"w": np.ones((3, 2), np.float32)})
    assert list(graph_inputs(bound)) == ["x"]
    assert bound.graph.input[0].type.tensor_type.shape.dim[1].dim_value == 3
    assert list(graph_inputs(model)) == ["x", "w"]


def test_diff_binds_what_crossbars_need_and_drops_it_from_the_inputs(model: onnx.ModelProto) -> None:
    report = redc.diff(model, inputs=VALUES, weight_bits=16, input_bits=16)
    assert report.passed
    assert report.outputs[0].sqnr_db is None or report.outputs[0].sqnr_db > 80
    assert "bound, no longer inputs: W, B" in report.about


def test_diff_of_a_program_that_was_bound_takes_the_same_values(model: onnx.ModelProto) -> None:
    bind = {name: VALUES[name] for name in "WB"}
    program = redc.compile(model, bind=bind, calibrate={"x": X})
    assert [buffer.tensor for buffer in program.inputs] == ["x"]
    assert redc.diff(model, program=program, inputs=VALUES).passed
    assert redc.diff(model, program=program, bind=bind).passed
    other = {**VALUES, "W": W + 1}
    assert not redc.diff(model, program=program, inputs=other).passed


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("w", W, "which is no input of the model\n  hint: did you mean 'W'?"),
        ("W", W[0], "has the shape [2, 2], the model takes [2, 2, K]"),
        ("W", W.astype(np.float64), "is float64, the model takes float32\n  hint: convert it with .astype"),
    ],
)
def test_names_shapes_and_types_are_checked(
    model: onnx.ModelProto, name: str, value: np.ndarray, message: str
) -> None:
    with pytest.raises(UserError) as caught:
        bind_inputs(model, {name: value})
    assert message in str(caught.value)


def test_without_a_value_the_error_says_how_to_give_one(model: onnx.ModelProto) -> None:
    with pytest.raises(UserError) as caught:
        redc.compile(model, shapes={"x": (1, 2, 3), "W": (2, 2, 2)})
    assert "its weight is a graph input" in str(caught.value)
    assert "--bind W=W.npy" in str(caught.value)


def test_the_command_line_binds_npy_and_npz(
    model: onnx.ModelProto, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    onnx.save(model, tmp_path / "m.onnx")
    np.save(tmp_path / "w.npy", W)
    np.savez(tmp_path / "b.npz", B=VALUES["B"])
    np.savez(tmp_path / "x.npz", x=X)
    words = [str(tmp_path / "m.onnx"), "--bind", f"W={tmp_path / 'w.npy'}"]
    bias = ["--bind", f"B={tmp_path / 'b.npz'}"]
    assert main(["diff", *words, *bias, "--input", str(tmp_path / "x.npz"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["passed"]
    output = str(tmp_path / "m.red")
    assert main(["compile", *words, *bias, "--calibrate", str(tmp_path / "x.npz"), "-o", output]) == 0
    assert main(["diff", *words, *bias, "--input", str(tmp_path / "x.npz"), "--program", output]) == 0
    capsys.readouterr()
    assert main(["diff", *words, "--bind", f"b={tmp_path / 'b.npz'}"]) == 2
    assert "did you mean 'B'?" in capsys.readouterr().err


def test_products_of_two_inputs_that_no_crossbar_could_hold_need_no_binding() -> None:
    attention = parse(
        "kt = Transpose <perm = [0, 2, 1]> (k)\n s = MatMul(q, kt)\n p = Softmax(s)\n y = MatMul(p, v)",
        x="float[1, 3, 4] q, float[1, 3, 4] k, float[1, 3, 4] v",
        y="float[1, 3, 4] y",
    )
    values = {name: np.random.default_rng(3).standard_normal((1, 3, 4)).astype(np.float32) for name in "qkv"}
    assert needed_values(attention, values, hosts=True) == {}
    report = redc.diff(attention, inputs=values)
    assert report.passed
    assert not any("bound" in line for line in report.about)


def test_an_input_that_is_data_as_well_is_never_bound() -> None:
    mixed = parse("r = Relu(x)\n s = MatMul(r, x)\n y = Softmax(s)", x="float[3, 3] x", y="float[3, 3] y")
    values = {"x": np.eye(3, dtype=np.float32)}
    assert needed_values(mixed, values, hosts=True) == {}
    assert redc.diff(mixed, inputs=values).passed
    assert needed_values(mixed, values) == {}  # without hosts: an error, but no program without inputs
