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
from node.learn.report.told import PRIVATE, Told, told_of
from node.learn.run import Run

__all__ = ["HTML", "PDF", "PRIVATE", "Told", "told_of", "write_report", "write_run_report"]

HTML, PDF = "report.html", "report.pdf"


def write_report(
    told: Told, to: Path, looker: Looker | None = None, *, pictures: Path | None = None
) -> tuple[Path, Path]:
    """Write `report.html` and `report.pdf` into a folder, which is made.

    Args:
        told: what it says.
        to: the folder.
        looker: who looks at the worst cases again, but for those of which there are pictures already.
        pictures: where these lie and are kept; `None`: in `gallery` in the folder.

    Raises:
        Failed: they cannot be written.
    """
    html, pdf = to / HTML, to / PDF
    try:
        to.mkdir(parents=True, exist_ok=True)
        report = composed(told, gallery(told, looker, pictures or to / GALLERY))
        text = page(report)
        write_whole(html, lambda path: path.write_text(text, encoding="utf-8"))
        content = printed(report)
        write_whole(pdf, lambda path: path.write_bytes(content))
    except OSError as error:
        raise Failed(f"{to} cannot be written: {error.strerror or error}") from error
    return html, pdf


def write_run_report(
    run: Run, evaluation: Evaluation, looker: Looker | None = None, *, to: Path | None = None, private: bool = False
) -> tuple[Path, Path]:
    """Write the report of a run into its folder, or `to` another; its pictures are kept in the run's.

    Args:
        run: with recipe, split and trainings.
        evaluation: its figures.
        looker: who can look at a case again; `None`: pictures that are there already are shown.
        to: another folder.
        private: names of cases may be those of patients, and are told by others.

    Raises:
        Failed: it cannot be written.
        Misconfigured: a file of the run cannot be read.
    """
    told = told_of(run, evaluation, private=private)
    return write_report(told, to or run.folder, looker, pictures=run.folder / GALLERY)
