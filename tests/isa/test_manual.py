"""The documents of the language are current, and what they show is true."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import isa
import runtime
from isa import manual
from isa.declarations import DIRECTIVES
from isa.instructions import INSTRUCTIONS
from isa.targets import FIELDS
from isa.verifier.facts import Facts
from isa.verifier.signature import check_signature

TUTORIAL = (Path(__file__).parents[2] / "docs" / "assembly.md").read_text()
FIRST = re.findall(r"```\n(.*?)```", TUTORIAL, re.DOTALL)[0]
HEADER = '.isa 1\n.target "red-65nm"\n'


def test_the_manual_is_current() -> None:
    assert manual.main(["--check"]) == 0


def test_a_stale_manual_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manual, "MANUAL", tmp_path / "ISA.md")
    assert manual.main(["--check"]) == 1
    assert manual.main([]) == 0
    assert manual.main(["--check"]) == 0
    (tmp_path / "ISA.md").write_text("old")
    assert manual.main(["--check"]) == 1


def test_the_manual_names_every_word_of_the_language() -> None:
    text = manual.manual()
    for word in (*INSTRUCTIONS, *DIRECTIVES, *FIELDS):
        assert f"`{word}`" in text


@pytest.mark.parametrize("mnemonic", INSTRUCTIONS)
def test_the_example_of_an_instruction_is_one(mnemonic: str) -> None:
    program = isa.parse(f'{HEADER}.layer "l"\n{manual.EXAMPLES[mnemonic]}')
    (instruction,) = program.layers[0].body
    facts = Facts(program, contents=False)
    assert check_signature(facts, instruction), facts.report.diagnostics  # type: ignore[arg-type]
    assert isa.to_text(program).endswith(manual.EXAMPLES[mnemonic] + "\n")


@pytest.mark.parametrize("word", DIRECTIVES)
def test_the_example_of_a_directive_is_one(word: str) -> None:
    example = DIRECTIVES[word].example
    header = "" if word == ".isa" else ".isa 1\n" if word == ".target" else HEADER
    isa.parse(f"{header}{example}\n" + ('.target "red-65nm"' if word == ".isa" else ""))


def test_the_tutorials_program_is_valid_formatted_and_right() -> None:
    program = isa.parse(FIRST)
    isa.verify(program)
    assert isa.format_text(FIRST) == FIRST
    result = runtime.run(program, {"x": np.array([[1, 2, 3, -4]], np.float32)})
    np.testing.assert_array_equal(result.outputs["y"], [[1, 2, 3, 4, 5, 6, -1, -8]])
    assert result.total.cycles == 258
    assert result.total.gated_drives == 8


def test_the_tutorials_pieces_are_pieces_of_its_program() -> None:
    pieces = re.findall(r"^    (\.\w+ .*)$", TUTORIAL, re.MULTILINE)
    assert len(pieces) == 7
    assert all(piece + "\n" in FIRST for piece in pieces)


@pytest.mark.parametrize(("old", "new"), [("?[q", "[q"), ('  quant v0, v0, "one", low=-128, high=127\n', "")])
def test_the_tutorials_errors_are_the_real_ones(old: str, new: str) -> None:
    with pytest.raises(isa.ProgramError) as caught:
        isa.verify(isa.parse(FIRST.replace(old, new, 1), "first.red"))
    wanted = "\n".join(f"    {line}" for line in str(caught.value).split("\n"))
    assert wanted in TUTORIAL, wanted
