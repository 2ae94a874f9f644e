"""The report of a training, for people who have to judge a model: one HTML file, and one PDF with the same content."""

from __future__ import annotations

from pathlib import Path

from node.errors import Failed
from node.learn.checkpoint import write_whole
from node.learn.evaluate.evaluation import Evaluation
from node.learn.report.composing import composed
from node.learn.report.gallery import FOLDER as GALLERY
from node.learn.report.gallery import gallery
from node.learn.report.looking import Looker
from node.learn.report.page import page
from node.learn.report.printing import printed
from node.learn.report.told import Told, told_of
from node.learn.run import Run

__all__ = ["HTML", "PDF", "Told", "told_of", "write_report", "write_run_report"]

HTML, PDF = "report.html", "report.pdf"


def write_report(told: Told, to: Path, looker: Looker | None = None) -> tuple[Path, Path]:
    """Write `report.html`, `report.pdf` and the pictures of the gallery into a folder, which is made.

    With a `looker` the worst cases are looked at again, but for those whose pictures lie in the folder already.

    Raises:
        Failed: they cannot be written.
    """
    html, pdf = to / HTML, to / PDF
    try:
        to.mkdir(parents=True, exist_ok=True)
        report = composed(told, gallery(told, looker, to / GALLERY))
        text = page(report)
        write_whole(html, lambda path: path.write_text(text, encoding="utf-8"))
        content = printed(report)
        write_whole(pdf, lambda path: path.write_bytes(content))
    except OSError as error:
        raise Failed(f"{to} cannot be written: {error.strerror or error}") from error
    return html, pdf


def write_run_report(
    run: Run, evaluation: Evaluation, looker: Looker | None = None, *, private: bool = False
) -> tuple[Path, Path]:
    """Write the report of a run into its folder.

    Args:
        run: with recipe, split and trainings.
        evaluation: its figures.
        looker: who can look at a case again; `None`: pictures that are there already are shown.
        private: names of cases may be those of patients, and are told by others.

    Raises:
        Failed: it cannot be written.
        Misconfigured: a file of the run cannot be read.
    """
    return write_report(told_of(run, evaluation, private=private), run.folder, looker)
