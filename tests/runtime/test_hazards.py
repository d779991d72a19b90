"""A buffer that a window wrote is waited for; by hand, and in closed form over loops."""

from __future__ import annotations

import isa
from runtime import run
from runtime.count import count
from runtime.hazards import hazards, reads_and_writes

HEAD = """
.isa    1
.target "t" rows any columns any arrays any cell 4 encoding differential pair shared dac 1 adc 8 share 4 adders 4 vector 4 read 8 write 8
.input  %x i4[8, 1] scale 1.0 zero 0 onnx "x" f32[1, 8] axis 0
.buffer %h i4[9, 1] scale 1.0 zero 0
.output %y i4[8, 1] scale 1.0 zero 0 onnx "y" f32[1, 8] axis 0
.const  "w" i4[2, 1] = 1, 1
.const  "one" f32[1] = 1.0
.xbar   @k 2*1 x 1 i4 in i4 data "w" place 0
.layer  "before"
clear %h
.layer  "l"
"""  # noqa: E501
RECURRENCE = """
loop t, 0, 8
  drive @k, %x[t]
  drive @k.1, %h[{read}]
  fire @k
  sum v0, @k
  quant v0, v0, "one", low=-8, high=7
  store %h[{write}], v0
  store %y[t], v0
end
"""
TWO_LOOPS = """
loop a, 0, 8
  load v0, %x[a]
  store %h[a], v0
end
loop b, 0, 8
  load v0, %h[b]
  store %y[b], v0
end
"""


def cycles(text: str) -> int:
    """Of the last layer; both engines and the closed form agree on it."""
    program = isa.parse(HEAD + text)
    isa.verify(program)
    counted = count(program)
    for engine in ("step", "fast"):
        result = run(program, {"x": [[1, 2, 3, -4, 1, 1, 1, 1]]}, engine=engine)  # type: ignore[arg-type]
        assert list(result.counters) == counted
    return counted[-1][1].cycles


def test_a_recurrence_does_not_overlap_its_rounds() -> None:
    """h[t + 1] = x[t] + h[t]: the next drive waits for the fire of 4 planes x 4 columns and for the
    stores, 2 x 4 bits at 8 a cycle; then 1 cycle to latch.  The first round waits for nothing."""
    assert cycles(RECURRENCE.format(read="t", write="t + 1")) == 8 * (1 + 16 + 1)


def test_rounds_that_read_another_buffer_overlap() -> None:
    independent = RECURRENCE.format(read="t", write="t").replace("%h[t], v0", "%y[t], v0")
    assert cycles(independent) == 1 + 7 * 16 + (16 + 1)


def test_a_second_loop_waits_once_for_the_first() -> None:
    """8 x 4 bits each way at 8 a cycle: 4 cycles a loop."""
    assert cycles(TWO_LOOPS) == 4 + 4


def test_a_read_before_the_write_waits_from_the_second_round_on() -> None:
    """The window of iteration t writes %h, which iteration t + 1 reads: 1 cycle each."""
    walk = "loop t, 0, 8\n  load v0, %h[t]\n  store %h[t + 1], v0\nend\nload v1, %x[0]\nstore %y[0], v1\n"
    assert cycles(walk) == 8


def test_accumulators_do_not_wait_for_each_other() -> None:
    program = isa.load("tests/golden/padding_free.red")
    assert hazards(program.layers[0]) == {"acc"}
    (clear,) = [n for n in program.layers[0].body if getattr(n, "mnemonic", "") == "clear"]
    assert reads_and_writes(clear) == (frozenset(), {"acc"})  # type: ignore[arg-type]
