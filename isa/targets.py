"""Targets: the machines that programs are compiled for, one TOML file each in `isa/targets/`.

A file has a `name`, a `description`, a `[machine]` table with every field of `FIELDS`, and a
`[source]` table that says for each field where its value is published, or "assumed".
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from isa.diagnostics import Report, did_you_mean, one_of, reason
from isa.program import NOWHERE, Span, Target

FOLDER = Path(__file__).with_name("targets")

MAX_BYTES = 1 << 20
"""No target file is larger."""


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a target: a number from 1 to `high` (or `any`: no limit), or one of `choices`."""

    doc: str
    high: int = 1 << 31
    may_be_any: bool = False
    choices: tuple[str, ...] = ()

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
        return None if good else f"expected {wanted}, found {str(value)[:40]}"


FIELDS: Mapping[str, Field] = {
    "rows": Field("word lines of an array", may_be_any=True),
    "columns": Field("bit lines of an array", may_be_any=True),
    "arrays": Field("arrays of the machine", may_be_any=True),
    "cell": Field("bits that one cell stores", high=16),
    "encoding": Field(
        "how cells hold signed weights: a differential pair of columns, or an offset taken off by a "
        "reference column",
        choices=("differential", "offset"),
    ),
    "pair": Field(
        "differential pairs: subtracted before one signed conversion (shared), or converted apart (separate)",
        choices=("shared", "separate"),
    ),
    "dac": Field("input bits that one conversion step streams", high=64),
    "adc": Field("bits of an ADC's code", high=64),
    "share": Field("columns that one ADC converts in turn"),
    "adders": Field("sums that the adders finish in a clock cycle"),
    "vector": Field("instructions that the vector unit finishes in a clock cycle"),
    "read": Field("vectors that the buffers' read port delivers in a clock cycle"),
    "write": Field("vectors that the buffers' write port takes in a clock cycle"),
}
"""The functional fields and clocked widths, as in `isa.program.Target`, in the order of the text."""


@dataclass(frozen=True, slots=True)
class TargetFile:
    """All a target file says."""

    target: Target
    description: str
    sources: Mapping[str, str]


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
    if name_or_path.endswith(".toml") or "/" in name_or_path or Path(name_or_path).is_file():
        return _read(Path(name_or_path))
    report = Report(None, None)
    known = f"known targets: {', '.join(target_names())}; or give the path of a .toml file"
    report.error(
        NOWHERE, f"no target is named {name_or_path!r}", did_you_mean(name_or_path, target_names()) or known
    )
    report.raise_if_any()
    raise AssertionError


@cache
def _shipped(name: str) -> TargetFile:
    return _read(FOLDER / f"{name}.toml")


def _read(path: Path) -> TargetFile:
    import tomllib

    report = Report(None, str(path))
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        report.error(NOWHERE, f"cannot read this target: {reason(error)}")
        report.raise_if_any()
        raise
    if len(content) > MAX_BYTES:
        report.error(NOWHERE, f"a target file is no larger than {MAX_BYTES} bytes")
    report.raise_if_any()
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        report.error(NOWHERE, f"not UTF-8: byte {error.start} is {content[error.start]:#04x}")
        report.raise_if_any()
        raise
    report = Report(text, str(path))
    document: dict[str, Any] = {}
    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        place = re.search(r"\(at line (\d+), column (\d+)\)", str(error))
        span = Span(int(place[1]), int(place[2]), int(place[2]) + 1) if place else NOWHERE
        report.error(span, f"not TOML: {str(error).split(' (at ')[0]}")
    report.raise_if_any()
    found = _check(document, text, report, hashlib.sha256(content).hexdigest())
    report.raise_if_any()
    assert found is not None
    return found


def _check(document: Mapping[str, Any], text: str, report: Report, digest: str) -> TargetFile | None:
    """The target of a TOML document; what is wrong with it goes into `report`."""
    _check_keys(document, ("name", "description", "machine", "source"), None, text, report)
    for key, kind in (("name", str), ("description", str), ("machine", dict), ("source", dict)):
        if key in document and not isinstance(document[key], kind):
            wanted = "a table" if kind is dict else "a string"
            report.error(_key_span(text, None, key), f"{key} is {wanted}")
    machine, source = document.get("machine"), document.get("source")
    if not isinstance(machine, dict) or not isinstance(source, dict):
        return None
    _check_keys(machine, tuple(FIELDS), "machine", text, report)
    _check_keys(source, tuple(FIELDS), "source", text, report)
    for key, field in FIELDS.items():
        problem = field.problem(machine[key]) if key in machine else None
        if problem:
            report.error(_key_span(text, "machine", key), f"{key}: {problem}")
        if key in source and not (isinstance(source[key], str) and source[key].strip()):
            report.error(
                _key_span(text, "source", key), f"{key}: expected where its value is published, or assumed"
            )
    if report.diagnostics:
        return None
    values: dict[str, Any] = {key: None if machine[key] == "any" else machine[key] for key in FIELDS}
    return TargetFile(Target(document["name"], digest=digest, **values), document["description"], source)


def _check_keys(
    table: Mapping[str, Any], known: tuple[str, ...], name: str | None, text: str, report: Report
) -> None:
    for key in table:
        if key not in known:
            report.error(_key_span(text, name, key), f"unknown key {key}", did_you_mean(key, known))
    missing = [key for key in known if key not in table]
    if missing:
        where = f" in [{name}]" if name else ""
        span = _table_span(text, name) if name else NOWHERE
        report.error(span, f"missing{where}: {', '.join(missing)}")


def _table_span(text: str, name: str) -> Span:
    header = re.compile(rf"\s*\[\s*{re.escape(name)}\s*\]")
    for number, line in enumerate(text.split("\n"), 1):
        if header.match(line):
            return Span(number, 1, len(line.rstrip()) + 1)
    return NOWHERE


def _key_span(text: str, table: str | None, key: str) -> Span:
    """Where `key` is written: at the start of a line, below the header of its table."""
    header, current = re.compile(r"\s*\[+\s*([^\]]*?)\s*\]"), None
    start = re.compile(rf"""\s*(?:"{re.escape(key)}"|'{re.escape(key)}'|{re.escape(key)})\s*[.=]""")
    for number, line in enumerate(text.split("\n"), 1):
        found = header.match(line)
        if found:
            current = found[1]
        if (current == table and start.match(line)) or (found and table is None and current == key):
            column = len(line) - len(line.lstrip()) + 1
            return Span(number, column, column + len(key))
    return NOWHERE
