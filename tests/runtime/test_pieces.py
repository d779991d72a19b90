"""Nests too large to be planned at once are planned and run in pieces."""

from __future__ import annotations

import tracemalloc
from typing import Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, note
from hypothesis import strategies as st

import isa
from isa.printer import to_text
from isa.program import Program
from runtime import load, run
from tests.runtime.devices import device
from tests.runtime.strategies import programs, random_inputs

MANY = """
.isa    1
.target "red-65nm"
.input  %x i8[1, 2000, 1, 1] scale 0.5 zero 0 onnx "x" f32[1, 1, 2000, 1] axis 1
.output %y i8[1, 40, 40, 1] scale 0.5 zero 0 onnx "y" f32[1, 1, 40, 40] axis 1
.const  "scale" f32[1] = 1.0

.layer  "copy" op "Copy"
loop q0, 0, 2000
  loop q1, 0, 1000
    load v0, %x[0, q0, 0]
    quant v0, v0, "scale", low=-128, high=127
    store %y?[0, q0 - 1960, q1 - 960], v0
  end
end
"""


@pytest.mark.parametrize("fidelity", ["exact", "adc", "analog"])
@given(program=programs(), seed=st.integers(0, 2**32 - 1), size=st.integers(1, 2000))
def test_pieces_give_what_the_whole_nest_gives(fidelity: str, program: Program, seed: int, size: int) -> None:
    note(to_text(program))
    inputs = random_inputs(program, seed)
    options: dict[str, Any] = {"fidelity": fidelity, "observe": True, "seed": seed}
    if fidelity == "analog":
        options["device"] = device(program.target.cell, normal=0.3, read_noise=2.0)
    slow = run(program, inputs, engine="step", **options)
    with mock.patch("runtime.pieces.PLAN_BYTES", size):
        fast = run(program, inputs, engine="fast", **options)
    assert fast.losses == slow.losses
    for name, codes in slow.buffers.items():
        np.testing.assert_array_equal(fast.buffers[name], codes, err_msg=f"buffer %{name}")
    for name, sums in slow.accumulators.items():
        np.testing.assert_array_equal(fast.accumulators[name], sums, err_msg=f"accumulators of %{name}")


def test_millions_of_iterations_take_the_memory_of_a_piece() -> None:
    program = isa.parse(MANY)
    inputs = {"x": np.arange(2000, dtype=np.float32).reshape(1, 1, 2000, 1) % 50}
    with mock.patch("runtime.pieces.PLAN_BYTES", 1 << 22):
        loaded = load(program)
        tracemalloc.start()
        result = loaded.run(inputs)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    np.testing.assert_array_equal(result.outputs["y"][0, 0, :, 0], inputs["x"][0, 0, 1960:, 0])
    assert peak < 8 << 22
