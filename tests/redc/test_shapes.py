"""Every shape: any rank, batch, several inputs and outputs; where the open dimensions come from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

import redc
import redc.cli as cli
import runtime
from redc import UserError
from tests.redc.frontend.test_operators import parse

F32 = np.float32
WEIGHTS = {1: "float[2, 1, 2] w", 2: "float[2, 1, 1, 2] w", 3: "float[2, 1, 1, 1, 2] w"}


def drawn(*shape: int) -> np.ndarray:
    return np.random.default_rng(shape).standard_normal(shape).astype(F32)


@pytest.fixture(params=[1, 2, 3], ids=["1-D", "2-D", "3-D"])
def rank(request: pytest.FixtureRequest) -> int:
    return int(request.param)


def two_of_each(rank: int) -> onnx.ModelProto:
    """Inputs x and m share their open sizes; outputs y and z have their own."""
    sizes = ", ".join(f"S{i}" for i in range(rank))
    return parse(
        "a = ConvTranspose(x, w)\n y = Relu(a)\n z = Add(x, m)",
        constants=f"{WEIGHTS[rank]} = {{1, 2, 3, 4}}",
        x=f"float[N, 2, {sizes}] x, float[N, 2, {sizes}] m",
        y="float[] y, float[] z".replace("[]", f"[N, C, {', '.join(f'T{i}' for i in range(rank))}]"),
    )


@pytest.mark.parametrize("batch", [1, 3])
def test_inputs_settle_every_rank_and_batch(rank: int, batch: int) -> None:
    x, m = drawn(batch, 2, *range(3, 3 + rank)), drawn(2, batch, *range(3, 3 + rank)).swapaxes(0, 1)
    report = redc.diff(two_of_each(rank), inputs={"x": x, "m": m}, weight_bits=12, input_bits=12)
    assert report.passed
    assert [output.shape[0] for output in report.outputs] == [batch, batch]
    assert all(output.sqnr_db is not None and output.sqnr_db > 50 for output in report.outputs)


def test_a_symbol_settled_for_one_input_holds_for_all(rank: int) -> None:
    shape = (2, 2, *range(4, 4 + rank))
    with pytest.warns(redc.AssumedInputs):
        program = redc.compile(two_of_each(rank), shapes={"x": shape})
    assert [buffer.onnx_shape for buffer in program.inputs] == [shape, shape]


def test_samples_settle_all_but_the_batch(rank: int) -> None:
    samples = {"x": drawn(5, 2, *range(3, 3 + rank)), "m": drawn(5, 2, *range(3, 3 + rank))}
    program = redc.compile(two_of_each(rank), calibrate=samples)
    assert [buffer.onnx_shape for buffer in program.inputs] == [(1, 2, *range(3, 3 + rank))] * 2
    shape = (4, 2, *range(3, 3 + rank))
    program = redc.compile(two_of_each(rank), calibrate=samples, shapes={"x": shape})
    assert [buffer.onnx_shape for buffer in program.inputs] == [shape, shape]


def test_what_nobody_settles_is_one_error_that_lists_it() -> None:
    with pytest.raises(UserError) as caught:
        redc.compile(two_of_each(2))
    assert len(caught.value.errors) == 1
    assert str(caught.value).endswith(
        "not every dimension is known: input 'x' leaves open axis 2 ('S0'), axis 3 ('S1'); "
        "input 'm' leaves open axis 2 ('S0'), axis 3 ('S1')\n"
        "  hint: give --shape x=1,2,<S0>,<S1> --shape m=1,2,<S0>,<S1> with numbers for the names in <>"
    )


def test_a_program_takes_one_shape_and_says_so() -> None:
    samples = {"x": drawn(1, 2, 5), "m": drawn(1, 2, 5)}
    program = redc.compile(two_of_each(1), calibrate=samples)
    with pytest.raises(runtime.InputError, match=r"the program takes \[1, 2, 5\]"):
        runtime.run(program, {"x": drawn(1, 2, 6), "m": drawn(1, 2, 6)})


def test_a_cache_may_be_empty_before_the_first_token() -> None:
    """As decoders have them: `past` has no values yet, and the host puts the two together."""
    whole = parse(
        "k = MatMul(e, w)\n y = Concat<axis = 1>(past, k)",
        constants="float[2, 2] w = {1, 2, 3, 4}",
        x="float[1, 3, 2] e, float[1, past_length, 2] past",
        y="float[1, total, 2] y",
    )
    e = drawn(1, 3, 2)
    for length in (0, 4):
        inputs = {"e": e, "past": drawn(1, 4, 2)[:, :length]}
        report = redc.diff(whole, inputs=inputs, input_bits=16, weight_bits=16)
        assert report.passed
        assert report.outputs[0].sqnr_db > 60


@pytest.mark.parametrize("command", ["compile", "map", "compare", "diff"])
def test_a_model_of_the_zoo_brings_the_shapes_of_its_own_samples(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    last = {"compile": ["-o", str(tmp_path / "head.red")], "compare": ["--mappings", "packed"]}
    assert cli.main([command, "ppocrv4_db_head", *last.get(command, [])]) in (0, None)
    assert "standard normal" not in "".join(capsys.readouterr())


def test_given_shapes_come_before_those_of_the_zoo() -> None:
    name = "p2o.Concat.1"
    with pytest.warns(redc.AssumedInputs):
        program = redc.compile("ppocrv4_db_head", shapes={name: (2, 96, 4, 4)})
    assert program.inputs[0].onnx_shape == (2, 96, 4, 4)
    calibrate = {name: np.ones((1, 96, 4, 8), F32)}
    assert redc.compile("ppocrv4_db_head", calibrate=calibrate).inputs[0].onnx_shape == (1, 96, 4, 8)
    assert redc.compile("ppocrv4_db_head").inputs[0].onnx_shape == (1, 96, 80, 160)
