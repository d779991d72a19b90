"""A session answers as onnxruntime's does, for the same model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest

import isa
import models
import redc
import runtime

Z = np.random.default_rng(1).standard_normal((2, 21, 16, 16)).astype(np.float32)[:1]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    red = tmp_path_factory.mktemp("session") / "up.red"
    isa.save(redc.compile("fcn8s_upscore2"), red)
    return red


def test_one_line_is_swapped(path: Path) -> None:
    theirs = onnxruntime.InferenceSession(models.load("fcn8s_upscore2").SerializeToString())
    ours = runtime.Session(path)
    for mine, other in ((ours.get_inputs(), theirs.get_inputs()), (ours.get_outputs(), theirs.get_outputs())):
        assert [(x.name, x.shape, x.type) for x in mine] == [(x.name, x.shape, x.type) for x in other]
    feed = {ours.get_inputs()[0].name: Z}
    name = ours.get_outputs()[0].name
    for names in (None, [name]):
        (got,), (wanted,) = ours.run(names, feed), theirs.run(names, feed)
        assert got.dtype == wanted.dtype
        assert np.abs(got - wanted).max() < 0.02 * np.abs(wanted).max()


def test_a_program_in_memory_runs_on_either_engine_and_counts(path: Path) -> None:
    program = isa.load(path)
    name = program.inputs[0].tensor
    outputs = []
    for engine in ("fast", "step"):
        session = runtime.Session(program, engine=engine)  # type: ignore[arg-type]  # a literal each
        assert session.result is None
        outputs.append(session.run(None, {name: Z}, None)[0])
        assert session.result is not None
        assert session.result.total.rounds == 17 * 17
    np.testing.assert_array_equal(*outputs)


def test_an_unknown_output_or_input_is_answered_with_a_hint(path: Path) -> None:
    session = runtime.Session(path)
    output, given = session.get_outputs()[0].name, session.get_inputs()[0].name
    with pytest.raises(runtime.InputError, match=f'did you mean "{output}"'):
        session.run([output + "s"], {given: Z})
    with pytest.raises(runtime.InputError, match="no input"):
        session.run(None, {given + "s": Z})


def test_what_a_script_gives_onnxruntime_is_taken_and_means_nothing(path: Path) -> None:
    wanted = runtime.Session(path)
    feed = {wanted.get_inputs()[0].name: Z}
    options = onnxruntime.SessionOptions()
    for session in (
        runtime.Session(str(path), options, ["CUDAExecutionProvider"], [{"device_id": 0}]),
        runtime.Session(
            path, sess_options=options, providers=["CPUExecutionProvider"], provider_options=None
        ),
    ):
        np.testing.assert_array_equal(session.run(None, feed)[0], wanted.run(None, feed)[0])
        assert session.get_providers() == ["RedcExecutionProvider"]


@pytest.mark.parametrize("given", ["net.onnx", Path("NET.ONNX"), "ModelProto", "bytes"])
def test_a_model_in_place_of_a_program_is_told_how_to_become_one(given: str | Path) -> None:
    model = models.load("fcn8s_upscore2")
    other = {"ModelProto": model, "bytes": model.SerializeToString()}.get(str(given), given)
    with pytest.raises(runtime.InputError, match="a session takes a program, not") as caught:
        runtime.Session(other)  # type: ignore[arg-type]  # the point of it
    assert str(given) in caught.value.message
    assert "redc.compile(model)" in str(caught.value.hint)
