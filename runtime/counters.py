"""What a run counts: clock cycles and the events of the instruction table."""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from isa.instructions import EVENTS


@dataclass(frozen=True, slots=True)
class Counters:
    """Clock cycles and one count per event of `isa.instructions.EVENTS`, in its order and words.

    Counters form a vector space over the integers: `a + b` joins two stretches of a program,
    `n * a` repeats one.
    """

    cycles: int = 0
    instructions: int = 0
    rounds: int = 0
    fire_cycles: int = 0
    drives: int = 0
    gated_drives: int = 0
    inserted_zeros: int = 0
    activations: int = 0
    cell_reads: int = 0
    conversions: int = 0
    shift_adds: int = 0
    sums: int = 0
    register_writes: int = 0
    buffer_reads: int = 0
    buffer_writes: int = 0
    vector_ops: int = 0
    host_calls: int = 0
    host_bits: int = 0

    @staticmethod
    def of(cycles: int, events: Mapping[str, int]) -> Counters:
        """From a mapping of events; an event that is not named counts 0."""
        return Counters(cycles, *(int(events.get(name, 0)) for name in EVENTS))

    def __add__(self, other: Counters) -> Counters:
        return Counters(*map(operator.add, _numbers(self), _numbers(other)))

    def __mul__(self, times: int) -> Counters:
        return Counters(*(times * value for value in _numbers(self)))

    __rmul__ = __mul__

    def as_dict(self) -> dict[str, int]:
        return dataclasses.asdict(self)


_numbers = operator.attrgetter(*(field.name for field in dataclasses.fields(Counters)))


@dataclass(frozen=True, slots=True)
class Losses:
    """Conversions that lost something: saturated at an end of the ADC's range, or rounded within it.

    Unlike `Counters` they depend on the values.
    """

    saturated: int = 0
    rounded: int = 0

    def __add__(self, other: Losses) -> Losses:
        return Losses(self.saturated + other.saturated, self.rounded + other.rounded)

    def as_dict(self) -> dict[str, int]:
        return dataclasses.asdict(self)


def total(layers: Sequence[tuple[str, Counters]]) -> Counters:
    """The sum over layers: layers run one after the other."""
    result = Counters()
    for _, counters in layers:
        result = result + counters
    return result


def saved(events: Mapping[str, int], word: str) -> dict[str, int]:
    """What a drive counts that drives nothing: its pulses, as `gated_drives` or `inserted_zeros`."""
    return {"instructions": events["instructions"], word: events["drives"]}
