"""The clock of step: cycles of one layer, window by window (see docs/timing.md)."""

from __future__ import annotations

from isa.geometry import ceil_div
from isa.instructions import Unit
from isa.program import Target
from runtime.timing import latch_cycles

UNITS = tuple(Unit)
DRIVER = UNITS.index(Unit.DRIVER)


class Clock:
    """Instructions issue into windows; each `fire` closes one and opens the next.

    `busy` counts, per unit (by position in `UNITS`), the slots that the open window issued.
    Units run side by side, and next to the `fire` that opened the window.
    """

    def __init__(self, target: Target) -> None:
        width = {
            Unit.ADDER: target.adders,
            Unit.VECTOR: target.vector,
            Unit.READ: target.read,
            Unit.WRITE: target.write,
        }
        self.widths = [(UNITS.index(unit), per_cycle) for unit, per_cycle in width.items()]
        self.busy = [0] * len(UNITS)
        self.cycles = 0
        self.firing = 0
        self.target = target

    def start(self) -> None:
        """A layer begins: no fire has opened its first window."""
        self.cycles = 0
        self.firing = 0
        self._empty()

    def fire(self, fire_cycles: int) -> None:
        """Close the window: it lasts until its own fire is converted and its units are done."""
        self.cycles += max(self.firing, self._needed())
        self.firing = fire_cycles
        self._empty()

    def drain(self) -> None:
        """The layer ends: its last fire, and after it everything that used the products."""
        self.cycles += self.firing + self._needed()
        self.firing = 0
        self._empty()

    def _empty(self) -> None:
        self.busy[:] = [0] * len(UNITS)

    def _needed(self) -> int:
        """Cycles for what the window issued.  Of drivers `busy` counts the bits they fetch."""
        need = latch_cycles(self.busy[DRIVER], self.target)
        for unit, per_cycle in self.widths:
            need = max(need, ceil_div(self.busy[unit], per_cycle))
        return need
