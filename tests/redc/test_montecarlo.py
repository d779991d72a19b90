"""`redc montecarlo`: its trials are single runs, its figures are theirs; errors, JSON, pictures."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import onnx
import pytest

import redc
from isa.diagnostics import ProgramError
from redc.cli import main
from redc.montecarlo import montecarlo
from redc.montecarlo_report import MonteCarlo, quantile
from tests.redc.layers import deconvolution

TRIALS = 6


@pytest.fixture(scope="module")
def model() -> onnx.ModelProto:
    return deconvolution((1, 8, 3, 3), (8, 4, 3, 3), activation="Relu", strides=[2, 2])


@pytest.fixture(scope="module")
def found(model: onnx.ModelProto) -> MonteCarlo:
    return montecarlo(model, trials=TRIALS, seed=5, target="isaac")


def test_every_trial_is_a_single_run(model: onnx.ModelProto, found: MonteCarlo) -> None:
    """`redc.diff` in analog on the same inputs."""
    rng = np.random.default_rng(1)  # what diff and montecarlo draw where nobody gives inputs
    inputs = {"x": rng.standard_normal((1, 8, 3, 3), np.float32)}
    again = montecarlo(model, trials=TRIALS, seed=5, target="isaac", inputs=inputs)
    for number in (5, 8):
        report = redc.diff(model, inputs=inputs, fidelity="analog", seed=number, target="isaac")
        assert report.outputs[0].sqnr_db == again.outputs[0].against_float[number - 5]
        (layer,) = report.layers
        assert layer.closeness is not None
        assert layer.closeness.sqnr_db == again.layers[0].against_float[number - 5]
    assert len(set(found.outputs[0].against_exact)) == TRIALS, "every machine differs"


def test_the_same_seeds_give_the_same_figures(model: onnx.ModelProto, found: MonteCarlo) -> None:
    again = montecarlo(model, trials=TRIALS - 2, seed=7, target="isaac")
    assert again.outputs[0].against_exact == found.outputs[0].against_exact[2:]


def test_without_effects_every_machine_is_exact(model: onnx.ModelProto, tmp_path: Path) -> None:
    quiet = tmp_path / "quiet.toml"
    none = "".join(f'{key} = "none"\n' for key in ("on_off", "normal", "read_noise"))
    quiet.write_text(f'name = "quiet"\ndescription = "x"\ninherits = "isaac"\n[device]\n{none}')
    report = montecarlo(model, trials=2, target=str(quiet))
    for spread in (*report.layers, *report.outputs):
        assert spread.against_exact == [math.inf, math.inf]
        assert spread.against_float == [spread.ideal_db] * 2
    program = redc.compile(model, target="isaac")
    assert montecarlo(model, program, trials=1, target=str(quiet)).outputs[0].against_exact == [math.inf]


def test_json_and_table_have_every_layer_and_output(found: MonteCarlo) -> None:
    document = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert (document["schema"], document["trials"], document["seed"]) == (1, TRIALS, 5)
    assert document["device"]["normal"]["source"].startswith("Wan")
    for row, spread in zip(
        document["layers"] + document["outputs"], found.layers + found.outputs, strict=True
    ):
        assert row["against_float"]["worst"] == min(spread.against_float)
        assert row["against_exact"]["median"] == sorted(spread.against_exact)[2]
        assert len(row["against_exact"]["trials"]) == TRIALS
        assert f"\n{spread.name} " in found.table()


def test_quantiles_are_values_that_were_seen() -> None:
    values = [float(v) for v in range(20, 0, -1)]
    assert [quantile(values, share) for share in (0.05, 0.5, 0.95)] == [1, 10, 19]
    assert quantile([3.0], 0.05) == 3
    assert quantile([1.0, math.inf], 0.95) == math.inf


@pytest.mark.parametrize("ending", ["png", "svg"])
def test_the_picture_is_drawn(found: MonteCarlo, ending: str, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="pictures are an extra")
    from redc.montecarlo_plot import plot

    path = tmp_path / f"spread.{ending}"
    plot(found, str(path))
    assert path.stat().st_size > 5000


def test_the_command_prints_a_table_or_json(
    model: onnx.ModelProto,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    onnx.save(model, "net.onnx")
    assert main(["montecarlo", "net.onnx", "--trials", "2", "--target", "isaac"]) == 0
    shown = capsys.readouterr()
    assert "2 machines, seeds 0 to 1" in shown.out
    assert "\r" not in shown.err, "no bar where there is no terminal"
    assert main(["compile", "net.onnx", "-o", "net.red", "--target", "isaac"]) == 0
    capsys.readouterr()
    assert main(["montecarlo", "net.onnx", "--program", "net.red", "--trials", "2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["target"] == "isaac"


def test_run_takes_cells_from_the_target_and_the_machine_from_the_seed(
    model: onnx.ModelProto,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    onnx.save(model, "net.onnx")
    assert main(["compile", "net.onnx", "-o", "net.red", "--target", "isaac"]) == 0
    np.savez("x.npz", x=np.random.default_rng(0).standard_normal((1, 8, 3, 3)).astype(np.float32))
    Path("quiet.toml").write_text(
        'name = "quiet"\ndescription = "x"\ninherits = "isaac"\n[device]\n'
        'on_off = "none"\nnormal = "none"\nread_noise = "none"\n'
    )

    def outputs(*words: str) -> bytes:
        assert main(["run", "net.red", "--input", "x.npz", "--output", "y.npz", *words]) == 0
        capsys.readouterr()
        with np.load("y.npz") as found:
            return bytes(found["y"].tobytes())

    analog = ["--fidelity", "analog"]
    first = outputs(*analog, "--seed", "3")
    assert outputs(*analog, "--seed", "3", "--engine", "step") == first
    assert outputs(*analog, "--seed", "4") != first
    assert outputs(*analog, "--seed", "4", "--target", "quiet.toml") == outputs()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--trials", "0"], "'0' is not a whole number from 1 to 1000000"),
        (["--trials", "9" * 30], "is not a whole number from 1 to 1000000"),
        (["--trials", "9" * 5000], "is not a whole number from 1 to 1000000"),
        (["--target", "prime"], "target 'prime' has no [device] table"),
        (["--plot", "out.gif"], "ends in neither .png nor .svg"),
        (["--program", "net.red", "--weight-bits", "4"], "an option of compiling, but there is a program"),
        (["--program", "none.red"], "cannot read"),
        (["--fidelity", "adc"], "unrecognized arguments: --fidelity adc"),
    ],
)
def test_what_does_not_fit_is_one_error(
    words: list[str],
    message: str,
    model: onnx.ModelProto,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    onnx.save(model, "net.onnx")
    assert main(["montecarlo", "net.onnx", *words, "--json"]) == 2
    (error,) = json.loads(capsys.readouterr().out)["errors"]
    assert message in error["message"]


def test_a_program_of_another_machine_is_refused(model: onnx.ModelProto) -> None:
    program = redc.compile(model, target="red-65nm")
    with pytest.raises(ProgramError, match="compiled for"):
        montecarlo(model, program, trials=1, target="isaac")
