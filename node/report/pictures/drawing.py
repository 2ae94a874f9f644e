"""Slices with contours, and the page they stand on: pixels in, pixels out, the same every time.

A page is one model below the other, each with its title, its numbers and its slices; every block says how far to
trust it, so that no part of the page can be cut out without it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from node.errors import Failed
from node.report.boxes import boxes_on
from node.report.contour import rings
from node.report.evidence import Evidence, SourceSlice
from node.report.pictures import summary
from node.report.pictures.lettering import font, legible, wrapped
from node.report.pictures.pixels import picture
from node.report.pictures.summary import Line

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

#: Width of a page in pixels, and the margin around what stands on it.
PAGE_WIDTH = 1024
_MARGIN = 16
#: Slices of one model on a page; the sides of the box that each fills.
PANELS = 3
_PANEL = (PAGE_WIDTH - (PANELS + 1) * _MARGIN) // PANELS
#: Beyond this many models a page has their words alone.
_PICTURED_MODELS = 8
#: Regions of one segment on one slice whose outlines are drawn.
_MOST_REGIONS = 64
#: How much of the colour of saliency covers a pixel at most.
_COVER = 0.5
_BLACK, _WHITE, _GREY, _AMBER = (0, 0, 0), (255, 255, 255), (150, 150, 150), (255, 190, 60)
_TITLE, _TEXT, _SMALL = 22, 17, 14
#: Directions of the patient: towards higher and towards lower LPS coordinates (PS3.3 §C.7.6.1.1.1).
_TOWARDS, _AWAY = "LPH", "RAF"


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """One model on a page."""

    heading: str
    provenance: str
    lines: list[Line]
    panels: list[Image]
    #: Said in place of slices that cannot be shown.
    missing: str


def blocks(evidence: Evidence, panel: int = _PANEL) -> list[Block]:
    """Each model of the study: its words, and its slices in boxes of `panel` pixels."""
    together = evidence.together or (evidence,)
    return [_block(each, panel, pictured=number < _PICTURED_MODELS) for number, each in enumerate(together)]


def page(evidence: Evidence) -> NDArray[np.uint8]:
    """The summary of a study on one page: (row, column, 3) uint8, sRGB."""
    from PIL import Image, ImageDraw

    each = blocks(evidence)
    warning = summary.notice(evidence)
    tall = 2 * _MARGIN + _TITLE + sum(_height(block) for block in each)
    sheet = Image.new("RGB", (PAGE_WIDTH, tall), _BLACK)
    pen = ImageDraw.Draw(sheet)
    write(pen, (_MARGIN, _MARGIN), "AI summary", _TITLE, _WHITE, bold=True)
    top = 2 * _MARGIN + _TITLE
    for block in each:
        _draw_block(sheet, pen, block, top, warning)
        top += _height(block)
    return np.asarray(sheet)


def panel_of(evidence: Evidence, index: int, size: int) -> Image:
    """One slice as a viewer shows it, as large as fits a square of `size` pixels, with what the model marked.

    Raises:
        Failed: its pixels cannot be decoded.
    """
    from PIL import Image, ImageDraw

    shown = picture(evidence.slices[index])
    colours = shown.colours
    if evidence.mask is None and evidence.saliency is not None:
        colours = _covered(colours, evidence.saliency[index])
    rows, columns = colours.shape[:2]
    scale = size / max(rows * shown.stretch, columns)
    wide, high = max(1, round(columns * scale)), max(1, round(rows * shown.stretch * scale))
    image = Image.fromarray(colours).resize((wide, high), Image.Resampling.BICUBIC)
    pen = ImageDraw.Draw(image)
    for segment in evidence.card.segments if evidence.mask is not None else ():
        for ring in rings(evidence.labels[index] == segment.number, _MOST_REGIONS):
            points = ring * np.array((wide / columns, high / rows), np.float32)
            pen.line([(float(x), float(y)) for x, y in points], fill=segment.colour, width=2)
    for box in boxes_on(evidence.findings, evidence.slices[index]):
        points = box * np.array((wide / columns, high / rows), np.float32)
        pen.line([(float(x), float(y)) for x, y in points], fill=_AMBER, width=2)
    left, top = sides(evidence.slices[index])
    write(pen, (3, high / 2 - _SMALL), left, _SMALL, _AMBER)
    write(pen, (wide / 2, 1), top, _SMALL, _AMBER)
    return image


def sides(source: SourceSlice) -> tuple[str, str]:
    """Which side of the patient lies at the left edge and at the top of a slice; empty where the source is silent."""
    given = [float(each) for each in source.header.get("ImageOrientationPatient") or ()]
    if len(given) == 6:
        return _opposite(given[:3]), _opposite(given[3:])
    oriented = source.header.get("PatientOrientation") or ()
    letters = [str(each)[:1] for each in oriented]
    if len(letters) != 2 or not set(letters) <= set(_TOWARDS + _AWAY):
        return "", ""
    across, down = (dict(zip(_TOWARDS + _AWAY, _AWAY + _TOWARDS, strict=True))[letter] for letter in letters)
    return across, down


def write(
    pen: ImageDraw, at: tuple[float, float], text: str, size: int, fill: summary.Colour, *, bold: bool = False
) -> None:
    """Draw one line of text; the only way in which letters come into a picture."""
    pen.text(at, legible(text), fill=fill, font=font(size, bold=bold))


def _block(evidence: Evidence, panel: int, *, pictured: bool) -> Block:
    panels, missing = [], ""
    for index in summary.key_slices(evidence, PANELS) if pictured else ():
        try:
            panels.append(panel_of(evidence, index, panel))
        except Failed:
            missing = "A slice cannot be shown: its pixels cannot be decoded here"
    words = summary.lines(evidence)
    return Block(summary.heading(evidence), summary.provenance(evidence), words, panels, missing)


def _rows(block: Block) -> list[tuple[Line, int]]:
    """The lines of a block as they are broken, and their sizes."""
    room = PAGE_WIDTH - 2 * _MARGIN - 2 * _TEXT
    said = [*block.lines, *([Line(block.missing)] if block.missing else [])]
    rows = [(Line(part), _SMALL) for part in wrapped(block.provenance, room, font(_SMALL))]
    for line in said:
        first, *rest = wrapped(line.text, room, font(_TEXT)) or [""]
        rows += [(Line(first, line.colour), _TEXT), *((Line(part), _TEXT) for part in rest)]
    return rows


def _height(block: Block) -> int:
    words = sum(size * 3 // 2 for _, size in _rows(block))
    pictures = max((panel.height for panel in block.panels), default=-_MARGIN) + _MARGIN
    return 2 * _MARGIN + _TITLE * 3 // 2 + words + pictures + _SMALL * 2


def _draw_block(sheet: Image, pen: ImageDraw, block: Block, top: int, warning: str) -> None:
    pen.line([(_MARGIN, top), (PAGE_WIDTH - _MARGIN, top)], fill=_GREY)
    top += _MARGIN
    title = wrapped(block.heading, PAGE_WIDTH - 2 * _MARGIN, font(_TITLE, bold=True))
    write(pen, (_MARGIN, top), title[0] if title else "", _TITLE, _WHITE, bold=True)
    top += _TITLE * 3 // 2
    for line, size in _rows(block):
        if line.colour is not None:
            pen.rectangle([_MARGIN, top + 2, _MARGIN + _TEXT - 3, top + _TEXT - 1], fill=line.colour)
        left = _MARGIN if size == _SMALL else _MARGIN + 2 * _TEXT
        write(pen, (left, top), line.text, size, _GREY if size == _SMALL else _WHITE)
        top += size * 3 // 2
    for number, panel in enumerate(block.panels):
        sheet.paste(panel, (_MARGIN + number * (_PANEL + _MARGIN), top))
    top += max((panel.height + _MARGIN for panel in block.panels), default=0)
    write(pen, (_MARGIN, top), warning, _SMALL, _AMBER, bold=True)


def _opposite(direction: Sequence[float]) -> str:
    axis = int(np.abs(direction).argmax())
    return (_AWAY if direction[axis] > 0 else _TOWARDS)[axis]


def _covered(colours: NDArray[np.uint8], weights: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The picture under a red that is thicker where the model looked more."""
    cover = (_COVER * weights)[..., None]
    red = np.array((255, 0, 0), np.float32)
    return np.asarray(colours * (1 - cover) + red * cover, np.uint8)
