"""What all pictures share: colours, a check before anything is computed, and files that are whole."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from isa.files import check_writable, write_files
from redc.errors import UserError

ENDINGS = (".png", ".svg")
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#f0e442", "#000000")
"""Okabe and Ito's colours, which the colour-blind can tell apart; the strongest first."""
INK, FAINT = "#1c1f24", "#d6d8db"


def check_plot(path: str | Path) -> None:
    """Raise UserError for a picture that cannot be drawn, before anything is compiled."""
    if Path(path).suffix.lower() not in ENDINGS:
        raise UserError(f"{str(path)!r} ends in neither .png nor .svg", place="--plot", hint="out.png")
    check_writable(Path(path))
    try:
        import matplotlib
    except ImportError as error:
        raise UserError(
            "drawing needs matplotlib, which is not installed",
            place="--plot",
            hint="pip install 'redc[plot]' (or pip install matplotlib)",
        ) from error
    matplotlib.use("Agg", force=False)


def write_figure(figure: Any, path: str | Path, dpi: int = 150) -> None:
    """Write a matplotlib figure in the format that the ending says, the same bytes every time.

    Raises ProgramError where the file cannot be written.
    """
    ending = Path(path).suffix.lower().removeprefix(".")
    metadata = {"Date": None} if ending == "svg" else {}
    picture = io.BytesIO()
    figure.savefig(picture, format=ending, metadata=metadata, dpi=dpi)
    write_files([(Path(path), picture.getvalue())])


def light(colour: str, part: float = 0.5) -> tuple[float, ...]:
    """The colour with so much of it left, the rest white: ink on it stays readable."""
    from matplotlib.colors import to_rgb

    return tuple(1 - part * (1 - value) for value in to_rgb(colour))
