"""A labelled grid of images: rows to compare, one column per sample."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from PIL.Image import Image

Images = npt.NDArray[np.uint8]  # [count, height, width, 3]
GAP, MARGIN = 6, 16
PAPER, INK, FAINT = (250, 250, 248), (30, 32, 36), (110, 114, 120)


def to_bytes(images: npt.NDArray[Any]) -> Images:
    """[count, 3, height, width] in [-1, 1], as a generator ending in Tanh makes them, to bytes."""
    scaled = np.rint((np.asarray(images, dtype=np.float64) + 1) * 127.5)
    return np.moveaxis(np.clip(scaled, 0, 255).astype(np.uint8), 1, -1)


def grid(title: str, rows: Sequence[tuple[str, str, Images]], enlarge: int = 3) -> Image:
    """One row per (label, smaller print, images); every pixel becomes `enlarge` x `enlarge`."""
    from PIL import Image, ImageDraw, ImageFont

    large, small = ImageFont.load_default(22), ImageFont.load_default(15)
    count, height, width = rows[0][2].shape[:3]
    step_x, step_y = enlarge * width + GAP, enlarge * height + GAP
    label = 20 + max(
        int(font.getlength(line))
        for name, detail, _ in rows
        for font, text in ((large, name), (small, detail))
        for line in text.splitlines()
    )
    top = MARGIN + 44
    canvas = Image.new(
        "RGB",
        (MARGIN + label + count * step_x - GAP + MARGIN, top + len(rows) * step_y - GAP + MARGIN),
        PAPER,
    )
    draw = ImageDraw.Draw(canvas)
    draw.text((MARGIN, MARGIN), title, fill=INK, font=large)
    for row, (name, detail, images) in enumerate(rows):
        y = top + row * step_y
        draw.text((MARGIN, y + 4), name, fill=INK, font=large)
        draw.multiline_text((MARGIN, y + 36), detail, fill=FAINT, font=small, spacing=6)
        for column, pixels in enumerate(images):
            tile = Image.fromarray(pixels).resize(
                (enlarge * width, enlarge * height), Image.Resampling.NEAREST
            )
            canvas.paste(tile, (MARGIN + label + column * step_x, y))
    return canvas
