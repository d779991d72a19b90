"""Target files: what they say, and how a malformed one is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

import isa
from isa.targets import FIELDS, FOLDER, costs_of, digest_of, load_target_file

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
        ("adc = 8\n", "adc = true\n", "16:1", "adc: expected a number from 1 to 64, found true"),
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


HEIR = 'name = "mine"\ndescription = "d"\ninherits = "red-65nm"\n'
ADC = '[component.adc]\nenergy = {{ value = {}, unit = "fJ", node = "65 nm", source = "x" }}\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEIR + ADC.format("nan"), "5:12 component.adc.energy: value is a finite number"),
        (HEIR + ADC.format("-inf"), "5:12 component.adc.energy: value is a finite number"),
        (HEIR + ADC.format("-3"), "5:12 component.adc.energy: value is negative"),
        (HEIR + ADC.format("9" * 200), "5:12 component.adc.energy: value has too many digits"),
        (HEIR + ADC.format("9" * 5000), "1:1 not TOML: a number has too many digits"),
        (HEIR + ADC.format("1e-30"), "5:12 component.adc.energy: 1E-30 fJ is no whole number of aJ"),
        (HEIR + ADC.format("true"), "5:12 component.adc.energy: value is a number, found true"),
        (HEIR + ADC.format("1979-05-27"), "5:12 component.adc.energy: value is a number, found 1979-05-27"),
        (HEIR + ADC.format("[1]"), "5:12 component.adc.energy: value is a number, found [1]"),
        (HEIR + ADC.format("1") + ADC.format("2")[16:], "6:66 not TOML: Cannot overwrite a value"),
        (HEIR + ADC.format("1") + "[component.adc]\n", "6:15 not TOML: Cannot declare"),
        (HEIR + "component.adc.energy.value = 3\n", "4:1 component.adc.energy: missing unit, node, source"),
        (HEIR + '[clock]\nfrequency = "x"\n', '5:1 clock.frequency: expected { value = 1.5, unit = "MHz"'),
        (HEIR + "component = 3\n", "4:1 [component] is a table"),
        (HEIR + "[machine]\nadc = 8.5\n", "5:1 adc: expected a number from 1 to 64, found 8.5"),
        (HEIR + "[machine]\nadc = nan\n", "5:1 adc: expected a number from 1 to 64, found NaN"),
        (HEIR + "[machine]\nadders = 99999999999999\n", "5:1 adders: expected a number from 1 to 2147483648"),
        (HEIR + "[machine]\nencoding = [1]\n", "5:1 encoding: expected differential, offset or flip"),
        (HEIR.replace("red-65nm", "red-65n"), "3:1 no target is named 'red-65n', and no file lies"),
        (HEIR.replace("red-65nm", "."), "3:1 no target is named '.', and no file lies"),
        (HEIR.replace('name = "mine"\n', ""), "1:1 missing: name"),
        (HEIR.replace('"mine"', '""'), "1:1 name is a line of 1 to 80 printable characters"),
        (HEIR.replace('"mine"', '"a\\nb"'), "1:1 name is a line of 1 to 80 printable characters"),
        ("", "1:1 missing: name, description, machine, source, clock, component"),
        (HEIR + "x = " + "[" * 5000, "1:1 not TOML: brackets are nested too deeply"),
    ],
)  # fmt: skip
def test_whatever_a_file_holds_is_one_error_in_its_place(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(isa.ProgramError) as caught:
        isa.load_target(str(path))
    found = [f"{d.span.line}:{d.span.column} {d.message}" for d in caught.value.diagnostics]
    assert any(line.startswith(message) for line in found), found


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("adc = 8\n", "", "[machine]"),
        ("adc = 8\n", "adcs = 8\n", "adcs = 8"),
        ("value = 410.845", "value = -410.845", "value = -410.845"),
        ('value = 410.845, unit = "fJ"', "value = 410.845", "energy = { value = 410.845"),
        ("[component.adc]", "[component.adcs]", "[component.adcs]"),
        ("[machine]", 'inherits = "mine.toml"\n[machine]', "inherits"),
    ],
)  # fmt: skip
def test_one_slip_is_one_error(old: str, new: str, told: str, tmp_path: Path) -> None:
    """Issue 4: a missing, unknown, negative or unit-less key, a cycle: one error, line and column."""
    assert old in RED
    text = RED.replace(old, new, 1)
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(isa.ProgramError) as caught:
        isa.load_target(str(path))
    (found,) = caught.value.diagnostics
    before = text[: text.index(told)]
    assert (found.span.line, found.span.column) == (before.count("\n") + 1, len(before.split("\n")[-1]) + 1)


def told(tmp_path: Path, text: str) -> str:
    """All that is said about a file, which is one error."""
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(isa.ProgramError) as caught:
        isa.load_target(str(path))
    assert len(caught.value.diagnostics) == 1
    return str(caught.value).replace(str(path), "mine.toml")


def test_a_text_is_told_from_a_number_by_its_quotes(tmp_path: Path) -> None:
    assert 'found "8"\n' in told(tmp_path, HEIR + '[machine]\nadc = "8"\n[source]\nadc = "x"\n')


def test_a_table_that_is_misspelt_is_a_table(tmp_path: Path) -> None:
    text = told(tmp_path, HEIR + "[devices]\n")
    assert "unknown table devices" in text
    assert "did you mean device?" in text


def test_no_cost_is_negative_and_the_hint_says_so(tmp_path: Path) -> None:
    assert "hint: no energy is below 0" in told(tmp_path, HEIR + ADC.format("-3"))


def test_an_inherited_device_of_other_cells_is_told_at_the_cells(tmp_path: Path) -> None:
    """isaac's device has a value for each of the four levels of its cells."""
    head = HEIR.replace("red-65nm", "isaac")
    text = told(tmp_path, head + '[machine]\ncell = 1\n[source]\ncell = "assumed"\n')
    assert text.startswith("mine.toml:5:1: error: device.")
    assert "\n  cell = 1\n" in text
    assert "the device of 'isaac' is of cells of 2 bits: write here" in text


def test_another_machine_is_told_with_one_hint() -> None:
    with pytest.raises(isa.ProgramError) as caught:
        costs_of(isa.load_target("red-65nm"), "isaac")
    text = str(caught.value)
    assert text.count("error:") > 3
    assert text.count("hint: a target may change") == 1


def test_bytes_that_are_no_text_have_a_place_and_a_byte_order_mark_is_none(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(HEIR.encode() + b"# \xe9\n")
    with pytest.raises(isa.ProgramError) as caught:
        isa.load_target(str(path))
    (found,) = caught.value.diagnostics
    assert (found.span.line, found.span.column, found.message) == (4, 3, "not UTF-8: a byte 0xe9")
    path.write_bytes(b"\xef\xbb\xbf" + HEIR.encode())
    assert isa.load_target(str(path)).name == "mine"
    with pytest.raises(isa.ProgramError, match="cannot read this target: Is a directory"):
        isa.load_target(str(tmp_path) + "/")


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


def test_a_file_that_ends_too_early_is_named_at_its_end(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('name = "mine"\n[device')
    with pytest.raises(isa.ProgramError) as caught:
        isa.load_target(str(path))
    (found,) = caught.value.diagnostics
    assert (found.span.line, found.span.column) == (2, 8)
    assert "Expected ']'" in found.message
