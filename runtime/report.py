"""Tables as text: pure formatting of rows, for `run` and for whoever has counters to show."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Cell = str | int | float | None
LONGEST = 28
"""Longer names are cut: a table that wraps is no table."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column: the key in a row, its heading, and how numbers are written.

    exact   every digit, in groups of three
    human   three digits and a unit: 867 M
    bytes   a number of bits, as bytes: 25.1 MiB
    joules  with a metric prefix: 193 uJ
    right   text, flush right
    seconds measured seconds: 12.3 ms
    """

    key: str
    heading: str
    style: Literal["text", "exact", "human", "bytes", "joules", "seconds", "right"] = "text"


COUNTERS = (
    Column("name", "layer"),
    Column("op", "op"),
    Column("mapping", "mapping"),
    Column("rounds", "rounds", "exact"),
    Column("cycles", "cycles", "exact"),
    Column("busy", "busy", "right"),
    Column("arrays", "arrays", "exact"),
    Column("drives", "drives", "human"),
    Column("gated_drives", "gated", "human"),
    Column("inserted_zeros", "inserted", "human"),
    Column("activations", "activations", "human"),
    Column("conversions", "conversions", "human"),
    Column("shift_adds", "shift-adds", "human"),
    Column("sums", "sums", "human"),
    Column("vector_ops", "vector ops", "human"),
    Column("buffer_reads", "read", "bytes"),
    Column("buffer_writes", "written", "bytes"),
)
"""The per-layer table of `run`."""

HOSTS = (
    Column("host_calls", "host calls", "exact"),
    Column("host_bits", "moved", "bytes"),
    Column("host_s", "host time", "seconds"),
)
"""More columns of it, for programs that call the host."""

LOSSES = (
    Column("saturated", "saturated", "human"),
    Column("rounded", "rounded", "human"),
)
"""More columns of it, for runs whose conversions lose something."""


def table(rows: Sequence[Mapping[str, Cell]], columns: Sequence[Column] = COUNTERS) -> str:
    """A heading, a rule and one line per row; numbers flush right, nothing for None is `-`."""
    cells = [[write(row.get(column.key), column.style) for column in columns] for row in rows]
    headings = [column.heading for column in columns]
    widths = [max(map(len, column)) for column in zip(headings, *cells, strict=True)]

    def line(texts: Sequence[str]) -> str:
        padded = (
            text.ljust(width) if column.style == "text" else text.rjust(width)
            for text, width, column in zip(texts, widths, columns, strict=True)
        )
        return "  ".join(padded).rstrip()

    return "\n".join([line(headings), "  ".join("-" * width for width in widths), *map(line, cells)])


def write(value: Cell, style: str) -> str:
    """One cell."""
    if value is None:
        return "-"
    if isinstance(value, str):
        shown = "".join(c if c.isprintable() else "?" for c in value)
        return shown if len(shown) <= LONGEST else shown[: LONGEST - 1] + "…"
    if style == "human":
        return human(value)
    if style == "joules":
        return si(value, "J")
    if style == "bytes":
        return data_size(value)
    if style == "seconds":
        return seconds(value)
    return f"{value:,}"


def human(value: float) -> str:
    """`950`, `12.3 k`, `867 M`: three digits and a decimal unit; whole below a thousand."""
    return _scaled(value, 1000, ["", "k", "M", "G", "T", "P", "E"])


def data_size(bits: float) -> str:
    """Bits as bytes: `512 B`, `25.1 MiB`."""
    return _scaled(bits / 8, 1024, ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"])


def seconds(value: float) -> str:
    """Seconds: `0.123 ms`, `12.3 ms`, `1.23 s`."""
    return f"{value:.3g} s" if value >= 1 else f"{value * 1e3:.3g} ms"


def _scaled(value: float, step: int, units: Sequence[str]) -> str:
    for position, unit in enumerate(units):
        last = position == len(units) - 1
        if position == 0 and value < step:
            return f"{value:.0f} {unit}".rstrip()
        digits = 2 - (value >= 9.995) - (value >= 99.95)  # after rounding, three digits in all
        if float(f"{value:.{digits}f}") < step or last:
            return f"{value:.{digits}f} {unit}"
        value /= step
    raise AssertionError("there is a last unit")


def si(value: float | None, unit: str) -> str:
    """`193 uJ`, `36.9 us`, `0 J`: three digits and a metric prefix; `-` where it is not known."""
    if value is None:
        return "-"
    if not value:
        return f"0 {unit}"
    prefixes = {-18: "a", -15: "f", -12: "p", -9: "n", -6: "u", -3: "m", 0: "", 3: "k", 6: "M", 9: "G"}
    rounded = float(f"{value:.2e}")
    power = min(max(3 * math.floor(math.log10(abs(rounded)) / 3), -18), 9)
    scaled = rounded / 10.0**power
    digits = 2 - (scaled >= 9.995) - (scaled >= 99.95)
    return f"{scaled:.{digits}f} {prefixes[power]}{unit}"
