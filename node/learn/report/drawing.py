"""Plots as pictures: for a page of drawn lines, for print of points. matplotlib is loaded when something is drawn."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Any

from node.learn.report.content import Plot

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Words stay words, and the same plot is the same file.
_SETTINGS: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "matins",
    "font.family": ["DejaVu Sans"],
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "legend.fontsize": 8,
    "legend.frameon": False,
}
#: Dots an inch of a plot in print.
_DOTS = 170


def svg(plot: Plot) -> bytes:
    """The plot as SVG."""
    return _saved(plot, "svg")


def png(plot: Plot) -> bytes:
    """The plot as PNG."""
    return _saved(plot, "png")


def plain(text: str) -> str:
    """Words as they are: a dollar would begin a formula."""
    return text.replace("$", r"\$")


def _saved(plot: Plot, kind: str) -> bytes:
    from matplotlib import rc_context

    # Nothing of when it was drawn.
    metadata: dict[str, Any] = {"Date": None, "Creator": None} if kind == "svg" else {"Software": None}
    into = BytesIO()
    with rc_context(_SETTINGS):
        figure = _figure(plot)
        figure.savefig(into, format=kind, dpi=_DOTS, metadata=metadata)
    return into.getvalue()


def _figure(plot: Plot) -> Figure:
    # Without pyplot: no display is looked for, and nothing is left open.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=plot.inches, layout="constrained")
    FigureCanvasAgg(figure)
    plot.draw(figure.subplots())
    return figure
