"""Where the keys of a TOML text stand: tomllib gives values, errors need lines and columns."""

from __future__ import annotations

import re

from isa.program import NOWHERE, Span

Path = tuple[str, ...]

_KEY = r"""(?:[A-Za-z0-9_-]+|"[^"\n]*"|'[^'\n]*')"""
_DOTTED = rf"{_KEY}(?:\s*\.\s*{_KEY})*"
_HEADER = re.compile(rf"\s*\[+\s*({_DOTTED})\s*\]")
_LINE = re.compile(rf"\s*({_DOTTED})\s*=")
_INNER = re.compile(rf"""("(?:[^"\\]|\\.)*"|'[^']*')|(?:[{{,]\s*)({_DOTTED})\s*=""")


class Places:
    """The places of the keys and tables of one text, by path: `("component", "adc", "energy")`."""

    def __init__(self, text: str) -> None:
        self._found: dict[Path, Span] = {}
        self._lines = text.split("\n")
        table: Path = ()
        for number, line in enumerate(self._lines, 1):
            if header := _HEADER.match(line):
                table = _parts(header[1])
                self._add(table, number, line.index("[") + 1, len(line.rstrip()) + 1)
            elif key := _LINE.match(line):
                path = (*table, *_parts(key[1]))
                self._add(path, number, key.start(1) + 1, key.end(1) + 1)
                for inner in _INNER.finditer(line, key.end()):
                    if inner[2]:
                        self._add((*path, *_parts(inner[2])), number, inner.start(2) + 1, inner.end(2) + 1)

    def of(self, *path: str) -> Span:
        """Where `path` is written, or the nearest table around it."""
        for length in range(len(path), 0, -1):
            if path[:length] in self._found:
                return self._found[path[:length]]
        return NOWHERE

    def line(self, span: Span) -> str | None:
        """The line at `span`."""
        return self._lines[span.line - 1].removesuffix("\r") if span != NOWHERE else None

    def _add(self, path: Path, line: int, column: int, end: int) -> None:
        for length in range(1, len(path)):
            self._found.setdefault(path[:length], Span(line, column, end))
        self._found.setdefault(path, Span(line, column, end))


def _parts(dotted: str) -> Path:
    return tuple(part.strip().strip("\"'") for part in re.findall(_KEY, dotted))
