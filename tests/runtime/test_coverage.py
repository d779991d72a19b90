"""A run says where its scales do not cover the values it meets, and is silent where they do."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

import isa
import runtime
from isa.program import Array, Buffer, IntType
from runtime.__main__ import main
from runtime.coverage import clipped, clipped_inputs, input_notes
from runtime.result import EngineName

LAYER = """\
.isa    1
.target "by hand" rows 4 columns 16 arrays 8 cell 4 encoding differential pair shared dac 1 adc 8 share 4 \
adders 1 vector 1 read 8 write 8
.input  %x i8[80, 2] scale 0.5 zero 0 onnx "x" f32[80, 2] axis 1
.output %y u8[80, 2] scale 0.5 zero 0 onnx "y" f32[80, 2] axis 1
.const  "weight" i4[2, 2] = 1, 0, 0, 1
.const  "scale" f32[1] = 1.0
.xbar   @k 2 x 2 i4 in i8 data "weight" place 0

.layer  "copy"
loop q, 0, 80
  drive @k, %x[q]
  fire @k
  sum v0, @k
  quant v0, v0, "scale", low=0, high=255
  store %y[q], v0
end
"""


def inputs(largest: float) -> Array:
    """160 values from 0 to `largest`, evenly."""
    return np.linspace(0, largest, 160, dtype=np.float32).reshape(80, 2)


def test_what_is_clipped_is_what_no_code_stands_for() -> None:
    buffer = Buffer("x", "input", IntType(True, 8), (5,), scale=0.5, zero=-8)
    values = np.array([-60.25, -60.0, 0.0, 67.7, 67.8], np.float32)  # codes -128.5, -128, -8, 127.4, 127.6
    assert clipped(buffer, values) == 1 / 5
    assert clipped(buffer, values, np.array([1, 1, 1, 1, 2])) == 0
    assert clipped(buffer, values[:0]) is None


@pytest.mark.parametrize(
    ("largest", "share", "told"),
    [
        (63.5, 0, None),
        (127.0, 0.5, "50.0 % of its values lie outside of what the program's scale covers, -64 to 63.5"),
        (2.0, 0, "its values span 5 of 256 codes: the program's scale is coarse for them"),
        (0.0, 0, None),
    ],
)
def test_a_run_says_which_inputs_the_scales_do_not_fit(
    largest: float, share: float, told: str | None
) -> None:
    for engine in get_args(EngineName):
        result = runtime.run(isa.parse(LAYER), {"x": inputs(largest)}, engine=engine)
        assert result.clipped["x"] == pytest.approx(share, abs=0.01)
        notes = [note for note in result.notes if note.startswith('input "x": ')]
        assert len(notes) == (told is not None)
        assert all(str(told) in note and "give it a scale" in note for note in notes)
        compiled = isa.parse(LAYER.replace('"copy"', '"copy" nodes "copy"'))
        again = runtime.run(compiled, {"x": inputs(largest)}, engine=engine).notes
        assert len(again) == len(notes)
        assert all(str(told) in note and "--calibrate" in note for note in again)


def test_layers_that_saturate_are_told_with_the_share(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("p.red").write_text(LAYER.replace("= 1.0", "= 2.5"))
    np.savez("in.npz", x=inputs(63.5))
    assert main(["p.red", "--input", "in.npz"]) == 0
    told = "note: 1 of 1 crossbar layers saturate: more than 5 % of their values are the largest or smallest"
    assert told in capsys.readouterr().out
    assert main(["p.red", "--input", "in.npz", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["inputs"] == [{"name": "x", "clipped": 0.0}]
    assert document["layers"][0]["at_limits"] == pytest.approx(0.2, abs=0.02)
    Path("p.red").write_text(LAYER)
    assert main(["p.red", "--input", "in.npz"]) == 0  # a fifth are 0, where Relu ends
    assert "note:" not in capsys.readouterr().out


def test_the_span_of_the_largest_floats_is_a_number() -> None:
    """Their difference is beyond float32: no warning of numpy, and a share of clipped values."""
    program = isa.parse(LAYER)
    values = np.full((80, 2), 3e38, np.float32)
    values[0] = -3e38
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        shares = clipped_inputs(program, {"x": values})
        (note,) = input_notes(program, {"x": values}, shares)
    assert shares == {"x": 1.0}
    assert "100.0 % of its values" in note
