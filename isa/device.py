"""What a target's cells are like: its `[device]` table (docs/fidelity.md, "Analog").

A number is a table with a value (or one value for each level of a cell), a unit and its source
("assumed" where there is none):

    [device]
    on_off = { value = 17, unit = "1", source = "..." }
    normal = { value = [0.03, 0.17, 0.13, 0.08], unit = "step", source = "..." }

A key that is absent, or "none", is an effect that is off.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Any

from isa.diagnostics import Report, did_you_mean, one_of, shown
from isa.toml_places import Places

NONE = "none"
STEP = 1 << 12
"""Conductances are whole multiples of 1 / STEP of a level step, exponents of 1 / STEP of an octave."""
SHARES = 1 << 32
MAX_LOGNORMAL = 1
MAX_OCTAVES = 24
"""Drift leaves no less of a cell than 2^-24: its conductance is 0 long before."""
MIN_ON_OFF = Decimal("1.01")

_PRECISE = Context(prec=50, rounding=ROUND_HALF_EVEN)


@dataclass(frozen=True, slots=True)
class Key:
    """A key of the table: what it says, its units and what each is worth, whether levels may differ."""

    doc: str
    units: Mapping[str, Decimal]
    by_level: bool = False


_ONE = {"1": Decimal(1)}
_SHARE = _ONE | {"%": Decimal("0.01")}
_TIME = {"s": Decimal(1), "h": Decimal(3600), "d": Decimal(86400)}
_RANGE = Decimal(0)  # of the unit "range": as many level steps as a cell has levels, less one

KEYS: Mapping[str, Key] = {
    "on_off": Key("conductance of the highest level over that of level 0", _ONE),
    "normal": Key("sigma of programming, normal", {"step": Decimal(1), "range": _RANGE}, True),
    "lognormal": Key("sigma of programming, of the logarithm", {"ln": Decimal(1)}, True),
    "stuck_on": Key("share of cells stuck at the highest level", _SHARE),
    "stuck_off": Key("share of cells stuck at level 0", _SHARE),
    "drift": Key("exponent nu of (t / t0)^-nu", _ONE, True),
    "drift_spread": Key("sigma of a cell's nu", _ONE, True),
    "drift_from": Key("t0: the time from which cells drift", _TIME),
    "age": Key("t: when the cells are read", _TIME),
    "read_noise": Key("sigma of the noise on a conversion", {"step": Decimal(1)}),
}


@dataclass(frozen=True, slots=True)
class Number:
    """One entry as it was published: its values as decimals, its unit and its source."""

    values: tuple[Decimal, ...]
    unit: str
    source: str

    @property
    def text(self) -> str:
        unit = "" if self.unit == "1" else f" {self.unit}"
        return ", ".join(map(str, self.values)) + unit


@dataclass(frozen=True, slots=True)
class Device:
    """The cells of a machine in fixed point; every tuple has one entry for each level.

    leak          conductance of level 0, in 1/4096 level steps
    normal        sigma of programming, in 1/4096 level steps
    lognormal     sigma of programming, in 1/4096 octaves
    stuck_on      cells stuck at the highest level, of 2^32
    stuck_off     cells stuck at level 0, of 2^32
    drift         what a cell has lost, in 1/4096 octaves
    drift_spread  sigma of that
    read_noise    sigma of the noise on a conversion, in 1/4096 level steps
    """

    leak: int
    normal: tuple[int, ...]
    lognormal: tuple[int, ...]
    stuck_on: int
    stuck_off: int
    drift: tuple[int, ...]
    drift_spread: tuple[int, ...]
    read_noise: int
    numbers: Mapping[str, Number]


def ideal(cell: int) -> Device:
    """Cells of so many bits that hold what was written, without noise."""
    none = (0,) * (1 << cell)
    return Device(0, none, none, 0, 0, none, none, 0, {})


def check_device(table: object, cell: int, places: Places, report: Report) -> Device | None:
    """The device of a `[device]` table; what is wrong with it goes into `report`."""
    before = len(report.diagnostics)
    if not isinstance(table, Mapping):
        report.error(places.of("device"), "[device] is a table")
        return None
    for key in table:
        if key not in KEYS:
            report.error(
                places.of("device", key), f"unknown key {key} in [device]", did_you_mean(key, tuple(KEYS))
            )
    numbers: dict[str, Number] = {}
    for name, key in KEYS.items():
        if table.get(name, NONE) != NONE:
            number = _number(table[name], name, key, 1 << cell, places, report)
            if number is not None:
                numbers[name] = number
    if len(report.diagnostics) == before:
        _check_sense(numbers, table, cell, places, report)
    return _fixed(numbers, cell) if len(report.diagnostics) == before else None


def _number(value: object, name: str, key: Key, levels: int, places: Places, report: Report) -> Number | None:
    unit = next(iter(key.units))
    example = f'{{ value = ..., unit = "{unit}", source = "..." }}'
    if not isinstance(value, Mapping):
        report.error(places.of("device", name), f'device.{name}: expected {example}, or "{NONE}"')
        return None
    words, before = ("value", "unit", "source"), len(report.diagnostics)

    def wrong(word: str, message: str, hint: str | None = None) -> None:
        report.error(places.of("device", name, word), f"device.{name}: {message}", hint)

    for word in value:
        if word not in words:
            wrong(word, f"unknown key {word}", did_you_mean(word, words))
    missing = [word for word in words if word not in value]
    if missing:
        wrong(missing[0], f"missing {', '.join(missing)}", f"a number is {example}")
        return None
    if not (isinstance(value["source"], str) and value["source"].strip()):
        wrong("source", "source is a text: where it is published, or assumed")
    if not (isinstance(value["unit"], str) and value["unit"] in key.units):
        wrong("unit", f"expected {one_of(tuple(key.units))}, found {shown(value['unit'])}")
    given = value["value"]
    many = given if isinstance(given, list) else [given]
    if isinstance(given, list) and not key.by_level:
        wrong("value", "one value, not one for each level")
    elif isinstance(given, list) and len(given) != levels:
        wrong("value", f"{len(given)} values, a cell has {levels} levels")
    elif problem := next((p for p in map(_problem, many) if p), None):
        wrong("value", problem, f'0 or more; "{NONE}" for what there is none of')
    if len(report.diagnostics) > before:
        return None
    return Number(tuple(map(Decimal, many)), value["unit"], value["source"])


def _problem(value: object) -> str | None:
    """What is wrong with one value, or None."""
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        return f"value is a number, found {shown(value)}"
    if isinstance(value, Decimal) and not value.is_finite():
        return "value is a finite number"
    if value < 0:
        return "value is negative"
    if value and abs(Decimal(value).adjusted()) > 18:
        return "value has too many digits"
    return None


def _check_sense(
    numbers: Mapping[str, Number], table: Mapping[str, Any], cell: int, places: Places, report: Report
) -> None:
    """What no device can be."""

    def wrong(name: str, message: str, hint: str | None = None) -> None:
        report.error(places.of("device", name, "value"), f"device.{name}: {message}", hint)

    top = (1 << cell) - 1
    if "on_off" in numbers and numbers["on_off"].values[0] < MIN_ON_OFF:
        wrong(
            "on_off", f"expected at least {MIN_ON_OFF}: a cell that is on conducts more than one that is off"
        )
    shares = {name: _base(numbers[name], name)[0] for name in ("stuck_on", "stuck_off") if name in numbers}
    if sum(shares.values()) > 1:
        wrong(next(iter(shares)), f"{sum(shares.values()):%} of the cells are stuck")
    for name in ("normal", "read_noise"):
        wide = top if name == "normal" else 1 << 24
        if name in numbers and max(_base(numbers[name], name, top)) > wide:
            wrong(name, f"more than {wide} level steps" + (": the whole range of a cell" * (wide == top)))
    if "lognormal" in numbers and max(numbers["lognormal"].values) > MAX_LOGNORMAL:
        wrong("lognormal", f"expected at most {MAX_LOGNORMAL}: a factor of e between neighbours in sigma")
    if "drift" not in numbers:
        if "drift_spread" in numbers and "drift" not in table:
            wrong("drift_spread", "there is no drift that it spreads", "add drift, its exponent")
        return
    missing = [name for name in ("drift_from", "age") if name not in numbers]
    if missing:
        wrong(
            "drift",
            f"missing {' and '.join(missing)}",
            'like drift_from = { value = 20, unit = "s", source = "..." }',
        )
        return
    start, age = (_base(numbers[name], name)[0] for name in ("drift_from", "age"))
    if not start:
        wrong("drift_from", "a power law starts at a time above 0")
    elif age < start:
        wrong("age", f"before drift_from, {numbers['drift_from'].text}: the law does not say")
    elif max(_octaves(numbers, "drift", cell)) > MAX_OCTAVES * STEP:
        wrong("drift", f"cells lose more than {MAX_OCTAVES} octaves of their conductance")
    elif max(_octaves(numbers, "drift_spread", cell)) > STEP:
        wrong("drift_spread", "sigma is more than an octave of a cell's conductance")


def _base(number: Number, name: str, top: int = 0) -> list[Decimal]:
    """Values in the base unit: level steps, seconds, 1."""
    factor = KEYS[name].units[number.unit] or Decimal(top)
    return [_PRECISE.multiply(value, factor) for value in number.values]


def _rounded(value: Decimal) -> int:
    return int(value.to_integral_value(ROUND_HALF_EVEN))


def _octaves(numbers: Mapping[str, Number], name: str, cell: int) -> tuple[int, ...]:
    """nu * log2(t / t0) in 1/4096 octaves, for each level."""
    if "drift" not in numbers or name not in numbers:
        return (0,) * (1 << cell)
    start, age = (_base(numbers[key], key)[0] for key in ("drift_from", "age"))
    ratio = _PRECISE.divide(age, start)
    octaves = _PRECISE.divide(_PRECISE.ln(ratio), _PRECISE.ln(Decimal(2)))
    found = [_rounded(_PRECISE.multiply(octaves, STEP * nu)) for nu in numbers[name].values]
    return _levels(found, cell)


def _levels(values: list[int], cell: int) -> tuple[int, ...]:
    return tuple(values) if len(values) > 1 else tuple(values) * (1 << cell)


def _fixed(numbers: Mapping[str, Number], cell: int) -> Device:
    """The numbers of a checked table in fixed point."""
    top = (1 << cell) - 1

    def by_level(name: str, scale: Decimal | int) -> tuple[int, ...]:
        if name not in numbers:
            return (0,) * (1 << cell)
        return _levels([_rounded(_PRECISE.multiply(v, scale)) for v in _base(numbers[name], name, top)], cell)

    leak = 0
    if "on_off" in numbers:
        leak = _rounded(_PRECISE.divide(Decimal(STEP * top), numbers["on_off"].values[0] - 1))
    return Device(
        leak=leak,
        normal=by_level("normal", STEP),
        lognormal=by_level("lognormal", _PRECISE.divide(STEP, _PRECISE.ln(Decimal(2)))),
        stuck_on=by_level("stuck_on", SHARES)[0],
        stuck_off=by_level("stuck_off", SHARES)[0],
        drift=_octaves(numbers, "drift", cell),
        drift_spread=_octaves(numbers, "drift_spread", cell),
        read_noise=by_level("read_noise", STEP)[0],
        numbers=numbers,
    )
