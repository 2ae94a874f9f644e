"""Networks of several architectures beside one another, and together: what each reaches, and what the model of all."""

from __future__ import annotations

from node.learn import members, teams
from node.learn.ablation import figures_of, statistic_of
from node.learn.architectures import network_name
from node.learn.comparison import FILE_NAME, Comparison, Row, put_comparison
from node.learn.place import Place
from node.learn.prediction import Prediction, read_predictions
from node.learn.training import Ready

TITLE = "Architectures"
TOGETHER = "all together"


def compare(ready: Ready, place: Place) -> Comparison | None:
    """Put the networks of a run, and what they say together, beside one another in its report.

    `None`: there is one architecture alone, or this is not the process that writes.

    Raises:
        Misconfigured: predictions of a training are not there.
    """
    recipe, split = ready.recipe, ready.split
    if not recipe.networks or not place.leads:
        return None
    part = members.TEST if any(fold.test for fold in split.folds) else members.VALIDATION
    kinds = range(1 + len(recipe.networks))
    said = {network_name(recipe, kind): _read(ready, kind) for kind in kinds}
    if ready.run.together.exists():
        said[TOGETHER] = read_predictions(ready.run.together)
    # All are held against one another on what was read together, where that is less.
    keys = {each.key for each in said.get(TOGETHER, ()) if each.part == part}
    said = {name: tuple(each for each in told if not keys or each.key in keys) for name, told in said.items()}
    first, *_ = (statistic_of(told, recipe, part) for told in said.values())
    rows: list[Row] = []
    for name, told in said.items():
        own = statistic_of(told, recipe, part)
        figures = figures_of(told, part, own, first if rows else None)
        rows.append(Row(name=name, figures=figures, is_chosen=name == TOGETHER))
    text = (
        f"Each trained alike on the same split, with seed {recipe.training.seeds[0]}, judged on the {part} part. The"
        " model is all of them, their shares averaged. A change is that from the first, with the interval of the"
        " difference (paired, 95 %): one that holds 0 shows nothing."
    )
    team = next(iter(teams.teams_of(ready.run, recipe, split)), ())
    if len(team) > len(kinds):
        text += f" All together are {len(team)} networks, of other seeds or folds besides: that is a gain of its own."
    if TOGETHER not in said:
        text += " No case is new to all networks of the model: what they reach together is not known."
    comparison = Comparison(title=TITLE, text=text, rows=tuple(rows))
    put_comparison(ready.run.folder / FILE_NAME, comparison)
    return comparison


def _read(ready: Ready, kind: int) -> tuple[Prediction, ...]:
    """What the networks of one architecture say with the first seed."""
    seed = ready.recipe.training.seeds[0]
    alike = (ready.run.member(seed, fold, kind) for fold in range(len(ready.split.folds)))
    return tuple(each for member in alike for each in read_predictions(member.predictions))
