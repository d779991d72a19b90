"""`python -m runtime`: what it prints, what it writes, and one clear error for bad input."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import isa
from isa.program import Array
from runtime.__main__ import main
from runtime.errors import InputError
from runtime.npz import read_npz, write_npz
from tests.runtime.programs import deconvolution

ROOT = Path(__file__).parents[2]
X = np.array([[[1, 2], [3, 4]]], np.float32)
Y = np.array([[[1, 2, 2, 4], [3, 4, 6, 8], [3, 6, 4, 8], [9, 12, 12, 16]]], np.float32) / 2


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a program and its input."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "p.red").write_text(isa.to_text(deconvolution()))
    np.savez("in.npz", x=X)
    return tmp_path


@pytest.mark.parametrize("engine", ["fast", "step"])
def test_floats_in_floats_out(here: Path, engine: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["p.red", "--input", "in.npz", "--output", "out.npz", "--engine", engine]) == 0
    with np.load("out.npz") as outputs:
        assert outputs.files == ["y"]
        np.testing.assert_array_equal(outputs["y"], Y)
    shown = capsys.readouterr()
    assert "ct" in shown.out
    assert "total" in shown.out
    assert "outputs written to out.npz" in shown.out
    assert shown.err == ""
    assert sorted(os.listdir()) == ["in.npz", "out.npz", "p.red"]


def test_json_is_one_document_with_counters_and_null_for_what_was_not_computed(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["p.red", "--input", "in.npz", "--json", "--engine", "step", "--trace"]) == 0
    ran = json.loads(capsys.readouterr().out)
    assert ran["schema"] == 1
    assert ran["outputs"] == [{"name": "y", "shape": [1, 4, 4], "min": 0.5, "mean": 3.125, "max": 8.0}]
    assert len(ran["trace"]) == 4 * 17
    assert main(["p.red", "--count-only", "--json"]) == 0
    counted = json.loads(capsys.readouterr().out)
    assert counted["layers"] == ran["layers"]
    assert counted["totals"] == ran["totals"]
    assert counted["engine"] is None
    assert ran["layers"][0]["rounds"] == 4
    assert ran["layers"][0]["arrays"] == 4


def test_the_trace_is_a_line_per_instruction(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["p.red", "--input", "in.npz", "--engine", "step", "--trace"]) == 0
    lines = capsys.readouterr().out.split("\n")
    assert lines[0] == "       0  ct  drive  @k[0, 0], %x[0, 0]  = 1"
    assert lines[6] == '       1  ct  quant  v0, v0, "s", high=255, low=0  = 1'


def bad_archive(path: Path) -> None:
    content = (path.parent / "in.npz").read_bytes()
    path.write_bytes(content[: len(content) // 2])


def flipped(path: Path) -> None:
    content = bytearray((path.parent / "in.npz").read_bytes())
    content[len(content) // 3] ^= 0xFF
    path.write_bytes(bytes(content))


def pickled(path: Path) -> None:
    np.savez(path, x=np.array([{}], object))


def one_array(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, X)


def text_member(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x", "hello")


def header(text: str) -> bytes:
    """An `.npy` file whose header is `text`."""
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


BAD_FILES: list[tuple[Callable[[Path], object], str]] = [
    (lambda path: None, "No such file"),
    (lambda path: path.mkdir(), "cannot read this file"),
    (lambda path: path.write_bytes(b""), "no .npz file"),
    (lambda path: path.write_bytes(b"PK\x03\x04 nonsense"), "no .npz file"),
    (lambda path: path.write_text("x = 1"), "no .npz file"),
    (bad_archive, "no .npz file"),
    (flipped, "no .npz file, or a damaged one"),
    (pickled, "no .npz file"),
    (one_array, "one array (.npy)"),
    (text_member, '"x" is no array'),
    (lambda path: path.write_bytes(header("{'shape': (1, 2,")), "no .npz file, or a damaged one"),
    (lambda path: path.write_bytes(header("{'shape': 1 1}")), "no .npz file, or a damaged one"),
    (
        lambda path: path.write_bytes(header("{'descr': 1, 'fortran_order': 0, 'shape': (1,)}")),
        "no .npz file",
    ),
]


@pytest.mark.parametrize(("make", "message"), BAD_FILES)
def test_bad_input_files_are_one_error(
    here: Path, make: Callable[[Path], object], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    make(here / "bad.npz")
    assert main(["p.red", "--input", "bad.npz", "--output", "out.npz", "--json"]) == 2
    (error,) = json.loads(capsys.readouterr().out)["errors"]
    assert message in error["message"]
    assert "--input" in error["place"]
    assert not (here / "out.npz").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["p.red"], "there is no input"),
        (["p.red", "--count-only", "--input", "in.npz"], "--input does not go with --count-only"),
        (["p.red", "--count-only", "--output", "o.npz"], "--output does not go with --count-only"),
        (["p.red", "--input", "in.npz", "--trace"], "does not execute instruction by instruction"),
        (["p.red", "--input", "in.npz", "--fidelity", "analog"], "what are its cells like?"),
        (["p.red", "--input", "in.npz", "--output", "no/where/out.npz"], "there is no folder"),
        (["p.red", "--input", "in.npz", "--output", "."], "it is a folder"),
        (["p.red", "--input", "wrong.npz"], 'the program has no input "z"'),
        (["missing.red", "--count-only"], "cannot read this program"),
        (["missing.red"], "cannot read this program"),
    ],
)
def test_bad_commands_are_one_error_with_exit_status_2(
    here: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez("wrong.npz", z=X)
    before = sorted(os.listdir())
    assert main([*arguments, "--json"]) == 2
    shown = capsys.readouterr()
    (error,) = json.loads(shown.out)["errors"]
    assert message in error["message"]
    assert shown.err == ""
    assert main(arguments) == 2
    shown = capsys.readouterr()
    assert message in shown.err
    assert shown.out == ""
    assert sorted(os.listdir()) == before


def test_an_unknown_option_is_an_error_in_json_too(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["p.red", "--inptu", "in.npz"])
    assert caught.value.code == 2
    assert "--inptu" in capsys.readouterr().err


def test_a_disk_that_is_full_is_an_error_and_leaves_the_device_alone(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    assert main(["p.red", "--input", "in.npz", "--output", "/dev/full"]) == 2
    assert "No space left" in capsys.readouterr().err
    assert Path("/dev/full").is_char_device()


def test_a_failed_write_leaves_the_old_file(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_npz("out.npz", {"y": Y}, "--output")

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(np.lib.format, "write_array", full)
        with pytest.raises(InputError, match="No space left"):
            write_npz("out.npz", {"y": X}, "--output")
    np.testing.assert_array_equal(read_npz("out.npz", "--input")["y"], Y)
    assert sorted(os.listdir()) == ["in.npz", "out.npz", "p.red"]


def test_any_onnx_name_survives_a_file_and_the_bytes_are_the_same_each_time(here: Path) -> None:
    arrays: dict[str, Array] = {"file": X, "a/b:0": Y, "/x": X, "": Y}
    write_npz("a.npz", arrays, "--output")
    write_npz("b.npz", arrays, "--output")
    assert Path("a.npz").read_bytes() == Path("b.npz").read_bytes()
    found = read_npz("a.npz", "--input")
    assert set(found) == set(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)


def test_it_runs_where_no_compiler_is_installed(here: Path) -> None:
    blocked = (
        "import sys; sys.modules.update(dict.fromkeys(['redc', 'onnx', 'onnxruntime', 'networkx']));"
        "from runtime.__main__ import main; sys.exit(main(['p.red', '--input', 'in.npz']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", blocked],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert 'output "y" f32[1x4x4]' in done.stdout


@given(st.data())
@settings(max_examples=60)
def test_every_damaged_array_file_is_read_or_refused_in_words(data: st.DataObject) -> None:
    file = io.BytesIO()
    np.savez(file, x=X)
    content = bytearray(file.getvalue())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    end = data.draw(st.sampled_from([len(content), data.draw(st.integers(0, len(content)))]))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "in.npz")
        path.write_bytes(content[:end])
        with contextlib.suppress(InputError):
            read_npz(str(path), "--input")
