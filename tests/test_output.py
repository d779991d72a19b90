"""Whatever a model calls its tensors, and wherever output goes: it is printed, or one error says why not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from redc.cli import main

ROOT = Path(__file__).parents[1]
NET = """<ir_version: 8, opset_import: ["" : 13]>
net (float[1, 2] x) => (float[1, 2] y) <float[2, 2] w = {1, 2, 3, -4}> {y = MatMul(x, w)}"""
NAME = "größe\N{GRINNING FACE}"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a model whose node has a name that few encodings hold, and its program."""
    monkeypatch.chdir(tmp_path)
    model = onnx.parser.parse_model(NET)
    model.graph.node[0].name = NAME
    onnx.save(model, "net.onnx")
    np.savez("x.npz", x=np.ones((1, 2), np.float32))
    assert main(["compile", "net.onnx", "--calibrate", "x.npz", "-o", "net.red"]) == 0
    return tmp_path


def run(module: str, *words: str, stdout: int = subprocess.PIPE, **environment: str) -> tuple[int, str, str]:
    """Exit status, standard output and standard error of a command in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", module, *words],
        stdout=stdout,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        check=False,
    )
    return done.returncode, (done.stdout or b"").decode("ascii"), done.stderr.decode("ascii")


@pytest.mark.usefixtures("here")
def test_names_that_standard_output_has_no_characters_for() -> None:
    escaped = NAME.encode("ascii", "backslashreplace").decode()
    for module, *words in (["redc", "map", "net.onnx"], ["runtime", "net.red", "--count-only"]):
        status, out, err = run(module, *words, PYTHONIOENCODING="ascii")
        assert (status, err) == (0, "")
        assert escaped in out
    status, out, err = run("redc", "map", "net.onnx", "--json", PYTHONIOENCODING="ascii")
    assert json.loads(out)["layers"][0]["name"] == NAME


@pytest.mark.parametrize("module", ["redc run", "runtime"])
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="only some systems have a device that is full")
@pytest.mark.usefixtures("here")
def test_standard_output_that_is_full(module: str) -> None:
    with open("/dev/full", "wb") as full:
        status, _, err = run(*module.split(), "net.red", "--count-only", stdout=full.fileno())
    assert status == 2
    assert err.startswith("error: cannot write standard output: No space left on device\n  hint: ")


@pytest.mark.skipif(not os.path.exists("/dev/null"), reason="only some systems have one")
@pytest.mark.usefixtures("here")
def test_outputs_that_go_to_a_device(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "net.red", "--input", "x.npz", "--output", "/dev/null"]) == 0


def test_names_in_errors_move_no_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diff", "\033[2Jnet.onnx"]) == 2
    assert "\033" not in capsys.readouterr().err


@pytest.mark.parametrize("parent", [r"a\u0000b", "x" * 5000, "loop.toml", "mine.toml"])
def test_what_a_target_cannot_inherit_from(
    parent: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("loop.toml").symlink_to("loop.toml")
    Path("mine.toml").write_text(f'inherits = "{parent}"\nname = "mine"\n')
    assert main(["targets", "mine.toml"]) == 2
    told = capsys.readouterr().err
    assert told.startswith("mine.toml:1:1: error: ")
    assert "\nhint: " in told
