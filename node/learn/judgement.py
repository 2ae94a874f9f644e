"""What is judged: a run by what its networks said of cases they were not trained on, or a model on a data set."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from node.catalogue.cards import CARD, read_card
from node.catalogue.weights import locate_all
from node.domain.model_card import Task
from node.errors import Failed, Misconfigured, Unsuitable
from node.imaging import doubt, pipelines
from node.imaging.pipelines import Fitting
from node.learn.case import Case, Dataset
from node.learn.evaluate.cohort import ALL, TEST, VALIDATION
from node.learn.evaluate.evaluating import Terms, evaluate, positive_of
from node.learn.evaluate.evaluation import Evaluation
from node.learn.prediction import Prediction, read_predictions
from node.learn.reading import Model, Unread, names_of, read, settled_of
from node.learn.recipe import Judging, Members, Recipe, read_recipe
from node.learn.run import Run
from node.learn.split import FILE_NAME as SPLIT
from node.learn.split import Split, read_split

#: Folder beside the card where what a model was made of is told, and the recipe in it.
_EVIDENCE, _RECIPE = "evidence", "recipe.toml"
#: The one pipeline that runs no code of the model's own.
_HARMLESS = "network"
#: Letters of the names that cases have in evidence that must not tell their own (see `export.evidence`).
_LETTERS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """Which cases a model has met while it was made, by their keys."""

    trained: frozenset[str] = frozenset()
    #: They chose weights, calibration or operating point.
    chose: frozenset[str] = frozenset()
    #: Of the data set: keys are hidden under names made with it, where they could be a patient's.
    dataset_digest: str = ""

    def has(self, keys: Collection[str], key: str) -> bool:
        """Whether a case is among some of these."""
        hidden = hashlib.sha256(f"{self.dataset_digest}\0{key}".encode()).hexdigest()[:_LETTERS]
        return key in keys or hidden in keys


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """An evaluation, and what it is made of."""

    evaluation: Evaluation
    predictions: tuple[Prediction, ...]


def judge_run(run: Run, *, part: str = TEST, seeds: Collection[int] = ()) -> Judged:
    """Judge a run by the predictions that its trainings left; `seeds`: of these alone.

    Raises:
        Failed: none of its trainings is done.
        Misconfigured: its recipe or its predictions cannot be read; the positive class is none of them.
    """
    recipe = read_recipe(run.recipe)
    wanted = [seed for seed in recipe.training.seeds if not seeds or seed in seeds]
    files = [file for seed in wanted for file in sorted(run.folder.glob(f"seed-{seed}/fold-*/predictions.jsonl"))]
    if not files:
        raise Failed(f"{run.folder} has no training that is done: run matins train again, it goes on where it was")
    predictions = tuple(each for file in files for each in read_predictions(file))
    together = read_predictions(run.together) if run.together.exists() and not seeds else ()
    terms = Terms(model=recipe.name, part=part)
    task = recipe.task
    found = evaluate(predictions, recipe.evaluation, task, recipe.classes, together=together, terms=terms)
    missing = len(wanted) * len(read_split(run.split).folds) - len(files)
    if missing > 0:
        note = f"{missing} of the trainings are not done: the figures are of the others alone."
        found = replace(found, notes=(note, *found.notes))
    return Judged(evaluation=found, predictions=predictions)


def load_model(folder: Path, *, device: str, own_code: bool = False, trusted: bool = False) -> Model:
    """Load the model of a folder; what was never trusted must bring no code.

    Raises:
        Failed: its weights are missing, or it is not trusted and could bring code.
        Misconfigured: its card is wrong, or does not fit its weights.
    """
    card = read_card(folder)
    if not trusted and card.pipeline != _HARMLESS:
        raise Failed(f"{folder} was never trusted, and its pipeline runs what it brings: add it and run models trust")
    try:
        weights = locate_all(card, folder, folder / CARD)
    except (Unsuitable, OSError) as error:
        raise Failed(str(error)) from error
    fitting = Fitting(card=card, folder=folder, weights=weights, device=device, own_code=own_code)
    runner = pipelines.named(card.pipeline).load(doubt.alone(fitting))
    return Model(card=card, runner=runner, others=doubt.members(fitting))


def known_to(folder: Path) -> Known:
    """What the evidence beside a model's card tells of the cases that it was made of; nothing where there is none.

    Raises:
        Misconfigured: the evidence cannot be read.
    """
    file = folder / _EVIDENCE / SPLIT
    if not file.is_file():
        return Known()
    split = read_split(file)
    recipe = folder / _EVIDENCE / _RECIPE
    members = read_recipe(recipe).export.members if recipe.is_file() else Members.WHOLE
    return _known(split, members)


def judging_of(folder: Path, recipe: Recipe | None = None) -> Judging:
    """By what a model's recipe has it judged; the defaults where there is no recipe.

    Raises:
        Misconfigured: the recipe cannot be read.
    """
    file = folder / _EVIDENCE / _RECIPE
    return (recipe or (read_recipe(file) if file.is_file() else Recipe())).evaluation


def chosen_cases(dataset: Dataset, known: Known, part: str) -> tuple[Case, ...]:
    """The cases that a model is judged by.

    "test": those that it never met. "validation": those that chose, but were not trained on. "all": every one.
    """
    if part == ALL:
        return tuple(dataset.cases)
    unseen = (each for each in dataset.cases if not known.has(known.trained, each.key))
    wants = part == VALIDATION
    return tuple(each for each in unseen if known.has(known.chose, each.key) is wants)


def judge_model(
    model: Model,
    dataset: Dataset,
    *,
    known: Known | None = None,
    part: str = TEST,
    judging: Judging | None = None,
    groups: Mapping[str, str] | None = None,
    advance: Callable[[], object] = lambda: None,
) -> Judged:
    """Have a model read a data set as the node would, and judge it with the calibration and threshold of its card.

    Raises:
        Failed: no case is left that it may be judged by, or it could read none.
        Misconfigured: the card does not name the classes of the data set.
    """
    known, judging = known or Known(), judging or Judging()
    cases = chosen_cases(dataset, known, part)
    if not cases:
        raise Failed(f"{model.card.name} was made of every case of {dataset.name}: --part all judges it by these")
    names, classes = names_of(model.card, dataset), dataset.classes
    found = list(read(model, dataset, cases, groups=groups, tolerance_mm=judging.tolerance_mm, advance=advance))
    predictions = tuple(each for each in found if isinstance(each, Prediction))
    unread = [each for each in found if isinstance(each, Unread)]
    if not predictions:
        raise Failed(f"{model.card.name} could read none of {len(unread)} case(s): {unread[0].reason}")
    settled = None
    if model.card.task is Task.CLASSIFICATION:
        judging = judging if judging.positive in classes else replace(judging, positive="")
        settled = settled_of(names, len(classes), positive_of(judging, classes))
    # Every case that is read here is one to judge by, whatever it was to the training.
    terms = Terms(model=f"{model.card.name} {model.card.version}", dataset=dataset.name, settled=settled)
    evaluation = evaluate(predictions, judging, model.card.task, classes, terms=terms)
    notes = (*_notes(dataset, known, cases, part), *_unread(unread), *evaluation.notes)
    return Judged(evaluation=replace(evaluation, part=part, notes=notes), predictions=predictions)


def device_of(wanted: str) -> str:
    """Say "cpu" or "cuda"; of "auto" whatever there is.

    Raises:
        Misconfigured: a GPU is asked for and there is none.
    """
    has = torch.cuda.is_available()
    if wanted == "cuda" and not has:
        raise Misconfigured("--device", "", "there is no GPU that PyTorch can use", "Take --device cpu")
    return "cuda" if has and wanted != "cpu" else "cpu"


def _known(split: Split, members: Members) -> Known:
    first = split.folds[0]
    if members in (Members.FIRST, Members.SEEDS):
        trained, chose = set(first.train), set(first.validation)
    else:
        trained = {key for fold in split.folds for keys in (fold.train, fold.validation, fold.test) for key in keys}
        chose = set()
    return Known(trained=frozenset(trained), chose=frozenset(chose), dataset_digest=split.dataset_digest)


def _notes(dataset: Dataset, known: Known, cases: Collection[Case], part: str) -> list[str]:
    trained = sum(known.has(known.trained, each.key) for each in dataset.cases)
    chose = sum(known.has(known.chose, each.key) for each in dataset.cases)
    if not trained + chose:
        return []
    met = f"{trained} of {len(dataset.cases)} cases were trained on, {chose} chose between networks"
    if part == ALL:
        return [f"{met}: these figures are better than those of others would be."]
    return [f"{met}: judged by {len(cases)} others."]


def _unread(unread: Collection[Unread]) -> list[str]:
    if not unread:
        return []
    first = next(iter(unread))
    return [f"{len(unread)} case(s) were not read, the first is {first.key}: {first.reason}"]
