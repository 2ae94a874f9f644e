"""How far two versions of a model agree: Cohen's kappa, one's positives in the other, Bland and Altman, Dice.

Studies of one patient are drawn together; where nobody is known the study stands for its patient. Cohen, Educ Psychol
Meas 1960;20:37; Bland and Altman, Lancet 1986;i:307.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from node.learn.evaluate.bootstrap import Method, Statistic, draw, intervals
from node.learn.evaluate.figures import Figure, Share
from node.learn.evaluate.metrics import Numbers
from node.learn.evaluate.operating import share

#: 95 of 100 differences lie within so many standard deviations.
_LIMITS = 1.96


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What one version says of one target or segment of a study."""

    present: bool | None = None
    #: Probability or score, 0–1.
    number: float | None = None
    volume_ml: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """One study that both have read."""

    #: Whom it is of.
    patient: str
    #: Target or segment → what the version in its place, and the one beside it, say of it.
    said: Mapping[str, tuple[Said, Said]]
    #: Segment → Dice of both masks.
    dice: Mapping[str, float] = field(default_factory=dict)
    #: Target → what readers have said that it is.
    truth: Mapping[str, bool] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decisions:
    """How often a target is there for one, the other, both or neither."""

    both: int
    only_in_place: int
    only_beside: int
    neither: int
    #: Cohen's; `None` within: one of them never changes its mind.
    kappa: Figure
    #: Of what the version in its place calls positive and negative, how much the one beside it calls so too.
    sensitivity: Share
    specificity: Share


@dataclass(frozen=True, slots=True, kw_only=True)
class Differences:
    """Beside less in place: mean, and between what 95 of 100 lie (Bland and Altman), each with its interval."""

    studies: int
    mean: Figure
    low: Figure
    high: Figure


@dataclass(frozen=True, slots=True, kw_only=True)
class Readers:
    """Both by what readers have said."""

    studies: int
    sensitivity_in_place: Share
    specificity_in_place: Share
    sensitivity_beside: Share
    specificity_beside: Share


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One target or segment. What nobody can say of it is `None`."""

    label: str
    studies: int
    decisions: Decisions | None = None
    #: Of probabilities or scores.
    numbers: Differences | None = None
    #: In mL.
    volumes: Differences | None = None
    #: Mean over the studies.
    dice: Figure | None = None
    readers: Readers | None = None


def compared(studies: Sequence[Study]) -> tuple[Compared, ...]:
    """Compare both versions, target by target, in the order of their first being told of."""
    labels = dict.fromkeys(label for study in studies for label in (*study.said, *study.dice))
    return tuple(
        _one(label, [each for each in studies if label in each.said or label in each.dice]) for label in labels
    )


def _one(label: str, studies: Sequence[Study]) -> Compared:
    dices = [(each.patient, each.dice[label]) for each in studies if label in each.dice]
    return Compared(
        label=label,
        studies=len(studies),
        decisions=_decisions(label, studies),
        numbers=_differences(label, studies, lambda said: said.number),
        volumes=_differences(label, studies, lambda said: said.volume_ml),
        dice=_mean(dices) if dices else None,
        readers=_readers(label, studies),
    )


def _decisions(label: str, studies: Sequence[Study]) -> Decisions | None:
    rows = [
        (study.patient, one.present, other.present)
        for study in studies
        if label in study.said
        for one, other in [study.said[label]]
        if one.present is not None and other.present is not None
    ]
    if not rows:
        return None
    one, other = (np.array([bool(row[place]) for row in rows]) for place in (1, 2))
    both, neither = int((one & other).sum()), int((~one & ~other).sum())
    found = _figures([row[0] for row in rows], lambda weights: {"kappa": _kappa(weights, one, other)})
    return Decisions(
        both=both,
        only_in_place=int((one & ~other).sum()),
        only_beside=int((~one & other).sum()),
        neither=neither,
        kappa=found["kappa"],
        sensitivity=share(both, int(one.sum())),
        specificity=share(neither, int((~one).sum())),
    )


def _kappa(weights: Numbers, one: NDArray[np.bool_], other: NDArray[np.bool_]) -> Numbers:
    total = weights.sum(axis=1)
    agreed = weights @ (one == other).astype(np.float64) / total
    first, second = (weights @ each.astype(np.float64) / total for each in (one, other))
    by_chance = first * second + (1 - first) * (1 - second)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(by_chance < 1, (agreed - by_chance) / (1 - by_chance), np.nan), np.float64)


def _differences(label: str, studies: Sequence[Study], of: Callable[[Said], float | None]) -> Differences | None:
    pairs = [(study.patient, *study.said[label]) for study in studies if label in study.said]
    known = [(patient, of(one), of(other)) for patient, one, other in pairs]
    rows = [(patient, other - one) for patient, one, other in known if one is not None and other is not None]
    if len(rows) < 2:
        return None
    values = np.array([row[1] for row in rows])

    def statistic(weights: Numbers) -> Mapping[str, Numbers]:
        total = weights.sum(axis=1)
        mean = weights @ values / total
        spread = np.maximum(weights @ values**2 / total - mean**2, 0) * total / np.maximum(total - 1, 1)
        half = _LIMITS * np.sqrt(spread)
        return {"mean": mean, "low": mean - half, "high": mean + half}

    return Differences(studies=len(rows), **_figures([row[0] for row in rows], statistic))


def _readers(label: str, studies: Sequence[Study]) -> Readers | None:
    rows = [
        (study.truth[label], *(each.present for each in study.said[label]))
        for study in studies
        if label in study.truth and label in study.said
    ]
    rows = [row for row in rows if None not in row]
    if not rows:
        return None

    def told(place: int, *, truth: bool) -> Share:
        of = [row for row in rows if row[0] is truth]
        return share(sum(row[place] is truth for row in of), len(of))

    return Readers(
        studies=len(rows),
        sensitivity_in_place=told(1, truth=True),
        specificity_in_place=told(1, truth=False),
        sensitivity_beside=told(2, truth=True),
        specificity_beside=told(2, truth=False),
    )


def _mean(rows: Sequence[tuple[str, float]]) -> Figure:
    values = np.array([row[1] for row in rows])
    return _figures([row[0] for row in rows], lambda weights: {"mean": weights @ values / weights.sum(axis=1)})["mean"]


def _figures(patients: Sequence[str], statistic: Statistic) -> dict[str, Figure]:
    """Each figure with its 95 % interval; patients are drawn anew, and leaving out the only one leaves nothing."""

    def guarded(weights: Numbers) -> Mapping[str, Numbers]:
        there = weights.sum(axis=1) > 0
        with np.errstate(divide="ignore", invalid="ignore"):
            return {name: np.where(there, each, np.nan) for name, each in statistic(weights).items()}

    return intervals(draw(patients), [(patients, guarded)], Method.PERCENTILE)
