"""From text to a `Program`: statements from `isa.syntax`, directives from `isa.declarations`.

    program = parse(text)

The parser builds what is written; whether it makes sense is for the verifier to say.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from isa.declarations import (
    DIRECTIVES,
    DataFile,
    Declaration,
    Version,
    read_directive,
)
from isa.diagnostics import Report
from isa.instructions import INSTRUCTIONS
from isa.program import (
    NOWHERE,
    VERSION,
    Buffer,
    Constant,
    Crossbar,
    Instruction,
    Layer,
    Loop,
    Node,
    Program,
    Span,
    Target,
)
from isa.statements import Directive, LoopEnd, LoopHead, Statement
from isa.syntax import Reading, read_statements

MAX_CHARACTERS = 64 << 20
"""Longer texts are refused.  A network of 100,000 layers takes some 50 million."""

MAX_LOOPS = 32
"""Loops inside one another."""


def parse(text: str, path: str | None = None) -> Program:
    """The program of `text`; `path` is named in errors.  The data file is not read (`isa.load` does).

    Raises ProgramError with every syntax error, or, where the syntax is right, with every error
    in directives and in the nesting of loops.
    """
    report = Report(text, path)
    check_text(text, report)
    reading = Reading(report)
    statements = read_statements(text, reading)
    builder = _Builder(reading)
    for statement in statements:
        builder.add(statement)
    program = builder.finish(text, path)
    report.raise_if_any()
    return program


def check_text(text: str, report: Report) -> None:
    """Refuse what is too long or has another version, before anything else is read."""
    if len(text) > MAX_CHARACTERS:
        report.error(NOWHERE, f"this program has {len(text)} characters; the limit is {MAX_CHARACTERS}")
    version = _VERSION.match(text)
    if version and version[1] != str(VERSION):
        line = text.count("\n", 0, version.start(1)) + 1
        column = version.start(1) - text.rfind("\n", 0, version.start(1))
        report.error(
            Span(line, column, column + len(version[1])),
            f".isa version {version[1][:40]} is not supported",
            f"supported: {VERSION}",
        )
    report.raise_if_any()


_VERSION = re.compile(r"(?:[ \t\r\n]|;[^\n]*\n)*\.isa[ \t]+([^\s;]+)")


class _Builder:
    """Puts statements together: declarations by kind, instructions into loops and layers."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._report = reading.report
        self._version: Version | None = None
        self._target: Target | None = None
        self._data: DataFile | None = None
        self._buffers: dict[str, Buffer] = {}
        self._crossbars: dict[str, Crossbar] = {}
        self._constants: dict[str, Constant] = {}
        self._layers: list[Layer] = []
        self._bodies: list[list[Node]] = []  # of the open layer and its open loops
        self._heads: list[LoopHead] = []
        self._seen: dict[str, Span] = {}
        self._first = True
        self._late = False  # was a directive behind code, or code outside of a layer, reported?

    def add(self, statement: Statement) -> None:
        headless = self._first and not (isinstance(statement, Directive) and statement.word == ".isa")
        if headless:
            self._report.error(statement.span, "a program starts with its version", f"write .isa {VERSION}")
        self._first = False
        if isinstance(statement, Directive):
            self._add_directive(statement)
            return
        if not self._bodies:
            if not headless:
                self._report.error(statement.span, "code stands in a layer", 'start one with .layer "name"')
            self._bodies.append([])  # said once
            self._late = True
        if isinstance(statement, Instruction):
            self._bodies[-1].append(without_defaults(statement))
        elif isinstance(statement, LoopHead):
            if len(self._heads) == MAX_LOOPS:
                self._report.error(statement.span, f"more than {MAX_LOOPS} loops inside one another")
            self._heads.append(statement)
            self._bodies.append([])
        else:
            self._end_loop(statement)

    def _end_loop(self, end: LoopEnd) -> None:
        if not self._heads:
            self._report.error(end.span, "this `end` ends no loop")
            return
        head, body = self._heads.pop(), self._bodies.pop()
        self._bodies[-1].append(Loop(head.variable, head.first, head.last, tuple(body), head.span))

    def _end_layer(self) -> None:
        if self._heads:
            inner = len(self._heads) - 1
            which = f"this loop and {inner} inside have" if inner else "this loop has"
            self._report.error(self._heads[0].span, f"{which} no `end`")
        self._heads.clear()
        if self._bodies and self._layers:
            self._layers[-1] = replace(self._layers[-1], body=tuple(self._bodies[0]))
        self._bodies.clear()

    def _add_directive(self, line: Directive) -> None:
        spec = DIRECTIVES.get(line.word)
        if spec is not None and spec.once and line.word in self._seen:
            first = self._seen[line.word].line
            self._report.error(line.span, f"a second {line.word}", f"the first is in line {first}")
            return
        self._seen.setdefault(line.word, line.span)
        if self._bodies and spec is not None and line.word != ".layer":
            if not self._late:
                self._report.error(line.span, f"{line.word} stands before the first .layer")
            self._late = True  # said once
            return
        found = read_directive(line, self._reading)
        if line.word == ".layer":
            self._end_layer()
            self._bodies.append([])
            self._layers.append(found if isinstance(found, Layer) else Layer("", (), span=line.span))
        elif found is not None:
            self._declare(found)

    def _declare(self, found: Declaration) -> None:
        match found:
            case Version():
                self._version = found
            case Target():
                self._target = found
            case DataFile():
                self._data = found
            case Buffer():
                self._name(self._buffers, found, "%")
            case Crossbar():
                self._name(self._crossbars, found, "@")
            case Constant():
                self._name(self._constants, found, "")

    def _name(
        self, table: dict[str, Buffer] | dict[str, Crossbar] | dict[str, Constant], found: Any, sigil: str
    ) -> None:
        earlier = table.get(found.name)
        if earlier is not None:
            self._report.error(
                found.span, f"{sigil}{found.name} is declared twice", f"first in line {earlier.span.line}"
            )
            return
        table[found.name] = found

    def finish(self, text: str, path: str | None) -> Program:
        """The program; incomplete where errors were reported."""
        self._end_layer()
        if self._first:
            self._report.error(NOWHERE, "this program is empty", f"a program starts with .isa {VERSION}")
        elif ".target" not in self._seen:
            self._report.error(NOWHERE, "this program has no target", 'write .target "red-65nm"')
        return Program(
            target=self._target or Target(""),
            buffers=self._buffers,
            crossbars=self._crossbars,
            constants=self._constants,
            layers=tuple(self._layers),
            data_file=self._data.name if self._data else None,
            data_digest=self._data.digest if self._data else None,
            source=text,
            path=path,
        )


def without_defaults(instruction: Instruction) -> Instruction:
    """Attributes as the table types them; those that are written but equal their default go."""
    spec = INSTRUCTIONS.get(instruction.mnemonic)
    if spec is None or not instruction.attributes:
        return instruction
    declared = {a.name: a for a in spec.attributes}
    kept: list[tuple[str, int | float]] = []
    for key, value in instruction.attributes:
        attribute = declared.get(key)
        if attribute is not None and attribute.type == "float":
            value = float(value)
        if attribute is None or value != attribute.default:
            kept.append((key, value))
    return replace(instruction, attributes=tuple(kept))
