"""Parser and printer are each other's inverse, and `format_text` keeps what a person wrote."""

from __future__ import annotations

import re
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

import isa
from isa.program import Instruction, Program
from tests.isa.strategies import programs

HEADER = '.isa 1\n.target "red-65nm"\n'


@settings(max_examples=150, deadline=None)
@given(programs())
def test_what_is_printed_parses_to_the_same_program(program: Program) -> None:
    assert isa.parse(isa.to_text(program)) == program


@settings(max_examples=80, deadline=None)
@given(programs())
def test_printed_text_is_canonical(program: Program) -> None:
    text = isa.to_text(program)
    assert isa.format_text(text) == text


@settings(max_examples=80, deadline=None)
@given(programs(), st.randoms(use_true_random=False))
def test_fmt_of_a_roughed_up_text_is_the_printed_program(program: Program, random: Random) -> None:
    text = isa.to_text(program)
    rough = "\n".join(_roughen(line, random) for line in text.split("\n"))
    assert isa.parse(rough) == program
    assert isa.format_text(rough) == text


def _roughen(line: str, random: Random) -> str:
    """Spaces of another number wherever the language has spaces, outside of strings."""
    parts = re.split(r'("(?:[^"\\]|\\.)*")', line)
    for position in range(0, len(parts), 2):
        parts[position] = re.sub(r"[ ]+", lambda _: random.choice([" ", "  ", "\t"]), parts[position])
        parts[position] = re.sub(r",", lambda _: random.choice([",", " ,"]), parts[position])
    return random.choice(["", "  ", "\t"]) + "".join(parts).strip(" \t") + random.choice(["", " ", "\r"])


COMMENTED = """; a program ; with comments

.isa 1
   .target "red-65nm" adc 6  ;the target
.input %x i8[1,2]   scale 1 zero 0 onnx "a;b" f32[ 1, 2 ] axis 1
.layer "l;1"
; before the loop
loop n,0,1;first
;inside
      load v0 , %x [n]

  end
;  the end"""

FORMATTED = """; a program ; with comments

.isa    1
.target "red-65nm" adc 6                        ; the target
.input  %x i8[1, 2] scale 1.0 zero 0 onnx "a;b" f32[1, 2] axis 1
.layer  "l;1"
; before the loop
loop n, 0, 1                                    ; first
  ; inside
  load v0, %x[n]

end
;  the end
"""


def test_fmt_keeps_comments_and_blank_lines() -> None:
    assert isa.format_text(COMMENTED) == FORMATTED
    assert isa.format_text(FORMATTED) == FORMATTED


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text(st.characters(exclude_characters="\n\r", exclude_categories=["Cs"]), max_size=12)))
def test_fmt_is_idempotent_whatever_the_comments(comments: list[str]) -> None:
    lines = FORMATTED.split("\n")
    text = "\n".join(f"{line.split(';')[0]} ;{c}" for line, c in zip(lines[2:4], comments, strict=False))
    text = "\n".join([text or HEADER, *(f";{c}" for c in comments)])
    if ".target" not in text:
        text = HEADER + "\n".join(f";{c}" for c in comments)
    once = isa.format_text(text)
    assert isa.format_text(once) == once


def test_the_printer_writes_comments_behind_their_nodes() -> None:
    program = isa.parse(HEADER + '.layer "a"\nloop q, 0, 2\nfire @k\nend')
    loop = program.layers[0].body[0]
    fire = loop.body[0]  # type: ignore[union-attr]
    text = isa.to_text(program, {id(loop): "two rounds", id(fire): "a round\nof two"})
    assert "loop q, 0, 2                                    ; two rounds\n" in text
    assert "  fire @k                                       ; a round of two\n" in text
    assert isa.parse(text) == program


def test_attributes_at_their_default_are_not_kept() -> None:
    text = HEADER + '.layer "a"\nquant v0, v1, "s", zero=0, low=0, high=9, slope=1'
    (instruction,) = isa.parse(text).layers[0].body
    assert isinstance(instruction, Instruction)
    assert instruction.attributes == (("high", 9), ("low", 0))
    assert 'quant v0, v1, "s", low=0, high=9\n' in isa.to_text(isa.parse(text))


def test_spans_point_at_the_operand() -> None:
    text = HEADER + '.layer "a"\n  drive @k[1, 2].3, %x?[2*q + 1, (o - 3)/2]'
    (instruction,) = isa.parse(text).layers[0].body
    assert isinstance(instruction, Instruction)
    line = text.split("\n")[3]
    found = [line[s.column - 1 : s.end - 1] for s in instruction.operand_spans]
    assert found == ["@k[1, 2].3", "%x?[2*q + 1, (o - 3)/2]"]
    assert line[instruction.span.column - 1 : instruction.span.end - 1] == line.strip()
