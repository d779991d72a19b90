"""Errors with a place: what is wrong, where, and what was perhaps meant.

A phase (syntax, verification, reading files) collects every error it finds and raises them
together as one `ProgramError`.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from isa.program import NOWHERE, Span

PRINTED = 20
"""How many errors are printed; the others are counted."""

COLLECTED = 1000
"""After so many errors a phase stops looking for more: hostile texts are not worth the time."""

SHOWN = 40
"""Characters of a value that are shown."""

WIDTH = 110
"""Characters of a source line that are shown; longer lines are cut around the error."""


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One error.

    path     the file, or None for a program that was never in one
    span     where in it; `NOWHERE` where the error is about the whole file, or about a node
             that a compiler built
    message  what is wrong, in one line
    hint     what to do about it
    source   the source line, without its end
    layer    the name of the layer that it is about, where it is about one
    """

    path: str | None
    span: Span
    message: str
    hint: str | None = None
    source: str | None = None
    layer: str | None = None

    def __str__(self) -> str:
        place = clean(self.path or "<program>")
        if self.span != NOWHERE:
            place += f":{self.span.line}:{self.span.column}"
        lines = [f"{place}: error: {clean(self.message)}"]
        if self.source is not None:
            lines += self._excerpt(self.source)
        if self.hint:
            lines.append(f"hint: {clean(self.hint)}")
        return "\n".join(lines)

    def _excerpt(self, source: str) -> list[str]:
        """The source line, and carets below the span."""
        first = max(0, self.span.column - 1)
        last = max(first + 1, min(self.span.end - 1, len(source)))
        start = 0
        if len(source) > WIDTH:
            start = max(0, min(first - WIDTH // 3, len(source) - WIDTH))
        shown = clean(source[start : start + WIDTH])
        lines = ["  " + shown]
        if self.span != NOWHERE:
            first, last = first - start, min(last - start, WIDTH)
            before = "".join("\t" if c == "\t" else " " for c in shown[:first].ljust(first))
            lines.append("  " + before + "^" * max(1, last - first))
        return lines

    def as_dict(self) -> dict[str, str | int | None]:
        """For `--json`: null where there is no place."""
        known = self.span != NOWHERE
        return {
            "path": self.path,
            "line": self.span.line if known else None,
            "column": self.span.column if known else None,
            "message": self.message,
            "hint": self.hint,
            "source": self.source,
        }


class ProgramError(Exception):
    """A program (or a target) is wrong; the fault is the user's.  Holds every error of one phase."""

    def __init__(self, diagnostics: Iterable[Diagnostic]) -> None:
        self.diagnostics: tuple[Diagnostic, ...] = tuple(diagnostics)
        super().__init__(self.diagnostics)

    def __str__(self) -> str:
        shown = [str(d) for d in self.diagnostics[:PRINTED]]
        rest = len(self.diagnostics) - len(shown)
        if rest:
            shown.append(f"... and {rest} more error{'s' if rest > 1 else ''}")
        return "\n".join(shown)

    def as_dicts(self) -> list[dict[str, str | int | None]]:
        return [d.as_dict() for d in self.diagnostics]


class Report:
    """Collects the errors of one phase about one text."""

    def __init__(self, text: str | None, path: str | None) -> None:
        self.diagnostics: list[Diagnostic] = []
        self._path = path
        self._lines = text.split("\n") if text is not None else None

    def error(
        self,
        span: Span,
        message: str,
        hint: str | None = None,
        source: str | None = None,
        layer: str | None = None,
    ) -> None:
        """Add an error.  `source` stands in for the source line where there is no text."""
        if self._lines is not None and 1 <= span.line <= len(self._lines):
            source = self._lines[span.line - 1].removesuffix("\r")
        self.diagnostics.append(Diagnostic(self._path, span, message, hint, source, layer))
        if len(self.diagnostics) >= COLLECTED:
            self.raise_if_any()

    def raise_if_any(self) -> None:
        """Raise what was collected, in the order of the text."""
        if self.diagnostics:
            raise ProgramError(sorted(self.diagnostics, key=lambda d: (d.span.line, d.span.column)))


def did_you_mean(word: str, known: Iterable[str], sigil: str = "") -> str | None:
    """A hint that names the nearest of `known`, or None where nothing is near."""
    near = nearest(word, known)
    return f"did you mean {sigil}{near}?" if near else None


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The one of `known` that `word` may be a slip of."""
    near = difflib.get_close_matches(word[:100], list(known)[:5000], n=1, cutoff=0.6)
    return near[0] if near else None


def missing_keys(found: Collection[str], known: Sequence[str]) -> list[str]:
    """What of `known` was not found, nor misspelt: a slip is told as an unknown key, once."""
    slips = {nearest(key, known) for key in found if key not in known}
    return [key for key in known if key not in found and key not in slips]


def shown(value: object) -> str:
    """A TOML value for an error: a text in quotes, so that "8" is no number; long ones cut."""
    if isinstance(value, bool):
        return str(value).lower()
    text = f'"{value}"' if isinstance(value, str) else str(value)
    return text if len(text) <= SHOWN else text[: SHOWN - 3] + "..."


def one_of(words: Sequence[str]) -> str:
    """`a, b or c`."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


def clean(text: str) -> str:
    """`text` with every character that could move the cursor or hide text made visible."""
    return "".join(c if c.isprintable() or c == "\t" else "\N{REPLACEMENT CHARACTER}" for c in text)


def reason(error: OSError) -> str:
    """What the operating system says, without its number."""
    return error.strerror or str(error)
