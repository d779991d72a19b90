"""How much a reader sees at once: on a terminal its width and the layers that matter, else everything."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass

MOST_LAYERS = 24
"""Rows of layers on a terminal, unless all are asked for."""


@dataclass(frozen=True, slots=True)
class Room:
    """width    characters in a line; None: as many as it takes
    layers   rows of layers; None: all
    """

    width: int | None = None
    layers: int | None = None

    @staticmethod
    def of_terminal(*, all_layers: bool) -> Room:
        """Of standard output; what goes to a file or a pipe is whole."""
        if sys.stdout is None or not sys.stdout.isatty():
            return EVERYTHING
        return Room(shutil.get_terminal_size().columns, None if all_layers else MOST_LAYERS)

    def first(self, ranks: Sequence[float]) -> list[int]:
        """Positions of the layers to show, in their order: those of the smallest ranks."""
        if self.layers is None or len(ranks) <= self.layers:
            return list(range(len(ranks)))
        return sorted(sorted(range(len(ranks)), key=lambda i: ranks[i])[: self.layers])

    def about(self, layers: int, which: str) -> list[str]:
        """A line that says which layers are shown, if not all."""
        if self.layers is None or layers <= self.layers:
            return []
        return [f"{self.layers} of {layers} layers, {which}; --all-layers shows all"]


EVERYTHING = Room()
