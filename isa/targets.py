"""Targets: the machines that programs are compiled for, one TOML file each in `isa/targets/`.

A file has a `name`, a `description`, a `[machine]` table with every field of `FIELDS`, a
`[source]` table that says for each field where its value is published, or "assumed", and what
the machine costs (`[clock]` and `[component.*]`, see isa/costs.py).  It may have a `[device]` table:
what its cells are like (isa/device.py).

With `inherits = "isaac"` (or the path of a file, from the folder of this one) it needs to write
only what differs.  The digest of a target is that of its machine fields: a program depends on
nothing else, so costs and devices may change under a compiled program.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

from isa.costs import Costs, check_costs
from isa.device import Device, check_device
from isa.diagnostics import Report, did_you_mean, missing_keys, one_of, reason, shown
from isa.paths import near_file, reading_hint
from isa.program import NOWHERE, Span, Target
from isa.toml_places import Places

FOLDER = Path(__file__).with_name("targets")

MAX_BYTES = 1 << 20
"""No target file is larger."""
WHAT_IT_IS = "a target is a TOML file as in docs/cost.md; `redc targets` lists those that come with redc"
MAX_NAME = 80
"""No name of a target is longer: it stands on the `.target` line of programs."""
START = Span(1, 1, 2)
"""Where a file begins: the place of what is missing from the whole of it."""


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a target: a number from 1 to `high` (or `any`: no limit), or one of `choices`.

    With a `default`, a text that names all other fields may leave it out.
    """

    doc: str
    high: int = 1 << 31
    may_be_any: bool = False
    choices: tuple[str, ...] = ()
    default: int | str | None = None

    def problem(self, value: object) -> str | None:
        """What is wrong with a value, or None."""
        if self.choices:
            good = value in self.choices
            wanted = one_of(self.choices)
        else:
            good = (self.may_be_any and value == "any") or (
                isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= self.high
            )
            wanted = f"a number from 1 to {self.high}" + (" or any" if self.may_be_any else "")
        return None if good else f"expected {wanted}, found {shown(value)}"


FIELDS: Mapping[str, Field] = {
    "rows": Field("word lines of an array", may_be_any=True),
    "columns": Field("bit lines of an array", may_be_any=True),
    "arrays": Field("arrays of the machine", may_be_any=True),
    "cell": Field("bits that one cell stores", high=16),
    "encoding": Field(
        "how cells hold signed weights: a differential pair of columns, an offset taken off by a "
        "reference column, or that with heavy columns flipped",
        choices=("differential", "offset", "flip"),
    ),
    "pair": Field(
        "differential pairs: subtracted before one signed conversion (shared), or converted apart (separate)",
        choices=("shared", "separate"),
    ),
    "dac": Field("input bits that one conversion step streams", high=64),
    "adc": Field("bits of an ADC's code", high=64),
    "lsb": Field(
        "level steps that one step of an ADC's code stands for; a text may leave it out for 1",
        high=1 << 24,
        default=1,
    ),
    "share": Field("columns that one ADC converts in turn"),
    "adders": Field("additions that the adders finish in a clock cycle, in values"),
    "vector": Field("operations that the vector unit finishes in a clock cycle, in values"),
    "read": Field("bits that the buffers' read port delivers in a clock cycle"),
    "write": Field("bits that the buffers' write port takes in a clock cycle"),
    "fetch": Field(
        "bits that the buffers hand to the drivers in a clock cycle; a text may leave it out for any",
        may_be_any=True,
        default="any",
    ),
}
"""The functional fields and clocked widths, as in `isa.program.Target`, in the order of the text."""


@dataclass(frozen=True, slots=True)
class TargetFile:
    """All a target file says, with what it inherits."""

    target: Target
    description: str
    sources: Mapping[str, str]
    costs: Costs
    document: Mapping[str, Any]
    inherits: tuple[str, ...] = ()
    device: Device | None = None


def target_names() -> tuple[str, ...]:
    """The targets that come with redc, sorted."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.toml")))


def known_target(name: str) -> Target | None:
    """The target of that name that comes with redc, if there is one."""
    return _shipped(name).target if name in target_names() else None


def load_target(name_or_path: str) -> Target:
    """A target by its name or by the path of its file.

    Raises ProgramError if there is no such target or the file is malformed.
    """
    return load_target_file(name_or_path).target


def load_target_file(name_or_path: str) -> TargetFile:
    """As `load_target`, with description and sources."""
    if name_or_path in target_names():
        return _shipped(name_or_path)
    if name_or_path.endswith(".toml") or "/" in name_or_path or os.path.isfile(name_or_path):
        return _read(Path(name_or_path))
    report = Report(None, "target")
    report.error(NOWHERE, f"no target is named {name_or_path!r}", _meant(name_or_path, Path(name_or_path)))
    report.raise_if_any()
    raise AssertionError


def _meant(name: str, path: Path) -> str:
    """The target that `name` may be a slip of, or the file that `path` is; else what there is."""
    file = near_file(path, ".toml")
    near = did_you_mean(name, target_names()) or (f"did you mean {file!r}?" if file else None)
    return near or f"known targets: {', '.join(target_names())}; or give the path of a .toml file"


def costs_of(target: Target, given: str | None = None) -> Costs | None:
    """What the machine of a program costs: by the target `given`, else by that of its name.

    None where no target of that name comes with redc, or its machine fields are not those of the
    program.  Raises ProgramError where the `given` one is no target or another machine.
    """
    file = _file_of(target, given)
    return file.costs if file else None


def device_of(target: Target, given: str | None = None) -> Device:
    """What the cells of a program's machine are like: by the target `given`, else by that of its name.

    Raises ProgramError where that says nothing about them, and as `costs_of` does.
    """
    file = _file_of(target, given)
    if file is not None and file.device is not None:
        return file.device
    report = Report(None, given or f"target {target.name}")
    if file is None:
        message = f"no target {target.name!r} of this machine comes with redc: what are its cells like?"
        report.error(
            NOWHERE,
            message,
            "give one with a [device] table: --target FILE.toml, in Python device='FILE.toml'",
        )
    else:
        hint = "docs/fidelity.md says what it holds, `redc targets isaac` shows one"
        report.error(NOWHERE, f"target {file.target.name!r} has no [device] table", hint)
    report.raise_if_any()
    raise AssertionError


def _file_of(target: Target, given: str | None) -> TargetFile | None:
    """The target file `given`, else that of the machine's name; the machine must be this one."""
    if given is None:
        known = _shipped(target.name) if target.name in target_names() else None
        return known if known and digest_of(known.target) == digest_of(target) else None
    file = load_target_file(given)
    report = Report(None, given)
    for key in FIELDS:
        here, there = ("any" if (v := getattr(t, key)) is None else v for t in (target, file.target))
        if here != there:
            message = f"{key} is {there} here, the program was compiled for {key} {here}"
            report.error(NOWHERE, message)
    if report.diagnostics:  # one hint for them all
        hint = "a target may change costs and devices of a run; compile again for another machine"
        report.diagnostics[-1] = replace(report.diagnostics[-1], hint=hint)
    report.raise_if_any()
    return file


def digest_of(target: Target) -> str:
    """The SHA-256 of the machine fields, as `.target` writes them."""
    fields = (f"{key} {'any' if (v := getattr(target, key)) is None else v}" for key in FIELDS)
    return hashlib.sha256("\n".join(fields).encode()).hexdigest()


@cache
def _shipped(name: str) -> TargetFile:
    return _read(FOLDER / f"{name}.toml")


def _read(path: Path, heirs: tuple[Path, ...] = ()) -> TargetFile:
    """The file at `path`; `heirs` are the files that inherit from it, the nearest last."""
    import tomllib

    report = Report(None, str(path))
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL byte
        why = reason(error) if isinstance(error, OSError) else "no such path can exist"
        hint = reading_hint(path, ".toml")
        if path.stem in target_names() and isinstance(error, FileNotFoundError):
            hint = f"did you mean {path.stem}?"
        report.error(NOWHERE, f"cannot read this target: {why}", hint)
        report.raise_if_any()
        raise
    if len(content) > MAX_BYTES:
        report.error(NOWHERE, f"a target file is no larger than {MAX_BYTES} bytes", WHAT_IT_IS)
    report.raise_if_any()
    try:
        text = content.decode("utf-8-sig")  # some editors write a byte order mark
    except UnicodeDecodeError as error:
        text = content.decode("utf-8", errors="replace")
        line = content.count(b"\n", 0, error.start) + 1
        column = error.start - content.rfind(b"\n", 0, error.start)
        report = Report(text, str(path))
        report.error(
            Span(line, column, column + 1), f"not UTF-8: a byte {content[error.start]:#04x}", WHAT_IT_IS
        )
        report.raise_if_any()
        raise
    report = Report(text, str(path))
    document: dict[str, Any] = {}
    try:
        document = tomllib.loads(text, parse_float=Decimal)
    except RecursionError:
        report.error(START, "not TOML: brackets are nested too deeply", WHAT_IT_IS)
    except ValueError as error:  # TOMLDecodeError is one; so is what an integer of 5,000 digits raises
        place = re.search(r"\(at line (\d+), column (\d+)\)", str(error))
        span = Span(int(place[1]), int(place[2]), int(place[2]) + 1) if place else START
        if not place and "end of document" in str(error):
            lines = text.splitlines() or [""]
            span = Span(len(lines), len(lines[-1]) + 1, len(lines[-1]) + 2)
        known = isinstance(error, tomllib.TOMLDecodeError)
        why = str(error).split(" (at ")[0] if known else "a number has too many digits"
        report.error(span, f"not TOML: {why}", WHAT_IT_IS)
    report.raise_if_any()
    places = Places(text)
    parent = _parent(document, path, heirs, places, report)
    found = _check(document, parent, places, report)
    report.raise_if_any()
    assert found is not None
    return found


def _parent(
    document: dict[str, Any], path: Path, heirs: tuple[Path, ...], places: Places, report: Report
) -> TargetFile | None:
    """What `document` inherits from; the key is taken out of it."""
    if "inherits" not in document:
        return None
    name, span = document.pop("inherits"), places.of("inherits")
    if not isinstance(name, str):
        report.error(span, "inherits is the name of a target, or the path of a file")
    elif name in target_names() and path.parent != FOLDER:
        return _shipped(name)
    else:
        wanted = path.parent / (f"{name}.toml" if name in target_names() else name)
        chain = (*heirs, path)
        if not os.path.isfile(wanted):
            message = f"no target is named {name[:MAX_NAME]!r}, and no file lies at that path"
            report.error(span, message, _meant(name, wanted))
        elif any(os.path.samefile(wanted, heir) for heir in chain):
            circle = " -> ".join(file.name for file in (*chain, wanted))
            hint = "let one of them inherit from a target that comes with redc, or from none"
            report.error(span, f"a cycle of inheritance: {circle}", hint)
        else:
            return _read(wanted, chain)
    report.raise_if_any()
    return None


def _check(
    own: Mapping[str, Any], parent: TargetFile | None, places: Places, report: Report
) -> TargetFile | None:
    """The target of a TOML document; what is wrong with it goes into `report`."""
    document = _inherited(parent.document, own) if parent else own
    keys = ("name", "description", "machine", "source", "clock", "component")
    _check_keys(document, keys, (), places, report, optional=("device", "inherits"))
    for key, kind in zip(keys, (str, str, dict, dict), strict=False):
        if key in document and not isinstance(document[key], kind):
            report.error(places.of(key), f"{key} is {'a table' if kind is dict else 'a string'}")
    name = document.get("name")
    if isinstance(name, str) and not (0 < len(name) <= MAX_NAME and name.isprintable() and name.strip()):
        report.error(places.of("name"), f"name is a line of 1 to {MAX_NAME} printable characters")
    machine, source = document.get("machine"), document.get("source")
    if not isinstance(machine, dict) or not isinstance(source, dict):
        return None
    _check_keys(machine, tuple(FIELDS), ("machine",), places, report)
    _check_keys(source, tuple(FIELDS), ("source",), places, report)
    for key, field in FIELDS.items():
        problem = field.problem(machine[key]) if key in machine else None
        if problem:
            report.error(places.of("machine", key), f"{key}: {problem}")
        if key in source and not (isinstance(source[key], str) and source[key].strip()):
            report.error(
                places.of("source", key), f"{key}: expected where its value is published, or assumed"
            )
        if parent and key in own.get("machine", {}) and key not in own.get("source", {}):
            message = f"{key}: its source is inherited, its value is not"
            hint = f'add to [source]: {key} = "assumed", or where it is published'
            report.error(places.of("machine", key), message, hint)
    costs, device = check_costs(document, places, report), None
    if "device" in document and not report.diagnostics:
        device = check_device(document["device"], machine["cell"], places, report)
        if parent and parent.target.cell != machine["cell"]:
            _point_at_cell(parent, places, report)
    if report.diagnostics or costs is None:
        return None
    values: dict[str, Any] = {key: None if machine[key] == "any" else machine[key] for key in FIELDS}
    target = Target(document["name"], **values)
    return TargetFile(
        replace(target, digest=digest_of(target)),
        document["description"],
        source,
        costs,
        document,
        (*parent.inherits, parent.target.name) if parent else (),
        device,
    )


def _point_at_cell(parent: TargetFile, places: Places, report: Report) -> None:
    """Problems of a device that this file does not write come from its own cells."""
    hint = (
        f"the device of {parent.target.name!r} is of cells of {parent.target.cell} bits: "
        'write here what it is for these, or switch it off with "none"'
    )
    for number, found in enumerate(report.diagnostics):
        if found.span == NOWHERE:
            span = places.of("machine", "cell")
            source = places.line(span)
            report.diagnostics[number] = replace(found, span=span, hint=hint, source=source)


def _inherited(parent: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """`own` over `parent`: tables are joined, but a number of `[clock]` or `[component.*]` is one
    thing.  Name and description are never inherited."""
    merged: dict[str, Any] = {key: v for key, v in parent.items() if key not in ("name", "description")}
    for key, value in own.items():
        before = merged.get(key)
        if isinstance(before, Mapping) and isinstance(value, Mapping) and "unit" not in before:
            merged[key] = _inherited(before, value)
        else:
            merged[key] = value
    return merged


def _check_keys(
    table: Mapping[str, Any],
    known: tuple[str, ...],
    path: tuple[str, ...],
    places: Places,
    report: Report,
    optional: tuple[str, ...] = (),
) -> None:
    for key in table:
        if key not in (*known, *optional):
            what = "table" if isinstance(table[key], Mapping) and not path else "key"
            hint = did_you_mean(key, (*known, *optional))
            report.error(places.of(*path, key), f"unknown {what} {key}", hint)
    missing = missing_keys(table, known)
    if missing:
        where = f" in [{path[0]}]" if path else ""
        hint = 'a file with inherits = "isaac" needs a name, and what differs from isaac'
        span = places.of(*path) if path else START
        report.error(span, f"missing{where}: {', '.join(missing)}", hint)
