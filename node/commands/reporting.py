"""What is written of an evaluation for people: a report, and what seismometer reads. Loaded when it is wanted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from node.commands.output import progress, say
from node.domain.model_card import Task
from node.learn.dataset.opened import Opened
from node.learn.evaluate.evaluation import Evaluation
from node.learn.explained.table import Explaining
from node.learn.prediction import Prediction
from node.learn.reading import Model, names_of
from node.learn.run import Run

if TYPE_CHECKING:
    from node.learn.explained.explanations import Explanations
    from node.learn.explained.measuring import Shower


@dataclass(frozen=True, slots=True, kw_only=True)
class Reported:
    """What an evaluation is of: a run, or a model on a data set, or neither where figures came with a model."""

    run: Run | None = None
    model: Model | None = None
    dataset: Opened | None = None
    #: Names of the model's outputs, as it was trained.
    outputs: tuple[str, ...] = ()
    #: What it said of the data set, and how much of that is explained.
    predictions: tuple[Prediction, ...] = ()
    explaining: Explaining = field(default_factory=Explaining)
    on_gpu: bool = False
    #: Nothing is printed.
    quiet: bool = False


def report(evaluation: Evaluation, of: Reported, to: Path) -> None:
    """Write the report of an evaluation into a folder.

    Raises:
        Failed: it cannot be written.
        Misconfigured: a file of the run cannot be read.
    """
    # Drawing takes a second to load.
    from node.learn.explained.explanations import FILE_NAME
    from node.learn.report import PRIVATE, Told, write_report, write_run_report
    from node.learn.report.asking import ModelLooker

    if of.run is not None:
        write_run_report(of.run, evaluation, to=to)
        return
    looker, explanations = None, None
    if of.model is not None and of.dataset is not None:
        names = names_of(of.model.card, of.dataset, of.outputs)
        looker = ModelLooker(of.model, of.dataset, names, evaluation.classes)
        if evaluation.task is Task.CLASSIFICATION:
            asked = Asked(dataset=of.dataset, classes=evaluation.classes, on_gpu=of.on_gpu, quiet=of.quiet)
            explanations = explain(of.predictions, looker, of.explaining, asked, to / FILE_NAME)
    is_private = of.dataset is not None and of.dataset.layout in PRIVATE
    write_report(Told(evaluation=evaluation, private=is_private, explanations=explanations), to, looker)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Of what explanations are measured, and who hears of it."""

    dataset: Opened
    classes: tuple[str, ...]
    on_gpu: bool = False
    quiet: bool = False
    #: What leaves it out, in words.
    without: str = "--explain 0"


def explain(
    predictions: Sequence[Prediction], shower: Shower, said: Explaining, asked: Asked, file: Path
) -> Explanations | None:
    """Measure how faithful explanations of a sample are, and keep that in a file; `None` where none are wanted.

    It is said before how long that may take. What the file holds already is not measured again.

    Raises:
        Failed: the file cannot be written.
        Misconfigured: what stands there tells of no explanations.
    """
    from node.learn.explained.choosing import chosen
    from node.learn.explained.explanations import read_explanations, write_explanations
    from node.learn.explained.measuring import Terms, in_order, measured, stands

    cases = chosen(predictions, asked.dataset, said.cases)
    if not cases:
        return None
    masks = {case.key: case.masks for case in asked.dataset.cases}
    terms = Terms(classes=asked.classes, minutes=said.minutes, masks=masks, on_gpu=asked.on_gpu)
    kept, maps = read_explanations(file), len(in_order()) * len(cases)
    if not asked.quiet and not stands(kept, cases, terms):
        many = f"the explanations of {len(cases)} cases by {len(in_order())} methods"
        say(f"measuring {many}: {said.minutes:g} minute(s) at most ({asked.without} leaves it out)")
    with nullcontext(lambda: None) if asked.quiet else progress("maps", lambda: maps) as advance:
        found = measured(cases, shower, replace(terms, advance=advance), kept)
    write_explanations(file, found)
    return found


def hand_over(evaluation: Evaluation, predictions: Iterable[Prediction], to: Path) -> None:
    """Write what seismometer reads into a folder.

    Raises:
        Failed: it is no classifier, there are no predictions, or the folder cannot be written.
    """
    from node.learn.report.watching import write_seismometer

    write_seismometer(evaluation, predictions, to)
