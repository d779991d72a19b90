"""`host`: parts of a network that onnxruntime runs, called from a program."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence

import numpy as np
import onnx.parser
import pytest

import isa
from isa.program import Program
from runtime import InputError, load, run
from runtime.count import count
from runtime.counters import total

HEADER = '.isa 1\n.target "red-65nm"\n'
BOTH = pytest.mark.parametrize("engine", ["step", "fast"])

MIXED = """
.input  %x i8[1, 2, 3] scale 0.5 zero 1 onnx "x" f32[1, 3, 2] axis 1
.input  %n raw[2] onnx "n" i64[2]
.buffer %h i8[1, 2, 3] scale 0.25 zero 0 onnx "h" f32[1, 3, 2] axis 1
.output %m raw[] onnx "m" i64[]
.output %y i8[1, 2, 3] scale 0.25 zero 0 onnx "y" f32[1, 3, 2] axis 1
.layer "soft" op "host" nodes "s", "t"
host "part", %x, %n, %h, %m, inputs=2
.layer "copy"
loop q, 0, 2
  load v0, %h[0, q]
  store %y[0, q], v0
end
"""
PART = """<ir_version: 8, opset_import: ["": 13]>
g (float[1, 3, 2] x, int64[2] n) => (float[1, 3, 2] h, int64 m) {
  h = Neg(x)
  m = ReduceSum<keepdims = 0>(n)
}"""


def program(body: str, parts: Sequence[str] = (PART,)) -> Program:
    """`body` with its host parts "part", "part1", ... as ONNX text."""
    names = ["part", "part1"]
    data = {
        name: np.frombuffer(onnx.parser.parse_model(text).SerializeToString(), np.uint8)
        for name, text in zip(names, parts, strict=False)
    }
    found = dataclasses.replace(isa.parse(HEADER + body), data=data)
    isa.verify(found)
    return found


@BOTH
def test_a_host_reads_real_values_and_raw_tensors_and_writes_codes(engine: str) -> None:
    x = np.array([[[0.5, 1], [-1, 2], [3, -4]]], np.float32)
    result = run(program(MIXED), {"x": x, "n": np.array([4, 5])}, engine=engine)
    assert np.array_equal(result.outputs["y"], -x)
    assert result.outputs["m"].dtype == np.int64
    assert result.outputs["m"] == 9
    assert set(result.host_seconds) == {"soft"}
    assert result.host_seconds["soft"] > 0


@BOTH
def test_the_host_is_outside_of_the_clock_but_counted(engine: str) -> None:
    made = program(MIXED)
    inputs = {"x": np.zeros((1, 3, 2), np.float32), "n": np.array([4, 5])}
    counters = dict(run(made, inputs, engine=engine).counters)
    assert counters == dict(count(made))
    assert counters["soft"].cycles == 0
    assert counters["soft"].host_calls == 1
    assert counters["soft"].host_bits == 6 * 8 + 2 * 64 + 6 * 8 + 64
    assert total(list(counters.items())).host_calls == 1


def test_a_raw_input_keeps_its_type() -> None:
    loaded = load(program(MIXED))
    x = np.zeros((1, 3, 2), np.float32)
    with pytest.raises(InputError, match="its type is float64, the program takes int64"):
        loaded.run({"x": x, "n": np.array([1.5, 2.5])})
    with pytest.raises(InputError, match=r"its shape is \[3\], the program takes \[2\]"):
        loaded.run({"x": x, "n": np.array([1, 2, 3])})
    assert loaded.run({"x": x, "n": np.array([1, 2], np.int8)}).outputs["m"] == 3


DYNAMIC = """
.input  %n raw[3] onnx "n" f32[3]
.output %y raw[1, 2] onnx "y" i64[1, 2]
.layer "l"
host "part", %n, %y, inputs=1
"""
NONZERO = '<ir_version: 8, opset_import: ["": 13]> g (float[3] n) => (int64[1, k] y) { y = NonZero(n) }'


@BOTH
def test_a_shape_that_turns_out_different_is_named(engine: str) -> None:
    made = program(DYNAMIC, [NONZERO])
    assert np.array_equal(
        run(made, {"n": np.array([1, 0, 2], np.float32)}, engine=engine).outputs["y"], [[0, 2]]
    )
    with pytest.raises(InputError, match=r"tensor 'y': it is int64\[1, 3\] for these inputs") as caught:
        run(made, {"n": np.ones(3, np.float32)}, engine=engine)
    assert caught.value.hint


def test_a_part_that_is_no_model_is_refused() -> None:
    made = dataclasses.replace(program(DYNAMIC, [NONZERO]), data={"part": np.zeros(9, np.uint8)})
    with pytest.raises(InputError, match="host part 'part': onnxruntime refuses it"):
        run(made, {"n": np.ones(3, np.float32)})


def test_a_refused_part_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    made = program(DYNAMIC, [NONZERO])
    damaged = made.constant("part").tobytes().replace(b"NonZero", b"Non\xc8ero")
    made = dataclasses.replace(made, data={"part": np.frombuffer(damaged, np.uint8)})
    with pytest.raises(InputError, match="host part 'part': onnxruntime refuses it"):
        run(made, {"n": np.ones(3, np.float32)})
    assert capfd.readouterr() == ("", "")


def test_a_part_of_other_ports_is_refused() -> None:
    with pytest.raises(InputError, match="it takes 2 tensors and gives 2, the instruction has 1 and 1"):
        run(program(DYNAMIC, [PART]), {"n": np.ones(3, np.float32)})


def test_without_onnxruntime_the_error_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    made = program(DYNAMIC, [NONZERO])
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(InputError, match="onnxruntime, which is not installed"):
        run(made, {"n": np.ones(3, np.float32)})
    assert total(count(made)).host_calls == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("host \"part\", %n, %y, inputs=1", 'host "prat", %n, %y, inputs=1'), "no constant is named 'prat'"),
        (("inputs=1", "inputs=2"), "inputs=2 of 2 buffers leave nothing to write"),
        (("%y, inputs=1", "%n, inputs=1"), "%n is an input; it is not written"),
        (("%y, inputs=1", "%y, %y, inputs=1"), "%y is written twice"),
        (("host \"part\", %n, %y", "host \"part\", %y, %y"), "%y is read before anything is written to it"),
        (("raw[1, 2]", "raw[2, 2]"), "the tensor is [1, 2], the buffer [2, 2]"),
        (('host "part", %n, %y, inputs=1', "clear %y"), "%y is a raw buffer; only `host` touches it"),
        (('host "part", %n, %y, inputs=1', "load v0, %n[]"), "%n is a raw buffer; only `host` touches it"),
        (("host", "loop q, 0, 2\nhost"), "host takes whole buffers and stands outside of loops"),
    ],
)  # fmt: skip
def test_the_verifier_keeps_hosts_and_raw_buffers_apart(change: tuple[str, str], message: str) -> None:
    body = DYNAMIC.replace(*change)
    body += "end\n" if "loop" in body else ""
    with pytest.raises(isa.ProgramError) as caught:
        program(body, [NONZERO])
    assert message in [d.message.partition(";  ")[0] for d in caught.value.diagnostics] or any(
        message in d.message for d in caught.value.diagnostics
    )


def test_raw_buffers_print_and_parse() -> None:
    made = isa.parse(HEADER + MIXED)
    assert isa.parse(isa.to_text(made)) == made
    assert '.output %m raw[] onnx "m" i64[]' in isa.to_text(made)
