"""The end of `train`: figures on the terminal, the model's folder, and the model among those of the node."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Mapping
from datetime import date
from importlib import metadata
from pathlib import Path

from pydantic import TypeAdapter

from node import __version__
from node.commands.evaluating import show
from node.commands.output import say
from node.commands.reporting import Asked, explain
from node.config import Settings
from node.domain.model_card import Task
from node.errors import Failed, Misconfigured
from node.learn import checkpoint, training
from node.learn.dataset.sheet import sheet_text
from node.learn.evaluate.evaluation import Evaluation
from node.learn.export import Making, Trained, export, weight_bytes
from node.learn.export.installing import install
from node.learn.place import Place
from node.learn.prediction import read_predictions
from node.learn.report import PRIVATE, write_run_report
from node.learn.report.looking import RunLooker

#: Cases on which the exported model has to say what the trained networks say.
_COMPARED = 2
_LIBRARIES = ("torch", "monai", "numpy")
#: What a report leaves in the run's folder.
_REPORTS = ("report.html", "report.pdf")
_MADE: TypeAdapter[Making] = TypeAdapter(Making)


def finish(ready: training.Ready, evaluation: Evaluation, place: Place, command: str, day: date) -> Path:
    """Show the figures, write the report and the model's folder; return that.

    Raises:
        Failed: what was exported does not answer as what was trained, or its weights are too large.
        Misconfigured: the hand-written part of the card is wrong.
    """
    show(evaluation)
    looker = RunLooker(ready.run, ready.recipe, ready.dataset, str(place.device))
    _explain(ready, evaluation, looker, place)
    html, _ = write_run_report(ready.run, evaluation, looker)
    say(f"report: {html}, and as PDF beside it")
    trained = trained_of(ready, evaluation, making_of(ready, place, command, day))
    folder = export(trained, ready.run.models / ready.recipe.name)
    say(f"model: {folder}, {weight_bytes(folder) / 1e6:.1f} MB of weights; read its CARD.md")
    return folder


def _explain(ready: training.Ready, evaluation: Evaluation, looker: RunLooker, place: Place) -> None:
    """Measure how faithful explanations are, each of a case by the network that judged it; of the first seed."""
    if ready.recipe.task is not Task.CLASSIFICATION:
        return
    first = [each for each in training.members_alike(ready, 0) if each.seed == ready.recipe.training.seeds[0]]
    said = [each for one in first for each in read_predictions(one.predictions) if each.part == evaluation.part]
    asked = Asked(
        dataset=ready.dataset,
        classes=evaluation.classes,
        on_gpu=place.device.type == "cuda",
        without="--set explanations.cases=0",
    )
    explain(said, looker, ready.recipe.explanations, asked, ready.run.explanations)


def put_in_place(settings: Settings, ready: training.Ready, folder: Path) -> None:
    """Install the model, and say what comes next; where that cannot be, say why, and how it could."""
    try:
        _bring_patients(settings, ready, folder)
        done = install(settings, folder)
    except Failed as error:
        say(f"it is not among the models of this node: {error}")
        return
    kept = "; the version before is kept: matins models rollback " + folder.name if done.kept else ""
    say(f"installed: {done.folder}, locked in {done.lock}{kept}")
    say(f"next: matins models shadow {folder.name}")


def _bring_patients(settings: Settings, ready: training.Ready, folder: Path) -> None:
    """Keep the table of patients where it was already, beside the recipe in the model's own folder; nowhere else."""
    table = ready.recipe.split.patients
    is_its_own = ready.beside == (settings.catalogue.models_folder / folder.name).resolve()
    if table and is_its_own and (ready.beside / table).is_file():
        shutil.copyfile(ready.beside / table, folder / table)


def trained_of(ready: training.Ready, evaluation: Evaluation, making: Making) -> Trained:
    """What is handed over to become a model."""
    judged = set(ready.split.folds[0].test or ready.split.folds[0].validation)
    compared = [case for case in ready.dataset.cases if case.key in judged][:_COMPARED]
    return Trained(
        recipe=ready.recipe,
        beside=ready.beside,
        dataset=ready.dataset.name,
        members=training.chosen(ready),
        split=ready.split,
        making=making,
        evaluation=evaluation,
        sheet=sheet_text(ready.sheet),
        evidence=_reports(ready),
        cases=tuple(ready.dataset.read(case) for case in compared),
        pixels=ready.pixels,
        private=ready.dataset.layout in PRIVATE,
    )


def _reports(ready: training.Ready) -> dict[str, Path]:
    """The report, where it is to go with the model."""
    files = [ready.run.folder / name for name in _REPORTS] if ready.recipe.export.report else []
    return {file.name: file for file in files if file.is_file()}


def making_of(ready: training.Ready, place: Place, command: str, day: date) -> Making:
    """How it was made; the seconds are those of the epochs, also of those before a kill.

    It is kept in the run's folder: a run that is exported again, on another day or machine, gives the same model.
    """
    file = ready.run.making
    if file.exists():
        return _read(file)
    wanted = {*training.members_of(ready), *training.chosen(ready)}
    seconds = sum(each.get("seconds", 0.0) for member in wanted for each in member.told)
    made = Making(command=command, made_on=day, device=place.told, seconds=round(seconds), versions=_versions())
    text = _MADE.dump_json(made, indent=1).decode() + "\n"
    checkpoint.write_whole(file, lambda path: path.write_text(text, encoding="utf-8"))
    return made


def _read(file: Path) -> Making:
    try:
        return _MADE.validate_json(file.read_bytes())
    except (OSError, ValueError) as error:
        problem = f"cannot be read: {str(error).splitlines()[0]}"
        raise Misconfigured(file, "", problem, "Remove it: what is exported then is made today") from error


def _versions() -> Mapping[str, str]:
    found = {"matins": __version__, "python": platform.python_version()}
    return found | {name: metadata.version(name) for name in _LIBRARIES}
