"""Cycles of code without running it: fragments of a timeline, joined and repeated.

A layer's instructions are cut into windows: each `fire` closes one and opens the next, and so
does a *wait*, where an instruction reads a buffer that its window wrote.  A fragment of code is
known by the windows it completes and the two that it leaves open, at its start and its end:

    Open     no cut: only work in a window that others close
    Closed   what is issued before its first cut, the cycles of the windows between its cuts,
             and its last fire with what is issued after it

`join` is associative and `Open()` its neutral element, so a loop is a power, in closed form.
`runtime.clock.Clock` is the same machine as a clock that runs; docs/timing.md explains it.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping
from dataclasses import dataclass

from isa.geometry import ceil_div
from isa.instructions import Unit
from isa.program import Target


def work_cycles(work: tuple[int, ...], target: Target) -> int:
    """Cycles for what one window issued, in the order of the fields of `Open`: units run side by
    side.  All row bands latch in one cycle, unless fetching their bits takes longer."""
    fetch, adder, vector, read, write = work
    return max(
        min(1, fetch) if target.fetch is None else ceil_div(fetch, target.fetch),
        ceil_div(adder, target.adders),
        ceil_div(vector, target.vector),
        ceil_div(read, target.read),
        ceil_div(write, target.write),
    )


@dataclass(frozen=True, slots=True)
class Open:
    """Work in one window: bits that drives fetch, additions, vector operations, bits through the
    buffers' read port and through their write port."""

    fetch: int = 0
    adder: int = 0
    vector: int = 0
    read: int = 0
    write: int = 0

    @staticmethod
    def of(unit: Unit, events: Mapping[str, int]) -> Open:
        """The work of one execution: what it counts.  A gated drive keeps its slot."""
        if unit is Unit.HOST:
            return Open()  # outside of the clock
        if unit is Unit.DRIVER:
            return Open(fetch=events["buffer_reads"])
        words = ("sums", "vector_ops", "buffer_reads", "buffer_writes")
        return Open(0, *(events.get(word, 0) for word in words))

    @property
    def work(self) -> tuple[int, ...]:
        """In the order of the fields."""
        return self.fetch, self.adder, self.vector, self.read, self.write

    def __add__(self, other: Open) -> Open:
        return Open(*map(operator.add, self.work, other.work))

    def times(self, count: int) -> Open:
        """`count` copies, one or more, in one window."""
        return Open(*(count * amount for amount in self.work))

    def cycles(self, target: Target) -> int:
        """How long the units need, side by side."""
        return work_cycles(self.work, target)


@dataclass(frozen=True, slots=True)
class Closed:
    """A fragment with at least one cut.

    prefix   work issued before its first cut, in the window that this cut closes
    cycles   of the windows between its first and its last cut
    firing   cycles of the fire that is its last cut; 0 for a wait
    suffix   work issued after it
    waits    whether its first cut is a wait: then what runs before it ends before it
    """

    prefix: Open
    cycles: int
    firing: int
    suffix: Open
    waits: bool = False


Fragment = Open | Closed

WAIT = Closed(Open(), 0, 0, Open(), waits=True)
"""What was issued is finished before what follows is."""


def fire(fire_cycles: int, work: Open = Open()) -> Closed:
    """The fragment of one `fire`, with its own work: the additions of row tiles."""
    return Closed(Open(), 0, fire_cycles, work)


def join(first: Fragment, second: Fragment, target: Target) -> Fragment:
    """`first`, then `second`."""
    if isinstance(first, Open):
        if isinstance(second, Open):
            return first + second
        return Closed(first + second.prefix, second.cycles, second.firing, second.suffix, second.waits)
    if isinstance(second, Open):
        return Closed(first.prefix, first.cycles, first.firing, first.suffix + second, first.waits)
    return Closed(
        first.prefix,
        first.cycles + _between(first, second, target) + second.cycles,
        second.firing,
        second.suffix,
        first.waits,
    )


def repeat(body: Fragment, count: int, target: Target) -> Fragment:
    """`body`, `count` times over (one or more)."""
    if isinstance(body, Open):
        return body.times(count)
    cycles = count * body.cycles + (count - 1) * _between(body, body, target)
    return Closed(body.prefix, cycles, body.firing, body.suffix, body.waits)


def finish(layer: Fragment, target: Target) -> int:
    """Cycles of a whole layer: its last fire is converted, then its products are used."""
    if isinstance(layer, Open):
        return layer.cycles(target)
    return layer.prefix.cycles(target) + layer.cycles + layer.firing + layer.suffix.cycles(target)


def _between(first: Closed, second: Closed, target: Target) -> int:
    """The window from the last cut of `first` to the first of `second`."""
    work = (first.suffix + second.prefix).cycles(target)
    return first.firing + work if second.waits else max(first.firing, work)
