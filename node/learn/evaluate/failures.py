"""The cases that were read worst, for people to look at."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from node.domain.model_card import Task
from node.learn.evaluate.cohort import Cohort, logits_of, truth_of
from node.learn.evaluate.detection import FROC_OVERLAP, hits
from node.learn.evaluate.evaluation import Failure
from node.learn.evaluate.metrics import log_loss, shares
from node.learn.prediction import Prediction

MOST = 24
#: Boxes with less are not held against a detector here.
_LEAST_SCORE = 0.5


def worst(cohorts: Sequence[Cohort], task: Task, names: Sequence[str], most: int = MOST) -> tuple[Failure, ...]:
    """The worst cases, by the mean of the seeds; each as the seed has it that read it worst.

    A case that was read without fault is none of them.
    """
    told: Callable[[Sequence[Prediction], Sequence[str]], list[Failure]] = {
        Task.CLASSIFICATION: _of_answers,
        Task.SEGMENTATION: _of_masks,
        Task.DETECTION: _of_boxes,
    }[task]
    by_key: dict[str, list[Failure]] = {}
    for cohort in cohorts:
        for each in told(cohort.judged, names):
            by_key.setdefault(each.key, []).append(each)
    means = {key: sum(each.badness for each in mine) / len(mine) for key, mine in by_key.items()}
    ordered = sorted((key for key in by_key if means[key] > 0), key=lambda key: (-means[key], key))
    return tuple(max(by_key[key], key=lambda each: each.badness) for key in ordered[:most])


def _of_answers(judged: Sequence[Prediction], names: Sequence[str]) -> list[Failure]:
    logits = logits_of(judged)
    given, losses = shares(logits), log_loss(logits, truth_of(judged))
    found = []
    for each, row, loss in zip(judged, given, losses.tolist(), strict=True):
        truth, answer = names[each.truth or 0], names[int(row.argmax())]
        said = f"is {truth}, and was given {float(row[each.truth or 0]):.2f} of that"
        why = said if truth == answer else f"{said}; {answer} was given {float(row.max()):.2f}"
        found.append(
            Failure(key=each.key, seed=each.seed, fold=each.fold, why=why, badness=loss, truth=truth, answer=answer)
        )
    return found


def _of_masks(judged: Sequence[Prediction], names: Sequence[str]) -> list[Failure]:
    found = []
    for each in judged:
        known = {number: figures.dice for number, figures in each.segments.items() if figures.dice is not None}
        if not known:
            continue
        least = min(known, key=lambda number: (known[number], number))
        figures = each.segments[least]
        name = names[least - 1] if 0 < least <= len(names) else str(least)
        why = f"{name}: Dice {known[least]:.3f}, {figures.volume_ml:.2f} mL where {figures.true_volume_ml:.2f} mL are"
        found.append(Failure(key=each.key, seed=each.seed, fold=each.fold, why=why, badness=1 - known[least]))
    return found


def _of_boxes(judged: Sequence[Prediction], names: Sequence[str]) -> list[Failure]:
    found = []
    for each in judged:
        missed = false = 0
        for label in range(len(names)):
            matched = hits([each], label, FROC_OVERLAP)
            told = matched.scores >= _LEAST_SCORE
            missed += int(matched.true.sum()) - int((matched.is_hit & told).sum())
            false += int((~matched.is_hit & told).sum())
        why = f"{missed} box(es) missed, {false} falsely seen with a score of {_LEAST_SCORE} or more"
        badness = float(missed + false)
        found.append(Failure(key=each.key, seed=each.seed, fold=each.fold, why=why, badness=badness))
    return found
