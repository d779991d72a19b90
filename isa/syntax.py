"""From text to statements: the lexer, the LALR parser, and syntax errors.

A whole file is read by one LALR call; the statements are built inside the parser, and no tree
ever exists.  If that call fails, the file is read again line by line, so that every line with a
syntax error is reported.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isa.diagnostics import Report
from isa.program import (
    Address,
    Affine,
    BufferRef,
    ConstRef,
    Instruction,
    Matrix,
    Operand,
    Register,
    Span,
)
from isa.statements import Directive, Item, LoopEnd, LoopHead, Statement
from isa.syntax_errors import advice, column_of, explain

if TYPE_CHECKING:
    from lark import Lark, Token

INT64 = (-(1 << 63), (1 << 63) - 1)
"""Integers outside are errors wherever they are written."""

FEW_DIGITS = 20
"""No integer within 64 bits has more."""


Part = tuple[int, int]
Index = tuple[tuple[Affine, ...], Part | None]
"""What stands between brackets: expressions, and the part of the vector behind them."""


class Reading:
    """One text being read: its errors, and the indices seen so far."""

    def __init__(self, report: Report) -> None:
        self.report = report
        self._indices: dict[str, Index] = {}
        self._operands: dict[str, Operand] = {}

    def operand(self, text: str, span: Span) -> Operand:
        """A register, a matrix, an address, a buffer or a constant, by its first character."""
        found = self._operands.get(text)
        if found is None:
            errors = len(self.report.diagnostics)
            found = self._read_operand(text, span)
            if len(self.report.diagnostics) == errors:
                self._operands[text] = found
        return found

    def _read_operand(self, text: str, span: Span) -> Operand:
        if text[0] == '"':
            return ConstRef(self.string(text, span))
        if text[0] == "v":
            return Register(self.integer(text[1:], span))
        name, index, band = split_operand(text)
        place = Span(span.line, span.column + text.find("["), span.end - len(band))
        if text[0] == "@":
            return Matrix(name, self.plain_index(index, place), self.integer(band[1:], span))
        outside, name = name.endswith("?"), name.rstrip("?")
        if index:
            indices, part = self.index(index, place)
            return Address(name, indices, outside, part)
        if outside:
            hint = f"a whole buffer is %{name}, an address %{name}?[...]"
            self.report.error(span, "`?` belongs to an address", hint)
        return BufferRef(name)

    def integer(self, text: str, span: Span) -> int:
        """The value of digits (with a sign, perhaps); 0 after an error."""
        digits = text.lstrip("+-0")
        if not digits.isdecimal():
            if digits:
                self.report.error(span, f"expected an integer, found {text[:40]}")
            return 0
        value = int(text) if len(digits) < FEW_DIGITS else 1 << 64
        if not INT64[0] <= value <= INT64[1]:
            self.report.error(span, "this integer does not fit 64 bits")
            return 0
        return value

    def number(self, text: str, span: Span) -> int | float:
        """An integer, or a finite float where the text has a point or an exponent."""
        if text.lstrip("+-").isdecimal():
            return self.integer(text, span)
        value = float(text)
        if value in (float("inf"), float("-inf")):
            self.report.error(span, f"{text[:40]} is too large for a float")
            return 0.0
        return value

    def string(self, token: str, span: Span) -> str:
        """What stands between the quotes."""
        body = token[1:-1]
        if "\\" not in body:
            return body
        return _ESCAPE.sub(lambda match: self._unescape(match.group(), span), body)

    def _unescape(self, escape: str, span: Span) -> str:
        plain = _ESCAPES.get(escape)
        if plain is None and len(escape) == 6:
            plain = chr(int(escape[2:], 16))
            if 0xD800 <= ord(plain) <= 0xDFFF:
                self.report.error(span, f"{escape} is half a character")
                return ""
        if plain is None:
            self.report.error(span, f"unknown escape {escape}", 'known: \\" \\\\ \\n \\t \\uXXXX')
            return ""
        return plain

    def index(self, text: str, span: Span) -> Index:
        """What stands between the brackets; nothing after an error."""
        found = self._indices.get(text)
        if found is None:
            found = self._indices[text] = self._read_index(text, span)
        return found

    def _read_index(self, text: str, span: Span) -> Index:
        from lark import UnexpectedInput

        errors = len(self.report.diagnostics)
        enclosing, reading = _PLACE.set(span), _READING.set(self)
        try:
            found: tuple[Affine | Part, ...] = _lark().parse(text, start="index")  # type: ignore[assignment]
        except UnexpectedInput as error:
            offset = column_of(error, text) - 1
            message, length = explain(error, text)
            place = Span(span.line, span.column + offset, span.column + offset + length)
            self.report.error(place, message, "an index is [2*q0 + 1, (o1 - 3)/2, 0:16]")
            return (), None
        finally:
            _PLACE.reset(enclosing)
            _READING.reset(reading)
        if len(self.report.diagnostics) != errors:
            return (), None
        part = next((entry for entry in found if isinstance(entry, tuple)), None)
        return tuple(entry for entry in found if isinstance(entry, Affine)), part

    def plain_index(self, text: str, span: Span) -> tuple[int, ...]:
        """An index of plain numbers; () where there is none, and after an error."""
        if not text:
            return ()
        found, part = self.index(text, span)
        if part or any(e.terms or e.divisor != 1 or e.constant < 0 for e in found):
            self.report.error(span, "expected plain numbers between the brackets")
            return ()
        return tuple(e.constant for e in found)


def split_operand(text: str) -> tuple[str, str, str]:
    """`@k[1, 2].3` -> ("k", "[1, 2]", ".3"); index and band may be empty."""
    name, bracket, rest = text[1:].partition("[")
    index, _, band = rest.rpartition("]") if bracket else ("", "", "")
    if bracket:
        return name.rstrip(), f"[{index}]", band
    name, dot, band = name.partition(".")
    return name, "", dot + band


_ESCAPE = re.compile(r"\\u[0-9A-Fa-f]{4}|\\.")
_ESCAPES = {'\\"': '"', "\\\\": "\\", "\\n": "\n", "\\t": "\t"}

_READING: ContextVar[Reading] = ContextVar("reading")
_PLACE: ContextVar[Span] = ContextVar("place")


def span_of(first: Token, last: Token | None = None) -> Span:
    """From the first character of `first` to the last of `last`, on one line."""
    assert first.line is not None
    assert first.column is not None
    end = (first if last is None else last).end_column
    assert end is not None
    return Span(first.line, first.column, end)


class _Build:
    """The tree builder: one method per rule of the grammar, called by the parser as it reduces.

    It holds no state, for one Lark object serves every text; what belongs to the text being
    read is `_READING`.  Operands come back with their spans.
    """

    def start(self, statements: list[Statement]) -> list[Statement]:
        return statements

    line = start

    def operand(self, c: list[Token]) -> tuple[Operand, Span]:
        span = span_of(c[0])
        return _READING.get().operand(str(c[0]), span), span

    def attribute(self, c: list[Token]) -> tuple[tuple[str, int | float], Span]:
        span = span_of(c[0], c[-1])
        return (str(c[0]), _READING.get().number(c[-1], span)), span

    def word(self, c: list[Token]) -> tuple[str, Span]:
        return str(c[0]), span_of(c[0])

    def number(self, c: list[Token]) -> tuple[int | float, Span]:
        span = span_of(c[0])
        return _READING.get().number(c[0], span), span

    def instruction(self, c: list[Any]) -> Statement:
        word: Token = c[0]
        span = span_of(word)
        if len(c) > 1:
            span = Span(span.line, span.column, c[-1][1].end)
        if word == "loop":
            return _loop_head(c[1:], span)
        if word == "end":
            if len(c) > 1:
                _READING.get().report.error(c[1][1], "`end` stands alone")
            return LoopEnd(span)
        return _instruction(str(word), c[1:], span)

    def directive(self, c: list[Any]) -> Directive:
        span = span_of(c[0])
        if len(c) > 1:
            span = Span(span.line, span.column, c[-1].span.end)
        return Directive(str(c[0]), tuple(c[1:]), span)

    def item(self, c: list[Token]) -> Item:
        return Item(c[0].type, str(c[0]), span_of(c[0]))

    def index(self, c: list[Affine | Part]) -> tuple[Affine | Part, ...]:
        return tuple(c)

    def part(self, c: list[Token]) -> Part:
        first, last = (_READING.get().integer(token, _PLACE.get()) for token in c)
        return first, last

    def affine(self, c: list[Any]) -> Affine:
        """`c` holds terms (variable or None, number), each with its sign before it or none."""
        reading = _READING.get()
        constant, sign, coefficients = 0, 1, dict[str, int]()
        for part in c:
            if not isinstance(part, tuple):
                sign = -1 if part == "-" else 1
                continue
            name, number = part
            if name is None:
                constant += sign * number
            else:
                coefficients[name] = coefficients.get(name, 0) + sign * number
        if any(not INT64[0] <= v <= INT64[1] for v in (constant, *coefficients.values())):
            reading.report.error(_PLACE.get(), "a number of this index does not fit 64 bits")
        return Affine.of(coefficients, constant)

    def divided(self, c: list[Any]) -> Affine:
        whole, divisor = self.affine(c[:-1]), _READING.get().integer(c[-1], _PLACE.get())
        if divisor < 1:
            _READING.get().report.error(_PLACE.get(), "a divisor is at least 1")
        return Affine(whole.terms, whole.constant, divisor)

    def term(self, c: list[Token]) -> tuple[str | None, int]:
        number = 1 if c[0].type == "NAME" else _READING.get().integer(c[0], _PLACE.get())
        return (str(c[-1]) if c[-1].type == "NAME" else None), number


def _instruction(word: str, parts: Iterable[tuple[Any, Span]], span: Span) -> Instruction:
    operands: list[Operand] = []
    spans: list[Span] = []
    attributes: dict[str, int | float] = {}
    for value, place in parts:
        problem = None
        if isinstance(value, tuple):
            problem = f"{value[0]} is given twice" if value[0] in attributes else None
            attributes[value[0]] = value[1]
        elif isinstance(value, (str, int, float)):
            problem = f"{str(value)[:40]} is no operand"
        elif attributes:
            problem = "operands come before attributes"
        else:
            operands.append(value)
            spans.append(place)
        if problem:
            hint = 'an operand is v0, @crossbar[0], %buffer[q0], "name" or key=1'
            _READING.get().report.error(place, problem, hint)
    return Instruction(word, tuple(operands), tuple(sorted(attributes.items())), span, tuple(spans))


def _loop_head(parts: list[tuple[Any, Span]], span: Span) -> LoopHead:
    values = [value for value, _ in parts]
    good = len(values) == 3 and isinstance(values[0], str) and all(isinstance(v, int) for v in values[1:])
    if good:
        return LoopHead(values[0], values[1], values[2], span)
    if values and isinstance(values[0], Register):
        message = f"v{values[0].number} is the name of a register, not of a loop variable"
    else:
        message = "expected a loop variable and two integers"
    _READING.get().report.error(span, message, "a loop is `loop q0, 0, 4`: 0 <= q0 < 4")
    return LoopHead("_", 0, 1, span)


@cache
def _lark() -> Lark:
    """The parser, made at the first use: importing lark takes longer than most programs do."""
    from lark import Lark, Transformer

    class Builder(_Build, Transformer):  # type: ignore[type-arg]
        pass

    grammar = Path(__file__).with_name("grammar.lark").read_text(encoding="utf-8")
    return Lark(
        grammar,
        parser="lalr",
        lexer="contextual",
        start=["start", "line", "index"],
        transformer=Builder(visit_tokens=False),
        maybe_placeholders=False,
    )


def read_statements(text: str, reading: Reading) -> list[Statement]:
    """Every statement of `text`, in order.

    Raises ProgramError with every syntax error.  Errors that do not hide a statement (a number
    too large, say) are left in the report of `reading` for the caller to add to.
    """
    from lark import UnexpectedInput

    report = reading.report
    token = _READING.set(reading)
    try:
        statements: list[Statement] = _lark().parse(text, start="start")  # type: ignore[assignment]
    except UnexpectedInput:
        report.diagnostics.clear()
        _read_lines(text, report)
        raise AssertionError("a text with a syntax error has a line with one") from None
    finally:
        _READING.reset(token)
    return statements


def _read_lines(text: str, report: Report) -> None:
    """Report every line that is no statement; then raise."""
    from lark import UnexpectedInput

    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip(" \t\r"):
            continue
        here = Report(line, None)
        token = _READING.set(Reading(here))
        try:
            _lark().parse(line, start="line")
        except UnexpectedInput as error:
            column = column_of(error, line)
            message, length = explain(error, line)
            here.error(Span(1, column, column + length), message, advice(line, column))
        finally:
            _READING.reset(token)
        for found in here.diagnostics:
            place = Span(number, found.span.column, found.span.end)
            report.error(place, found.message, found.hint)
    report.raise_if_any()
