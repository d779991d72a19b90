"""What a row of the directive table says: the word, how it is read and how it is printed.

The rows stand in `isa.declarations`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from isa.cursor import BadDirective, Cursor
from isa.diagnostics import did_you_mean
from isa.program import Buffer, Constant, Crossbar, Layer, Span, Target
from isa.statements import Directive
from isa.syntax import Reading


@dataclass(frozen=True, slots=True)
class Version:
    """`.isa`."""

    number: int


@dataclass(frozen=True, slots=True)
class DataFile:
    """`.data`: the file beside the program that holds its arrays."""

    name: str
    digest: str | None
    span: Span


Declaration = Version | Target | DataFile | Buffer | Constant | Crossbar | Layer


@dataclass(frozen=True, slots=True)
class DirectiveSpec:
    """One row of the table.  `write` gives the text after the directive's word."""

    word: str
    syntax: str
    example: str
    doc: str
    read: Callable[[Cursor], Declaration]
    write: Callable[[Any], str]
    once: bool


DIRECTIVES: dict[str, DirectiveSpec] = {}
"""Word -> declaration, in the order in which a program is printed; `isa.declarations` fills it."""


def directive(
    *words: str, syntax: str, example: str, write: Callable[[Any], str], once: bool = False
) -> Callable[[Callable[[Cursor], Declaration]], Callable[[Cursor], Declaration]]:
    """Declare the decorated function as what reads these directives."""

    def declare(read: Callable[[Cursor], Declaration]) -> Callable[[Cursor], Declaration]:
        for word in words:
            doc = (read.__doc__ or "").strip()
            DIRECTIVES[word] = DirectiveSpec(word, syntax, example, doc, read, write, once)
        return read

    return declare


def read_directive(line: Directive, reading: Reading) -> Declaration | None:
    """What a directive declares; None after an error, which is reported."""
    spec = DIRECTIVES.get(line.word)
    if spec is None:
        span = Span(line.span.line, line.span.column, line.span.column + len(line.word))
        reading.report.error(span, f"unknown directive {line.word[:40]}", did_you_mean(line.word, DIRECTIVES))
        return None
    cursor = Cursor(line, spec.syntax, reading)
    try:
        found = spec.read(cursor)
        cursor.end()
    except BadDirective:
        return None
    return found


def directive_word(declaration: Declaration) -> str:
    """The word that declares it."""
    if isinstance(declaration, Buffer):
        return f".{declaration.kind}"
    return _WORDS[type(declaration)]


_WORDS: dict[type, str] = {
    Version: ".isa",
    Target: ".target",
    DataFile: ".data",
    Constant: ".const",
    Crossbar: ".xbar",
    Layer: ".layer",
}
