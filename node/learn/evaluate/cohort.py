"""The predictions of one seed: which of them judge, which may choose, and as arrays."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from node.errors import Failed
from node.learn.evaluate.metrics import Numbers, shares
from node.learn.prediction import Prediction

VALIDATION, TEST, ALL = "validation", "test", "all"
PARTS = (TEST, VALIDATION, ALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cohort:
    """What one seed said, one prediction a case, sorted by key."""

    seed: int
    #: Judge.
    judged: tuple[Prediction, ...]
    #: Choose a calibration and an operating point: the very same where they are out of fold.
    choosing: tuple[Prediction, ...]

    @property
    def is_out_of_fold(self) -> bool:
        """Whether the cases that judge choose as well, each for the others."""
        return self.choosing is self.judged


def cohorts(predictions: Iterable[Prediction], part: str = TEST) -> tuple[Cohort, ...]:
    """Sort predictions by seed.

    With several folds every case is read by the one training that did not see it, and these cases choose as well, each
    for the others; with one, what validated chooses and what tests judges. Folds that share one test part are networks
    of their own, each judged by itself as a seed is. "all" judges both, a case of the test part before one of
    validation.

    Raises:
        Failed: there is no prediction of that part.
    """
    by_seed: dict[int, list[Prediction]] = {}
    for each in predictions:
        by_seed.setdefault(each.seed, []).append(each)
    wanted = {ALL: (TEST, VALIDATION), TEST: (TEST,), VALIDATION: (VALIDATION,)}[part]
    found = []
    for seed, of_seed in sorted(by_seed.items()):
        for mine in _networks(of_seed) if TEST in wanted else [of_seed]:
            of_part = {name: [each for each in mine if each.part == name] for name in (TEST, VALIDATION)}
            judged = _each_once([of_part[name] for name in wanted])
            validated = _each_once([of_part[VALIDATION]])
            folds = {each.fold for each in judged}
            chooses = part == TEST and len(folds) == 1 and bool(validated)
            found.append(Cohort(seed=seed, judged=judged, choosing=validated if chooses else judged))
    if not found or not all(each.judged for each in found):
        raise Failed(f"there are no predictions of the part {part}")
    return tuple(found)


def joined(predictions: Iterable[Prediction], *, folds: bool = False) -> tuple[Prediction, ...]:
    """What several classifiers say as one, their shares averaged: those of all seeds, or those of all folds, too.

    Each case stays in its part; of what was read by one alone it is that.
    """
    found: dict[tuple[str, int, str], list[Prediction]] = {}
    for each in sorted(predictions, key=lambda each: (each.seed, each.fold)):
        found.setdefault((each.part, 0 if folds else each.fold, each.key), []).append(each)
    seed = min((several[0].seed for several in found.values()), default=0)
    return tuple(replace(_together(several), seed=seed, fold=fold) for (_, fold, _), several in sorted(found.items()))


def groups_of(predictions: Sequence[Prediction]) -> list[str]:
    """The group of each, its key where it has none."""
    return [each.group or each.key for each in predictions]


def truth_of(predictions: Sequence[Prediction]) -> NDArray[np.int64]:
    """True class of each."""
    return np.array([-1 if each.truth is None else each.truth for each in predictions], np.int64)


def logits_of(predictions: Sequence[Prediction]) -> Numbers:
    """(case, class) logits."""
    return np.array([each.logits for each in predictions], np.float64)


def shares_of(predictions: Sequence[Prediction]) -> Numbers:
    """(case, class) numbers that the node calibrates: as they were told, else the softmax of the logits."""
    if predictions and all(each.shares for each in predictions):
        return np.array([each.shares for each in predictions], np.float64)
    return shares(logits_of(predictions))


def _networks(of_seed: Sequence[Prediction]) -> list[list[Prediction]]:
    """The predictions of a seed, fold by fold where folds share their test part."""
    keys = [each.key for each in of_seed if each.part == TEST]
    if len(set(keys)) == len(keys):
        return [list(of_seed)]
    return [[each for each in of_seed if each.fold == fold] for fold in sorted({each.fold for each in of_seed})]


def _each_once(parts: Sequence[Sequence[Prediction]]) -> tuple[Prediction, ...]:
    """One prediction a key, of the first part that has it; what several folds say of it is put together."""
    found: dict[str, Prediction] = {}
    for part in parts:
        here: dict[str, list[Prediction]] = {}
        for each in part:
            here.setdefault(each.key, []).append(each)
        for key, several in here.items():
            found.setdefault(key, _together(sorted(several, key=lambda each: each.fold)))
    return tuple(found[key] for key in sorted(found))


def _together(several: Sequence[Prediction]) -> Prediction:
    """Of a classifier the logarithms of the mean shares; else what the first fold says."""
    first = several[0]
    if len(several) == 1 or not first.logits:
        return first
    mean = shares(logits_of(several)).mean(axis=0)
    return replace(first, logits=tuple(float(each) for each in np.log(np.maximum(mean, 1e-300))))
