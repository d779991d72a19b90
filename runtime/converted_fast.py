"""Fidelity `adc` in the fast engine: who performs the conversions of a fire."""

from __future__ import annotations

from collections.abc import Mapping

from isa.program import Program
from runtime.converted import ConvertedGroup
from runtime.crossbar import Group
from runtime.lines import Lines
from runtime.lossy import Conversions, PlainConverter, conversions
from runtime.rounds import Converter, Seats
from runtime.symbols import Fire

WITHOUT = "conversions are computed by numpy alone, several times slower: llvmlite cannot be imported"


class Converters:
    """Makes the converters of a program's fires.

    notes  what there is to say about them
    """

    align = 64

    def __init__(self, groups: Mapping[str, Group]) -> None:
        self.groups = groups
        self.notes: list[str] = []

    def __call__(self, program: Program, fire: Fire, lines: Lines, seats: Seats) -> Converter | None:
        group = self.groups[fire.group]
        assert isinstance(group, ConvertedGroup)
        todo = conversions(program, fire, lines, seats, group)
        return None if todo is None else self.packed(todo, lines) or PlainConverter(todo, lines)

    def packed(self, todo: Conversions, lines: Lines) -> Converter | None:
        """The quick one; None where sums are too large for it, or its compiler is missing."""
        try:
            from runtime.packed import PackedConverter, word_for
        except (ImportError, OSError):  # OSError: its library is there and does not load
            if WITHOUT not in self.notes:
                self.notes.append(WITHOUT)
            return None
        word = word_for(todo)
        return None if word is None else PackedConverter(todo, lines, word)
