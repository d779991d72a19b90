"""What docs/how-it-works.md and docs/timing.md show is what redc does."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import numpy as np
import onnx
import pytest

import isa
import redc
import runtime
from isa.program import Program
from redc.compiler import compile_with
from redc.ir.text import to_text
from redc.passes import Options

DOCS = Path(__file__).parent.parent / "docs"
INPUT = {"x": np.array([[[[1, 2], [3, 15]]]], np.float32)}


def block(kind: str) -> str:
    """The fenced block of `kind` in docs/how-it-works.md; there is one."""
    found = re.findall(rf"```{kind}\n(.*?)```", (DOCS / "how-it-works.md").read_text(encoding="utf-8"), re.S)
    assert len(found) == 1
    return str(found[0])


def numbers(kind: str) -> list[list[float]]:
    return [[float(word) for word in line.split()] for line in block(kind).splitlines()]


@pytest.fixture(scope="module")
def model() -> onnx.ModelProto:
    return onnx.parser.parse_model(block("onnx"))


@pytest.fixture(scope="module")
def program(model: onnx.ModelProto) -> Program:
    return redc.compile(model, calibrate=INPUT, weight_bits=4, input_bits=4)


def test_the_program_is_the_one_shown(program: Program) -> None:
    lines = isa.to_text(program).splitlines(keepends=True)
    shown = [line for line in lines if not line.startswith((".isa", ".target", ".data"))]
    assert "".join(shown).strip() == block("red").strip()


def test_the_mapping_table_is_the_one_shown(model: onnx.ModelProto) -> None:
    seen: dict[str, str] = {}
    compile_with(
        model, Options(), calibrate=INPUT, after=lambda name, graph: seen.update({name: to_text(graph)})
    )
    rows = [line.strip() for line in seen["schedule"].splitlines() if line.strip().startswith("pixel [")]
    assert rows == block("table").splitlines()


@pytest.mark.parametrize("engine", ["step", "fast"])
def test_accumulators_outputs_and_counts_are_those_worked_out(program: Program, engine: str) -> None:
    result = runtime.load(program, engine, observe=True).run(INPUT)
    assert result.accumulators["y"][0, :, :, 0].tolist() == numbers("accumulators")
    assert result.outputs["y"][0, 0].tolist() == numbers("output")
    counted = result.total.as_dict()
    for line in block("counters").splitlines():
        name, value = line.split()
        assert counted[name] == int(value), name


def test_every_mapping_takes_the_rounds_shown(model: onnx.ModelProto) -> None:
    for mapping, options, rounds in (
        ("zero-padding", {}, 16),
        ("padding-free", {}, 4),
        ("pixel-wise", {}, 4),
        ("pixel-wise", {"fold": 2}, 8),
        ("pixel-wise", {"merge": "analog"}, 4),
        ("packed", {}, 4),
    ):
        compiled = redc.compile(model, calibrate=INPUT, mapping=mapping, **options)
        assert runtime.run(compiled, INPUT).total.rounds == rounds


@pytest.mark.parametrize(("fetch", "cycles"), [(None, 130), (1, 177)])
def test_the_round_by_hand_takes_the_cycles_shown(
    model: onnx.ModelProto, fetch: int | None, cycles: int
) -> None:
    compiled = redc.compile(model, calibrate=INPUT, weight_bits=4, input_bits=4)
    compiled = dataclasses.replace(compiled, target=dataclasses.replace(compiled.target, fetch=fetch))
    assert runtime.run(compiled, INPUT).total.cycles == cycles
    assert runtime.run(compiled, INPUT, engine="step").total.cycles == cycles
    assert f"**{cycles}**" in (DOCS / "timing.md").read_text(encoding="utf-8")


def test_zero_padding_takes_the_cycles_shown(model: onnx.ModelProto) -> None:
    compiled = redc.compile(model, calibrate=INPUT, mapping="zero-padding", weight_bits=4, input_bits=4)
    cycles = runtime.run(compiled, INPUT).total.cycles
    assert f"= {cycles} cycles" in (DOCS / "timing.md").read_text(encoding="utf-8")
