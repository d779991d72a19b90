"""ONNX's own runner judges the backend; what it compiles when, and what it refuses."""

from __future__ import annotations

import inspect
import re
import unittest
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper
from onnx.backend.test import BackendTest

import redc
import redc.onnx_backend as backend
from redc import UserError
from tests.bench.conformance import NEAR, Case, Verdict, cases, document, judge
from tests.redc.frontend.test_operators import FIRST, parse

DECONVOLUTIONS = re.compile(r"test_(operator_)?convtranspose\w*_cpu$")


def suite(pattern: re.Pattern[str]) -> unittest.TestSuite:
    """The tests of ONNX's runner whose names match, host disabled."""
    names = {case.name: {"no_host": True} for case in cases(["ConvTranspose"])}
    runner = BackendTest(backend.RedcBackend, __name__, test_kwargs=names)
    return unittest.TestSuite(
        case(name)
        for case in runner.test_cases.values()
        for name in sorted(vars(case))
        if pattern.match(name)
    )


def test_onnxs_runner_passes_every_convtranspose_test_at_its_own_tolerance() -> None:
    result = unittest.TestResult()
    suite(DECONVOLUTIONS).run(result)
    print(f"executed {result.testsRun}, skipped {len(result.skipped)}")
    assert (result.testsRun, result.skipped, result.errors, result.failures) == (12, [], [], [])


def test_exported_deconvolutions_stay_within_a_ten_thousandth_of_full_scale() -> None:
    found = {
        case.name: judge(case)
        for case in cases(["ConvTranspose"])
        if case.name.startswith("test_ConvTranspose")
    }
    assert sorted(found) == ["test_ConvTranspose2d", "test_ConvTranspose2d_no_bias"]
    for name, verdict in found.items():
        print(f"{name}: {verdict.scale:.1e} of full scale, {verdict.steps:.2f} steps")
        assert not verdict.excluded
        assert verdict.scale <= NEAR


def test_the_document_counts_what_was_executed_and_says_why_not() -> None:
    model = parse("y = ConvTranspose(x, w)", constants=FIRST)
    case = Case("test_it", model, [], 1e-3, 1e-7)
    text = document([Verdict(case, passed=True), Verdict(case, excluded="too | odd")], ["ConvTranspose"])
    assert "| ConvTranspose | 2 | 1 | 1 | 1 | 0.00 | 1 |" in text
    assert "| ConvTranspose | too \\| odd | 1 | test_it |" in text


# ---------------------------------------------------------------- the backend itself


@pytest.fixture
def model() -> onnx.ModelProto:
    """One deconvolution whose weight is a graph input, and every spatial size open."""
    return onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["": 13]> '
        "g (float[N, 1, H] x, float[1, M, K] w) => (float[N, M, L] y) { y = ConvTranspose(x, w) }"
    )


def test_a_program_is_compiled_for_every_shape_and_every_weight_once(model: onnx.ModelProto) -> None:
    prepared = backend.prepare(model)
    x, w = np.array([[[1, 2]]], np.float32), np.array([[[1, -1]]], np.float32)
    for weight in (w, 2 * w, w):
        (y,) = prepared.run([x, weight])
        np.testing.assert_allclose(y, weight[0, 0, 0] * np.array([[[1, 1, -2]]]), atol=1e-4)
    assert len(prepared.programs) == 2
    prepared.run({"x": np.ones((3, 1, 4), np.float32), "w": w})
    assert len(prepared.programs) == 3


def test_nodes_of_the_host_are_an_error_that_says_how_to_allow_them() -> None:
    model = parse(
        "a = ConvTranspose(x, w) b = Sinh(a) y = Gather<axis = 3>(b, i)",
        x="float[1, 1, 2, 2] x, float[1, 1, 1, 1] w, int64[1] i",
        y="float[1, 1, 2, 1] y",
    )
    x = np.array([[[[1, 2], [3, 4]]]], np.float32)
    w, second = np.full((1, 1, 1, 1), 0.5, np.float32), np.array([1])
    with pytest.raises(UserError, match=r"Sinh[\s\S]*in Python give host=True"):
        backend.prepare(model).run([x, w, second])
    prepared = backend.prepare(model, host=True)
    for index in (second, 0 * second):
        (y,) = prepared.run([x, w, index])
        np.testing.assert_allclose(y, np.sinh(x / 2)[..., index], atol=1e-3)
    assert len(prepared.programs) == 1  # whole numbers are an input of the host


def test_one_array_a_list_or_names_and_lists_of_numbers_are_inputs() -> None:
    prepared = backend.prepare(parse("y = Relu(x)", x="float[2] x", y="float[2] y"))
    for inputs in (np.array([-1, 1], np.float32), [[-1, 1]], {"x": [-1, 1]}):
        (y,) = prepared.run(inputs)
        np.testing.assert_allclose(y, [0, 1], atol=1e-4)


def test_one_node_runs_alone() -> None:
    node = helper.make_node("Gemm", ["a", "b"], ["y"])
    a, b = np.array([[1, 2]], np.float32), np.array([[1], [3]], np.float32)
    (y,) = backend.run_node(node, [a, b])
    np.testing.assert_allclose(y, [[7]], rtol=1e-4)


def test_options_are_those_of_compile_and_load(model: onnx.ModelProto) -> None:
    x, w = np.ones((1, 1, 2), np.float32), np.ones((1, 1, 2), np.float32)
    prepared = backend.prepare(model, weight_bits=4, mapping="zero-padding", engine="step")
    prepared.run([x, w])
    (loaded,) = prepared.programs.values()
    (crossbar,) = loaded.program.crossbars.values()
    assert crossbar.weight_type.bits == 4
    assert loaded.program.layers[0].mapping == "zero-padding"


def test_a_model_that_arrives_quantised_keeps_its_own_bits() -> None:
    model = parse(
        """q = QuantizeLinear(x, s, z)
           d = DequantizeLinear(q, s, z)
           y = Relu(d)""",
        x="float[2] x", y="float[2] y", constants="float s = {0.5}, uint8 z = {128}",
    )  # fmt: skip
    (y,) = backend.prepare(model).run([[-3.0, 2.3]])
    np.testing.assert_array_equal(y, [0, 2.5])


def test_the_document_for_python_names_every_option_of_compile() -> None:
    text = (Path(__file__).parents[2] / "docs" / "python.md").read_text(encoding="utf-8")
    table = [line for line in text.splitlines() if line.startswith("| `")]
    named = {name for line in table for name in re.findall(r"`(\w+)`", line.split("|")[1])}
    assert named == set(inspect.signature(redc.compile).parameters) - {"model"}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: backend.prepare(m, maping="x"), "did you mean 'mapping'?"),
        (lambda m: backend.prepare(m, "CUDA"), "there is no device 'CUDA'"),
        (lambda m: backend.prepare(m).run([1, 2, 3]), "3 inputs are given, the model has 2"),
        (lambda m: backend.prepare(m).run({"x": [1.0]}), "inputs are missing: w"),
        (lambda m: backend.prepare(m).run({"X": [1.0]}), "did you mean 'x'?"),
    ],
)
def test_a_wrong_call_is_answered_with_a_hint(model: onnx.ModelProto, call: Any, message: str) -> None:
    with pytest.raises(UserError) as caught:
        call(model)
    assert message in str(caught.value)


def test_it_says_what_it_is_compatible_with(model: onnx.ModelProto) -> None:
    assert backend.is_compatible(model)
    assert not backend.is_compatible(model, "CUDA")
    assert backend.is_opset_supported(model) == (True, "")
    model.opset_import[0].version = 1000
    supported, why = backend.is_opset_supported(model)
    assert not supported
    assert "newer than onnx" in why
    assert not backend.is_compatible(model)
