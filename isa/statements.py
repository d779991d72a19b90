"""What a line of the text is, before anybody understands it."""

from __future__ import annotations

from dataclasses import dataclass

from isa.program import Instruction, Span


@dataclass(frozen=True, slots=True)
class LoopHead:
    """`loop variable, first, last`."""

    variable: str
    first: int
    last: int
    span: Span


@dataclass(frozen=True, slots=True)
class LoopEnd:
    """`end`."""

    span: Span


@dataclass(frozen=True, slots=True)
class Item:
    """One token of a directive; `kind` is the terminal of the grammar."""

    kind: str
    text: str
    span: Span


@dataclass(frozen=True, slots=True)
class Directive:
    """`.word item ...`, not yet understood."""

    word: str
    items: tuple[Item, ...]
    span: Span


Statement = Instruction | LoopHead | LoopEnd | Directive
