"""How much a reader sees at once: on a terminal its width and the layers that matter, else everything."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

MOST_LAYERS = 24
"""Rows of layers on a terminal, unless all are asked for."""
NARROWEST = 20
"""Characters of a line of prose beside its margin, on whatever terminal."""


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

    def prose(self, lines: Iterable[str], hang: int = 2) -> list[str]:
        """`lines`, those that are too long broken at spaces; what follows is indented by `hang` more."""
        found: list[str] = []
        for line in lines:
            if self.width is None or len(line) <= self.width:
                found.append(line)
                continue
            margin = " " * (len(line) - len(line.lstrip()) + hang)
            width = max(self.width, len(margin) + NARROWEST)
            found += textwrap.wrap(
                line, width, subsequent_indent=margin, break_long_words=False, break_on_hyphens=False
            )
        return found

    def about(self, layers: int, which: str) -> list[str]:
        """A line that says which layers are shown, if not all."""
        if self.layers is None or layers <= self.layers:
            return []
        return self.prose([f"{self.layers} of {layers} layers, {which}; --all-layers shows all"])


EVERYTHING = Room()
