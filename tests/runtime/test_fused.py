"""Results in one pass: the same codes as instruction by instruction, for every program."""

from __future__ import annotations

import dataclasses
import functools
import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st

import isa
from isa.printer import to_text
from isa.program import Program
from runtime import fused_forms, fused_words, load, run
from tests.runtime.strategies import programs, random_inputs


@pytest.fixture(scope="module", autouse=True)
def kernels_at_once() -> Iterator[None]:
    """Every form gets its kernel at once, and vectors are short enough for small programs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fused_forms, "WORTH", -1)
        patch.setattr(fused_words, "LANES", 2)
        yield


@settings(max_examples=100)
@given(program=programs(), seed=st.integers(0, 2**32 - 1))
def test_one_pass_writes_what_step_writes(program: Program, seed: int) -> None:
    note(to_text(program))
    _equal(program, random_inputs(program, seed))


WIDE = """\
.isa    1
.target "red-65nm"
.input  %x i8[5, 5, 37] scale 1.0 zero 3 onnx "x" f32[37, 5, 5] axis 0
.buffer %deep i18[5, 5, 37]
.buffer %sums i32[37]
.buffer %wide i64[5, 5, 37]
.output %y u8[5, 5, 37] scale 1.0 zero 7 onnx "y" f32[37, 5, 5] axis 0
.output %z i16[5, 5, 37] scale 1.0 zero 0 onnx "z" f32[37, 5, 5] axis 0
.data   "wide.safetensors"
.xbar   @d[3] 37 x 37 groups 37 i8 in i9 data "cells" place 0

.layer  "depthwise"
loop q0, 0, 5
  loop q1, 0, 5
    drive @d[0], %x?[q0, q1 - 1]
    drive @d[1], %x[q0, q1]
    drive @d[2], %x?[q0 + 1, q1]
    fire @d
    sum v0, @d[0], @d[1], @d[2], "bias"
    store %deep[q0, q1], v0
    quant v1, v0, "scale", low=0, high=255, zero=7, slope=0.25
    store %y[q0, q1], v1
  end
end

.layer  "wide"
clear %sums
loop q0, 0, 5
  loop q1, 0, 5
    load v0, %deep[q0, q1]
    mul v1, v0, "large"
    sum v2, v1, "bias"
    store %wide[q0, q1], v2
    accum %sums[], v0
  end
end

.layer  "tables"
loop q0, 0, 5
  loop q1, 0, 5
    load v0, %x[q0, q1]
    lookup v0, v0, "square", low=-131
    load v2, %deep[q0, q1]
    div v3, v2, v0, fraction=9
    div v4, v0, "least"
    sum v0, v0, v3, v4
    load v1, %sums[]
    min v1, v1, "bound"
    max v1, v1, "least"
    lookup v1, v1, "lines", low=-200000, shift=14, fraction=3
    max v0, v0, v1, "bias"
    quant v0, v0, "one", low=-32768, high=32767
    store %z[q0, q1], v0
  end
end
"""


def wide_program() -> Program:
    rng = np.random.default_rng(5)
    data = {
        "cells": rng.integers(-127, 128, (3, 37, 1)).astype(np.int8),
        "bias": rng.integers(-900, 900, 37).astype(np.int32),
        "scale": rng.random(37, np.float32) / 64,
        "one": np.ones(1, np.float32),
        "large": rng.integers(-(2**40), 2**40, 37),
        "square": (np.arange(-131, 125) ** 2).astype(np.int32),
        "bound": np.array([200000]),
        "least": np.array([-200000]),
        "lines": rng.integers(-9999, 9999, 27),
    }
    program = dataclasses.replace(isa.parse(WIDE), data=data)
    isa.verify(program)
    return program


@pytest.mark.parametrize("lanes", [2, 8, 16])
def test_rows_that_vectors_do_not_divide(lanes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused_words, "LANES", lanes)
    program = wide_program()
    _equal(program, {"x": np.random.default_rng(1).integers(-140, 130, (37, 5, 5)).astype(np.float32)})


def test_kernels_are_compiled_where_they_have_paid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused_forms, "WORTH", 3 * 5 * 5 * 37)
    monkeypatch.setattr(fused_forms, "BEGIN", 0)
    compiled: list[fused_forms.Form] = []
    monkeypatch.setattr(fused_forms, "_seen", Counter())
    monkeypatch.setattr(fused_forms, "_compiled", lambda form: compiled.append(form))
    loaded = load(wide_program())
    inputs = {"x": np.ones((37, 5, 5), np.float32)}
    for _ in range(4):  # the first run is not even counted
        loaded.run(inputs)
    assert compiled == []
    loaded.run(inputs)
    assert compiled


def test_without_llvmlite_numpy_does_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "llvmlite", None)
    monkeypatch.delitem(sys.modules, "runtime.fused_kernel", raising=False)
    monkeypatch.setattr(fused_forms, "_compiled", functools.cache(fused_forms._compiled.__wrapped__))
    _equal(wide_program(), {"x": np.ones((37, 5, 5), np.float32)})


def _equal(program: Program, inputs: dict[str, np.ndarray[Any, Any]]) -> None:
    slow = run(program, inputs, engine="step")
    loaded = load(program)
    for _ in range(2):  # layer by layer, then on a tape
        fast = loaded.run(inputs)
        for name, codes in slow.buffers.items():
            np.testing.assert_array_equal(fast.buffers[name], codes, err_msg=f"buffer %{name}")
        assert fast.counters == slow.counters
        assert fast.total == slow.total
