"""ADC-faithful conversions in the fast engine: who performs them."""

from __future__ import annotations

from collections.abc import Mapping

from isa.program import Program
from runtime.converted import ConvertedGroup
from runtime.crossbar import Group
from runtime.lines import Lines
from runtime.lossy import PlainConverter, conversions
from runtime.rounds import Converter, Seats
from runtime.symbols import Fire


class Converters:
    """Makes the converters of `adc`."""

    align = 64

    def __init__(self, groups: Mapping[str, Group]) -> None:
        self.groups = groups

    def __call__(self, program: Program, fire: Fire, lines: Lines, seats: Seats) -> Converter | None:
        group = self.groups[fire.group]
        assert isinstance(group, ConvertedGroup)
        todo = conversions(program, fire, lines, seats, group)
        return None if todo is None else PlainConverter(todo, lines)
