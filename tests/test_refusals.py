"""Whatever a command is wrongly given: exit status 2, what is wrong, where, what to do, nothing written."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

from redc.cli import main

NET = """<ir_version: 8, opset_import: ["" : 13]>
net (float[1, 2] x) => (float[1, 2] y) <float[2, 2] w = {1, 2, 3, -4}> {y = MatMul(x, w)}"""
COMPILE = "compile net.onnx --calibrate x.npz -o new.red"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a model, its program, inputs that fit and that do not, empty files and a folder."""
    monkeypatch.chdir(tmp_path)
    onnx.save(onnx.parser.parse_model(NET), "net.onnx")
    np.savez("x.npz", x=np.ones((1, 2), np.float32))
    np.savez("shape.npz", x=np.ones((1, 3), np.float32))
    np.savez("text.npz", x=np.array(["a", "b"]))
    np.savez("nan.npz", x=np.full((1, 2), np.nan, np.float32))
    np.save("w.npy", np.ones(3, np.float32))
    np.savez("none.npz")
    for name in ("empty.onnx", "empty.red", "empty.npz", "empty.toml"):
        Path(name).touch()
    Path("folder").mkdir()
    assert main(["compile", "net.onnx", "--calibrate", "x.npz", "-o", "net.red"]) == 0
    return tmp_path


REFUSED = [
    ("compile", "the following arguments are required: MODEL"),
    ("compile ''", "the model's name is empty"),
    ("compile .", "it is a directory"),
    ("compile empty.onnx", "the file is empty"),
    ("compile none.red", "there is no such file"),
    ("compile net.onnx -o ''", "'' does not end in .red"),
    ("compile net.onnx -o .red", "'.red' does not end in .red"),
    ("compile net.onnx -o net.onnx", "'net.onnx' does not end in .red"),
    ("compile net.onnx -o net.red/new.red", "there is no folder 'net.red'"),
    (f"{COMPILE} --shape x=1", "the shape 1 given for it has 1 axes, not 2"),
    (f"{COMPILE} --shape x=1,3", "axis 1 is 2 in the model, but 3 was given"),
    (f"{COMPILE} --shape x=1,-2", "is not NAME=SIZE,SIZE"),
    (f"{COMPILE} --bind x=w.npy", "the value bound to it has the shape [3]"),
    (f"{COMPILE} --bind w=w.npy --bind w=w.npy", "'w' is bound twice"),
    (f"{COMPILE} --target empty.toml", "missing: name"),
    (f"{COMPILE} --target ''", "no target is named ''"),
    (f"{COMPILE} --fold nan", "'nan' is not a whole number"),
    (f"{COMPILE} --weight-bits -8", "'-8' is not a number of bits"),
    ("map net.onnx --layer MatMul_x", "no crossbar layer is named 'MatMul_x'"),
    ("map net.onnx --plot ''", "'' ends in neither .png nor .svg"),
    ("run net.red --input shape.npz", "its shape is [1, 3]"),
    ("run net.red --input text.npz", "its type is <U1"),
    ("run net.red --input x.npz --output net.onnx", "'net.onnx' does not end in .npz"),
    ("run net.red --input x.npz --output ''", "it is a folder"),
    ("run net.red --input x.npz --output folder", "it is a folder"),
    ("run x.npz --count-only", "not UTF-8 text"),
    ("check w.npy", "not UTF-8 text: byte 0 is 0x93"),
    ("check none.npz", "not UTF-8 text: byte 4 is 0x00"),
    ("run empty.red --count-only", "this program is empty"),
    ("diff net.onnx --input shape.npz", "its shape is [1, 3], the model takes"),
    ("diff net.onnx --input nan.npz", "nan, not a finite number"),
    ("diff net.onnx --input empty.npz", "this is no .npz file"),
    ("diff net.onnx --min-sqnr nan", "'nan' is not a number of decibels"),
    ("diff FCN_Deconv1@3", "a size is written as in"),
    ("compare net.onnx --mappings red:fold=2:fold=3", "'fold' stands twice"),
    ("montecarlo net.onnx --trials 0", "'0' is not a whole number from 1"),
    ("check folder", "cannot read this program"),
    ("fmt empty.red", "this program is empty"),
    ("targets net.onnx", "not UTF-8"),
    ("targets isaac.toml", "cannot read this target"),
]


@pytest.mark.parametrize(("words", "message"), REFUSED, ids=[words for words, _ in REFUSED])
@pytest.mark.usefixtures("here")
def test_a_refusal_says_what_and_where_and_what_to_do(
    words: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.stat().st_mtime_ns for path in Path().iterdir()}
    capsys.readouterr()
    assert main([word.strip("'") for word in words.split()] + ["--json"]) == 2
    errors = json.loads(capsys.readouterr().out)["errors"]
    assert message in errors[0]["message"]
    for error in errors:
        assert error["hint"]
        assert error.get("place") or error.get("path") or "name is empty" in error["message"]
    assert {path: path.stat().st_mtime_ns for path in Path().iterdir()} == before


@pytest.mark.parametrize("command", ["run net.red", "diff net.onnx", "montecarlo net.onnx"])
@pytest.mark.usefixtures("here")
def test_what_is_wrong_with_an_input_lies_in_a_file(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command.split(), "--input", "shape.npz"]) == 2
    assert "error: --input shape.npz: input " in capsys.readouterr().err
