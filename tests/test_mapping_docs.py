"""Every number in docs/mappings.md is what redc counts."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import onnx
import pytest

import redc
from isa.geometry import arrays_of
from isa.program import Program
from runtime.count import count
from tests.redc.test_mappings import SIX, compiled
from tests.test_docs import INPUT, block

DOCS = Path(__file__).parent.parent / "docs"
OPTIONS: dict[str, dict[str, Any]] = {
    "zero-padding": {"mapping": "zero-padding"},
    "padding-free": {"mapping": "padding-free"},
    "pixel-wise": {},
    "pixel-wise analog": {"merge": "analog"},
    "packed": {"mapping": "packed"},
}


def shown(kind: str) -> dict[str, list[int]]:
    """The rows of one fenced block: the mapping, and its numbers."""
    (text,) = re.findall(rf"```{kind}\n(.*?)```", (DOCS / "mappings.md").read_text(encoding="utf-8"), re.S)
    rows = [re.match(r"(\S+(?: [a-z]+)?)\s+(.*)", line) for line in text.splitlines()[1:]]
    return {row[1]: [int(n.replace(",", "")) for n in row[2].split()] for row in rows if row}


def events(program: Program) -> list[int]:
    [(_, c)] = count(program)
    return [c.drives, c.gated_drives, c.inserted_zeros, c.cell_reads, c.conversions]


def test_the_small_layer_counts_what_is_worked_out() -> None:
    model = onnx.parser.parse_model(block("onnx"))
    for name, numbers in shown("small").items():
        program = redc.compile(model, calibrate=INPUT, weight_bits=4, input_bits=4, **OPTIONS[name])
        assert events(program) == numbers, name


def test_gan_deconv3_counts_what_is_worked_out() -> None:
    for name, numbers in shown("deconv3").items():
        assert events(compiled("GAN_Deconv3", target="isaac", **OPTIONS[name])) == numbers, name


@pytest.mark.parametrize("name", OPTIONS)
def test_rounds_arrays_and_conversions_of_the_six_layers_are_those_shown(name: str) -> None:
    found: dict[str, list[float]] = {"rounds": [], "arrays": [], "per-value": []}
    for layer in SIX:
        program = compiled(layer, target="isaac", **OPTIONS[name])
        [(_, counters)] = count(program)
        (crossbar,) = program.crossbars.values()
        _, height, width, channels = program.outputs[0].shape
        values = counters.conversions - counters.activations  # less a reference column per array read
        found["rounds"].append(counters.rounds)
        found["arrays"].append(arrays_of(crossbar, program.target))
        found["per-value"].append(values / (crossbar.input_type.bits * 4 * height * width * channels))
    for kind, numbers in found.items():
        if name in shown(kind):
            assert shown(kind)[name] == numbers, kind
