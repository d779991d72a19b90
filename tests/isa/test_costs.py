"""What targets cost: units checked against published powers, and every malformed number named."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import isa
from isa.costs import COMPONENTS, METRICS, Costs
from isa.targets import FOLDER, load_target_file

ISAAC = (FOLDER / "isaac.toml").read_text()
ADC = 'energy = { value = 1.5, unit = "pJ", node = "32 nm"'


def amount(costs: Costs, component: str, metric: str) -> int:
    found = costs.amount(component, metric)
    assert found is not None
    return found


def problems(path: Path) -> list[str]:
    with pytest.raises(isa.ProgramError) as caught:
        isa.load_target(str(path))
    return [f"{d.span.line}:{d.span.column} {d.message}" for d in caught.value.diagnostics]


@pytest.mark.parametrize("name", isa.target_names())
def test_every_number_has_unit_node_and_source(name: str) -> None:
    costs = load_target_file(name).costs
    assert set(costs.numbers) == {(c, m) for c, spec in COMPONENTS.items() for m in spec.metrics}
    for quantity in (costs.frequency, *costs.numbers.values()):
        assert quantity.source
        assert quantity.node or quantity.amount is None


@pytest.mark.parametrize(
    ("component", "many", "seconds", "milliwatts"),
    [
        ("adc", 8, 1 / 1.2e9, 16.0),  # 8 ADCs, a conversion each 1/1.2 ns
        ("driver", 1024, 128 / 1.2e9, 4.0),  # 8 x 128 DACs, a pulse per plane
    ],
)
def test_isaac_energy_and_leakage_are_the_power_of_its_table(
    component: str, many: int, seconds: float, milliwatts: float
) -> None:
    """pJ, not nJ: dynamic energy over the time of one event plus leakage is the published power."""
    costs = load_target_file("isaac").costs
    watts = amount(costs, component, "energy") * 1e-18 / seconds + amount(costs, component, "leakage") * 1e-18
    assert many * watts * 1e3 == pytest.approx(milliwatts, rel=0.01)


def test_isaac_arrays_and_shift_adds_draw_the_power_of_its_table() -> None:
    costs, plane = load_target_file("isaac").costs, 128 / 1.2e9
    cells = 8 * 128 * 128 * amount(costs, "array", "energy") * 1e-18 / plane
    assert cells * 1e3 == pytest.approx(2.4, rel=0.01)
    adds = 8 * (amount(costs, "shift_add", "energy") * 1.2e9 + amount(costs, "shift_add", "leakage")) * 1e-18
    assert adds * 1e3 == pytest.approx(0.2, rel=0.01)
    area = 8 * amount(costs, "adc", "area") + 1024 * amount(costs, "driver", "area")
    assert area * 1e-12 == pytest.approx(0.0096 + 0.00017, rel=0.01)


def test_red_constants_are_neurosim_power_times_time() -> None:
    costs = load_target_file("red-65nm").costs
    assert amount(costs, "adc", "energy") * 1e-18 == pytest.approx(
        (2.9503 * 8 + 22.047) * 1e-6 * 9e-9, rel=1e-5
    )
    low, high = 0.55**2 / 100e3 * 10e-9, 0.55**2 / 1.7e6 * 10e-9
    assert amount(costs, "array", "energy") * 1e-18 == pytest.approx((low + high) / 2, rel=1e-4)
    assert amount(costs, "array", "area") * 1e-6 == pytest.approx(4 * 12 * 0.065**2)
    assert amount(costs, "buffer", "energy") * 256e-6 == pytest.approx(38.5 + 256 * 0.054 * 1.884, rel=1e-3)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (ADC, ADC.replace("1.5", "-1.5"), "component.adc.energy: value is negative"),
        (ADC, ADC.replace("1.5", '"1.5"'), "component.adc.energy: value is a number, found \"1.5\""),
        (ADC, ADC.replace("1.5", "nan"), "component.adc.energy: value is a finite number"),
        (ADC, ADC.replace("1.5", "1e99999"), "component.adc.energy: value has too many digits"),
        (ADC, ADC.replace("1.5", "1.23456789"), "component.adc.energy: 1.23456789 pJ is no whole"),
        (ADC, ADC.replace('unit = "pJ", ', ""), "component.adc.energy: missing unit"),
        (ADC, ADC.replace('"pJ"', '"mW"'), 'component.adc.energy: expected aJ, fJ, pJ, nJ or uJ, found "mW"'),
        (ADC, ADC.replace("unit", "units"), "component.adc.energy: unknown key units"),
        (ADC, ADC.replace('"32 nm"', "32"), "component.adc.energy: node is a text"),
        (ADC, "energy = 1.5 #", "component.adc.energy: expected {"),
        (ADC, "energies = { value = 1", "unknown key energies in [component.adc]"),
        ("[component.adc]", "[component.adcs]", "unknown key adcs in [component]"),
        ("[clock]", "[clocks]", "unknown table clocks"),
        ("value = 1.2, ", "value = 0, ", "clock.frequency: a clock ticks"),
        ("value = 1.2, ", "value = 2, ", "component.adc.latency: 0.833 ns does not fit a clock cycle"),
    ],
)  # fmt: skip
def test_a_malformed_cost_is_named_in_its_place(old: str, new: str, message: str, tmp_path: Path) -> None:
    assert old in ISAAC
    path = tmp_path / "mine.toml"
    path.write_text(ISAAC.replace(old, new, 1))
    found = problems(path)
    place = next((line for line in found if line.split(" ", 1)[1].startswith(message)), None)
    assert place, found
    assert int(place.split(":")[0]) > 0 or "missing" in message


def test_a_place_is_the_column_of_the_key(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(ISAAC.replace(ADC, ADC.replace("1.5", "-1.5")))
    line = ISAAC[: ISAAC.index(ADC)].count("\n") + 1
    assert problems(path) == [f"{line}:{ADC.index('value') + 1} component.adc.energy: value is negative"]


MINE = 'name = "mine"\ndescription = "ISAAC with a better ADC"\ninherits = "isaac"\n'


def test_a_target_inherits_what_it_does_not_say(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    better = '[component.adc]\nenergy = { value = 1, unit = "pJ", node = "32 nm", source = "assumed" }\n'
    path.write_text(MINE + better)
    mine, isaac = load_target_file(str(path)), load_target_file("isaac")
    assert mine.inherits == ("isaac",)
    assert mine.costs.amount("adc", "energy") == 10**6
    assert mine.costs.amount("adc", "area") == isaac.costs.amount("adc", "area")
    assert mine.target.digest == isaac.target.digest  # only costs differ
    heir = tmp_path / "heir.toml"
    heir.write_text(
        'name = "heir"\ndescription = "x"\ninherits = "mine.toml"\n'
        '[machine]\nadc = 6\n[source]\nadc = "assumed"\n'
    )
    found = load_target_file(str(heir))
    assert (found.inherits, found.target.adc, found.target.rows) == (("isaac", "mine"), 6, 128)
    assert found.costs.amount("adc", "energy") == 10**6
    assert found.target.digest != isaac.target.digest


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"mine": 'inherits = "mine.toml"'}, "3:1 a cycle of inheritance: mine.toml -> mine.toml"),
        (
            {"mine": 'inherits = "b.toml"', "b": 'inherits = "mine.toml"'},
            "3:1 a cycle of inheritance: mine.toml -> b.toml -> mine.toml",
        ),
        ({"mine": 'inherits = "isac"'}, "3:1 no target is named 'isac', and no file lies at that path"),
        ({"mine": "inherits = 3"}, "3:1 inherits is the name of a target, or the path of a file"),
        (
            {"mine": 'inherits = "isaac"\n[machine]\nadc = 6'},
            "5:1 adc: its source is inherited, its value is not",
        ),
        (
            {"mine": 'inherits = "isaac"\n[component.adc]\nenergi = 6'},
            "5:1 unknown key energi in [component.adc]",
        ),
        ({"mine": 'inherits = "isaac"\nmachine = 3'}, "4:1 machine is a table"),
    ],
)  # fmt: skip
def test_a_wrong_inheritance_is_named_in_its_place(
    files: dict[str, str], message: str, tmp_path: Path
) -> None:
    for name, text in files.items():
        (tmp_path / f"{name}.toml").write_text(f'name = "{name}"\ndescription = "x"\n{text}\n')
    found = problems(tmp_path / "mine.toml")
    assert any(line.startswith(message) for line in found), found


@given(st.sampled_from(sorted(COMPONENTS)), st.data())
def test_any_missing_number_is_an_error(component: str, data: st.DataObject) -> None:
    metric = data.draw(st.sampled_from(COMPONENTS[component].metrics))
    assert METRICS[metric]
    head, _, tail = ISAAC.partition(f"[component.{component}]\n")
    lines = tail.split("\n")
    lines.remove(next(line for line in lines if line.startswith(f"{metric} = ")))
    import tomllib
    from decimal import Decimal

    from isa.costs import check_costs
    from isa.diagnostics import Report
    from isa.toml_places import Places

    text = f"{head}[component.{component}]\n" + "\n".join(lines)
    report = Report(text, "mine.toml")
    assert check_costs(tomllib.loads(text, parse_float=Decimal), Places(text), report) is None
    assert report.diagnostics[0].message.startswith(f"missing in [component.{component}]: {metric}")
    assert report.diagnostics[0].source == f"[component.{component}]"
