"""Tables as text: pure formatting of rows, for `run` and for whoever has counters to show."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from runtime.room import EVERYTHING, Room

Cell = str | int | float | None
LONGEST = 28
"""Longer names are cut: a table that wraps is no table."""
SHORT = 20
"""Names are cut to so many characters before a column of numbers gives way."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column: the key in a row, its heading, and how numbers are written.

    exact   every digit, in groups of three
    human   three digits and a unit: 867 M
    bytes   a number of bits, as bytes: 25.1 MiB
    joules  with a metric prefix: 193 uJ
    right   text, flush right
    seconds measured seconds: 12.3 ms

    Where a line is too narrow for all columns, those of the largest `spare` go first; 0 stays.
    """

    key: str
    heading: str
    style: Literal["text", "exact", "human", "bytes", "joules", "seconds", "right"] = "text"
    spare: int = 0


COUNTERS = (
    Column("name", "layer"),
    Column("op", "op", spare=3),
    Column("mapping", "mapping", spare=2),
    Column("rounds", "rounds", "exact", spare=3),
    Column("cycles", "cycles", "exact"),
    Column("busy", "busy", "right", spare=1),
    Column("arrays", "arrays", "exact", spare=1),
    Column("drives", "drives", "human", spare=5),
    Column("gated_drives", "gated", "human", spare=6),
    Column("inserted_zeros", "inserted", "human", spare=7),
    Column("activations", "activations", "human", spare=8),
    Column("conversions", "conversions", "human"),
    Column("shift_adds", "shift-adds", "human", spare=10),
    Column("sums", "sums", "human", spare=9),
    Column("vector_ops", "vector ops", "human", spare=4),
    Column("buffer_reads", "read", "bytes", spare=5),
    Column("buffer_writes", "written", "bytes", spare=5),
)
"""The per-layer table of `run`."""

HOSTS = (
    Column("host_calls", "host calls", "exact", spare=4),
    Column("host_bits", "moved", "bytes", spare=4),
    Column("host_s", "host time", "seconds"),
)
"""More columns of it, for programs that call the host."""

LOSSES = (
    Column("saturated", "saturated", "human"),
    Column("rounded", "rounded", "human"),
)
"""More columns of it, for runs whose conversions lose something."""


def table(
    rows: Sequence[Mapping[str, Cell]], columns: Sequence[Column] = COUNTERS, room: Room = EVERYTHING
) -> str:
    """A heading, a rule and one line per row; numbers flush right, nothing for None is `-`.

    Where `room` is too narrow names are cut and columns left out, which a last line tells.
    """
    cells = {c.key: [c.heading, *(write(row.get(c.key), c.style) for row in rows)] for c in columns}
    shown, left_out = list(columns), []
    if room.width is not None:
        while _width(shown, cells, SHORT) > room.width and any(c.spare for c in shown):
            least = max(shown, key=lambda c: c.spare)
            shown.remove(least)
            left_out.append(least)
    longest = LONGEST
    while room.width is not None and longest > SHORT and _width(shown, cells, longest) > room.width:
        longest -= 1
    drawn = [[cut(text, _limit(c, longest)) for text in cells[c.key]] for c in shown]
    widths = [max(map(len, texts)) for texts in drawn]

    def line(texts: Sequence[str]) -> str:
        padded = (
            text.ljust(width) if column.style == "text" else text.rjust(width)
            for text, width, column in zip(texts, widths, shown, strict=True)
        )
        return "  ".join(padded).rstrip()

    head, *body = zip(*drawn, strict=True)
    told = f"left out at this width: {', '.join(c.heading for c in columns if c in left_out)}"
    rule = "  ".join("-" * width for width in widths)
    return "\n".join(
        [line(head), rule, *map(line, body), *(textwrap.wrap(told, room.width or 80) if left_out else [])]
    )


def _limit(column: Column, longest: int) -> int:
    return longest if column.style == "text" else LONGEST


def _width(columns: Sequence[Column], cells: Mapping[str, Sequence[str]], longest: int) -> int:
    """Characters in a line, names cut to `longest`."""
    widths = (min(max(map(len, cells[c.key])), _limit(c, longest)) for c in columns)
    return sum(widths) + 2 * (len(columns) - 1)


def cut(text: str, longest: int = LONGEST) -> str:
    """The two ends of a text that is too long: names often differ in their last part alone."""
    if len(text) <= longest:
        return text
    head = (longest - 1) // 2
    return f"{text[:head]}…{text[len(text) - (longest - 1 - head) :]}"


def printable(text: str) -> str:
    """A name as it can be shown: ONNX names may hold anything."""
    return "".join(c if c.isprintable() else "?" for c in text)


def write(value: Cell, style: str) -> str:
    """One cell."""
    if value is None:
        return "-"
    if isinstance(value, str):
        return printable(value)
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


def counted(number: int, what: str) -> str:
    """`1 layer`, `2,000 layers`."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def data_size(bits: float) -> str:
    """Bits as bytes: `512 B`, `25.1 MiB`."""
    return _scaled(bits / 8, 1024, ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"])


def percent(share: float | None) -> str:
    """`98.7 %`, `0.12 %`; `0` only where there is nothing, `-` where there is no whole."""
    if share is None:
        return "-"
    if 0 < share < 5e-5:
        return "<0.01 %"
    return "0" if not share else f"{100 * share:.{1 if share >= 0.09995 else 2}f} %"


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
