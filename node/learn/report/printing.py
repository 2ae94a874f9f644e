"""A report as PDF (ISO 32000): fonts embedded, pages numbered, words to be searched, the same bytes every time."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from matplotlib import get_data_path
from reportlab.lib.colors import HexColor
from reportlab.lib.enums import TA_LEFT, TA_RIGHT
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.utils import ImageReader
from reportlab.pdfbase.pdfmetrics import registerFont
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import BaseDocTemplate, Frame, Image, KeepTogether, PageTemplate, Paragraph
from reportlab.platypus import Table as Grid

from node.learn.report import drawing
from node.learn.report.content import Cell, Gallery, Number, Picture, Plot, Report, Table, Text

#: A4 in points, and the margins.
_PAGE = (595.28, 841.89)
_MARGIN = 45.0
_ROOM = _PAGE[0] - 2 * _MARGIN
_PLAIN, _BOLD = "DejaVuSans", "DejaVuSans-Bold"
_FILES = {_PLAIN: "DejaVuSans.ttf", _BOLD: "DejaVuSans-Bold.ttf"}
_INK, _QUIET, _LINE, _WARNS = "#1a222c", "#5d6875", "#e2dfd8", "#9a5b00"
#: Size of letters in a table, and the least it is made to fit; width of a digit as a share of it.
_CELL, _LEAST, _DIGIT = 7.5, 5.0, 0.66
#: Least width of a column of words, and what stands around a cell.
_WORDS, _AROUND = 70.0, 8.0
#: Points an inch of a plot.
_INCH = 62.0
#: Pictures of the gallery in a row.
_ACROSS = 3


def printed(report: Report) -> bytes:
    """The report as PDF."""
    _register_fonts()
    into = BytesIO()
    document = BaseDocTemplate(
        into,
        pagesize=_PAGE,
        title=f"{report.title} · Matins",
        author="Matins",
        subject=_words(report.subtitle),
        invariant=1,
        lang="en",
        # Without one of its own a page begins with a font that is not embedded.
        initialFontName=_PLAIN,
    )
    frame = Frame(_MARGIN, _MARGIN, _ROOM, _PAGE[1] - 2 * _MARGIN, 0, 0, 0, 0)
    document.addPageTemplates([PageTemplate(frames=[frame], onPage=partial(_numbered, report.title))])
    document.build(list(_flow(report)))
    return into.getvalue()


def _register_fonts() -> None:
    for name, file in _FILES.items():
        registerFont(TTFont(name, str(Path(get_data_path()) / "fonts" / "ttf" / file)))


def _numbered(title: str, canvas: Canvas, _: Any) -> None:
    canvas.saveState()
    canvas.setFont(_PLAIN, 7.5)
    canvas.setFillColor(_QUIET)
    canvas.drawString(_MARGIN, _MARGIN - 18, f"{_words(title)} · Research – not for diagnosis")
    canvas.drawRightString(_PAGE[0] - _MARGIN, _MARGIN - 18, f"page {canvas.getPageNumber()}")
    canvas.restoreState()


def _flow(report: Report) -> Iterator[Any]:
    yield _paragraph("Research – not for diagnosis", 8, colour=_WARNS)
    yield _paragraph(report.title, 16, bold=True)
    yield _paragraph(report.subtitle, 9)
    for section in report.sections:
        yield _paragraph(section.title, 12, bold=True, before=14, keep=True)
        for block in section.blocks:
            match block:
                case Text():
                    yield _paragraph(block.text, 8.5, colour=_WARNS if block.warns else _INK)
                case Table():
                    yield from _table(block)
                case Plot():
                    yield _plot(block)
                case Gallery():
                    yield from _gallery(block)


def _words(text: str) -> str:
    """What can be printed of it."""
    return "".join(each if each.isprintable() else " " for each in text)


def _paragraph(
    text: str,
    size: float,
    *,
    bold: bool = False,
    colour: str = _INK,
    before: float = 3,
    keep: bool = False,
    right: bool = False,
) -> Any:
    style = ParagraphStyle(
        "words",
        fontName=_BOLD if bold else _PLAIN,
        bulletFontName=_PLAIN,
        fontSize=size,
        leading=size * 1.35,
        textColor=HexColor(colour),
        spaceBefore=before,
        spaceAfter=2,
        keepWithNext=keep,
        alignment=TA_RIGHT if right else TA_LEFT,
    )
    return Paragraph(escape(_words(text)), style)


def _text(cell: Cell) -> str:
    return cell.text if isinstance(cell, Number) else cell


def _table(table: Table) -> Iterator[Any]:
    yield _paragraph(table.caption, 8, colour=_QUIET, before=8, keep=True)
    texts = [[_text(cell) for cell in row] for row in table.rows]
    size, widths = _fitted(table, texts)

    def line(cells: list[str], *, bold: bool = False) -> list[Any]:
        return [
            _paragraph(text, size, bold=bold, before=0, right=place >= table.numbers_from)
            for place, text in enumerate(cells)
        ]

    rows = [line(list(table.headings), bold=True), *(line(row) for row in texts)]
    style = [
        ("LINEBELOW", (0, 0), (-1, -1), 0.4, HexColor(_LINE)),
        ("VALIGN", (0, 0), (-1, -1), "TOP"),
        ("LEFTPADDING", (0, 0), (-1, -1), 2),
        ("RIGHTPADDING", (0, 0), (-1, -1), 2),
        ("TOPPADDING", (0, 0), (-1, -1), 1),
        ("BOTTOMPADDING", (0, 0), (-1, -1), 1),
        ("FONTNAME", (0, 0), (-1, -1), _PLAIN),
    ]
    yield Grid(rows, colWidths=widths, repeatRows=1, style=style, hAlign="LEFT")


def _fitted(table: Table, texts: list[list[str]]) -> tuple[float, list[float]]:
    """The size of letters, and the width of each column: numbers get what they need, words the rest."""
    columns = range(len(table.headings))
    size = _CELL
    while True:
        needed = []
        for column in columns:
            longest = max((len(row[column]) for row in texts), default=0)
            # A heading may be broken between its words.
            longest = max(longest, *map(len, table.headings[column].split() or [""]))
            needed.append(longest * size * _DIGIT + _AROUND)
        numbers = sum(needed[table.numbers_from :])
        words = min(table.numbers_from, len(needed))
        room = _ROOM - numbers
        if room >= words * _WORDS * size / _CELL or size <= _LEAST:
            break
        size -= 0.5
    if room <= 0:
        return size, [_ROOM / len(needed)] * len(needed)
    wanted = sum(needed[:words]) or 1.0
    share = min(1.0, room / wanted)
    return size, [width * share if column < words else width for column, width in zip(columns, needed, strict=True)]


def _plot(plot: Plot) -> Any:
    width, height = (inches * _INCH for inches in plot.inches)
    image = Image(BytesIO(drawing.png(plot)), width=width, height=height, hAlign="LEFT")
    told = plot.alt if plot.caption == plot.alt else f"{plot.caption}. {plot.alt}"
    return KeepTogether([image, _paragraph(told, 7.5, colour=_QUIET)])


def _gallery(gallery: Gallery) -> Iterator[Any]:
    width = _ROOM / _ACROSS
    cells = [[_picture(each, width - 8), _paragraph(each.caption, 7, colour=_QUIET)] for each in gallery.pictures]
    # Every row is as long as the first.
    padded: list[Any] = [*cells, *[""] * (-len(cells) % _ACROSS)]
    rows = [padded[start : start + _ACROSS] for start in range(0, len(padded), _ACROSS)]
    style = [
        ("VALIGN", (0, 0), (-1, -1), "TOP"),
        ("LEFTPADDING", (0, 0), (-1, -1), 0),
        ("FONTNAME", (0, 0), (-1, -1), _PLAIN),
    ]
    grid = Grid(rows, colWidths=[width] * _ACROSS, style=style, hAlign="LEFT")
    heading = _paragraph(gallery.heading, 9, bold=True, before=8)
    yield KeepTogether([heading, _paragraph(gallery.text, 8), grid])


def _picture(picture: Picture, width: float) -> Any:
    columns, rows = ImageReader(BytesIO(picture.png)).getSize()
    scale = min(width / columns, width / rows)
    return Image(BytesIO(picture.png), width=columns * scale, height=rows * scale, hAlign="LEFT")
