"""Reading the items of one directive, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

from isa.diagnostics import Report, did_you_mean, one_of
from isa.program import IntType, Span, parse_type
from isa.statements import Directive, Item
from isa.syntax import Reading, split_operand


class BadDirective(Exception):
    """The rest of a directive cannot be read; its error is already reported."""


class Cursor:
    """The items of one directive, taken one after the other."""

    def __init__(self, line: Directive, syntax: str, reading: Reading) -> None:
        self.word = line.word
        self._syntax = syntax
        self.span = line.span
        self._items = line.items
        self._next = 0
        self._reading = reading

    @property
    def report(self) -> Report:
        return self._reading.report

    def fail(self, message: str, span: Span | None = None, hint: str | None = None) -> NoReturn:
        """Report and give the directive up."""
        hint = hint or f"syntax: {self.word} {self._syntax}"
        self.report.error(span or self.place(), message, hint)
        raise BadDirective

    def place(self) -> Span:
        """Where the next item stands, or should."""
        if self._next < len(self._items):
            return self._items[self._next].span
        return Span(self.span.line, self.span.end, self.span.end + 1)

    def expected(self, what: str) -> NoReturn:
        found = self._items[self._next].text[:40] if self._next < len(self._items) else "the end of the line"
        self.fail(f"expected {what}, found {found}")

    def peek(self, kind: str, text: str | None = None) -> bool:
        """Does an item of this kind (and text) come next?"""
        if self._next >= len(self._items):
            return False
        item = self._items[self._next]
        return item.kind == kind and (text is None or item.text == text)

    def take(self, kind: str, what: str) -> Item:
        if not self.peek(kind):
            self.expected(what)
        self._next += 1
        return self._items[self._next - 1]

    def skip(self, kind: str, text: str | None = None) -> bool:
        """Take an item if it comes next."""
        found = self.peek(kind, text)
        self._next += found
        return found

    def word_is(self, text: str) -> None:
        if not self.skip("NAME", text):
            self.expected(f"`{text}`")

    def integer(self, what: str) -> int:
        item = self.take("NUMBER", what)
        return self._reading.integer(item.text, item.span)

    def crossbar(self) -> tuple[str, tuple[int, ...]]:
        """A crossbar's name and, behind it, its shape."""
        item = self.take("CROSSBAR", "a crossbar such as @x")
        name, shape, band = split_operand(item.text)
        if band:
            self.fail("a crossbar is declared with all its bands", item.span)
        return name, self._reading.plain_index(shape, item.span)

    def buffer(self) -> str:
        """A buffer's name."""
        item = self.take("BUFFER", "a buffer such as %x")
        name, index, _ = split_operand(item.text)
        if index or name.endswith("?"):
            self.fail("expected the name of a buffer alone, such as %x", item.span)
        return name

    def number(self, what: str) -> int | float:
        item = self.take("NUMBER", what)
        return self._reading.number(item.text, item.span)

    def string(self, what: str) -> str:
        item = self.take("STRING", what)
        return self._reading.string(item.text, item.span)

    def strings(self, what: str) -> tuple[str, ...]:
        found = [self.string(what)]
        while self.skip("COMMA"):
            found.append(self.string(what))
        return tuple(found)

    def shape(self, what: str) -> tuple[int, ...]:
        item = self.take("INDEX", what)
        return self._reading.plain_index(item.text, item.span)

    def shapes(self, what: str) -> tuple[tuple[int, ...], ...]:
        found = [self.shape(what)]
        while self.skip("COMMA"):
            found.append(self.shape(what))
        return tuple(found)

    def type(self) -> IntType:
        item = self.take("NAME", "an integer type such as u8")
        try:
            return parse_type(item.text)
        except ValueError:
            self.fail(f"{item.text[:40]} is no integer type", item.span, "types are u1 to u64 and i1 to i64")

    def digest(self) -> str | None:
        """`sha256:...`, which may be left out."""
        if not self.peek("DIGEST"):
            return None
        item = self.take("DIGEST", "a digest")
        algorithm, _, digits = item.text.partition(":")
        if algorithm != "sha256" or len(digits) != 64 or set(digits) - set("0123456789abcdef"):
            self.fail(
                f"{item.text[:40]} is no digest", item.span, "a digest is sha256: and 64 lower-case digits"
            )
        return digits

    def fields(
        self, readers: Mapping[str, Callable[[], Any]], required: Sequence[str] = ()
    ) -> dict[str, Any]:
        """`key value` pairs in any order to the end of the line, each at most once."""
        found: dict[str, Any] = {}
        while self._next < len(self._items):
            place = self.place()
            key = self.take(
                "NAME", one_of([f"`{k}`" for k in readers if k not in found] or ["the end of the line"])
            )
            if key.text not in readers:
                self.fail(f"unknown field {key.text[:40]}", place, did_you_mean(key.text, readers))
            if key.text in found:
                self.fail(f"{key.text} is given twice", place)
            found[key.text] = readers[key.text]()
        missing = [key for key in required if key not in found]
        if missing:
            self.fail(f"{', '.join(missing)} missing")
        return found

    def end(self) -> None:
        if self._next < len(self._items):
            self.expected("the end of the line")
