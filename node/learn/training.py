"""A whole training: data set, sheet, split, a network a seed and fold, figures, model. Each step is a file of the run.

What stands in the run's folder is not done again: a run that was killed goes on where it was.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from node.domain.model_card import Task
from node.learn import beginning, checkpoint, members, shelf, splitting, teams
from node.learn.architectures import marked, network_name, of_network
from node.learn.dataset.examination import Examination, examine
from node.learn.dataset.opened import Opened
from node.learn.dataset.problems import Gravity
from node.learn.dataset.sheet import Sheet
from node.learn.dataset.survey import Progress
from node.learn.evaluate.cohort import TEST, VALIDATION
from node.learn.evaluate.evaluating import Terms, evaluate
from node.learn.evaluate.evaluation import Evaluation, write_evaluation
from node.learn.fitting import Listener
from node.learn.learners import Example, teacher
from node.learn.place import Place
from node.learn.prediction import Prediction, read_predictions
from node.learn.radiomics.path import beside_network
from node.learn.recipe import Recipe
from node.learn.recipe_export import Members
from node.learn.run import Member, Run
from node.learn.split import Split, read_split
from node.learn.synthetic.counting import noted
from node.learn.synthetic.drawing import widened
from node.learn.trial import tried


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """A training as asked for."""

    recipe: Recipe
    #: Folder of the recipe: its split, its card and weights that it begins from lie beside it.
    beside: Path
    dataset: Path
    run: Run
    #: A split that was written down before; `None`: one is made.
    split: Path | None = None
    #: Nothing will be trained: what a run was begun with stays as it is.
    is_dry: bool = False


def _silent(_: object) -> None:
    """Hear nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ears:
    """Who is told how it goes."""

    #: A sentence.
    say: Callable[[str], object] = _silent
    #: Cases that were looked at, of so many.
    looking: Progress | None = None
    #: What hears of one training, by its name.
    training: Callable[[str], Listener] = field(default=lambda _: _silent)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """What stands before the first epoch."""

    dataset: Opened
    recipe: Recipe
    split: Split
    sheet: Sheet
    run: Run
    beside: Path
    #: Key → SHA-256 of the case's pixels.
    pixels: Mapping[str, str] = field(default_factory=dict)


def prepare(wish: Wish, ears: Ears, place: Place | None = None) -> Ready:
    """Look through the data set, part it, derive what the recipe leaves out; write it all into the run's folder.

    Of several processes the first one writes. A dry run writes into no folder in which something was trained.

    Raises:
        Misconfigured: the data set is unfit, the split does not fit it, the network does not fit either, or the run
            was begun with something else; says what, by name.
    """
    asked = wish.recipe
    examined = examine(
        wish.dataset,
        task=asked.task,
        classes=asked.classes,
        splitting=asked.split,
        preparation=asked.preparation,
        patients=wish.beside / asked.split.patients if asked.split.patients else None,
        progress=ears.looking,
    )
    dataset = examined.dataset
    ears.say(f"{dataset.name}: {len(dataset.cases)} cases for {dataset.task.value}, read as {dataset.layout}")
    for problem in examined.problems:
        if problem.gravity is not Gravity.ERROR:
            ears.say(f"{problem.gravity.value}: {problem.text}. {problem.remedy}")
    examined.refuse()
    split = _split(wish, examined)
    labels = {case.key: case.label for case in dataset.cases if case.label is not None}
    beginning.refuse_unfit(split, dataset.classes, labels if dataset.task is Task.CLASSIFICATION else {})
    for line in beginning.unvalidated(split, asked):
        ears.say(line)
    recipe = dataclasses.replace(asked, task=dataset.task, classes=dataset.classes)
    recipe = teacher(dataset.task).derived(recipe, dataset, examined.sheet)
    ready = Ready(
        dataset=dataset,
        recipe=recipe,
        split=split,
        sheet=examined.sheet,
        run=wish.run,
        beside=wish.beside,
        pixels={each.key: each.digest for each in examined.survey.sights},
    )
    copies = len(chosen(ready)) // (1 + len(recipe.networks))
    recipe = tried(recipe, dataset, copies=copies, is_derived=asked.network is None)
    ready = dataclasses.replace(ready, recipe=recipe)
    beginning.refuse_other(ready.run, recipe)
    if (place is None or place.leads) and not (wish.is_dry and beginning.standing(ready.run)):
        beginning.begin(ready.run, recipe, split, ready.sheet)
    if place is not None:
        place.meet()
    return ready


def train(ready: Ready, place: Place, ears: Ears) -> Evaluation:
    """Train every seed on every fold, and judge them.

    Of several processes the first one writes, and the others wait for it.

    Raises:
        Failed: a case cannot be prepared, a loss became no number, or memory or disk are too small.
        Misconfigured: what the run's folder keeps belongs to another network, or another process trains in it.
    """
    with ready.run.held() if place.leads else nullcontext():
        wanted = members_of(ready)
        whole = [member for member in chosen(ready) if member.fold == members.WHOLE]
        left = [member for member in (*wanted, *whole) if not member.is_done]
        # Nobody writes before everybody has looked.
        place.meet()
        examples: Mapping[str, Example] = _examples(ready, place, ears) if left else {}
        for number, member in enumerate((*wanted, *whole), 1):
            if member in left:
                _member(ready, member, examples, place, ears, f"{number} of {len(wanted) + len(whole)}")
            place.meet()
            if place.leads:
                checkpoint.forget(member.folder)
        said = tuple(each for one in members_alike(ready, 0) for each in read_predictions(one.predictions))
        asked = lambda: examples or _examples(ready, place, ears)  # noqa: E731
        together = teams.together(ready.run, ready.recipe, ready.split, place, asked)
        evaluation = _judged(ready, said, together)
        if place.leads:
            write_evaluation(ready.run.evaluation, evaluation)
            _two_stage(ready, evaluation, ears)
            shelf.clear(ready.run.folder)
    return evaluation


def _judged(ready: Ready, said: tuple[Prediction, ...], together: tuple[Prediction, ...]) -> Evaluation:
    """The figures; where nothing was held back for a test, those of what validated, which say so."""
    recipe = ready.recipe
    terms = Terms(part=TEST if any(fold.test for fold in ready.split.folds) else VALIDATION)
    judged = evaluate(said, recipe.evaluation, recipe.task, recipe.classes, together=together, terms=terms)
    return noted(marked(judged, recipe), ready.run)


def _examples(ready: Ready, place: Place, ears: Ears) -> Mapping[str, Example]:
    """The prepared cases; on disk they are put by one process, while the others wait."""
    ears.say("preparing the cases as the network will see them")
    kept = shelf.shelf_in(ready.run.folder, ready.recipe, ready.sheet)
    if kept is not None:
        ears.say(f"they take {shelf.needed(ready.recipe, ready.sheet) / 2**30:.1f} GiB, in {kept.folder} for the time")
        if not place.leads:
            place.meet()
    examples = members.prepared(ready.dataset, ready.recipe, ready.split, shelf=kept)
    if kept is not None and place.leads:
        place.meet()
    return examples


def _two_stage(ready: Ready, evaluation: Evaluation, ears: Ears) -> None:
    """What is measured in regions, judged beside the network, where the recipe asks for it."""
    if ready.recipe.radiomics is not None:
        beside_network(ready.dataset, ready.recipe, ready.split, ready.beside, ready.run.folder, evaluation, ears.say)


def members_of(ready: Ready) -> tuple[Member, ...]:
    """The trainings that are judged: every seed on every fold."""
    return tuple(member for kind in range(1 + len(ready.recipe.networks)) for member in members_alike(ready, kind))


def members_alike(ready: Ready, network: int) -> tuple[Member, ...]:
    """Those of one architecture; 0 is that of `[network]`."""
    folds = range(len(ready.split.folds))
    return tuple(ready.run.member(seed, fold, network) for seed in ready.recipe.training.seeds for fold in folds)


def chosen(ready: Ready) -> tuple[Member, ...]:
    """The trainings whose networks become the model."""
    seeds, run = ready.recipe.training.seeds, ready.run
    wanted: list[tuple[int, int]] = []
    match ready.recipe.export.members:
        case Members.FIRST:
            wanted = [(seeds[0], 0)]
        case Members.SEEDS:
            wanted = [(seed, 0) for seed in seeds]
        case Members.FOLDS:
            wanted = [(seeds[0], fold) for fold in range(len(ready.split.folds))]
        case Members.WHOLE:
            wanted = [(seeds[0], members.WHOLE)]
        case Members.WHOLE_SEEDS:
            wanted = [(seed, members.WHOLE) for seed in seeds]
    return tuple(run.member(*each, kind) for kind in range(1 + len(ready.recipe.networks)) for each in wanted)


def _split(wish: Wish, examined: Examination) -> Split:
    """The split that the run was begun with, else that which was written down before, else a new one."""
    file = beginning.path_of(wish.run, wish.split)
    if file is None:
        return splitting.make_split(examined.survey, examined.groups, wish.recipe.split)
    split = read_split(file)
    splitting.check(split, examined.dataset, examined.groups, examined.survey.digest)
    if wish.split is not None and read_split(wish.split) != split:
        raise beginning.other(wish.run, "split")
    return split


def _member(
    ready: Ready, member: Member, examples: Mapping[str, Example], place: Place, ears: Ears, which: str
) -> None:
    fold = members.fold_of(ready.split, member.fold, official=ready.recipe.split.official)
    name = f"training {which}: seed {member.seed}, " + ("all cases" if member.fold < 0 else f"fold {member.fold + 1}")
    if member.epochs:
        ears.say(f"{name} goes on after epoch {member.epochs}")
    if ready.recipe.networks:
        name = f"{name}, {network_name(ready.recipe, member.network)}"
    recipe = of_network(ready.recipe, member.network)
    material = members.material_of(recipe, recipe.classes, fold, examples)
    material = dataclasses.replace(material, beside=ready.beside)
    if not member.is_trained:
        material = widened(material, member, place, lambda: ears.training(f"{name}, synthetic images"))
    test = [examples[key] for key in fold.test]
    members.train_member(member, material, test, place, ears.training(name))
