"""Pictures on disk: whole, or not at all."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from isa.files import write_files


def write_figure(figure: Any, path: str | Path, **options: Any) -> None:
    """Write a matplotlib figure in the format that the ending says, the same bytes every time.

    Raises ProgramError where the file cannot be written.
    """
    ending = Path(path).suffix.lower().removeprefix(".")
    metadata = {"Date": None} if ending == "svg" else {}
    picture = io.BytesIO()
    figure.savefig(picture, format=ending, metadata=metadata, **options)
    write_files([(Path(path), picture.getvalue())])
