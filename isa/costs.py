"""What a target's components cost: energy per event, area, leakage and latency per unit.

A number in a target file is a table with a value, a unit, the technology node it was published
for, and its source ("assumed" where there is none):

    [component.adc]
    energy = { value = 1.5, unit = "pJ", node = "32 nm", source = "..." }

or the words "not published", which every report passes on as null.  Values are kept as whole
numbers of a small base unit, so that sums are exact; a value that is none is an error.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from isa.diagnostics import Report, did_you_mean, missing_keys, one_of, shown
from isa.program import NOWHERE, Span
from isa.toml_places import Places

UNPUBLISHED = "not published"
MAX_EXPONENT = 40
"""No value has a larger one: `1e999999` would be expanded digit by digit."""


@dataclass(frozen=True, slots=True)
class Dimension:
    """A physical dimension: its base unit, of which every value is a whole number, and all units."""

    base: str
    units: Mapping[str, Decimal]


def _scaled(base: str, **units: int) -> Dimension:
    return Dimension(base, {name: Decimal(10) ** power for name, power in units.items()})


ENERGY = _scaled("aJ", aJ=0, fJ=3, pJ=6, nJ=9, uJ=12)
POWER = _scaled("aW", aW=0, fW=3, pW=6, nW=9, uW=12, mW=15)
AREA = _scaled("nm2", nm2=0, um2=6, mm2=12)
TIME = _scaled("fs", fs=0, ps=3, ns=6, us=9)
FREQUENCY = _scaled("Hz", Hz=0, kHz=3, MHz=6, GHz=9)

METRICS: Mapping[str, tuple[Dimension, str]] = {
    "energy": (ENERGY, "per event"),
    "write": (ENERGY, "to program one"),
    "area": (AREA, "of one"),
    "leakage": (POWER, "of one, all the time"),
    "latency": (TIME, "of one event"),
    "write_latency": (TIME, "to program one row"),
}


@dataclass(frozen=True, slots=True)
class Component:
    """A kind of hardware: what one of it is, the event that uses it, the numbers it needs."""

    unit: str
    event: str
    metrics: tuple[str, ...] = ("energy", "area", "leakage")


COMPONENTS: Mapping[str, Component] = {
    "driver": Component("word-line driver with its DAC, one per word line", "word-line pulse"),
    "array": Component(
        "cell", "read of one cell", ("energy", "write", "area", "leakage", "latency", "write_latency")
    ),
    "sample_hold": Component("sample-and-hold, one per converted column", "sample"),
    "adc": Component("ADC, one per `share` columns", "conversion", ("energy", "area", "leakage", "latency")),
    "shift_add": Component("shift-and-add, one per ADC", "shift-and-add"),
    "adder": Component("adder of one value", "addition"),
    "register": Component("bit of an array's input and output registers", "bit written"),
    "buffer": Component("bit of the buffers", "bit read or written"),
    "vector": Component("lane of the vector unit", "value"),
    "control": Component("controller of the machine", "instruction"),
}  # fmt: skip
"""In the order of the data's way through the machine; reports keep it."""


@dataclass(frozen=True, slots=True)
class Quantity:
    """One number of a target: `amount` base units, or None where it is not published."""

    amount: int | None
    text: str
    node: str
    source: str


@dataclass(frozen=True, slots=True)
class Costs:
    """The cost side of a target: `frequency` in Hz, `numbers[component, metric]` in base units."""

    frequency: Quantity
    numbers: Mapping[tuple[str, str], Quantity]

    def amount(self, component: str, metric: str) -> int | None:
        """Base units (aJ, nm2, aW, fs), or None where it is not published."""
        found = self.numbers.get((component, metric))
        return found.amount if found else None

    def unpublished(self) -> list[str]:
        """What the target does not know, as `control energy`."""
        missing = [f"{c} {m}" for (c, m), q in self.numbers.items() if q.amount is None]
        return ["clock frequency"] * (self.frequency.amount is None) + missing


def check_costs(document: Mapping[str, Any], places: Places, report: Report) -> Costs | None:
    """The `[clock]` and `[component.*]` tables; what is wrong with them goes into `report`."""
    before = len(report.diagnostics)
    clock = _table(document, ("clock",), ("frequency",), places, report)
    frequency = _quantity(clock.get("frequency"), FREQUENCY, ("clock", "frequency"), places, report)
    components = _table(document, ("component",), tuple(COMPONENTS), places, report)
    numbers: dict[tuple[str, str], Quantity] = {}
    for name, component in COMPONENTS.items():
        if name not in components:
            continue
        table = _table(components, (name,), component.metrics, places, report, within=("component",))
        for metric in component.metrics:
            if metric in table:
                dimension, _ = METRICS[metric]
                path = ("component", name, metric)
                found = _quantity(table[metric], dimension, path, places, report)
                if found is not None:
                    numbers[name, metric] = found
    if len(report.diagnostics) > before or frequency is None:
        return None
    costs = Costs(frequency, numbers)
    _check_clock(document, costs, places, report)
    return costs


def _table(
    document: Mapping[str, Any],
    path: tuple[str],
    known: tuple[str, ...],
    places: Places,
    report: Report,
    within: tuple[str, ...] = (),
) -> Mapping[str, Any]:
    """The table at `path`, with exactly the `known` keys; an empty one after an error."""
    whole = (*within, *path)
    table = document.get(path[0])
    header = f"[{'.'.join(whole)}]"
    if not isinstance(table, Mapping):
        report.error(places.of(*whole), f"missing: {header}" if table is None else f"{header} is a table")
        return {}
    for key in table:
        if key not in known:
            report.error(places.of(*whole, key), f"unknown key {key} in {header}", did_you_mean(key, known))
    missing = missing_keys(table, known)
    if missing:
        hint = f'a number that nobody published is "{UNPUBLISHED}"'
        report.error(places.of(*whole), f"missing in {header}: {', '.join(missing)}", hint)
    return table


def _example(dimension: Dimension) -> str:
    """A number of the dimension, as a file writes it."""
    unit = list(dimension.units)[len(dimension.units) // 2]
    return f'{{ value = 1.5, unit = "{unit}", node = "32 nm", source = "..." }}'


def _quantity(
    value: object, dimension: Dimension, path: tuple[str, ...], places: Places, report: Report
) -> Quantity | None:
    name = ".".join(path)
    if value == UNPUBLISHED:
        return Quantity(None, UNPUBLISHED, "", UNPUBLISHED)
    if value is None:
        return None  # missing: told already
    if not isinstance(value, Mapping):
        report.error(places.of(*path), f'{name}: expected {_example(dimension)}, or "{UNPUBLISHED}"')
        return None
    keys = ("value", "unit", "node", "source")
    problems = len(report.diagnostics)
    for key in value:
        if key not in keys:
            report.error(places.of(*path, key), f"{name}: unknown key {key}", did_you_mean(key, keys))
    missing = [key for key in keys if key not in value]
    if missing:
        hint = f"a number is {_example(dimension)}"
        report.error(places.of(*path), f"{name}: missing {', '.join(missing)}", hint)
    for key in ("node", "source"):
        if key in value and not (isinstance(value[key], str) and value[key].strip()):
            hint = "where it is published, or assumed" if key == "source" else 'like "32 nm"'
            report.error(places.of(*path, key), f"{name}: {key} is a text: {hint}")
    unit = value.get("unit")
    if "unit" in value and (not isinstance(unit, str) or unit not in dimension.units):
        expected = one_of(tuple(dimension.units))
        report.error(places.of(*path, "unit"), f"{name}: expected {expected}, found {shown(unit)}")
    number = value.get("value")
    if "value" in value:
        _check_number(number, name, places.of(*path, "value"), report)
    if len(report.diagnostics) > problems:
        return None
    assert isinstance(unit, str)
    amount = Decimal(number) * dimension.units[unit]  # type: ignore[arg-type]  # checked above
    if amount != amount.to_integral_value():
        whole = amount.to_integral_value() / dimension.units[unit]
        message = f"{name}: {number} {unit} is no whole number of {dimension.base}"
        report.error(places.of(*path, "value"), message, f"sums are exact: write {whole} {unit}")
        return None
    if name == "clock.frequency" and not amount:
        report.error(places.of(*path, "value"), f"{name}: a clock ticks")
        return None
    return Quantity(int(amount), f"{number} {unit}", value["node"], value["source"])


def _check_number(number: object, name: str, place: Span, report: Report) -> None:
    if isinstance(number, bool) or not isinstance(number, int | Decimal):
        report.error(place, f"{name}: value is a number, found {shown(number)}")
    elif isinstance(number, Decimal) and not number.is_finite():
        report.error(place, f"{name}: value is a finite number")
    elif number < 0:
        report.error(place, f"{name}: value is negative", f"no {name.rpartition('.')[2]} is below 0")
    elif abs(Decimal(number).adjusted()) > MAX_EXPONENT:
        report.error(place, f"{name}: value has too many digits")


def _check_clock(document: Mapping[str, Any], costs: Costs, places: Places, report: Report) -> None:
    """A cycle holds one conversion, and the conversions of a plane one array read."""
    frequency = costs.frequency.amount
    share = document.get("machine", {}).get("share")
    if frequency is None or not isinstance(share, int):
        return
    for component, cycles, what in (("adc", 1, "a clock cycle"), ("array", share, f"{share} clock cycles")):
        latency = costs.amount(component, "latency")
        if latency is not None and latency * frequency > cycles * 10**15:
            place = places.of("component", component, "latency")
            report.error(
                place if place != NOWHERE else places.of("clock", "frequency"),
                f"component.{component}.latency: {costs.numbers[component, 'latency'].text} "
                f"does not fit {what} at {costs.frequency.text}",
                "slow the clock down",
            )
