"""`[device]` of a target: what it says in fixed point, and how nonsense is refused in its place."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

import isa
from isa.device import STEP, Device
from isa.targets import device_of, load_target_file

HEAD = 'name = "mine"\ndescription = "x"\ninherits = "isaac"\n[device]\n'
SOURCE = 'source = "assumed" }\n'


def write(path: Path, lines: str, head: str = HEAD) -> str:
    (path / "mine.toml").write_text(head + lines)
    return str(path / "mine.toml")


def device(path: Path, lines: str) -> Device:
    found = load_target_file(write(path, lines)).device
    assert found is not None
    return found


@pytest.mark.parametrize("name", ["isaac", "red-65nm"])
def test_a_shipped_device_gives_a_source_for_every_number(name: str) -> None:
    found = device_of(isa.load_target(name))
    assert found.numbers
    assert all(number.source.strip() for number in found.numbers.values())
    assert len(found.normal) == 4


def test_numbers_become_whole_multiples_of_a_4096th(tmp_path: Path) -> None:
    found = device(
        tmp_path,
        f'on_off = {{ value = 13, unit = "1", {SOURCE}'
        f'normal = {{ value = 0.1, unit = "range", {SOURCE}'
        f'lognormal = {{ value = [0, 0.1, 0.2, 0.3], unit = "ln", {SOURCE}'
        f'stuck_on = {{ value = 25, unit = "%", {SOURCE}'
        f'drift = {{ value = 0.05, unit = "1", {SOURCE}'
        f'drift_from = {{ value = 20, unit = "s", {SOURCE}'
        f'age = {{ value = 1, unit = "d", {SOURCE}'
        'read_noise = "none"\n',
    )
    assert found.leak == STEP // 4
    assert found.normal == (round(0.3 * STEP),) * 4
    assert found.lognormal == tuple(round(s * math.log2(math.e) * STEP) for s in (0, 0.1, 0.2, 0.3))
    assert (found.stuck_on, found.stuck_off) == (1 << 30, 0)
    assert found.drift == (round(0.05 * math.log2(86400 / 20) * STEP),) * 4
    assert found.read_noise == 0, "an inherited effect that is off"


def test_a_device_does_not_change_the_machine(tmp_path: Path) -> None:
    mine = load_target_file(write(tmp_path, 'normal = "none"\n'))
    assert mine.target.digest == isa.load_target("isaac").digest
    assert device_of(isa.load_target("isaac"), str(tmp_path / "mine.toml")).normal == (0, 0, 0, 0)


def test_a_target_without_a_device_says_so(tmp_path: Path) -> None:
    with pytest.raises(isa.ProgramError, match=r"target 'prime' has no \[device\] table"):
        device_of(isa.load_target("prime"))
    mine = load_target_file(write(tmp_path, "")).target
    with pytest.raises(isa.ProgramError, match="what are its cells like"):
        device_of(mine)


def number(key: str, value: object, unit: str = "step") -> str:
    return f'{key} = {{ value = {value}, unit = "{unit}", source = "x" }}\n'


DRIFT, FROM = number("drift", 0.05, "1"), number("drift_from", 20, "s")
EARLY, LATE = number("age", 1, "s"), number("age", 9, "d")


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (number("on_off", 1, "1"), "5:12 device.on_off: expected at least 1.01"),
        (number("normal", -0.1), "5:12 device.normal: value is negative"),
        (number("normal", "nan"), "5:12 device.normal: value is a finite number"),
        (number("normal", "inf"), "5:12 device.normal: value is a finite number"),
        (number("normal", "1e99999"), "5:12 device.normal: value has too many digits"),
        (number("normal", "true"), "5:12 device.normal: value is a number, found true"),
        (number("normal", '"1"'), '5:12 device.normal: value is a number, found "1"'),
        (number("normal", 3.1), "5:12 device.normal: more than 3 level steps"),
        (number("normal", [1, 2, 3]), "5:12 device.normal: 3 values, a cell has 4 levels"),
        (number("normal", "[1, 2, 3, nan]"), "5:12 device.normal: value is a finite number"),
        (number("normal", 1, "uS"), '5:23 device.normal: expected step or range, found "uS"'),
        ('normal = { value = 1, unit = "step" }', "5:1 device.normal: missing source"),
        (number("normal", 1).replace('"x"', '" "'), "5:38 device.normal: source is a text"),
        (number("normal", 1).replace(" }", ", node = 3 }"), "5:52 device.normal: unknown key node"),
        ("normal = 0.1", "5:1 device.normal: expected {"),
        ('normals = "none"', "5:1 unknown key normals in [device]"),
        (number("lognormal", 1.1, "ln"), "5:15 device.lognormal: expected at most 1"),
        (number("stuck_on", 1.1, "1"), "5:14 device.stuck_on: 110"),
        (number("stuck_off", [0.1, 0, 0, 0], "1"), "5:15 device.stuck_off: one value"),
        (number("stuck_on", 60, "%") + number("stuck_off", 0.5, "1"), "5:14 device.stuck_on: 110"),
        (DRIFT, "5:11 device.drift: missing drift_from and age"),
        (DRIFT + FROM + EARLY, "7:9 device.age: before drift_from, 20 s"),
        (DRIFT + number("drift_from", 0, "s") + EARLY, "6:16 device.drift_from: a power law"),
        (number("drift", 9, "1") + FROM + LATE, "5:11 device.drift: cells lose more than"),
        (number("drift_spread", 0.1, "1"), "5:18 device.drift_spread: there is no drift"),
        (number("read_noise", [1, 1, 1, 1]), "5:16 device.read_noise: one value"),
    ],
)
def test_nonsense_is_refused_in_its_place(lines: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(isa.ProgramError) as caught:
        load_target_file(write(tmp_path, lines))
    found = [f"{d.span.line}:{d.span.column} {d.message}" for d in caught.value.diagnostics]
    assert len(found) == 1, found
    assert found[0].startswith(message), found


def test_a_device_is_a_table(tmp_path: Path) -> None:
    head = 'name = "mine"\ndescription = "x"\ninherits = "isaac"\ndevice = 3\n'
    with pytest.raises(isa.ProgramError, match=r"\[device\] is a table"):
        load_target_file(write(tmp_path, "", head))
