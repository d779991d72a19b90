"""Syntax errors in words: what was expected, what was found."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isa.diagnostics import one_of

if TYPE_CHECKING:
    from lark import UnexpectedInput

_WORDS = {
    "NAME": "a name",
    "REGISTER": "a register",
    "CROSSBAR": "a crossbar",
    "BUFFER": "a buffer",
    "STRING": "a string",
    "NUMBER": "a number",
    "INT": "a number",
    "INDEX": "an index [...]",
    "DIRECTIVE": "a directive",
    "DIGEST": "a digest",
    "SIGN": "+ or -",
    "COMMA": "`,`",
    "_COMMA": "`,`",
    "EQUAL": "`=`",
    "STAR": "`*`",
    "LSQB": "`[`",
    "RSQB": "`]`",
    "LPAR": "`(`",
    "RPAR": "`)`",
    "SLASH": "`/`",
    "COLON": "`:`",
    "_NEWLINE": "the end of the line",
    "$END": "the end of the line",
}


def column_of(error: UnexpectedInput, line: str) -> int:
    """The column of what should not be there; behind the last token where something is missing."""
    from lark import UnexpectedToken

    if isinstance(error, UnexpectedToken) and error.token.type == "$END":
        return error.token.end_column or len(line.rstrip()) + 1
    return error.column if error.column > 0 else len(line.rstrip()) + 1


def explain(error: UnexpectedInput, line: str) -> tuple[str, int]:
    """(message, characters to mark)."""
    from lark import UnexpectedToken

    wanted = (error.accepts or error.expected) if isinstance(error, UnexpectedToken) else error.allowed  # type: ignore[attr-defined]
    words = sorted({_WORDS[name] for name in wanted or () if name in _WORDS})
    expected = f"expected {one_of(words)}, " if words else ""
    if isinstance(error, UnexpectedToken) and error.token.type != "$END":
        found = str(error.token)
        return f"{expected}found {found[:40]}", len(found)
    if isinstance(error, UnexpectedToken):
        return f"{expected}found the end of the line", 1
    found = line[error.column - 1 : error.column]
    return f"{expected}found {found}", 1


def advice(line: str, column: int) -> str | None:
    """A hint about a character that starts no token."""
    match line[column - 1 : column]:
        case '"':
            return "a string ends with a quote on the same line"
        case "[":
            return "this bracket is never closed"
        case "#" | "/":
            return "a comment starts with `;`"
    return None
