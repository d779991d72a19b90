"""Programs on disk: what is saved is loaded, the same bytes every time, and nothing is half-written."""

from __future__ import annotations

import dataclasses
import os
import re
from pathlib import Path

import numpy as np
import pytest

import isa
from isa.program import Array, Instruction, Program

TEXT = """\
.isa 1
.target "red-65nm"
.data "DATA"
.input %x i8[1, 2] scale 1 zero 0 onnx "x" f32[1, 2] axis 1
.output %y i32[1, 2] scale 1 zero 0 onnx "y" f32[1, 2] axis 1
.xbar @k 2 x 2 i8 in i8 data "w" place 0
.layer "l"
drive @k, %x[0]
fire @k
sum v0, @k, "b"
store %y[0], v0
"""


@pytest.fixture
def program() -> Program:
    data: dict[str, Array] = {"w": np.array([[1, -2], [3, 4]], np.int8), "b": np.array([5, 6], np.int32)}
    return dataclasses.replace(isa.parse(TEXT), data=data)


def only_error(path: Path) -> str:
    with pytest.raises(isa.ProgramError) as caught:
        isa.load(path)
    (found,) = caught.value.diagnostics
    return f"{found.span.line}:{found.span.column} {found.message}"


def test_a_saved_program_loads_and_verifies(program: Program, tmp_path: Path) -> None:
    path = tmp_path / "p.red"
    saved = isa.save(program, path)
    loaded = isa.load(path)
    assert loaded == saved
    assert loaded.data_file == "p.safetensors"
    isa.verify(loaded)
    for name, array in program.data.items():
        assert loaded.data[name].dtype == array.dtype
        np.testing.assert_array_equal(loaded.data[name], array)
    assert sorted(os.listdir(tmp_path)) == ["p.red", "p.safetensors"]


def test_a_program_too_large_to_be_read_is_not_written(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("isa.files.MAX_CHARACTERS", 300)
    with pytest.raises(isa.ProgramError, match="none with more than 300 is read"):
        isa.save(program, tmp_path / "p.red")
    assert list(tmp_path.iterdir()) == []


def test_the_same_program_gives_the_same_bytes(program: Program, tmp_path: Path) -> None:
    isa.save(program, tmp_path / "p.red")
    first = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    backwards = dict(reversed(list(program.data.items())))
    isa.save(dataclasses.replace(program, data=backwards), tmp_path / "p.red")
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == first


def test_a_program_without_data_is_one_file(program: Program, tmp_path: Path) -> None:
    isa.save(dataclasses.replace(program, data={}, data_file=None), tmp_path / "p.red")
    assert os.listdir(tmp_path) == ["p.red"]
    assert isa.load(tmp_path / "p.red").data == {}


@pytest.mark.parametrize(
    "name", ["../d.safetensors", "/d.safetensors", "a/../../d", "C:d", "a\\\\..\\\\d", ""]
)
def test_data_stays_below_the_folder_of_the_program(name: str, tmp_path: Path) -> None:
    (tmp_path / "p.red").write_text(TEXT.replace("DATA", name))
    assert re.match(
        r"3:1 data file .* is not below the folder of the program", only_error(tmp_path / "p.red")
    )


def test_a_data_file_may_lie_in_a_folder_below(program: Program, tmp_path: Path) -> None:
    isa.save(program, tmp_path / "p.red")
    (tmp_path / "sub").mkdir()
    (tmp_path / "p.safetensors").rename(tmp_path / "sub" / "d.safetensors")
    (tmp_path / "p.red").write_text(TEXT.replace("DATA", "sub/d.safetensors"))
    isa.verify(isa.load(tmp_path / "p.red"))


def test_missing_data_is_named_at_its_line(tmp_path: Path) -> None:
    (tmp_path / "p.red").write_text(TEXT.replace("DATA", "d.safetensors"))
    assert only_error(tmp_path / "p.red") == "3:1 data file 'd.safetensors' is missing"


def test_other_data_is_named_by_its_digest(program: Program, tmp_path: Path) -> None:
    isa.save(program, tmp_path / "p.red")
    other = {**program.data, "b": np.array([5, 7], np.int32)}
    isa.save(dataclasses.replace(program, data=other), tmp_path / "q.red")
    os.replace(tmp_path / "q.safetensors", tmp_path / "p.safetensors")
    assert "is not the one this program was made with" in only_error(tmp_path / "p.red")


@pytest.mark.parametrize("size", [0, 4, 40, -1])
def test_truncated_data_is_no_crash(size: int, program: Program, tmp_path: Path) -> None:
    isa.save(program, tmp_path / "p.red")
    text = (tmp_path / "p.red").read_text()
    (tmp_path / "p.red").write_text(re.sub(r"(\.data .*) sha256:\w+", r"\1", text))
    content = (tmp_path / "p.safetensors").read_bytes()
    (tmp_path / "p.safetensors").write_bytes(content[:size])
    assert "is damaged or no safetensors file" in only_error(tmp_path / "p.red")


def test_a_text_that_is_not_utf8_is_named_in_its_place(tmp_path: Path) -> None:
    (tmp_path / "p.red").write_bytes(b".isa 1\n; caf\xe9\n")
    assert only_error(tmp_path / "p.red") == "2:6 not UTF-8 text: byte 12 is 0xe9"


@pytest.mark.parametrize("path", ["nowhere.red", ".", "a\0b"])
def test_a_path_that_cannot_be_read_is_an_error(path: str, tmp_path: Path) -> None:
    with pytest.raises(isa.ProgramError, match="cannot read this program"):
        isa.load(str(tmp_path / path))


def test_a_path_that_cannot_be_written_leaves_nothing(program: Program, tmp_path: Path) -> None:
    with pytest.raises(isa.ProgramError, match="cannot write this file: there is no folder"):
        isa.save(program, tmp_path / "nowhere" / "p.red")
    (tmp_path / "folder.red").mkdir()
    with pytest.raises(isa.ProgramError, match="cannot write this file: it is a folder"):
        isa.save(program, tmp_path / "folder.red")
    with pytest.raises(isa.ProgramError, match="this is the name of a data file"):
        isa.save(program, tmp_path / "p.safetensors")
    assert os.listdir(tmp_path) == ["folder.red"]


def test_a_full_disk_leaves_nothing_and_spoils_nothing(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    isa.save(program, tmp_path / "p.red")
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    changed = dataclasses.replace(program, data={**program.data, "b": np.array([0, 0], np.int32)})
    with pytest.raises(isa.ProgramError, match=r"p\.red: .*data file 'p.safetensors': No space left"):
        isa.save(changed, tmp_path / "p.red")
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_a_text_can_be_checked_without_its_data(program: Program) -> None:
    text_only = isa.parse(isa.to_text(dataclasses.replace(program, data_file="d.safetensors")))
    isa.verify(text_only, contents=False)
    with pytest.raises(isa.ProgramError, match="no constant is named 'w'"):
        isa.verify(text_only)


def test_errors_of_a_program_in_memory_show_the_line_it_would_print(program: Program) -> None:
    layer = program.layers[0]
    stripped = isa.parse(isa.to_text(program)).layers[0].body[1]
    assert isinstance(stripped, Instruction)
    bare = dataclasses.replace(stripped, span=isa.program.NOWHERE, operand_spans=())
    broken = dataclasses.replace(
        program, source=None, layers=(dataclasses.replace(layer, body=(layer.body[0], bare, bare)),)
    )
    with pytest.raises(isa.ProgramError) as caught:
        isa.verify(broken)
    assert "<program>: error: nothing drives @k for this fire\n  fire @k" in str(caught.value)


def test_one_object_in_two_places_of_two_sizes_is_refused() -> None:
    text = TEXT.replace(
        '.data "DATA"\n',
        '.const "w" i8[2, 2] = 1, 2, 3, 4\n.const "b" i8[1] = 0\n'
        '.const "c" i8[1] = 1\n.buffer %z i8[1, 3] scale 1 zero 0\n',
    )
    program = isa.parse(text + 'clear %z\nload v1, %x[0]\nmul v1, v1, "c"\nload v1, %z[0]\nmul v1, v1, "c"\n')
    isa.verify(program)
    body = list(program.layers[0].body)
    body[-1] = body[-3]
    shared = dataclasses.replace(program, layers=(dataclasses.replace(program.layers[0], body=tuple(body)),))
    with pytest.raises(isa.ProgramError, match="stands in two places"):
        isa.verify(shared)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("suffix", [".red", ".safetensors"])
def test_a_device_is_written_to_and_not_replaced(suffix: str, program: Program, tmp_path: Path) -> None:
    device = (tmp_path / "p").with_suffix(suffix)
    device.symlink_to("/dev/full")
    with pytest.raises(isa.ProgramError, match=r"p\.red: error: cannot write .*No space left on device"):
        isa.save(program, tmp_path / "p.red")
    assert list(tmp_path.iterdir()) == [device]
    assert device.is_symlink()


def test_an_error_names_the_path_that_the_user_gave(program: Program, tmp_path: Path) -> None:
    (tmp_path / "p.safetensors").mkdir()
    with pytest.raises(isa.ProgramError) as caught:
        isa.save(program, tmp_path / "p.red")
    assert caught.value.diagnostics[0].path == str(tmp_path / "p.red")
    assert "cannot write its data file 'p.safetensors': it is a folder" in str(caught.value)
    with pytest.raises(isa.ProgramError, match="no such path can exist"):
        isa.save(program, tmp_path / "a\0b.red")


def test_a_pipe_is_no_data_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "d.safetensors")
    (tmp_path / "p.red").write_text(TEXT.replace("DATA", "d.safetensors"))
    assert "it is no regular file" in only_error(tmp_path / "p.red")


def test_a_byte_order_mark_is_skipped(tmp_path: Path) -> None:
    golden = Path(__file__).parent.parent / "golden" / "deconv_2x2.red"
    path = tmp_path / "marked.red"
    path.write_bytes(b"\xef\xbb\xbf" + golden.read_bytes())
    assert isa.load(path) == isa.load(golden)
