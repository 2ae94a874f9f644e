"""A report as one HTML file: everything in it, nothing fetched, nothing run."""

from __future__ import annotations

import base64
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from node.learn.report import drawing
from node.learn.report.content import Cell, Gallery, Number, Plot, Report, Table, Text

_HERE = Path(__file__).parent


def page(report: Report) -> str:
    """The report as HTML (a Living Standard document): valid for readers of screens, light, and fit to be printed."""
    environment = Environment(
        loader=FileSystemLoader(_HERE / "templates"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters["cell"] = _cell
    environment.filters["svg"] = lambda plot: _embedded(drawing.svg(plot), "image/svg+xml")
    environment.filters["png"] = lambda content: _embedded(content, "image/png")
    for name, kind in (("text", Text), ("table", Table), ("plot", Plot), ("gallery", Gallery)):
        environment.tests[name] = lambda block, kind=kind: isinstance(block, kind)
    style = (_HERE / "templates" / "report.css").read_text(encoding="utf-8")
    # The stylesheet is ours: its quotes are none to be escaped.
    return environment.get_template("report.html").render(report=report, style=Markup(style))  # noqa: S704


def _cell(cell: Cell) -> Markup:
    if isinstance(cell, Number):
        return Markup('<data value="{}">{}</data>').format(repr(cell.value), cell.text)
    return Markup("{}").format(cell)


def _embedded(content: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
