"""Floats in, floats out: what the doors convert, and what they refuse."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from isa.program import IntType
from runtime import InputError, run
from tests.runtime.programs import U8, convert


def through(inputs: dict[str, Any], *, scale: float | None = 1.0, zero: int = 0, **options: Any) -> Any:
    program = convert(options.pop("kind", U8), scale, zero, **options)
    return run(program, inputs, engine="step", verify=False)


def f32(*values: float) -> np.ndarray[Any, Any]:
    return np.array(values, np.float32)


def test_inputs_round_half_to_even_and_saturate() -> None:
    result = through({"in": f32(0.5, 1.5, -7, 999)})
    assert result.buffers["x"].tolist() == [0, 2, 0, 255]
    assert result.outputs["out"].tolist() == [0, 2, 0, 255]
    assert result.outputs["out"].dtype == np.float32


def test_scale_and_zero_point_apply_on_both_doors() -> None:
    result = through({"in": f32(-1, 0, 0.25, 500)}, scale=0.25, zero=10)
    assert result.buffers["x"].tolist() == [6, 10, 11, 255]
    assert result.outputs["out"].tolist() == [-1, 0, 0.25, 61.25]


@pytest.mark.parametrize("axis", [0, 1, 2, 3])
def test_any_onnx_axis_may_lie_last_in_the_buffer(axis: int) -> None:
    program = convert(U8, 1.0, shape=(2, 3, 4, 5), axis=axis)
    x = np.arange(120, dtype=np.float32).reshape(program.inputs[0].onnx_shape)
    result = run(program, {"in": x}, engine="step", verify=False)
    np.testing.assert_array_equal(result.outputs["out"], x)
    np.testing.assert_array_equal(result.buffers["x"], np.moveaxis(x, axis, -1))


def test_a_large_tensor_crosses_in_blocks_unchanged() -> None:
    program = convert(U8, 0.5, 3, shape=(2, 70, 50, 21), axis=1)
    x = np.random.default_rng(0).integers(-6, 500, program.inputs[0].onnx_shape).astype(np.float32) / 4
    codes = np.clip(np.rint(x * 2) + 3, 0, 255)
    result = run(program, {"in": x}, engine="step", verify=False)
    np.testing.assert_array_equal(result.outputs["out"], (codes - 3) * 0.5)


@pytest.mark.parametrize("bits", [2, 16, 24, 31, 32, 33, 53, 64])
@pytest.mark.parametrize("signed", [True, False])
def test_every_width_saturates_at_its_own_bounds(bits: int, signed: bool) -> None:
    kind = IntType(signed, bits)
    result = through({"in": f32(-3e38, 3e38, 1, 0)}, kind=kind)
    assert result.buffers["x"].tolist() == [kind.low, kind.high, 1, 0]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("engine", ["step", "fast"])
@pytest.mark.parametrize("bits", [8, 24, 25, 32, 64])
def test_a_quotient_beyond_float32_saturates(bits: int, engine: str) -> None:
    kind = IntType(True, bits)
    result = run(convert(kind, 0.01, 0), {"in": f32(-3e38, 3e38, 0.5, 0)}, engine=engine, verify=False)
    assert result.buffers["x"].tolist() == [kind.low, kind.high, 50, 0]


def test_smaller_types_that_float32_holds_exactly_are_taken() -> None:
    for dtype in (np.float16, np.int8, np.uint8, np.int16, np.bool_):
        assert through({"in": np.ones(4, dtype)}).outputs["out"].tolist() == [1, 1, 1, 1]
    assert through({"in": [1, 0.5, 2, 3]}).outputs["out"].tolist() == [1, 0, 2, 3]


@pytest.mark.parametrize(
    ("inputs", "message", "hint"),
    [
        ({"inn": f32(1, 2, 3, 4)}, 'the program has no input "inn"', 'did you mean "in"?'),
        ({"zebra": f32(1, 2, 3, 4)}, 'the program has no input "zebra"', 'known: "in"'),
        ({}, 'input "in" is missing', "float32 array of shape [4]"),
        ({"in": f32(1, 2, 3)}, "its shape is [3], the program takes [4]", None),
        ({"in": np.ones(4)}, "its type is float64", "astype(numpy.float32)"),
        ({"in": np.ones(4, np.int64)}, "its type is int64", "astype(numpy.float32)"),
        ({"in": np.ones(4, np.complex64)}, "its type is complex64", None),
        ({"in": np.array(["a", "b", "c", "d"])}, "its type is <U1", None),
        ({"in": f32(1, 2, np.nan, 4)}, "its value at [2] is nan", None),
        ({"in": f32(1, 2, 3, -np.inf)}, "its value at [3] is -inf", None),
        ({"in": ["a", 1, 2, 3]}, "is no array of numbers", None),
        ({"in": [[1], [1, 2]]}, "is no array of numbers", None),
    ],
)
def test_inputs_that_do_not_fit_are_named(inputs: dict[str, Any], message: str, hint: str | None) -> None:
    with pytest.raises(InputError) as caught:
        through(inputs)
    assert message in caught.value.message
    assert caught.value.as_dicts()[0]["message"] == caught.value.message
    if hint:
        assert hint in str(caught.value)


def test_integers_without_a_scale_pass_unchanged_and_take_no_fraction() -> None:
    assert through({"in": f32(1, 2, 3, 4)}, scale=None).outputs["out"].tolist() == [1, 2, 3, 4]
    with pytest.raises(InputError, match="has a fraction"):
        through({"in": f32(1, 2.5, 3, 4)}, scale=None)


def test_integers_are_the_codes_themselves_on_both_doors() -> None:
    """Whatever scale and zero say; what the buffer's type does not hold saturates."""
    program = convert(IntType(True, 6), 0.25, 3)
    buffers = {n: replace(b, onnx_type="i8") if b.tensor else b for n, b in program.buffers.items()}
    program = replace(program, buffers=buffers)
    (shape,) = {b.onnx_shape for b in program.inputs}
    x = np.array([-128, -32, 5, 127], np.int8).reshape(shape)
    result = run(program, {"in": x}, engine="step")
    assert result.buffers["x"].ravel().tolist() == [-32, -32, 5, 31]
    assert result.outputs["out"].ravel().tolist() == [-32, -32, 5, 31]
    assert result.outputs["out"].dtype == np.int8
    for wrong, words in (
        (x.astype(np.float32), "the program takes int8"),
        (x.reshape(-1, 1), "its shape is"),
    ):
        with pytest.raises(InputError, match=words):
            run(program, {"in": wrong}, engine="step")
