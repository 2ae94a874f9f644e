"""A sheet with all pictures that may have text burned in, for a person to look at; it stays at the site."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO

import numpy as np
from PIL import Image, ImageDraw

from node.learn.deidentify.burned_in import Flagged

_SIDE, _COLUMNS, _MARGIN, _LINE = 384, 4, 8, 16
_FRAME = (255, 80, 0)


def sheet(found: Sequence[tuple[str, Flagged]], word: str) -> bytes:
    """A PNG: of each series its name, why it is held back, and its pictures; the word is below the last one."""
    cells = [
        (name if number == 0 else "", "; ".join(each.reasons) if number == 0 else "", picture, each.boxes[number])
        for name, each in found
        for number, picture in enumerate(each.pictures)
    ] or [("", "", np.zeros((1, 1), np.float32), ())]
    rows = -(-len(cells) // _COLUMNS)
    high = _SIDE + 2 * _LINE + _MARGIN
    drawn = Image.new("RGB", (_COLUMNS * (_SIDE + _MARGIN), rows * high + 2 * _LINE), "white")
    pen = ImageDraw.Draw(drawn)
    for place, (name, why, picture, boxes) in enumerate(cells):
        left, top = place % _COLUMNS * (_SIDE + _MARGIN), place // _COLUMNS * high
        pen.text((left, top), name, fill="black")
        pen.text((left, top + _LINE), why[:64], fill="black")
        scale = _SIDE / max(picture.shape)
        size = max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale))
        grey = Image.fromarray((picture * 255).astype(np.uint8)).resize(size)
        drawn.paste(grey, (left, top + 2 * _LINE))
        for box in boxes:
            y0, x0, y1, x1 = (edge * scale for edge in box)
            corners = (left + x0 - 2, top + 2 * _LINE + y0 - 2, left + x1 + 2, top + 2 * _LINE + y1 + 2)
            pen.rectangle(corners, outline=_FRAME)
    pen.text((_MARGIN, rows * high), f"Nobody can be told from any of these pictures: {word}", fill="black")
    stream = BytesIO()
    drawn.save(stream, "png")
    return stream.getvalue()
