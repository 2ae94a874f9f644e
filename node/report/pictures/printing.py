"""One page of PDF (ISO 32000) with the words and slices of a study: fonts embedded, the same bytes every time."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING

from node.report.evidence import Evidence
from node.report.pictures import summary
from node.report.pictures.drawing import Block, blocks
from node.report.pictures.lettering import font, font_file, legible, wrapped

if TYPE_CHECKING:
    from reportlab.pdfgen.canvas import Canvas

#: A4 in points, and the margin around what stands on it.
_WIDTH, _HEIGHT = 595.28, 841.89
_MARGIN = 42.0
_ROOM = _WIDTH - 2 * _MARGIN
#: Sizes of letters, and the distance between lines as a share of it.
_TITLE, _TEXT, _SMALL, _LEAD = 15, 10, 8, 1.4
#: Sides of the box of one slice: in pixels, and in points.
_PIXELS = 480
_GAP = 9.0
_PANEL = (_ROOM - 2 * _GAP) / 3
#: Slices are shrunk down to this share before the words are.
_LEAST = 0.3
_PLAIN, _BOLD = "Vera", "VeraBd"
_BLACK, _GREY, _RED = (0, 0, 0), (0.35, 0.35, 0.35), (0.7, 0.1, 0)


def printed(evidence: Evidence) -> bytes:
    """The summary of a study as PDF; what is longer than the page is made smaller until it fits."""
    from reportlab.pdfbase.pdfmetrics import registerFont
    from reportlab.pdfbase.ttfonts import TTFont
    from reportlab.pdfgen.canvas import Canvas

    registerFont(TTFont(_PLAIN, str(font_file())))
    registerFont(TTFont(_BOLD, str(font_file(bold=True))))
    stream = BytesIO()
    # Invariant: without the clock and without a random file identifier.
    sheet = Canvas(stream, pagesize=(_WIDTH, _HEIGHT), invariant=1, pageCompression=1)
    warning = summary.notice(evidence)
    sheet.setTitle(f"AI summary, {warning}")
    each = blocks(evidence, _PIXELS)
    room = _HEIGHT - 2 * _MARGIN
    panel = _panel(each, room - 3 * _TITLE)
    tall = 3 * _TITLE + sum(_height(block, panel) for block in each)
    _write(sheet, _MARGIN, _MARGIN / 2, f"{warning}. Computed, and checked by nobody yet.", _SMALL, _RED, bold=True)
    sheet.translate(_MARGIN, _HEIGHT - _MARGIN)
    sheet.scale(min(1, room / tall), min(1, room / tall))
    _write(sheet, 0, -_TITLE, "AI summary", _TITLE, _BLACK, bold=True)
    top = -2.0 * _TITLE
    for block in each:
        _print(sheet, block, top, panel, warning)
        top -= _height(block, panel)
    sheet.showPage()
    sheet.save()
    return stream.getvalue()


def _rows(block: Block) -> list[tuple[str, summary.Colour | None]]:
    """The lines of a block as they are broken: the first part of each with its colour."""
    rows: list[tuple[str, summary.Colour | None]] = []
    for line in [*block.lines, *([summary.Line(block.missing)] if block.missing else [])]:
        parts = wrapped(line.text, _ROOM - 2 * _TEXT, font(_TEXT)) or [""]
        rows += [(part, line.colour if number == 0 else None) for number, part in enumerate(parts)]
    return rows


def _panel(each: list[Block], room: float) -> float:
    """Sides of the box of one slice, in points: pictures give way to words, down to a part of their size."""
    words = sum(_height(block, 0) for block in each)
    pictures = sum(_height(block, _PANEL) for block in each) - words
    return _PANEL * min(1, max(_LEAST, (room - words) / max(pictures, 1)))


def _height(block: Block, panel: float) -> float:
    pictures = max((each.height for each in block.panels), default=0) * panel / _PIXELS
    return (_TITLE + 2 * _SMALL + len(_rows(block)) * _TEXT) * _LEAD + pictures + 3 * _GAP


def _print(sheet: Canvas, block: Block, top: float, panel: float, warning: str) -> None:
    from reportlab.lib.utils import ImageReader

    sheet.setStrokeColorRGB(*_GREY)
    sheet.line(0, top, _ROOM, top)
    title = wrapped(block.heading, _ROOM, font(_TITLE, bold=True))
    top -= _TITLE * _LEAD
    _write(sheet, 0, top, title[0] if title else "", _TITLE, _BLACK, bold=True)
    top -= _SMALL * _LEAD
    _write(sheet, 0, top, block.provenance, _SMALL, _GREY)
    for text, colour in _rows(block):
        top -= _TEXT * _LEAD
        if colour is not None:
            sheet.setFillColorRGB(*(value / 255 for value in colour))
            sheet.rect(0, top - 1, _TEXT, _TEXT, stroke=0, fill=1)
        _write(sheet, 2 * _TEXT, top, text, _TEXT, _BLACK)
    top -= _GAP
    for number, picture in enumerate(block.panels):
        wide, high = (side * panel / _PIXELS for side in picture.size)
        sheet.drawImage(ImageReader(picture), number * (panel + _GAP), top - high, wide, high)
    top -= max((picture.height for picture in block.panels), default=0) * panel / _PIXELS
    _write(sheet, 0, top - _SMALL * _LEAD, warning, _SMALL, _RED, bold=True)


def _write(
    sheet: Canvas,
    left: float,
    bottom: float,
    text: str,
    size: int,
    fill: tuple[float, float, float],
    *,
    bold: bool = False,
) -> None:
    """Print one line of text; the only way in which letters come onto the page."""
    sheet.setFont(_BOLD if bold else _PLAIN, size)
    sheet.setFillColorRGB(*fill)
    sheet.drawString(left, bottom, legible(text))
