"""Target files: what they say, and how a malformed one is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

import isa
from isa.targets import FIELDS, FOLDER, digest_of, load_target_file

RED = (FOLDER / "red-65nm.toml").read_text()


@pytest.mark.parametrize("name", isa.target_names())
def test_every_field_has_a_value_and_a_source(name: str) -> None:
    file = load_target_file(name)
    assert file.target.name == name
    assert file.description
    assert set(file.sources) == set(FIELDS)
    assert file.target.digest == digest_of(file.target)


def test_red_and_isaac_come_with_redc() -> None:
    assert isa.target_names() == ("isaac", "prime", "red-65nm")
    isaac = isa.load_target("isaac")
    assert (isaac.rows, isaac.columns, isaac.arrays) == (128, 128, 168 * 12 * 8)
    assert isa.load_target("red-65nm").rows is None


@pytest.mark.parametrize(
    ("old", "new", "place", "message"),
    [
        ("adc = 8\n", "adc = 0\n", "16:1", "adc: expected a number from 1 to 64, found 0"),
        ("adc = 8\n", "adc = true\n", "16:1", "adc: expected a number from 1 to 64, found True"),
        ("adc = 8\n", "adcs = 8\n", "16:1", "unknown key adcs"),
        ("adc = 8\n", "", "8:1", "missing in [machine]: adc"),
        ("adc = 8\n", "adc = \n", "16:7", "not TOML: Invalid value"),
        ('encoding = "differential"', 'encoding = "diff"', "13:1", "encoding: expected differential, offset"),
        ('write = "assumed: as fetch"', 'write = ""', "39:1", "write: expected where its value is published"),
        ('name = "red-65nm"', "name = 3", "5:1", "name is a string"),
        ("[machine]", "machine = 3\n[machines]", "8:1", "machine is a table"),
    ],
)  # fmt: skip
def test_a_malformed_target_is_named_in_its_place(
    old: str, new: str, place: str, message: str, tmp_path: Path
) -> None:
    assert old in RED
    path = tmp_path / "mine.toml"
    path.write_text(RED.replace(old, new, 1))
    with pytest.raises(isa.ProgramError) as caught:
        isa.load_target(str(path))
    found = [f"{d.span.line}:{d.span.column} {d.message}" for d in caught.value.diagnostics]
    assert any(line.startswith(f"{place} {message}") for line in found), found


def test_an_unknown_target_names_the_nearest() -> None:
    with pytest.raises(isa.ProgramError, match=r"(?s)no target is named 'isac'.*did you mean isaac\?"):
        isa.load_target("isac")


@pytest.mark.parametrize("content", [b"\xff\xfe", b"a" * (2 << 20), b"[" * 5000])
def test_hostile_target_files_are_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(content)
    with pytest.raises(isa.ProgramError):
        isa.load_target(str(path))


def test_a_target_that_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(isa.ProgramError, match="cannot read this target"):
        isa.load_target(str(tmp_path / "none.toml"))
