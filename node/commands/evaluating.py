"""`evaluate`: a run or a model, judged; its figures as a table, a document, and files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from node.catalogue.cards import CARD
from node.commands.output import print_json, progress, say, table
from node.commands.reporting import Reported, hand_over, report
from node.commands.site import settings_from
from node.config import Settings
from node.errors import Failed, Misconfigured
from node.learn.dataset import list_dataset
from node.learn.evaluate.cohort import TEST
from node.learn.evaluate.evaluation import FILE_NAME, Evaluation, read_evaluation, write_evaluation
from node.learn.evaluate.figures import Figure
from node.learn.explained.table import Explaining
from node.learn.judgement import Judged, device_of, judge_model, judge_run, load_model, recipe_of
from node.learn.known import EVIDENCE, known_to
from node.learn.prediction import write_predictions
from node.learn.recipe import read_recipe
from node.learn.run import Run
from node.workflow.policy import models_of

_RUNS, _PREDICTIONS = "learning", "predictions.jsonl"
_EVALUATION: TypeAdapter[Evaluation] = TypeAdapter(Evaluation)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """The options of `evaluate`."""

    #: A run's folder, a model's folder, or the name of a model or run.
    subject: str
    dataset: Path | None = None
    part: str = TEST
    seeds: tuple[int, ...] = ()
    to: Path | None = None
    seismometer: Path | None = None
    device: str = "auto"
    #: Cases whose explanations are measured for the report, and the minutes for that; `None`: as the recipe says.
    explain: int | None = None
    minutes: float | None = None
    as_json: bool = False


def evaluate(wish: Wish, config: Path | None, data: Path | None) -> Evaluation:
    """Judge what is asked for, print it, and write it where that is wanted.

    Raises:
        Failed: there is no such run or model, or nothing to judge it by.
        Misconfigured: the data set, a card or a recipe is wrong.
    """
    settings = settings_from(config, data)
    if wish.explain and (wish.to is None or wish.dataset is None):
        problem = "measures explanations for the report on a data set"
        raise Misconfigured("--explain", "", problem, "Name a data set, and a folder for the report (--to)")
    run = _run(wish, settings)
    told: Reported | None = None
    if wish.dataset is not None:
        judged, told = _on_dataset(wish, settings, run, wish.dataset)
    elif run is not None:
        judged, told = judge_run(run, part=wish.part, seeds=wish.seeds), Reported(run=run)
        if wish.part == TEST and not wish.seeds:
            write_evaluation(run.evaluation, judged.evaluation)
    else:
        folder, _ = _model(wish, settings)
        known = folder / EVIDENCE / FILE_NAME
        if not known.is_file():
            raise Misconfigured("DATASET", "", f"is missing, and {folder.name} came without figures", "Name a data set")
        judged = Judged(evaluation=read_evaluation(known), predictions=())
    _write(wish, judged, told or Reported())
    if wish.as_json:
        print_json(_EVALUATION.dump_python(judged.evaluation, mode="json"))
    else:
        show(judged.evaluation)
    return judged.evaluation


def show(evaluation: Evaluation) -> None:
    """Print the figures for people."""
    seeds = f", mean of {len(evaluation.seeds)} seeds" if len(evaluation.seeds) > 1 else ""
    of = f" on {evaluation.dataset}" if evaluation.dataset else ""
    about = f"{evaluation.model}{of}: {evaluation.cases} cases in {evaluation.groups} groups"
    say(f"{about}, {evaluation.part}, {evaluation.method}{seeds}; 95 % intervals ({evaluation.interval})")
    spread = len(evaluation.seeds) > 1
    headings = ("of", "figure", "value", "95 % interval", *(("spread",) if spread else ()))
    table(headings, [_row(of_what, name, figure, spread=spread) for of_what, name, figure in _figures(evaluation)])
    for each in evaluation.subgroups:
        said = ", ".join(f"{name} {_number(figure.value)} {_interval(figure)}" for name, figure in each.figures.items())
        say(f"{each.attribute} {each.value} ({each.cases} cases): {said}{'. ' + each.note if each.note else ''}")
    for note in evaluation.notes:
        say(note)
    if evaluation.together is not None:
        say("What the networks of the model say as one:")
        show(evaluation.together)


def _figures(evaluation: Evaluation) -> Iterator[tuple[str, str, Figure]]:
    found = evaluation.classification
    if found is not None:
        yield from _named("all", found.figures)
        for each in found.classes:
            yield from _named(each.name, each.figures)
            if each.calibration is not None:
                yield each.name, "ece before calibration", each.calibration.before.ece
            if each.calibration is not None and each.calibration.after is not None:
                yield each.name, "ece", each.calibration.after.ece
        if found.operating is not None:
            name, at = found.classes[found.positive].name, found.operating
            yield name, f"sensitivity at {_number(at.thresholds[0])}", at.sensitivity
            yield name, f"specificity at {_number(at.thresholds[0])}", at.specificity
            if at.held_out_sensitivity is not None and at.held_out_specificity is not None:
                yield name, "sensitivity held out", at.held_out_sensitivity
                yield name, "specificity held out", at.held_out_specificity
    if evaluation.segmentation is not None:
        yield from _named("all", evaluation.segmentation.figures)
        for segment in evaluation.segmentation.segments:
            yield from _named(segment.name, segment.figures)
    if evaluation.detection is not None:
        yield from _named("all", evaluation.detection.figures)
        for name, figures in evaluation.detection.classes.items():
            yield from _named(name, figures)


def _named(of_what: str, figures: Mapping[str, Figure]) -> Iterator[tuple[str, str, Figure]]:
    return ((of_what, name.replace("_", " "), figure) for name, figure in figures.items())


def _row(of_what: str, name: str, figure: Figure, *, spread: bool) -> list[Any]:
    row = [of_what, name, _number(figure.value), _interval(figure)]
    return [*row, _number(figure.spread)] if spread else row


def _number(value: float | None) -> str:
    return "not defined" if value is None else f"{value:.3f}"


def _interval(figure: Figure) -> str:
    return "" if figure.low is None or figure.high is None else f"{figure.low:.3f} to {figure.high:.3f}"


def _run(wish: Wish, settings: Settings) -> Run | None:
    """The run that is asked for; `None`: it is a model."""
    for folder in (Path(wish.subject), settings.data.folder / _RUNS / wish.subject):
        if Run(folder=folder).recipe.is_file() and not (folder / CARD).is_file():
            return Run(folder=folder)
    return None


def _model(wish: Wish, settings: Settings) -> tuple[Path, bool]:
    """The folder of the model that is asked for, and whether it is trusted."""
    if (Path(wish.subject) / CARD).is_file():
        return Path(wish.subject), False
    models, problems = models_of(settings)
    found = next((each for each in models if each.card.name == wish.subject), None)
    if found is None:
        wrong = next((problem for problem in problems if wish.subject in str(problem.file)), None)
        raise wrong or Failed(f"there is no run and no model {wish.subject}: see matins models list")
    if found.problem:
        raise Failed(found.problem)
    return found.folder, True


def _on_dataset(wish: Wish, settings: Settings, run: Run | None, path: Path) -> tuple[Judged, Reported]:
    folder, trusted = (run.models / read_recipe(run.recipe).name, False) if run is not None else _model(wish, settings)
    if not (folder / CARD).is_file():
        raise Failed(f"{folder.parent} has made no model yet: run matins train again, it goes on where it was")
    known, recipe = known_to(folder), recipe_of(folder)
    model = load_model(folder, device=device_of(wish.device), trusted=trusted)
    dataset = list_dataset(path, model.card.task)
    # What is wrong with some cases does not keep the others from judging; it is told.
    problems = tuple(f"{each.text}." for each in dataset.problems)
    with nullcontext(lambda: None) if wish.as_json else progress("cases", lambda: len(dataset.cases)) as advance:
        judged = judge_model(model, dataset, known=known, part=wish.part, recipe=recipe, advance=advance)
    said = recipe.explanations if recipe else Explaining()
    told = Reported(
        model=model,
        dataset=dataset,
        outputs=recipe.classes if recipe else (),
        predictions=judged.predictions,
        explaining=Explaining(
            cases=said.cases if wish.explain is None else wish.explain,
            minutes=said.minutes if wish.minutes is None else wish.minutes,
        ),
        on_gpu=device_of(wish.device) == "cuda",
        quiet=wish.as_json,
    )
    judged = replace(judged, evaluation=replace(judged.evaluation, notes=(*problems, *judged.evaluation.notes)))
    return judged, told


def _write(wish: Wish, judged: Judged, told: Reported) -> None:
    if wish.seismometer is not None:
        hand_over(judged.evaluation, judged.predictions, wish.seismometer)
    if wish.to is None:
        return
    wish.to.mkdir(parents=True, exist_ok=True)
    write_evaluation(wish.to / FILE_NAME, judged.evaluation)
    if judged.predictions:
        write_predictions(wish.to / _PREDICTIONS, judged.predictions)
    report(judged.evaluation, told, wish.to)
