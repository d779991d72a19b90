"""Arguments of the Python API that are none of what they should be: one error in words, not a traceback."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest

import redc
import runtime
from redc.errors import UserError
from runtime.errors import InputError

NET = onnx.parser.parse_model(
    """<ir_version: 8, opset_import: ["" : 13]>
net (float[1, 1, H, W] x) => (float[1, 1, P, Q] y) <float[1, 1, 2, 2] w = {1, 2, 3, -4}> {
  y = ConvTranspose<strides = [2, 2]>(x, w)
}"""
)
X = np.ones((1, 1, 2, 2), np.float32)


def compiled(**options: Any) -> Any:
    return redc.compile(NET, **{"shapes": {"x": (1, 1, 2, 2)}, "calibrate": {"x": X}, **options})


WRONG: dict[str, tuple[Callable[[], object], str]] = {
    "samples of text": (
        lambda: compiled(calibrate={"x": np.array(["a"])}),
        "samples of 'x' are <U1",
    ),
    "bits that are text": (lambda: compiled(vector_bits="8"), "--vector-bits: '8' is no whole number"),
    "bits that are real": (lambda: compiled(weight_bits=8.0), "--weight-bits: 8.0 is no whole number"),
    "a fold that is a truth": (lambda: compiled(fold=True), "--fold: True is no whole number"),
    "a mapping that is a list": (lambda: compiled(mapping=["packed"]), "unknown mapping"),
    "a model that is a number": (lambda: redc.compile(5), "a model is a path, a name or a ModelProto"),  # type: ignore[arg-type]  # the point of it
    "shapes that are a tuple": (lambda: compiled(shapes=(1, 1, 2, 2)), "shapes: it is a tuple"),
    "a shape that is text": (lambda: compiled(shapes={"x": "1,1,2,2"}), "the shape of 'x' is '1,1,2,2'"),
    "a shape of reals": (lambda: compiled(shapes={"x": (1, 1, 2.5, 2)}), "the shape of 'x' is"),
    "samples that are an array": (lambda: compiled(calibrate=X), "calibrate: it is a ndarray"),
    "samples that are lists": (lambda: compiled(calibrate={"x": X.tolist()}), "samples of 'x' are float64"),
    "bindings that are a number": (lambda: compiled(bind=5), "bind: it is a int"),
    "inputs that are an array": (lambda: redc.diff(NET, inputs=X), "inputs: it is a ndarray"),  # type: ignore[arg-type]  # as above
    "a negative seed of inputs": (lambda: redc.diff(NET, input_seed=-1), "-1 is not a whole number"),
    "no trials": (lambda: redc.montecarlo(NET, inputs={"x": X}, trials=0), "no trials are asked for"),
    "half a trial": (lambda: redc.montecarlo(NET, inputs={"x": X}, trials=0.5), "0.5 is not a whole number"),  # type: ignore[arg-type]  # as above
    "seeds beyond 64 bits": (
        lambda: redc.montecarlo(NET, inputs={"x": X}, trials=5, seed=2**64 - 3),
        "5 seeds from 18446744073709551613 on go beyond 64 bits",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_the_compiler_says_which_argument_is_wrong(name: str) -> None:
    call, message = WRONG[name]
    with pytest.raises(UserError) as caught:
        call()
    assert message in str(caught.value)


def test_sizes_of_numpy_are_sizes() -> None:
    assert compiled(shapes={"x": [1, 1, np.int64(2), 2]})


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (("net.red", {"x": X}), {}, "it is a str, not a Program"),
        ((None, X), {}, "inputs are a ndarray, not arrays by name"),
        ((None, {5: X}), {}, "has no input"),
        ((None, {"x": X}), {"seed": 1 << 64}, "is not a whole number from 0 to 2^64 - 1"),
        ((None, {"x": X}), {"seed": "7"}, "is not a whole number from 0 to 2^64 - 1"),
    ],
)
def test_the_runtime_says_which_argument_is_wrong(
    arguments: tuple[Any, Any], options: dict[str, Any], message: str
) -> None:
    program, inputs = arguments
    with pytest.raises(InputError, match=message.replace("^", r"\^")):
        runtime.run(program or compiled(), inputs, **options)
