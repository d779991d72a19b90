"""Stores to parts of a vector: side by side at once, over one another in program order."""

from __future__ import annotations

import numpy as np
import pytest

import isa
from runtime import run

TEXT = """\
.isa 1
.target "red-65nm"
.input %x i8[3, 2] scale 1.0 zero 0 onnx "x" f32[2, 3] axis 0
.output %y i8[3, 4] scale 1.0 zero 0 onnx "y" f32[4, 3] axis 0
.layer "l"
loop q, 0, 3
  load v0, %x[q]
  load v1, %x[q, 1:2]
  store %y[q, 0:2], v0
  store %y[q, FIRST], v0
  store %y[q, 3:4], v1
end
"""


@pytest.mark.parametrize(
    ("first", "notes", "expected"),
    [("2:4", 1, [0, 1, 0, 1]), ("1:3", 1, [0, 0, 1, 1]), ("0:2", 0, [0, 1, None, 1])],
)
def test_parts_over_one_another_keep_the_order_of_the_program(
    first: str, notes: int, expected: list[int | None]
) -> None:
    program = isa.parse(TEXT.replace("FIRST", first))
    x = np.array([[1, 2, 3], [40, 50, 60]], np.float32)
    step, fast = (run(program, {"x": x}, engine=engine) for engine in ("step", "fast"))
    wanted = np.stack([np.zeros(3) if channel is None else x[channel] for channel in expected])
    np.testing.assert_array_equal(step.outputs["y"], wanted)
    np.testing.assert_array_equal(fast.outputs["y"], wanted)
    assert sum("overlapping parts of %y" in note for note in fast.notes) == notes
    assert fast.counters == step.counters
