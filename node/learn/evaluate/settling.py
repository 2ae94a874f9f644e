"""What one seed settles for one class: its calibration, the number that is told of each case, and the threshold."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from node.learn.evaluate import calibration, operating
from node.learn.evaluate.cohort import Cohort, groups_of, shares_of, truth_of
from node.learn.evaluate.figures import Scaling
from node.learn.evaluate.metrics import Numbers

Positive = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """What a model's card says already: nothing is fitted then."""

    #: One a class.
    scalings: tuple[Scaling | None, ...]
    #: Of the positive class.
    threshold: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassOfSeed:
    """One class against the rest, as one seed has it; arrays are over the cases that judge."""

    positive: Positive
    share: Numbers
    #: Fitted on all that may choose.
    scaling: Scaling | None
    #: The number that the node tells with that calibration; the share where there is none.
    told: Numbers
    #: By a calibration that was fitted without the case's own group; `None`: too few to fit.
    held_out: Numbers | None
    threshold: float | None
    #: On the share, of each case: chosen without the case's own fold; `None` where the cases that judge did not choose.
    held_out_at: Numbers | None


def settle(cohort: Cohort, label: int, sensitivity: float, settled: Settled | None = None) -> ClassOfSeed:
    """Calibrate a class, and set it to work; `settled` is taken as it is."""
    share, positive = _of_class(cohort, label)
    if settled is not None:
        scaling = settled.scalings[label]
        told = calibration.probability(share, scaling) if scaling else share
        return ClassOfSeed(
            positive=positive,
            share=share,
            scaling=scaling,
            told=told,
            held_out=told if scaling else None,
            threshold=settled.threshold,
            held_out_at=None,
        )
    chosen = Cohort(seed=cohort.seed, judged=cohort.choosing, choosing=cohort.choosing)
    chosen_share, chosen_positive = _of_class(chosen, label)
    scaling = calibration.fit(chosen_share, chosen_positive)
    told = calibration.probability(share, scaling) if scaling else share
    chosen_told = calibration.probability(chosen_share, scaling) if scaling else chosen_share
    parts = _parts(cohort, positive) if cohort.is_out_of_fold else None
    held_out = told if scaling else None
    if parts is not None:
        held_out = calibration.crossed(share, positive, parts)
    return ClassOfSeed(
        positive=positive,
        share=share,
        scaling=scaling,
        told=told,
        held_out=held_out,
        threshold=operating.threshold(chosen_told, chosen_positive, sensitivity),
        held_out_at=_thresholds(share, positive, parts, sensitivity) if parts is not None else None,
    )


def _of_class(cohort: Cohort, label: int) -> tuple[Numbers, Positive]:
    return shares_of(cohort.judged)[:, label], truth_of(cohort.judged) == label


def _parts(cohort: Cohort, positive: Positive) -> list[int]:
    """What is calibrated by the rest: the folds, where there are some and none tears a group apart; else own parts."""
    folds = [each.fold for each in cohort.judged]
    groups = groups_of(cohort.judged)
    together = len(set(zip(groups, folds, strict=True))) == len(set(groups))
    return folds if len(set(folds)) > 1 and together else calibration.parted(groups, positive)


def _thresholds(share: Numbers, positive: Positive, parts: list[int], sensitivity: float) -> Numbers | None:
    found = np.full(len(share), np.nan)
    for part in sorted(set(parts)):
        mine = np.array(parts) == part
        at = operating.threshold(share[~mine], positive[~mine], sensitivity)
        if at is None:
            return None
        found[mine] = at
    return found
