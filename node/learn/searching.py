"""The search for a better recipe with a budget: trials on training and validation part, the test part never seen.

Optuna chooses what is tried (tree-structured Parzen estimators: Bergstra et al., NIPS 2011) and ends what lies below
the median of the others at the same epoch. It keeps its journal in the run's folder: a search that was killed goes on.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from node.errors import Failed, Misconfigured
from node.learn import bearing, beginning, members
from node.learn.checkpoint import write_whole
from node.learn.comparison import FILE_NAME as COMPARISON
from node.learn.comparison import Comparison, Row, put_comparison
from node.learn.evaluate.figures import Figure
from node.learn.fitting import SCORE, Epoch, fit
from node.learn.learners import teacher
from node.learn.place import Place
from node.learn.recipe import Recipe
from node.learn.recipe_text import recipe_text
from node.learn.recipe_ways import Room, Searching
from node.learn.run import Member, Run
from node.learn.space import usual
from node.learn.split import Fold
from node.learn.synthetic.drawing import widened
from node.learn.training import Ears, Ready
from node.learn.ways import STRENGTH, Tray, changed

_STUDY = "search"
#: What it has found, where something else is trained already.
BEST = "best.toml"
#: Trials that are drawn at random before the others are learnt from, and that no trial is ended before.
_AT_RANDOM, _UNENDED = 6, 4
#: Ways that the report shows.
_SHOWN = 6
_REMEDY = "Install it: pip install -c constraints.txt '.[train]'; or leave the table out"


def searched(ready: Ready, place: Place, ears: Ears) -> Ready:
    """Search as the recipe's `[search]` asks; return what stands for the run of the best recipe.

    The search has a run of its own, the folder `search` in that of the training, with `journal.log` and `trials.jsonl`;
    the best recipe is the `recipe.toml` of the training, and the best ways are a table of its report.

    Raises:
        Misconfigured: Optuna is not installed, there is nothing to validate on, or a key is none of the recipe's.
        Failed: no trial came to an end.
    """
    asked = ready.recipe.search
    if asked is None:
        return ready
    # Hours may pass before what it finds can be trained.
    beginning.refuse_other_split(Run(folder=ready.run.folder.parent), ready.split)
    fold = ready.split.folds[0]
    if not fold.validation:
        raise Misconfigured("recipe.toml", "search", "has no validation part to choose by", "Give one in [split]")
    if place.world > 1:
        raise Misconfigured(
            "WORLD_SIZE", "", "a search is one process's", "Search without torchrun, then train with it"
        )
    optuna = _optuna()
    folder = ready.run.folder
    room = asked.space or usual(ready.recipe)
    study = _study(optuna, folder, asked)
    seen = Fold(train=fold.train, validation=fold.validation)
    trying = _Trying(
        optuna=optuna,
        ready=ready,
        place=place,
        ears=ears,
        asked=asked,
        room=room,
        folder=folder,
        tray=Tray(ready.dataset, ready.split, seen),
        fold=seen,
    )
    _go_on(optuna, study, trying)
    done = [each for each in study.trials if each.state.name in ("COMPLETE", "PRUNED", "FAIL")]
    spent_s = sum(each.duration.total_seconds() for each in done if each.duration)
    left, left_s = asked.trials - len(done), asked.minutes * 60 - spent_s
    if left > 0 and (not asked.minutes or left_s > 0):
        tell = [lambda study, _: _write_trials(folder, study.trials)]
        study.optimize(trying, n_trials=left, timeout=left_s if asked.minutes else None, callbacks=tell)
    if not any(each.state.name == "COMPLETE" for each in study.trials):
        raise Failed("no trial of the search came to an end: a lower learning rate in its space may help")
    return _best(ready, study, folder, ears)


def _optuna() -> Any:
    try:
        return importlib.import_module("optuna")
    except ImportError:
        problem = "needs Optuna, which is not installed here"
        raise Misconfigured("recipe.toml", "search", problem, _REMEDY) from None


def _study(optuna: Any, folder: Path, asked: Searching) -> Any:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    backend = optuna.storages.journal.JournalFileBackend(str(folder / "journal.log"))
    storage = optuna.storages.JournalStorage(backend)
    study = optuna.create_study(study_name=_STUDY, storage=storage, direction="maximize", load_if_exists=True)
    # A search that goes on must not draw again what it has drawn.
    study.sampler = optuna.samplers.TPESampler(seed=asked.seed + len(study.trials), n_startup_trials=_AT_RANDOM)
    study.pruner = optuna.pruners.MedianPruner(n_startup_trials=_UNENDED, n_warmup_steps=1)
    return study


def _go_on(optuna: Any, study: Any, trying: _Trying) -> None:
    """Begin with the recipe as it is; try again what was under way when the search was killed."""
    if not study.trials:
        study.enqueue_trial(trying.as_it_is())
    running = optuna.trial.TrialState.RUNNING
    for each in study.get_trials(states=(running,)):
        study.tell(each.number, state=optuna.trial.TrialState.FAIL)
        study.enqueue_trial(each.params)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Trying:
    """One trial after the other; called with each."""

    optuna: Any
    ready: Ready
    place: Place
    ears: Ears
    asked: Searching
    room: Mapping[str, Room]
    folder: Path
    tray: Tray
    fold: Fold

    def __call__(self, trial: Any) -> float:
        """Train, and return the score on the validation part.

        Raises:
            TrialPruned: it lies below the others, or its loss became no number.
        """
        recipe = self._recipe({key: _suggested(trial, key, room) for key, room in self.room.items()})
        assert recipe.task is not None
        material = members.material_of(recipe, recipe.classes, self.fold, self.tray.examples(recipe))
        material = dataclasses.replace(material, beside=self.ready.beside)
        name = f"trial {trial.number + 1} of {self.asked.trials}"
        hear = self.ears.training(name)

        def listen(told: Epoch | tuple[int, int]) -> None:
            hear(told)
            if isinstance(told, Epoch) and SCORE in told.figures:
                trial.report(told.figures[SCORE], told.number)
                if trial.should_prune():
                    raise self.optuna.TrialPruned(f"ended after epoch {told.number}")

        folder = self.folder / f"trial-{trial.number}"
        folder.mkdir(exist_ok=True)
        seed = recipe.training.seeds[0]
        try:
            member = Member(folder=folder, seed=seed, fold=0)
            material = widened(material, member, self.place, lambda: self.ears.training(f"{name}, synthetic images"))
            learner = teacher(recipe.task).learner(material, seed)
            history = fit(learner, recipe.training, folder, seed, self.place, listen)
        except Failed as error:
            raise self.optuna.TrialPruned(str(error)) from error
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        scores = [each[SCORE] for each in history if SCORE in each]
        return float(max(scores) if recipe.training.patience else scores[-1])

    def as_it_is(self) -> dict[str, Any]:
        """The recipe's own values, as Optuna has them, as far as they lie in the room."""
        own = {key: _value_of(self.ready.recipe, key) for key in self.room}
        own = {key: value for key, value in own.items() if value is not None}
        return {
            key: json.dumps(value) if self.room[key].choices else value
            for key, value in own.items()
            if _lies_in(value, self.room[key])
        }

    def _recipe(self, changes: Mapping[str, Any]) -> Recipe:
        made = changed(self.ready.recipe, changes)
        if self.asked.epochs:
            made = dataclasses.replace(made, training=dataclasses.replace(made.training, epochs=self.asked.epochs))
        return made


def _suggested(trial: Any, key: str, room: Room) -> Any:
    if room.choices:
        # Lists are no choices to Optuna, and texts are.
        return json.loads(trial.suggest_categorical(key, [json.dumps(each) for each in room.choices]))
    if room.whole:
        assert room.low is not None
        assert room.high is not None
        return trial.suggest_int(key, int(room.low), int(room.high), log=room.log)
    return trial.suggest_float(key, room.low, room.high, log=room.log)


def _value_of(recipe: Recipe, key: str) -> Any:
    """What a recipe has under "table.key", as TOML has it; 1 of the augmentation's strength, `None` of what is not."""
    if key == STRENGTH:
        return 1.0
    found: Any = recipe
    for part in key.split("."):
        found = found.get(part) if isinstance(found, dict) else getattr(found, part, None)
    return getattr(found, "value", found)


def _lies_in(value: Any, room: Room) -> bool:
    if room.choices:
        return json.dumps(value) in [json.dumps(each) for each in room.choices]
    assert room.low is not None
    assert room.high is not None
    return isinstance(value, int | float) and room.low <= value <= room.high


def _write_trials(folder: Path, trials: Sequence[Any]) -> None:
    lines = "".join(f"{json.dumps(_line(each))}\n" for each in trials)
    write_whole(folder / "trials.jsonl", lambda path: path.write_text(lines, encoding="utf-8"))


def _line(trial: Any) -> dict[str, Any]:
    return {
        "trial": trial.number + 1,
        "state": trial.state.name.lower(),
        "score": trial.value if trial.state.name == "COMPLETE" else None,
        "changes": _changes(trial),
        "epochs": {str(number): score for number, score in sorted(trial.intermediate_values.items())},
        "seconds": round(trial.duration.total_seconds(), 1) if trial.duration else None,
    }


def _changes(trial: Any) -> dict[str, Any]:
    return {key: json.loads(value) if isinstance(value, str) else value for key, value in trial.params.items()}


def _best(ready: Ready, study: Any, folder: Path, ears: Ears) -> Ready:
    """What stands, with the recipe that is trained; written down, and put beside the others in the report."""
    _write_trials(folder, study.trials)
    best = changed(ready.recipe, _changes(study.best_trial))
    best = dataclasses.replace(best, ablation=ready.recipe.ablation)
    trained = _kept(ready, best, ears)
    done = [each for each in study.trials if each.state.name == "COMPLETE"]
    first, *others = done
    shown = [first, *sorted(others, key=lambda each: -each.value)[: _SHOWN - 1]]
    rows = [_row(each, is_chosen=trained is best and each.number == study.best_trial.number) for each in shown]
    ended = sum(each.state.name == "PRUNED" for each in study.trials)
    said = (
        f"{len(study.trials)} trials on the training and validation part, {ended} of them ended early; the test part"
        " was not looked at. The score is that of the validation part, so the best of many is flattered by chance."
    )
    found = dataclasses.replace(ready, recipe=trained, run=Run(folder=folder.parent))
    beginning.begin(found.run, found.recipe, found.split, found.sheet)
    put_comparison(found.run.folder / COMPARISON, Comparison(title="Search", text=said, rows=tuple(rows)))
    return found


def _kept(ready: Ready, best: Recipe, ears: Ears) -> Recipe:
    """The recipe that is trained: the best one, unless networks stand that were trained by another.

    These are kept: a search that is added to a run, or goes on, tells of a better way, and takes nothing away.
    """
    run = Run(folder=ready.run.folder.parent)
    before = beginning.standing(run)
    if before is None or not bearing.differences(bearing.bearing(before), bearing.bearing(best)):
        return best
    text = recipe_text(best)
    write_whole(ready.run.folder / BEST, lambda path: path.write_text(text, encoding="utf-8"))
    ears.say(
        f"the search has found another recipe than the one that {run.folder} was trained by, which is kept: train "
        f"{ready.run.folder / BEST} in another folder"
    )
    chose = bool(before.training.patience)
    kept = dataclasses.replace(
        before,
        name=best.name,
        card=best.card,
        training=dataclasses.replace(before.training, seeds=best.training.seeds),
        evaluation=dataclasses.replace(best.evaluation, **bearing.shown(before)) if chose else best.evaluation,
        radiomics=best.radiomics,
        export=best.export,
        ablation=best.ablation,
        networks=best.networks,
    )
    # What the search did not look for may still be another.
    beginning.refuse_other(run, kept)
    return kept


def _row(trial: Any, *, is_chosen: bool) -> Row:
    changes = {
        key: f"{value:.3g}" if isinstance(value, float) else str(value) for key, value in _changes(trial).items()
    }
    figures = {SCORE: Figure(value=float(trial.value))}
    return Row(name=f"trial {trial.number + 1}", changes=changes, figures=figures, is_chosen=is_chosen)
