"""Whatever file a command is given that is not there: one error says what was meant, or what there is."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest

import runtime.__main__
from redc import cli

ROOT = Path(__file__).parents[1]
NET = """<ir_version: 8, opset_import: ["" : 13]>
net (float[1, 2] x) => (float[1, 2] y) <float[2, 2] w = {1, 2, 3, -4}> {y = MatMul(x, w)}"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a file of every kind, and the folder `data`."""
    monkeypatch.chdir(tmp_path)
    onnx.save(onnx.parser.parse_model(NET), "model.onnx")
    shutil.copy(ROOT / "tests/golden/deconv_2x2.red", "deconv.red")
    shutil.copy(ROOT / "isa/targets/isaac.toml", "machine.toml")
    np.savez("inputs.npz", x=np.ones((1, 2), np.float32))
    np.save("weights.npy", np.ones(2, np.float32))
    Path("data").mkdir()
    return tmp_path


DOORS = {
    "MODEL": ("diff {} --input inputs.npz", "model.onnx"),
    "MODEL to compile": ("compile {} -o new.red", "model.onnx"),
    "MODELs": ("compare model.onnx {}", "model.onnx"),
    "--input of diff": ("diff model.onnx --input {}", "inputs.npz"),
    "--input of montecarlo": ("montecarlo model.onnx --input {}", "inputs.npz"),
    "--input of run": ("run deconv.red --input {}", "inputs.npz"),
    "--calibrate": ("map model.onnx --calibrate {}", "inputs.npz"),
    "--bind an .npz": ("diff model.onnx --bind w={}", "inputs.npz"),
    "--bind an .npy": ("diff model.onnx --bind w={}", "weights.npy"),
    "--target": ("compile model.onnx -o new.red --calibrate inputs.npz --target {}", "machine.toml"),
    "--target of run": ("run deconv.red --count-only --target {}", "machine.toml"),
    "--targets": ("compare model.onnx --calibrate inputs.npz --targets isaac,{}", "machine.toml"),
    "targets": ("targets {}", "machine.toml"),
    "--program": ("diff model.onnx --program {}", "deconv.red"),
    "PROG of run": ("run {} --input inputs.npz", "deconv.red"),
    "PROG of check": ("check {}", "deconv.red"),
    "PROG of fmt": ("fmt {}", "deconv.red"),
}


def hint_of(words: str, capsys: pytest.CaptureFixture[str]) -> str:
    """The hint of the one error of a command."""
    before = sorted(Path().iterdir())
    assert cli.main([*words.split(), "--json"]) == 2
    (error,) = json.loads(capsys.readouterr().out)["errors"]
    assert sorted(Path().iterdir()) == before
    return str(error["hint"])


@pytest.mark.parametrize(("command", "name"), DOORS.values(), ids=DOORS)
@pytest.mark.usefixtures("here")
def test_a_file_that_is_not_there(command: str, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = Path(name)
    slip = path.with_stem(path.stem[:-1])
    assert hint_of(command.format(slip), capsys) == f"did you mean {name!r}?"
    far = path.with_stem("qqq")
    assert hint_of(command.format(far), capsys) == "the current folder holds no such file"
    assert hint_of(command.format(f"date/{name}"), capsys).startswith("there is no folder 'date'; did you")
    Path("box", name).mkdir(parents=True)
    assert hint_of(command.format(f"box/{name}"), capsys) == "give a file in it"


@pytest.mark.usefixtures("here")
def test_the_runtime_alone_says_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    assert runtime.__main__.main(["decon.red", "--input", "inputs.npz"]) == 2
    assert "hint: did you mean 'deconv.red'?" in capsys.readouterr().err


@pytest.mark.parametrize(
    "command",
    [
        "compile model.onnx --calibrate inputs.npz -o {}/new.red",
        "run deconv.red --input inputs.npz --output {}/y.npz",
        "map model.onnx --plot {}/map.png",
    ],
)
@pytest.mark.usefixtures("here")
def test_a_folder_to_write_to_that_is_not_there(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert hint_of(command.format("dada"), capsys) == "did you mean 'data'?"
    wanted = "there is no folder 'qqq'; write to a folder that is there"
    assert hint_of(command.format("qqq"), capsys) == wanted


@pytest.mark.usefixtures("here")
def test_a_data_file_that_was_renamed(capsys: pytest.CaptureFixture[str]) -> None:
    model = onnx.load("model.onnx")
    (weight,) = model.graph.initializer
    weight.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(weight), weight.name))
    onnx.save(model, "big.onnx", save_as_external_data=True, location="big.onnx.data", size_threshold=0)
    Path("big.onnx.data").rename("bigger.onnx.data")
    assert "under their names: 'bigger.onnx.data' lies there" in hint_of("diff big.onnx", capsys)
    assert cli.main(["compile", "model.onnx", "--calibrate", "inputs.npz", "-o", "net.red"]) == 0
    Path("net.safetensors").rename("nets.safetensors")
    capsys.readouterr()
    assert hint_of("check net.red", capsys) == "expected it at net.safetensors, where 'nets.safetensors' lies"
