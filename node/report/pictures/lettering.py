"""Text that is burned into pixels or printed on a page: in a font that comes with us, and never as empty boxes.

The font is Bitstream Vera, as reportlab brings it: Latin letters with their accents, and the signs of units.
"""

from __future__ import annotations

import unicodedata
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont

_REGULAR, _BOLD = "Vera.ttf", "VeraBd.ttf"
#: No font has a glyph for it: what is drawn in its place is drawn for everything that is missing.
_MISSING = "\U0010fffd"


def font_file(*, bold: bool = False) -> Path:
    """Where the font lies."""
    found = find_spec("reportlab")
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).with_name("fonts") / (_BOLD if bold else _REGULAR)


@cache
def font(size: int, *, bold: bool = False) -> FreeTypeFont:
    """The font at a size in pixels."""
    from PIL import ImageFont

    # The plain layout is in every build of Pillow, so that every machine draws alike.
    return ImageFont.truetype(font_file(bold=bold), size, layout_engine=ImageFont.Layout.BASIC)


def legible(text: str) -> str:
    """The text on one line, with what the font lacks written otherwise: without accents, else by its code point."""
    return "".join(_written(letter) for letter in " ".join(unicodedata.normalize("NFC", text).split()))


def is_written(text: str) -> bool:
    """Whether the font has every letter of it."""
    return legible(text) == " ".join(unicodedata.normalize("NFC", text).split())


@cache
def _written(letter: str) -> str:
    if _has(letter):
        return letter
    plain = "".join(each for each in unicodedata.normalize("NFKD", letter) if not unicodedata.combining(each))
    if plain and all(_has(each) for each in plain):
        return plain
    return f"[U+{ord(letter):04X}]"


@cache
def _has(letter: str) -> bool:
    missing, drawn = font(16).getmask(_MISSING), font(16).getmask(letter)
    return letter == " " or (
        drawn.getbbox() is not None and (drawn.size, bytes(drawn)) != (missing.size, bytes(missing))
    )


def wrapped(text: str, width: float, letters: FreeTypeFont) -> list[str]:
    """The text in lines of at most `width` pixels; a word that is longer is broken."""
    lines, line = [], ""
    for word in legible(text).split(" "):
        longer = f"{line} {word}".strip()
        if letters.getlength(longer) <= width:
            line = longer
            continue
        if line:
            lines.append(line)
        line = word
        while letters.getlength(line) > width and len(line) > 1:
            fits = next(n for n in range(len(line) - 1, 0, -1) if n == 1 or letters.getlength(line[:n]) <= width)
            lines.append(line[:fits])
            line = line[fits:]
    return [*lines, line] if line or not lines else lines
