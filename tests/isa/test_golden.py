"""The hand-written programs verify, are formatted, and say what they expect."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import isa
from isa.instructions import EVENTS, INSTRUCTIONS
from isa.program import walk

GOLDEN = sorted((Path(__file__).parents[1] / "golden").glob("*.red"))
every_golden = pytest.mark.parametrize("path", GOLDEN, ids=[p.stem for p in GOLDEN])


@every_golden
def test_a_golden_program_verifies_and_is_formatted(path: Path) -> None:
    program = isa.load(path)
    isa.verify(program)
    assert program.data_file is None
    assert isa.format_text(path.read_text()) == path.read_text()
    assert isa.parse(isa.to_text(program)) == isa.parse(path.read_text())


@every_golden
def test_a_golden_program_says_what_it_expects(path: Path) -> None:
    program = isa.load(path)
    expected = json.loads(path.with_suffix(".expect.json").read_text())
    assert set(expected["counters"]) == {*EVENTS, "cycles"}
    assert set(expected["inputs"]) == {b.tensor for b in program.inputs}
    assert set(expected["outputs"]) == {b.tensor for b in program.outputs}


def test_the_golden_programs_use_every_instruction() -> None:
    used = {i.mnemonic for p in GOLDEN for layer in isa.load(p).layers for i in walk(layer.body)}
    assert used == set(INSTRUCTIONS)
