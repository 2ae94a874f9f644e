"""What `evaluate` writes for people: a report, and what seismometer reads. Loaded when it is wanted."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from node.learn.dataset.opened import Opened
from node.learn.evaluate.evaluation import Evaluation
from node.learn.prediction import Prediction
from node.learn.reading import Model, names_of
from node.learn.run import Run


@dataclass(frozen=True, slots=True, kw_only=True)
class Reported:
    """What an evaluation is of: a run, or a model on a data set, or neither where figures came with a model."""

    run: Run | None = None
    model: Model | None = None
    dataset: Opened | None = None
    #: Names of the model's outputs, as it was trained.
    outputs: tuple[str, ...] = ()


def report(evaluation: Evaluation, of: Reported, to: Path) -> None:
    """Write the report of an evaluation into a folder.

    Raises:
        Failed: it cannot be written.
        Misconfigured: a file of the run cannot be read.
    """
    # Drawing takes a second to load.
    from node.learn.report import PRIVATE, Told, write_report, write_run_report
    from node.learn.report.asking import ModelLooker

    if of.run is not None:
        write_run_report(of.run, evaluation, to=to)
        return
    looker = None
    if of.model is not None and of.dataset is not None:
        names = names_of(of.model.card, of.dataset, of.outputs)
        looker = ModelLooker(of.model, of.dataset, names, evaluation.classes)
    is_private = of.dataset is not None and of.dataset.layout in PRIVATE
    write_report(Told(evaluation=evaluation, private=is_private), to, looker)


def hand_over(evaluation: Evaluation, predictions: Iterable[Prediction], to: Path) -> None:
    """Write what seismometer reads into a folder.

    Raises:
        Failed: it is no classifier, there are no predictions, or the folder cannot be written.
    """
    from node.learn.report.watching import write_seismometer

    write_seismometer(evaluation, predictions, to)
