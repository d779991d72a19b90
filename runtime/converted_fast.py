"""Fidelity `adc` in the fast engine: who performs the conversions of a fire."""

from __future__ import annotations

from isa.program import Program
from runtime.converted import ConvertedGroup
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

    def __init__(self) -> None:
        self.notes: list[str] = []
        self._last: tuple[str, ConvertedGroup] | None = None

    def __call__(self, program: Program, fire: Fire, lines: Lines, seats: Seats) -> Converter | None:
        todo = conversions(program, fire, lines, seats, self.group(program, fire.group))
        return None if todo is None else self.packed(todo, lines) or PlainConverter(todo, lines)

    def group(self, program: Program, name: str) -> ConvertedGroup:
        """A crossbar's arrays.  They are large: only the last group's are kept."""
        if self._last is None or self._last[0] != name:
            crossbar = program.crossbars[name]
            self._last = (name, ConvertedGroup(crossbar, program.target, program.constant(crossbar.data)))
        return self._last[1]

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
