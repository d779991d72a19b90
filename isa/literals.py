"""How strings, numbers and shapes are written."""

from __future__ import annotations

import math
from collections.abc import Sequence


def quote(text: str) -> str:
    """A string literal.  Control characters, quotes and lone surrogates are escaped."""
    if text.isprintable() and text.isascii() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    plain = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t"}
    return '"' + "".join(plain.get(c) or (c if c.isprintable() else _escape(c)) for c in text) + '"'


def _escape(character: str) -> str:
    """`\\uXXXX`; characters above U+FFFF that print as nothing have no escape and stay."""
    return f"\\u{ord(character):04x}" if ord(character) < 0x10000 else character


def number_text(value: int | float) -> str:
    """Shortest text that reads back as the same number of the same kind.

    Raises ValueError for NaN and infinities, which the language has no word for.
    """
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{value} cannot be written in a program")
    return repr(value)


def shape_text(shape: Sequence[int]) -> str:
    """`[2, 3]`."""
    return f"[{', '.join(map(str, shape))}]"
