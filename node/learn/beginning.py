"""What a run is begun with: its recipe, split and sheet, held against what it was begun with before."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from node.errors import Misconfigured
from node.learn import bearing, checkpoint
from node.learn.dataset.sheet import Sheet, sheet_text
from node.learn.recipe import Recipe, read_recipe
from node.learn.recipe_text import recipe_text
from node.learn.run import Run
from node.learn.split import FILE_NAME, Split, read_split, split_text

_SHOWN = 5


def standing(run: Run) -> Recipe | None:
    """Return the recipe that something was trained or searched with here; `None` where nothing was."""
    return read_recipe(run.recipe) if run.is_begun and run.recipe.exists() else None


def refuse_other(run: Run, recipe: Recipe) -> None:
    """See that what was trained here before was trained as this recipe has it; a dry run binds nobody.

    Raises:
        Misconfigured: a key on which what is there depends has changed; names it.
    """
    before = standing(run)
    if before is None:
        return
    kept = bearing.searching if run.is_searched and before.search and recipe.search else bearing.bearing
    changed = bearing.differences(kept(before), kept(recipe))
    if changed:
        more = f"; and {len(changed) - _SHOWN} more" if len(changed) > _SHOWN else ""
        raise other(run, "recipe or data set", f": {'; '.join(changed[:_SHOWN])}{more}")


def refuse_other_split(run: Run, split: Split) -> None:
    """See that a run was not begun with another split.

    Raises:
        Misconfigured: it was.
    """
    if run.is_begun and run.split.exists() and read_split(run.split) != split:
        raise other(run, "split")


def other(run: Run, what: str, more: str = "") -> Misconfigured:
    """Return what is said of a run that holds something else."""
    problem = f"was begun with another {what}{more}"
    return Misconfigured(run.folder, "", problem, "Name another folder with --run, or remove this one")


def begin(run: Run, recipe: Recipe, split: Split, sheet: Sheet) -> None:
    """Write down what a run is begun with, or goes on with; what its networks would say otherwise now is removed.

    Raises:
        Misconfigured: the folder cannot be made, or another process trains in it with something else.
    """
    try:
        run.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Misconfigured(run.folder, "", f"cannot be made: {error.strerror}", "Name another with --run") from error
    before = standing(run)
    if before is None or before == recipe:
        _write(run, recipe, split, sheet)
        return
    with run.held():
        # Before the recipe: whoever is killed in between compares them again.
        bearing.forget_answers(run, before, recipe)
        _write(run, recipe, split, sheet)


def _write(run: Run, recipe: Recipe, split: Split, sheet: Sheet) -> None:
    files = {run.recipe: recipe_text(recipe), run.split: split_text(split), run.sheet: sheet_text(sheet)}
    for file, text in files.items():
        checkpoint.write_whole(file, partial(_filled, text=text))


def _filled(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def refuse_unfit(split: Split, classes: Sequence[str], labels: dict[str, int]) -> None:
    """See that every training has every class, and that some case judges.

    Args:
        split: how the cases were parted.
        classes: of a classifier.
        labels: key → class, of a classifier; empty: nothing is looked for.

    Raises:
        Misconfigured: names the class, or says that nothing judges.
    """
    if not any(fold.validation or fold.test for fold in split.folds):
        remedy = "Hold some back for validation or for a test"
        raise Misconfigured("recipe.toml", "split.shares", "leaves no case to judge by", remedy)
    for number, fold in enumerate(split.folds, 1):
        missing = set(labels.values()) - {labels[key] for key in fold.train if key in labels}
        if missing:
            problem = f"fold {number}: no case of {classes[min(missing)]} is trained on"
            raise Misconfigured(FILE_NAME, "", problem, "Split anew with another split.seed, or add cases")


def unvalidated(split: Split, recipe: Recipe) -> Iterator[str]:
    """Say which trainings have no case that validates, and what that means for them."""
    asked = recipe.split.shares[1] > 0 or recipe.split.official
    folds = [number for number, fold in enumerate(split.folds, 1) if not fold.validation]
    if not folds or not (asked or recipe.training.patience):
        return
    where = "" if len(split.folds) == 1 else f" of fold {', '.join(map(str, folds))}"
    ends = "early stopping is off, and the last weights are kept" if recipe.training.patience else "nothing chooses"
    yield f"no case validates the training{where}: {ends}"


def path_of(run: Run, written: Path | None) -> Path | None:
    """Return the file of the split that holds: that which a run was begun with, else what was written down before."""
    return run.split if run.is_begun and run.split.exists() else written
