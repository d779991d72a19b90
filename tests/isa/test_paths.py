"""A path where no file can be read or written: the hint says what was meant, or what there is."""

from __future__ import annotations

from pathlib import Path

import pytest

from isa import paths
from isa.paths import near_file, reading_hint, writing_hint


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`net.onnx`, `samples.npz` and the folder `data` with `image.npz`."""
    monkeypatch.chdir(tmp_path)
    Path("data").mkdir()
    for name in ("net.onnx", "samples.npz", "data/image.npz"):
        Path(name).touch()
    return tmp_path


@pytest.mark.parametrize(
    ("path", "ending", "hint"),
    [
        ("sample.npz", ".npz", "did you mean 'samples.npz'?"),
        ("Samples.NPZ", ".npz", "did you mean 'samples.npz'?"),
        ("samples.npy", ".npy", "did you mean 'samples.npz'?"),
        ("samples", ".npz", "did you mean 'samples.npz'?"),
        ("net.onx", ".onnx", "did you mean 'net.onnx'?"),
        ("data/img.npz", ".npz", "did you mean 'data/image.npz'?"),
        ("ten.npz", ".npz", "the current folder holds no such file"),
        ("net.red", ".red", "the current folder holds no such file"),
        ("datum.npz", ".npz", "the current folder holds no such file"),
        ("data/net.npz", ".npz", "the folder 'data' holds no such file"),
        ("date/image.npz", ".npz", "there is no folder 'date'; did you mean 'data'?"),
        ("no/where/image.npz", ".npz", "there is no folder 'no'"),
        ("net.onnx/x.npz", ".npz", "'net.onnx' is a file, not a folder"),
        ("data", ".npz", "give a file in it, say 'data/image.npz'"),
        ("data", ".red", "give a file in it"),
        ("", ".npz", "its name is empty: give the path of a file"),
        ("a\0b", ".npz", "no file can lie there: give another path"),
        ("x" * 5000, ".npz", "no file can lie there: give another path"),
        ("net.onnx", ".onnx", "it is there: may you read it (ls -l), and is it a file on a sound disk?"),
    ],
)
@pytest.mark.usefixtures("here")
def test_the_hint_where_no_file_can_be_read(path: str, ending: str, hint: str) -> None:
    assert reading_hint(path, ending) == hint


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("data", "name a file in it"),
        ("date/out.npz", "did you mean 'data'?"),
        ("net.onnx/out.npz", "'net.onnx' is a file, not a folder; write to a folder that is there"),
        ("new/out.npz", "there is no folder 'new'; write to a folder that is there"),
        ("out.npz", "is there room, and may you write there? Else write it to another folder"),
    ],
)
@pytest.mark.usefixtures("here")
def test_the_hint_where_no_file_can_be_written(path: str, hint: str) -> None:
    assert writing_hint(path) == hint


@pytest.mark.usefixtures("here")
def test_links_that_lead_nowhere() -> None:
    Path("link.npz").symlink_to("gone.npz")
    Path("loop.npz").symlink_to("loop.npz")
    assert reading_hint("link.npz", ".npz") == "it is a link to 'gone.npz', where there is nothing"
    assert reading_hint("loop.npz", ".npz") == "no file can lie there: give another path"


def test_the_home_that_a_shell_did_not_put_in(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(here))
    assert reading_hint("~/net.onnx") == f"did you mean {str(here / 'net.onnx')!r}?"


@pytest.mark.usefixtures("here")
def test_a_large_folder_is_not_searched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "MOST_ENTRIES", 2)
    assert near_file("sample.npz") is None
    assert reading_hint("sample.npz") == "the current folder holds no such file"
