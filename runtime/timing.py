"""Cycles of code without running it: fragments of a timeline, joined and repeated.

A layer's instructions are cut into windows at each `fire`.  A fragment of code is known by the
windows it completes and the two that it leaves open, at its start and its end:

    Open     no fire: only slots in a window that others close
    Closed   what is issued before its first fire, the cycles of the windows between its fires,
             and its last fire with what is issued after it

`join` is associative and `Open()` its neutral element, so a loop is a power, in closed form.
`runtime.clock.Clock` is the same machine as a clock that runs; docs/timing.md explains it.
"""

from __future__ import annotations

from dataclasses import dataclass

from isa.geometry import ceil_div
from isa.instructions import Unit
from isa.program import Target


def latch_cycles(fetched: int, target: Target) -> int:
    """Cycles in which the drives of a window latch.  Every row band has a driver of its own, so it
    is one, unless fetching the drives' bits from the buffers takes longer."""
    return min(1, fetched) if target.fetch is None else ceil_div(fetched, target.fetch)


@dataclass(frozen=True, slots=True)
class Open:
    """Slots used in one window, per unit; of `driver` the bits that its drives fetch."""

    driver: int = 0
    adder: int = 0
    vector: int = 0
    read: int = 0
    write: int = 0

    @staticmethod
    def of(unit: Unit, slots: int = 1) -> Open:
        """What one instruction of `unit` uses."""
        match unit:
            case Unit.DRIVER:
                return Open(driver=slots)
            case Unit.ADDER:
                return Open(adder=slots)
            case Unit.VECTOR:
                return Open(vector=slots)
            case Unit.READ:
                return Open(read=slots)
            case Unit.WRITE:
                return Open(write=slots)
            case Unit.HOST:
                return Open()  # outside of the clock
            case Unit.ARRAY:
                raise ValueError("a fire closes a window: use Closed")

    def __add__(self, other: Open) -> Open:
        return Open(
            self.driver + other.driver,
            self.adder + other.adder,
            self.vector + other.vector,
            self.read + other.read,
            self.write + other.write,
        )

    def times(self, count: int) -> Open:
        """`count` copies, one or more, in one window."""
        return Open(
            count * self.driver,
            count * self.adder,
            count * self.vector,
            count * self.read,
            count * self.write,
        )

    def cycles(self, target: Target) -> int:
        """How long the units need, side by side."""
        return max(
            latch_cycles(self.driver, target),
            ceil_div(self.adder, target.adders),
            ceil_div(self.vector, target.vector),
            ceil_div(self.read, target.read),
            ceil_div(self.write, target.write),
        )


@dataclass(frozen=True, slots=True)
class Closed:
    """A fragment with at least one fire.

    prefix   slots issued before its first fire, in the window that this fire closes
    cycles   of the windows between its first and its last fire
    firing   cycles of its last fire
    suffix   slots issued after it
    """

    prefix: Open
    cycles: int
    firing: int
    suffix: Open


Fragment = Open | Closed


def fire(fire_cycles: int) -> Closed:
    """The fragment of one `fire`."""
    return Closed(Open(), 0, fire_cycles, Open())


def join(first: Fragment, second: Fragment, target: Target) -> Fragment:
    """`first`, then `second`."""
    if isinstance(first, Open):
        if isinstance(second, Open):
            return first + second
        return Closed(first + second.prefix, second.cycles, second.firing, second.suffix)
    if isinstance(second, Open):
        return Closed(first.prefix, first.cycles, first.firing, first.suffix + second)
    return Closed(
        first.prefix,
        first.cycles + _between(first, second, target) + second.cycles,
        second.firing,
        second.suffix,
    )


def repeat(body: Fragment, count: int, target: Target) -> Fragment:
    """`body`, `count` times over (one or more)."""
    if isinstance(body, Open):
        return body.times(count)
    cycles = count * body.cycles + (count - 1) * _between(body, body, target)
    return Closed(body.prefix, cycles, body.firing, body.suffix)


def finish(layer: Fragment, target: Target) -> int:
    """Cycles of a whole layer: its last fire is converted, then its products are used."""
    if isinstance(layer, Open):
        return layer.cycles(target)
    return layer.prefix.cycles(target) + layer.cycles + layer.firing + layer.suffix.cycles(target)


def _between(first: Closed, second: Closed, target: Target) -> int:
    """The window from the last fire of `first` to the first fire of `second`."""
    return max(first.firing, (first.suffix + second.prefix).cycles(target))
