"""Texts made to hurt: each is answered by errors with a place, in bounded time."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import isa
from isa.parser import MAX_CHARACTERS

HEADER = '.isa 1\n.target "red-65nm"\n.layer "l"\n'


def errors(text: str) -> list[str]:
    """What is wrong with a text, as `line:column message`."""
    with pytest.raises(isa.ProgramError) as caught:
        isa.verify(isa.parse(text))
    return [f"{d.span.line}:{d.span.column} {d.message}" for d in caught.value.diagnostics]


def test_every_syntax_error_is_reported() -> None:
    text = HEADER + 'fire @k,\nsum v0 v1\nfire @k\nquant v0, "s\n)\ndrive @k, %x[(q]'
    assert errors(text) == [
        "4:9 expected a buffer, a crossbar, a name, a number, a register or a string, "
        "found the end of the line",
        "5:8 expected `,` or the end of the line, found v1",
        '7:11 expected a buffer, a crossbar, a name, a number, a register or a string, found "',
        "8:1 expected a directive, a name or the end of the line, found )",
        "9:16 expected `)`, found ]",
    ]


def test_the_rendered_error_has_line_caret_and_hint() -> None:
    with pytest.raises(isa.ProgramError) as caught:
        isa.verify(isa.parse(HEADER + "\tfrie @k", "p.red"))
    assert str(caught.value) == (
        "p.red:4:2: error: unknown instruction frie\n  \tfrie @k\n  \t^^^^\nhint: did you mean fire?"
    )
    assert caught.value.as_dicts() == [
        {
            "path": "p.red",
            "line": 4,
            "column": 2,
            "message": "unknown instruction frie",
            "hint": "did you mean fire?",
            "source": "\tfrie @k",
        }
    ]


def test_many_errors_are_counted_not_printed() -> None:
    with pytest.raises(isa.ProgramError) as caught:
        isa.verify(isa.parse(HEADER + "frie @k\n" * 30))
    assert len(caught.value.diagnostics) == 30
    assert str(caught.value).endswith("... and 10 more errors")


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "0:0 this program is empty"),
        ("; only a comment", "0:0 this program is empty"),
        (".isa 7\nwhatever $", "1:6 .isa version 7 is not supported"),
        ('.target "red-65nm"\n.isa 1', "1:1 a program starts with its version"),
        (".isa 1\n", "0:0 this program has no target"),
        ('.isa 1\n.target "red-65mn"', "2:19 no target is named 'red-65mn'"),
        ('.isa 1\n.target "red-65nm" adc 0', "2:24 expected a number from 1 to 64, found 0"),
        ('.isa 1\n.target "red-65nm" adcs 4', "2:20 unknown field adcs"),
        ('.isa 1\n.target "red-65nm"\n.target "isaac"', "3:1 a second .target"),
        (HEADER + "loop q, 0, 4", "4:1 this loop has no `end`"),
        (HEADER + "end", "4:1 this `end` ends no loop"),
        (HEADER + "loop v1, 0, 4\nend", "4:1 v1 is the name of a register, not of a loop variable"),
        (HEADER + "loop q, 0\nend", "4:1 expected a loop variable and two integers"),
        (HEADER + '.const "a" i8[1] = 1', "4:1 .const stands before the first .layer"),
        ('.isa 1\n.target "red-65nm"\nfire @k', "3:1 code stands in a layer"),
        ('.isa 1\n.target "red-65nm"\n.buffer %b i0[4]', "3:12 i0 is no integer type"),
        ('.isa 1\n.target "red-65nm"\n.buffer %b i8[4]\n.buffer %b i8[4]', "4:1 %b is declared twice"),
        ('.isa 1\n.target "red-65nm"\n.data "a" sha256:12', "3:11 sha256:12 is no digest"),
        ('.isa 1\n.target "red-65nm"\n.xbar @k 4 y 4', "3:12 expected `x`, found y"),
        (HEADER + "fire " + "@k[" + "1, " * 20 + "1]", "4:6 no crossbar is named @k"),
        (HEADER + "loop q, 0, 99999999999999999999\nend", "4:12 this integer does not fit 64 bits"),
        (HEADER + "loop q, 0, " + "9" * 5000 + "\nend", "4:12 this integer does not fit 64 bits"),
        (HEADER + "load v0, %x[" + "9" * 5000 + "*q]", "4:12 this integer does not fit 64 bits"),
        (HEADER + "load v0, %x[(q)/0]", "4:12 a divisor is at least 1"),
        (HEADER + 'quant v0, v1, "s", slope=1e999', "4:20 1e999 is too large for a float"),
        (HEADER + "fire \0", "4:6 expected"),
        (HEADER + 'layer "\\ud800"', "4:7 \\ud800 is half a character"),
        (HEADER + 'layer "\\q"', "4:7 unknown escape \\q"),
    ],
)  # fmt: skip
def test_bad_text_is_named_in_its_place(text: str, error: str) -> None:
    assert any(found.startswith(error) for found in errors(text)), errors(text)


def test_loops_are_nested_32_deep_and_no_deeper() -> None:
    def nest(depth: int) -> str:
        return HEADER + "".join(f"loop q{n}, 0, 1\n" for n in range(depth)) + "end\n" * depth

    isa.verify(isa.parse(nest(32)))
    assert errors(nest(33)) == ["36:1 more than 32 loops inside one another"]
    assert errors(nest(2000)) == errors(nest(33))


def test_a_huge_loop_costs_nothing_to_verify() -> None:
    started = time.perf_counter()
    isa.verify(isa.parse(HEADER + f"loop q, 0, {1 << 52}\nloop p, -1, 1\nend\nend"))
    assert time.perf_counter() - started < 2


def test_control_characters_never_reach_the_terminal() -> None:
    with pytest.raises(isa.ProgramError) as caught:
        isa.parse(HEADER + "fire \x1b[31m\x07\u202e")
    assert all(c.isprintable() or c in "\n\t" for c in str(caught.value))


def test_a_long_line_is_cut_around_the_error() -> None:
    with pytest.raises(isa.ProgramError) as caught:
        isa.parse(HEADER + "sum v0" + ", v1" * 50_000 + " !" + ", v1" * 50_000)
    assert max(len(line) for line in str(caught.value).split("\n")) < 200
    source, carets = str(caught.value).split("\n")[1:3]
    assert source[carets.index("^")] == "!"


def test_a_text_above_the_limit_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "big.red"
    with path.open("wb") as file:
        file.truncate(100 << 20)
    with pytest.raises(isa.ProgramError, match=f"larger than {MAX_CHARACTERS} bytes"):
        isa.load(path)


def test_garbage_of_many_lines_is_given_up_in_time() -> None:
    started = time.perf_counter()
    assert len(errors(HEADER + "(\n" * 1_000_000)) == 1000
    assert time.perf_counter() - started < 30


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60))
def test_any_text_is_a_program_or_a_program_error(text: str) -> None:
    for candidate in (text, HEADER + text):
        try:
            isa.verify(isa.parse(candidate))
            isa.format_text(candidate)
        except isa.ProgramError as error:
            str(error), error.as_dicts()


WORDS = [
    "fire",
    "drive",
    "sum",
    "quant",
    "loop",
    "end",
    ".xbar",
    ".layer",
    "@k",
    "%x",
    "%x?",
    "v0",
    '"s"',
    "[0]",
    "[q,(q)/2]",
    ",",
    "=",
    "1",
    "-7",
    "1.5",
    "x",
    "low=1",
    ";",
    "i8",
    "in",
    "/",
    ".",
    "*",
    "\n",
]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(WORDS), max_size=30))
def test_any_words_are_a_program_or_a_program_error(words: list[str]) -> None:
    try:
        isa.verify(isa.parse(HEADER + " ".join(words)))
    except isa.ProgramError as error:
        str(error)


def test_importing_isa_loads_neither_lark_nor_safetensors() -> None:
    code = "import isa, sys; print(sorted({'lark', 'safetensors', 'tomllib'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
