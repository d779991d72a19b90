"""Conversions in the fast engine: who performs those of a fire."""

from __future__ import annotations

from isa.program import Program
from runtime.analog import AnalogGroup, Sample
from runtime.converted import ConvertedGroup
from runtime.engine import Fidelity
from runtime.groups import make_group
from runtime.lines import Lines
from runtime.lossy import Conversions, PlainConverter, conversions
from runtime.rounds import Converter, Seats
from runtime.sampled import Kernels, SampledConverter
from runtime.symbols import Fire

WITHOUT = "conversions are computed by numpy alone, several times slower: llvmlite cannot be imported"


class Converters:
    """Makes the converters of a program's fires.

    notes  what there is to say about them
    """

    def __init__(self, sample: Sample | None) -> None:
        self.sample = sample
        self.notes: list[str] = []
        self._last: tuple[str, ConvertedGroup] | None = None

    def of_layer(self, number: int) -> LayerConverters:
        """Those of one layer's fires."""
        return LayerConverters(self, number)

    def group(self, program: Program, name: str) -> ConvertedGroup:
        """A crossbar's arrays.  They are large: only the last group's are kept."""
        if self._last is None or self._last[0] != name:
            fidelity: Fidelity = "adc" if self.sample is None else "analog"
            group = make_group(program, name, fidelity, self.sample)
            assert isinstance(group, ConvertedGroup)
            self._last = (name, group)
        return self._last[1]

    def packed(self, todo: Conversions, lines: Lines) -> Converter | None:
        """The quick one of `adc`; None if sums are too large for it, or its compiler is missing."""
        try:
            from runtime.packed import PackedConverter, word_for
        except (ImportError, OSError):  # OSError: its library is there and does not load
            self._without()
            return None
        word = word_for(todo)
        return None if word is None else PackedConverter(todo, lines, word)

    def kernels(self) -> Kernels | None:
        """Those of `analog`; None if their compiler is missing."""
        try:
            from runtime import noisy_strips
        except (ImportError, OSError):
            self._without()
            return None
        return noisy_strips

    def _without(self) -> None:
        if WITHOUT not in self.notes:
            self.notes.append(WITHOUT)


class LayerConverters:
    """See `runtime.rounds.ConverterMaker`."""

    align = 64

    def __init__(self, converters: Converters, layer: int) -> None:
        self.converters, self.layer = converters, layer

    def __call__(self, program: Program, fire: Fire, lines: Lines, seats: Seats) -> Converter | None:
        group = self.converters.group(program, fire.group)
        if isinstance(group, AnalogGroup):
            return SampledConverter(group, self.layer, fire, lines, seats, self.converters.kernels())
        todo = conversions(program, fire, lines, seats, group)
        return None if todo is None else self.converters.packed(todo, lines) or PlainConverter(todo, lines)
