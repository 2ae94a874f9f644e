"""What is judged: a run by what its networks said of cases they were not trained on, or a model on a data set."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from node.catalogue.cards import CARD, read_card
from node.catalogue.weights import locate_all
from node.domain.model_card import Task
from node.errors import Failed, Misconfigured, Unsuitable
from node.imaging import doubt, pipelines
from node.imaging.device import compute_exactly
from node.imaging.pipelines import Fitting
from node.learn.architectures import marked
from node.learn.case import Case, Dataset
from node.learn.dataset.duplicates import certain_groups, grouped
from node.learn.dataset.survey import Survey, survey
from node.learn.evaluate.cohort import ALL, TEST, VALIDATION
from node.learn.evaluate.evaluating import Terms, evaluate, positive_of
from node.learn.evaluate.evaluation import Evaluation
from node.learn.known import EVIDENCE, RECIPE, Known
from node.learn.naming import Names, names_of
from node.learn.prediction import Prediction, read_predictions
from node.learn.reading import Model, Unread, read, settled_of
from node.learn.recipe import Judging, Recipe, read_recipe
from node.learn.run import Run
from node.learn.split import read_split
from node.learn.synthetic.counting import noted

#: The one pipeline that runs no code of the model's own.
_HARMLESS = "network"


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """An evaluation, and what it is made of."""

    evaluation: Evaluation
    predictions: tuple[Prediction, ...]


def judge_run(run: Run, *, part: str = TEST, seeds: Collection[int] = ()) -> Judged:
    """Judge a run by the predictions that its trainings left; `seeds`: of these alone.

    Where nothing was held back for a test, what validated judges.

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
    if part == TEST and not any(each.part == TEST for each in predictions):
        part = VALIDATION
    terms = Terms(model=recipe.name, part=part)
    task = recipe.task
    found = evaluate(predictions, recipe.evaluation, task, recipe.classes, together=together, terms=terms)
    found = noted(marked(found, recipe), run)
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
    compute_exactly()
    fitting = Fitting(card=card, folder=folder, weights=weights, device=device, own_code=own_code)
    runner = pipelines.named(card.pipeline).load(doubt.alone(fitting))
    return Model(card=card, runner=runner, others=doubt.members(fitting))


def recipe_of(folder: Path) -> Recipe | None:
    """The recipe of a model, with all that was derived; `None` where nobody kept one.

    Raises:
        Misconfigured: it cannot be read.
    """
    file = folder / EVIDENCE / RECIPE
    return read_recipe(file) if file.is_file() else None


def chosen_cases(seen: Survey, groups: Mapping[str, str], known: Known, part: str) -> tuple[Case, ...]:
    """The cases that a model is judged by.

    "test": those that it never met, nor any of their group. "validation": those that chose, but were not trained on.
    "all": every one.
    """
    trained, chose = _met(seen, known)
    if part == ALL:
        return seen.cases
    if part == VALIDATION:
        return tuple(case for case in seen.cases if case.key in chose)
    near = {groups[key] for key in trained | chose}
    return tuple(case for case in seen.cases if groups[case.key] not in near)


def judge_model(
    model: Model,
    dataset: Dataset,
    *,
    known: Known | None = None,
    part: str = TEST,
    recipe: Recipe | None = None,
    advance: Callable[[], object] = lambda: None,
) -> Judged:
    """Have a model read a data set as the node would, and judge it with the calibration and threshold of its card.

    Every case is looked at first: copies of what the model was made of do not judge, and images that are nearly the
    same count once. `recipe` is the one that it was made by.

    Raises:
        Failed: no case is left that it may be judged by, or it could read none.
        Misconfigured: the model does not know a class of the data set.
    """
    known, made_by = known or Known(), recipe or Recipe()
    names = names_of(model.card, dataset, made_by.classes)
    seen = survey(dataset, thumbnail=made_by.split.thumbnail)
    groups, alike = _groups(seen, made_by.split.near_duplicate)
    cases = chosen_cases(seen, groups, known, part)
    if not cases:
        why = f"was made of every case of {dataset.name}: --part all judges it by these"
        raise Failed(f"{model.card.name} {why}" if seen.cases else f"no case of {dataset.name} can be read")
    tolerance_mm = made_by.evaluation.tolerance_mm
    found = list(read(model, dataset, cases, names, groups=groups, tolerance_mm=tolerance_mm, advance=advance))
    predictions = tuple(each for each in found if isinstance(each, Prediction))
    unread = [each for each in found if isinstance(each, Unread)]
    if not predictions:
        raise Failed(f"{model.card.name} could read none of {len(unread)} case(s): {unread[0].reason}")
    judging, settled = made_by.evaluation, None
    if model.card.task is Task.CLASSIFICATION:
        judging = _positive(judging, names)
        settled = settled_of(names, positive_of(judging, names.classes))
    # Every case that is read here is one to judge by, whatever it was to the training.
    terms = Terms(model=f"{model.card.name} {model.card.version}", dataset=dataset.name, settled=settled)
    evaluation = evaluate(predictions, judging, model.card.task, names.classes, terms=terms)
    damaged = [problem.text for problem in seen.problems]
    notes = (*_told(seen, known, cases, part), *names.notes, *alike, *damaged, *_unread(unread), *evaluation.notes)
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


def _positive(judging: Judging, names: Names) -> Judging:
    """The class whose sensitivity counts: as it was trained, else the one that the card sets to work."""
    if judging.positive in names.classes:
        return judging
    at_work = [place for place, each in sorted(names.targets.items()) if each.operating_point is not None]
    return replace(judging, positive=names.classes[at_work[0]] if at_work else "")


def _groups(seen: Survey, near_duplicate: float) -> tuple[Mapping[str, str], tuple[str, ...]]:
    """Key → group, and a note where images of this kind are too alike to find near-duplicates among them."""
    try:
        return grouped(seen, near_duplicate), ()
    except Misconfigured as error:
        note = f"Near-duplicates were not looked for, equal images count once all the same: {error.problem}."
        return certain_groups(seen), (note,)


def _met(seen: Survey, known: Known) -> tuple[set[str], set[str]]:
    """Keys of the cases that were trained on, and of the others that chose."""
    trained = {each.key for each in seen.sights if known.has(known.trained, each.key, each.digest)}
    return trained, {each.key for each in seen.sights if known.has(known.chose, each.key, each.digest)} - trained


def _told(seen: Survey, known: Known, cases: Collection[Case], part: str) -> list[str]:
    trained, chose = _met(seen, known)
    if not known.trained:
        return ["Nobody kept which images the model was made of: whether it has met these is not known."]
    if not trained | chose:
        but = "; one that was resized or compressed since would not be known" if known.by_pixels else ", by their names"
        return [f"None of {len(seen.cases)} cases is an image that the model was made of{but}."]
    by = "" if known.by_pixels else ", known by their names alone"
    met = f"{len(trained)} of {len(seen.cases)} cases were trained on, {len(chose)} chose weights or thresholds{by}"
    if part == ALL:
        return [f"{met}: these figures are better than those of others would be."]
    return [f"{met}: judged by {len(cases)} others."]


def _unread(unread: Collection[Unread]) -> list[str]:
    if not unread:
        return []
    first = next(iter(unread))
    return [f"{len(unread)} case(s) were not read, the first is {first.key}: {first.reason}"]
