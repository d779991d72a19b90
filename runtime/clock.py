"""The clock of step: cycles of one layer, window by window (see docs/timing.md)."""

from __future__ import annotations

from isa.program import Target
from runtime.hazards import NOTHING, Names
from runtime.timing import Open, work_cycles


class Clock:
    """Instructions issue work into windows; each `fire` closes one and opens the next.

    `busy` sums the work of the open window, in the order of the fields of `runtime.timing.Open`.
    Units run side by side, and next to the `fire` that opened the window.  `written` names the
    buffers that the window wrote: whoever reads one of them waits.
    """

    def __init__(self, target: Target) -> None:
        self.busy = list(Open().work)
        self.cycles = 0
        self.firing = 0
        self.written = NOTHING
        self.target = target

    def start(self) -> None:
        """A layer begins: no fire has opened its first window."""
        self.cycles = 0
        self.firing = 0
        self._open()

    def fire(self, fire_cycles: int) -> None:
        """Close the window: it lasts until its own fire is converted and its units are done."""
        self.cycles += max(self.firing, self._needed())
        self.firing = fire_cycles
        self._open()

    def read(self, names: Names) -> None:
        """An instruction is about to read buffers."""
        if self.written & names:
            self.drain()

    def wrote(self, names: Names) -> None:
        """An instruction has written buffers."""
        self.written |= names

    def drain(self) -> None:
        """Wait: for the last fire, and after it for everything that used the products.  So ends a
        layer, too."""
        self.cycles += self.firing + self._needed()
        self.firing = 0
        self._open()

    def _open(self) -> None:
        self.busy[:] = [0] * len(self.busy)
        self.written = NOTHING

    def _needed(self) -> int:
        """Cycles for what the window issued."""
        return work_cycles(tuple(self.busy), self.target)
