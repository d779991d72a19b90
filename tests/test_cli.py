"""Bad input at the command line: each one clear error, exit status 2, and nothing half-written."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from redc import cli, commands, compiler

ROOT = Path(__file__).parents[1]
GOLDEN = ROOT / "tests" / "golden" / "deconv_2x2.red"
NET = """<ir_version: 8, opset_import: ["" : 13]>
net (float[1, 1, H, W] x) => (float[1, 1, P, Q] y) <float[1, 1, 2, 2] w = {1, 2, 3, -4}> {
  y = ConvTranspose<strides = [2, 2]>(x, w)
}"""
SHAPE = ["--shape", "x=1,1,2,2"]
X = np.ones((1, 1, 2, 2), np.float32)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a model, its program, an input and a target, and what lies in it afterwards."""
    monkeypatch.chdir(tmp_path)
    onnx.save(onnx.parser.parse_model(NET), "net.onnx")
    shutil.copy(GOLDEN, "p.red")
    np.savez("x.npz", x=X)
    assert cli.main(["compile", "net.onnx", *SHAPE, "-o", "net.red", "--calibrate", "x.npz"]) == 0
    return tmp_path


def only_error(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The text of the one error of a command; with --json it is the same one, alone on stdout."""
    capsys.readouterr()
    before = {path: path.read_bytes() for path in Path().iterdir() if path.is_file()}

    assert cli.main(words) == 2
    text = capsys.readouterr()
    assert text.out == ""
    errors = [line for line in text.err.splitlines() if re.match(r"error: |.*: error: ", line)]
    assert len(errors) == 1, text.err
    assert cli.main([*words, "--json"]) == 2
    document = json.loads(capsys.readouterr().out)
    assert len(document["errors"]) == 1
    assert document["errors"][0]["message"].splitlines()[0] in text.err
    assert {path: path.read_bytes() for path in Path().iterdir() if path.is_file()} == before
    return text.err


# ---------------------------------------------------------------- models


def content(change: Callable[[bytes], bytes]) -> None:
    Path("net.onnx").write_bytes(change(Path("net.onnx").read_bytes()))


def model(old: str, new: str) -> None:
    assert old in NET
    onnx.save(onnx.parser.parse_model(NET.replace(old, new)), "net.onnx")


def external(location: str) -> None:
    proto = onnx.load("net.onnx")
    weight = proto.graph.initializer[0]
    del weight.float_data[:]
    weight.data_location = onnx.TensorProto.EXTERNAL
    weight.external_data.add(key="location", value=location)
    onnx.save(proto, "net.onnx")


@pytest.mark.parametrize(
    ("damage", "options", "error"),
    [
        (lambda: content(lambda _: b"no model\n" * 9), SHAPE, "net.onnx: it is not an ONNX file"),
        (lambda: content(lambda c: c[: len(c) // 2]), SHAPE, "net.onnx: .* truncated"),
        (lambda: content(lambda _: b""), SHAPE, "net.onnx: the file is empty"),
        (lambda: model("ConvTranspose<strides = [2, 2]>(x, w)", "Hardmax(z)\n z = Shrink(x)"),
         (*SHAPE, "--no-host"), "net.onnx: 2 nodes have operators .*Shrink.*Hardmax"),
        (lambda: None, [], r"not every dimension is known: input 'x' leaves open axis 2 \('H'\)"),
        (lambda: None, ["--shape", "z=1,1,2,2"], "a shape is given for 'z', which is no input"),
        (lambda: None, ["--shape", "x=1,1,2"], "has 3 axes, not 4"),
        (lambda: None, ["--shape", "x=1,1,2,0", "--no-host"], "the shape 1x1x2x0 .* has no elements"),
        (lambda: None, ["--shape", "x=1,1,1_0,2"], "'x=1,1,1_0,2' is not NAME=SIZE,SIZE"),
        (lambda: None, ["--shape", "x=1,1,9999999999,9999999999"], "input 'x': its shape .* more than 2.38"),
        (lambda: model("{1, 2, 3, -4}", "{1, 2, nan, -4}"), SHAPE, "'w': 1 of its 4 values are NaN"),
        (lambda: model("{1, 2, 3, -4}", "{1, 2, 3.4e38, 3e38}"), ["--calibrate", "tens.npz", *SHAPE],
         "net.onnx: tensor 'y': it takes a value that is not a number, or infinite"),
        (lambda: external("w\0.bin"), SHAPE, "can have no such name"),
        (lambda: external("../w.bin"), SHAPE, "lies outside the model's folder"),
        (lambda: external("pipe"), SHAPE, "no regular file"),
        (lambda: None, [*SHAPE, "--target", "red-65"], "no target is named 'red-65'"),
        (lambda: None, [*SHAPE, "--target", "t" * 5000], "no target is named 't"),
        (lambda: Path("t.toml").write_text("[machine\n"), [*SHAPE, "--target", "t.toml"], "t.toml:1"),
    ],
)  # fmt: skip
def test_a_bad_model_is_one_error(
    damage: Callable[[], object],
    options: list[str],
    error: str,
    here: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    damage()
    os.mkfifo("pipe")
    np.savez("tens.npz", x=10 * X)
    found = only_error(capsys, "compile", "net.onnx", "-o", "new.red", *options)
    assert re.search(error, found, re.S), found
    assert not list(here.glob("new.*"))


def test_every_length_of_a_model_is_an_error(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = Path("net.onnx").read_bytes()
    for twentieths in range(20):
        Path("net.onnx").write_bytes(whole[: len(whole) * twentieths // 20])
        only_error(capsys, "compile", "net.onnx", "-o", "new.red", *SHAPE)


# ---------------------------------------------------------------- inputs


@pytest.mark.parametrize(
    ("arrays", "error"),
    [
        ({"q": X}, "q"),
        ({}, "missing"),
        ({"x": X[0]}, r"\[1, 2, 2\]"),
        ({"x": X.astype(np.float64)}, "float64"),
        ({"x": X * np.nan}, "(?i)nan"),
        ({"x": np.array([{}], object)}, "Python objects"),
    ],
)
@pytest.mark.parametrize(
    "command",
    [
        ["compile", "net.onnx", *SHAPE, "-o", "new.red", "--calibrate", "bad.npz"],
        ["diff", "net.onnx", *SHAPE, "--input", "bad.npz"],
        ["run", "net.red", "--input", "bad.npz", "--output", "new.npz"],
    ],
    ids=["calibrate", "diff", "run"],
)
def test_bad_arrays_are_one_error(
    command: list[str], arrays: dict[str, object], error: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez("bad.npz", **arrays)  # type: ignore[arg-type]  # objects, on purpose
    assert re.search(error, only_error(capsys, *command))


def test_an_input_of_another_shape_than_was_asked_for_is_told_as_an_input(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez("bad.npz", x=np.ones((1, 1, 3, 3), np.float32))
    found = only_error(capsys, "diff", "net.onnx", *SHAPE, "--input", "bad.npz")
    assert (
        "--input bad.npz: 'x' is float32 [1, 1, 3, 3]\n  hint: it is compiled for float32 [1, 1, 2, 2]"
        in found
    )
    found = only_error(capsys, "diff", "net.onnx", *SHAPE, "--input", "x.npz", "--calibrate", "bad.npz")
    assert "--calibrate bad.npz: samples of 'x' are float32 [1, 1, 3, 3]" in found


def test_arrays_of_other_names_are_told_with_their_file(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez("other.npz", z=X)
    told = "other.npz: no input is called 'z'; input 'x' is missing"
    for command in (["compile", "net.onnx", "-o", "new.red"], ["diff", "net.onnx"]):
        assert f"--calibrate {told}" in only_error(capsys, *command, *SHAPE, "--calibrate", "other.npz")
    found = only_error(capsys, "diff", "net.onnx", *SHAPE, "--input", "other.npz")
    assert "--input other.npz: the model has no input 'z'; input 'x' is missing" in found


def test_samples_of_a_smaller_float_type_are_taken(here: Path) -> None:
    np.savez("half.npz", x=X.astype(np.float16))
    assert cli.main(["compile", "net.onnx", *SHAPE, "-o", "half.red", "--calibrate", "half.npz"]) == 0
    assert Path("half.red").read_text().replace("half.", "net.") == Path("net.red").read_text()


def test_a_bound_that_is_no_number_is_an_error(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "'nan' is not a number" in only_error(capsys, "diff", "net.onnx", *SHAPE, "--min-sqnr", "nan")


@pytest.mark.parametrize("option", ["--input", "--calibrate", "--program"])
def test_a_path_that_is_empty_is_no_option_left_out(
    option: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "No such file" in only_error(
        capsys, "diff", "net.onnx", option, "", *(SHAPE * (option != "--program"))
    )


@pytest.mark.parametrize("seed", ["-5", "1.5", "9" * 5000, "x", str(1 << 64)])
def test_a_seed_is_a_whole_number(seed: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "is not a whole number from 0 to 2^64 - 1" in only_error(
        capsys, "diff", "net.onnx", "--seed", seed
    )


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["diff", "net.onnx", "--taget", "isaac"], "did you mean --target?"),
        (["run", "net.red", "--mapping", "packed"], "--mapping is an option of redc compile, redc map, redc"),
        (["diff", "net.onnx", "--print-after", "fold"], "option of redc compile, redc map"),
        (["check", "net.red", "more"], "redc check --help shows how"),
        (["diff", "net.onnx", "--mapping", "packd"], "did you mean packed?"),
        (["compile", "net.onnx", "--mapping", "RED"], "did you mean pixel-wise? That is what the"),
        (["diff", "net.onnx", "--mapping", "prime"], "did you mean zero-padding?"),
        (["dif", "net.onnx"], "did you mean diff?"),
        (["run", "net.onnx", "--input", "x.npz"], "this is a model: compile it first"),
        (["check", "net.safetensors"], "give the .red file beside it"),
        (["diff", "p.red"], "redc run or redc check takes it"),
        (["diff", "x.npz"], "give it as --input or --calibrate"),
        (["run", "net.red", "--input", "both.npz"], 'the input is called "x": save it under that name'),
        (["diff", "net.onnx", "--input", "both.npz"], "save them under these names, without"),
    ],
)  # fmt: skip
def test_a_slip_has_a_hint(
    words: list[str], hint: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez("both.npz", in_x=X)
    assert hint in only_error(capsys, *words)


# ---------------------------------------------------------------- programs


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        ("drive @k[0, 0], %x", "drive @k[0, 0] %x", "expected `,`"),
        ("fire @k", "fyre @k", "unknown instruction fyre.*did you mean fire"),
        ("drive @k[0, 0], %x[0, q0, q1]", "drive @k[0, 0]", "drive misses an operand: source"),
        ("%x[0, q0, q1]", "%x[0, q0, q1 + 1]", "reaches 2, outside 0 to 1"),
        ("@k[2, 2] 1 x 1 i4", "@k[2, 2] 1 x 3 i4", "has shape .2, 2, 1, 1., @k wants .2, 2, 1, 3."),
        ("arrays 8", "arrays 3", "@k lies on arrays 0 to 3, 'by hand' has 3"),
        (".isa    1", ".isa    7", r".isa version 7 is not supported"),
        ('.target "by hand"', '.target "by hand" rows 0', "expected a number from 1 .*, found 0"),
    ],
)  # fmt: skip
def test_a_bad_program_is_one_error(
    old: str, new: str, error: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = Path("p.red").read_text(encoding="utf-8")
    assert old in text
    Path("p.red").write_text(text.replace(old, new, 1), encoding="utf-8")
    assert re.search(error, only_error(capsys, "check", "p.red"), re.S)
    only_error(capsys, "run", "p.red", "--count-only")


@pytest.mark.parametrize(
    ("damage", "error"),
    [
        (lambda path: path.unlink(), "data file 'net.safetensors' is missing"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), "is not the one this program was made with"),
        (
            lambda path: path.write_bytes(b"x" + path.read_bytes()),
            "is not the one this program was made with",
        ),
    ],
    ids=["missing", "truncated", "another"],
)
def test_bad_data_is_one_error(
    damage: Callable[[Path], object], error: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damage(Path("net.safetensors"))
    for command in (
        ["check", "net.red"],
        ["run", "net.red", "--count-only"],
        ["diff", "net.onnx", "--program", "net.red"],
    ):
        assert error in only_error(capsys, *command)


# ---------------------------------------------------------------- outputs


@pytest.mark.parametrize("output", ["folder.red", "nowhere/new.red", "data.red", "new.txt", ""])
def test_a_place_that_cannot_be_written_is_told_before_the_work(
    output: str, here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("folder.red").mkdir()
    Path("data.safetensors").mkdir()
    if output != "data.red":  # whether there will be data, only compiling shows
        monkeypatch.setattr(compiler, "load_model", lambda _: pytest.fail("it was compiled"))
    found = only_error(capsys, "compile", "net.onnx", *SHAPE, "-o", output)
    assert (output or "--output") in found
    assert not list(here.glob("**/*new*"))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("words", [["models"], ["models", "--json"]])
def test_a_full_disk_behind_standard_output_is_one_error(words: list[str]) -> None:
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "redc", *words]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    assert done.returncode == 2
    assert done.stderr.splitlines()[0] == "error: cannot write standard output: No space left on device"
    assert "Traceback" not in done.stderr


def test_ctrl_c_is_silent(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt(*_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "parser", interrupt)
    assert cli.main(["models"]) == 130
    assert capsys.readouterr() == ("", "")


def test_check_says_how_many_adc_bits_lose_nothing(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """128 rows of 2-bit cells sum up to 384, nine bits; ISAAC flips heavy columns and needs eight."""
    monkeypatch.chdir(tmp_path)
    for target, enough in (("isaac", True), ("red-65nm", False)):
        assert cli.main(["compile", "dcgan_face64", "--target", target, "-o", "p.red"]) == 0
        capsys.readouterr()
        assert cli.main(["check", "p.red", "--json"]) == 0
        found = json.loads(capsys.readouterr().out)["adc_bits"]
        assert found["target"] == 8
        assert (found["needed"] <= 8) == enough
        assert max(found["crossbars"].values()) == found["needed"]
        assert cli.main(["check", "p.red"]) == 0
        assert ("adc is exact" in capsys.readouterr().out) == enough


@pytest.mark.parametrize("words", [["compare"], ["map"], ["montecarlo", "--trials", "1"]])
def test_a_picture_that_cannot_be_written_is_one_error(
    here: Path, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    pytest.importorskip("matplotlib")
    os.mkdir("d.png")
    found = only_error(capsys, words[0], "net.onnx", *SHAPE, *words[1:], "--plot", "d.png")
    assert "d.png: error: cannot write this file: it is a folder" in found


@pytest.mark.parametrize(
    "words",
    [
        ["run", "p.red", "--input", "x.npz", "--output", "x.npz"],
        ["run", "p.red", "--input", "x.npz", "--output", "hard.npz"],
        ["run", "p.red", "--input", "x.npz", "--output", "soft.npz"],
        ["run", "p.red", "--input", "x.npz", "--output", "p.npz"],
        ["compile", "link.onnx", *SHAPE],
        ["compile", "net.onnx", *SHAPE, "--calibrate", "samples.red", "-o", "./samples.red"],
        ["compile", "net.onnx", *SHAPE, "--bind", "w=data.safetensors", "-o", "data.red"],
        ["map", "net.onnx", *SHAPE, "--calibrate", "x.png", "--plot", "x.png"],
    ],
)
def test_no_command_writes_over_a_file_that_it_reads(
    words: list[str], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if "--plot" in words:
        pytest.importorskip("matplotlib")
    os.link("x.npz", "hard.npz")
    os.symlink("x.npz", "soft.npz")
    os.link("p.red", "p.npz")
    os.symlink("net.onnx", "link.red")
    os.link("net.onnx", "link.onnx")
    for copy in ("samples.red", "data.safetensors", "x.png"):
        shutil.copy("x.npz", copy)
    assert "is the file that the command reads as" in only_error(capsys, *words)


@pytest.mark.parametrize(
    "words", [["diff", "net.onnx", *SHAPE], ["compare", "net.onnx", *SHAPE], ["check", "p.red"]]
)
def test_a_lack_of_memory_names_the_file_whose_tensors_are_too_large(
    words: list[str], here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def exhausted(*_: object) -> int:
        raise MemoryError("Unable to allocate 1 PiB")

    monkeypatch.setattr(commands, "COMMANDS", dict.fromkeys(commands.COMMANDS, exhausted))
    found = only_error(capsys, *words)
    told = f"{words[1]}: out of memory: its tensors are too large (Unable to allocate 1 PiB)\n  hint: "
    assert told in found
    assert ("a smaller --shape" in found) == (words[0] != "check")


@pytest.mark.parametrize(
    "words",
    [
        ["diff", "net.onnx", *SHAPE],
        ["run", "net.red", "--input", "x.npz"],
        ["run", "net.red", "--count-only"],
    ],
)
@pytest.mark.parametrize("fidelity", [[], ["--fidelity", "adc"]])
def test_a_seed_that_changes_nothing_is_refused(
    words: list[str], fidelity: list[str], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = only_error(capsys, *words, *fidelity, "--seed", "5")
    assert "--seed: " in found
    assert "there is none to choose" in found


@pytest.mark.parametrize("command", ["compile", "map", "diff", "compare", "montecarlo"])
def test_an_input_has_one_shape(command: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = only_error(capsys, command, "net.onnx", *SHAPE, "--shape", "x=1,1,3,3")
    assert "--shape x=1,1,3,3: 'x' is given two shapes" in found


def test_a_program_is_not_written_over_the_weights_of_its_model(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    external("weights.safetensors")
    Path("weights.safetensors").write_bytes(np.arange(4, dtype=np.float32).tobytes())
    found = only_error(capsys, "compile", "net.onnx", *SHAPE, "-o", "weights.red")
    assert "--output weights.safetensors: this is the file that the command reads" in found
    assert cli.main(["compile", "net.onnx", *SHAPE, "-o", "other.red"]) == 0


def test_a_program_is_not_written_over_data_that_no_program_names(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """model.onnx and model.safetensors side by side: the weights of a model, as people publish them."""
    Path("net.red").unlink()
    shutil.copy("x.npz", "net.safetensors")
    before = Path("net.safetensors").read_bytes()
    found = only_error(capsys, "compile", "net.onnx", *SHAPE)
    assert "--output net.red: 'net.safetensors', where the data of the program would go, is there" in found
    assert Path("net.safetensors").read_bytes() == before
    for _ in range(2):
        assert cli.main(["compile", "net.onnx", *SHAPE, "-o", "other.red"]) == 0


@pytest.mark.parametrize("command", ["diff", "montecarlo"])
def test_no_seed_draws_inputs_that_are_given(
    command: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = only_error(capsys, command, "net.onnx", "--input", "x.npz", "--input-seed", "5")
    assert "--input-seed: the inputs are given: none are drawn" in found
