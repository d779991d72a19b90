"""What a run costs: whole numbers that add up, worked out by hand, null where nothing is known."""

from __future__ import annotations

import dataclasses
import json
import warnings
from fractions import Fraction
from pathlib import Path

import onnx
import onnx.parser
import pytest
from hypothesis import given

import isa
import redc
from isa.costs import COMPONENTS
from isa.diagnostics import ProgramError
from isa.instructions import EVENTS
from isa.program import Program
from isa.targets import costs_of, load_target_file
from runtime.__main__ import main
from runtime.cost import EVENTS_OF, Cost, cost_of
from runtime.cost_report import paragraph
from runtime.count import count
from runtime.report import si
from tests.runtime.programs import deconvolution
from tests.runtime.strategies import programs

RED = load_target_file("red-65nm").costs
ISAAC = load_target_file("isaac").costs


def cost(program: Program, target: str = "isaac") -> Cost:
    return cost_of(program, count(program), load_target_file(target).costs)


@given(programs())
def test_components_and_layers_have_one_sum(program: Program) -> None:
    found = cost(program)
    by_component = sum(v for part in (found.dynamic, found.leakage) for v in part.values() if v is not None)
    assert found.energy == by_component == sum(layer.energy or 0 for layer in found.layers)


@given(programs())
def test_dynamic_energy_is_counts_times_whole_attojoules(program: Program) -> None:
    for layer, (_, counters) in zip(cost(program).layers, count(program), strict=True):
        for part, events in EVENTS_OF.items():
            each = ISAAC.amount(part, "energy")
            number = sum(getattr(counters, event) for event in events)
            assert layer.dynamic[part] == (None if each is None else number * each)


def test_every_component_has_an_event_and_only_savings_and_names_have_none() -> None:
    assert set(EVENTS_OF) == set(COMPONENTS)
    free = set(EVENTS) - {event for events in EVENTS_OF.values() for event in events}
    assert free == {
        "rounds",
        "fire_cycles",
        "gated_drives",
        "inserted_zeros",
        "activations",
        "host_calls",
        "host_bits",
    }


def test_a_deconvolution_by_hand() -> None:
    """2x2 pixels, kernel 2x2, stride 2, u8 inputs, i8 weights: 4 rounds of 4 arrays of 1 x 8 cells."""
    program = deconvolution()
    found = cost(program, "red-65nm")
    assert found.cycles == 1 + 3 * 64 + (64 + 4)
    assert found.latency == 261 / 111e6
    assert found.dynamic["adc"] == 4 * 4 * 8 * 4 * 410_845
    assert found.dynamic["driver"] == 4 * 4 * 8 * 784_000
    assert found.dynamic["array"] == 4 * 4 * 8 * (4 * 2) * 16_015
    assert found.dynamic["control"] == 4 * (4 + 1 + 12) * 4_806_000  # rounds x instructions of one
    own = found.inventory
    assert (own.arrays, own.cells_owned, own.cells_used) == (4, 4 * 8, 4 * 8)
    # Four pairs of columns need one ADC of 8 columns; one drives a row; registers hold an input of
    # 8 bits and a product of 16.
    assert own.parts["adc"] == own.parts["shift_add"] == own.parts["driver"] == 4
    assert own.parts["sample_hold"] == 16
    assert own.parts["register"] == 4 * (8 + 16)
    assert own.parts["buffer"] == 2 * 2 * 8 + 4 * 4 * 8
    assert found.area["adc"] == 4 * 4951 * 10**6
    assert found.write == 32 * 400_000
    assert found.write_time == 1 * 10 * 10**6  # arrays of one row
    watts = 4 * 4_560_000_000_000
    assert found.leakage["adc"] == round(Fraction(watts * 261, 111_000_000))


def test_whole_arrays_are_owned_where_the_target_has_a_size() -> None:
    isaac = isa.load_target("isaac")
    program = dataclasses.replace(deconvolution(), target=isaac)
    own = cost(program).inventory
    assert (own.arrays, own.cells_owned, own.cells_used) == (4, 4 * 128 * 128, 4 * 4)
    assert own.cells_written == 4 * (4 + 1)  # a reference column beside the weight
    assert (own.parts["adc"], own.parts["driver"], own.parts["sample_hold"]) == (4, 4 * 128, 4 * 128)


def test_a_blank_is_no_use_of_cells() -> None:
    packed = redc.compile("GAN_Deconv1", mapping="packed")
    (crossbar,) = packed.crossbars.values()
    own = cost(packed, "red-65nm").inventory
    assert len(crossbar.blank) == 36 - 25  # 3 x 3 taps, 2 x 2 phases, 5 x 5 kernel pixels
    assert (own.cells_used, own.cells_owned) == (25 * 512 * 256 * 8, 36 * 512 * 256 * 8)


def test_what_is_not_published_is_null_and_named() -> None:
    found = cost(deconvolution(), "prime").totals()
    for key in ("latency_s", "energy_j", "area_mm2", "write_energy_j", "write_time_s", "throughput_per_s"):
        assert found[key] is None
    assert "clock frequency" in found["not_modelled"]
    assert set(found["energy_aj"].values()) == {None}
    nothing = cost_of(deconvolution(), count(deconvolution()), None).totals()
    assert nothing["not_modelled"] == ["costs of this target"]
    assert nothing["energy_j"] is None


def test_costs_come_from_the_target_of_the_same_machine_or_not_at_all(tmp_path: Path) -> None:
    red = isa.load_target("red-65nm")
    assert costs_of(red) == RED
    assert costs_of(dataclasses.replace(red, rows=64)) is None
    assert costs_of(dataclasses.replace(red, name="mine")) is None
    assert costs_of(dataclasses.replace(red, name="mine"), "red-65nm") == RED
    with pytest.raises(ProgramError, match="rows is 128 here, the program was compiled for rows any"):
        costs_of(red, "isaac")


CHEAP = """
name = "cheap"
description = "free ADCs"
inherits = "red-65nm"
[component.adc]
energy = { value = 0, unit = "pJ", node = "65 nm", source = "assumed" }
"""


def test_run_takes_costs_from_another_target_of_the_same_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    isa.save(dataclasses.replace(deconvolution(), target=isa.load_target("red-65nm")), Path("p.red"))
    Path("cheap.toml").write_text(CHEAP)
    totals = []
    for more in ([], ["--target", "cheap.toml"]):
        assert main(["p.red", "--count-only", "--json", *more]) == 0
        totals.append(json.loads(capsys.readouterr().out)["totals"])
    dear, cheap = totals
    assert (dear["energy_aj"]["adc"], cheap["energy_aj"]["adc"]) == (512 * 410_845, 0)
    assert dear["cycles"] == cheap["cycles"]
    assert main(["p.red", "--count-only", "--json", "--target", "isaac"]) == 2
    errors = json.loads(capsys.readouterr().out)["errors"]
    assert any(e["message"].startswith("share is 128 here") for e in errors)
    assert main(["p.red", "--count-only"]) == 0
    text = capsys.readouterr().out
    assert "latency      2.32 us for " in text
    assert "not in it    wires, routers, off-chip traffic" in text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0 J"), (1.93e-4, "193 uJ"), (9.999e-7, "1.00 uJ"), (3.4e-18, "3.40 aJ"), (None, "-")],
)  # fmt: skip
def test_three_digits_and_a_prefix(value: float | None, text: str) -> None:
    assert si(value, "J") == text


@pytest.mark.parametrize(
    ("inputs", "outputs", "batch"),
    [
        ("float[8, 2] x", "float[8, 2] y", 8),
        ("float[8, 2] x, float[1] s", "float[8, 2] y", 8),
        ("float[8, 2] x, float[1, 2] s", "float[8, 2] y", 1),
        ("float[16] x", "float[16] y", 1),
    ],
)
def test_a_batch_is_what_all_doors_agree_on(inputs: str, outputs: str, batch: int) -> None:
    """Values of a vector are no batch, nor are rows of a constant that comes as an input."""
    other = "s" if "s" in inputs else "x"
    model = onnx.parser.parse_model(
        f'<ir_version: 8, opset_import: ["": 17]> g ({inputs}) => ({outputs}) {{ y = Add(x, {other}) }}'
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", redc.AssumedInputs)
        found = cost(redc.compile(model), "red-65nm")
    assert found.batch == batch
    assert found.latency is not None
    assert found.per_input == (found.latency / batch, found.totals()["energy_j"] / batch)


def test_figures_of_a_batch_say_so_and_what_they_are_of_one_input() -> None:
    model, shapes = "ppocrv4_db_head", {"p2o.Concat.1": (3, 96, 4, 4)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", redc.AssumedInputs)
        program = redc.compile(model, shapes=shapes)
        found = redc.compare(model, mappings=["red"], targets=["isaac"], shapes=shapes)
    told = " ".join(paragraph(cost(program)))
    assert "for 3 inputs" in told
    assert "its share of the batch of 3" in told
    report = redc.diff(model, program=program)
    assert "latency and energy are of a batch of 3; of one input: " in report.table()
    totals = report.as_dict()["totals"]
    assert totals["latency_per_input_s"] == totals["latency_s"] / 3
    assert "ppocrv4_db_head on isaac, a batch of 3" in found.table()
    assert found.table().count("each input") == 2
    assert "each input" not in " ".join(paragraph(cost(deconvolution())))
