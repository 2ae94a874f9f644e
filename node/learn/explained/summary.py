"""Figures of explanations over the cases, each with its 95 % interval where there are enough of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from node.imaging.explain.faithfulness import randomisation
from node.learn.evaluate.bootstrap import Draws, draw, intervals
from node.learn.evaluate.figures import Figure
from node.learn.evaluate.metrics import Numbers
from node.learn.explained.explanations import CaseExplained, Explanations

#: Groups of cases from which on an interval is told.
ENOUGH = 10
#: Figures that are told as the mean; of the others the median, since a single map can be off by any amount.
MEANS = ("pointing_game", "pointing_near", "mass_inside")


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """One method over the cases."""

    #: Name of a figure → its mean or median, with its interval.
    figures: Mapping[str, Figure]
    #: Name of a figure → cases that have it.
    cases: Mapping[str, int]
    #: Cases in which a shuffled network gives nearly the same map.
    failed: int
    #: The pointing game where the answer is right, and the cases.
    pointing_right: Figure
    right: int


def summarised(explanations: Explanations) -> dict[str, Summary]:
    """Method → its figures, in the order in which they were measured."""
    draws = _drawn(explanations.cases)
    names = list(explanations.samples)
    return {name: _of(name, explanations.cases, draws) for name in names}


def baselines(cases: Sequence[CaseExplained]) -> dict[str, Figure]:
    """What chance would point at, the share of the region, and the middle of the image: as `CaseExplained` has them."""
    draws = _drawn(cases)
    return {
        name: _figure([(each, value) for each in cases if (value := getattr(each, name)) is not None], draws, mean=True)
        for name in ("region", "centre", "region_near", "centre_near")
    }


def _drawn(cases: Sequence[CaseExplained]) -> Draws:
    return draw([each.group for each in cases], [each.truth for each in cases])


def _of(method: str, cases: Sequence[CaseExplained], draws: Draws) -> Summary:
    known: dict[str, list[tuple[CaseExplained, float]]] = {}
    for case in cases:
        for name, value in case.maps.get(method, {}).items():
            known.setdefault(name, []).append((case, value))
    pointed = [(case, value) for case, value in known.get("pointing_game", []) if case.truth == case.answer]
    return Summary(
        figures={name: _figure(mine, draws, mean=name in MEANS) for name, mine in known.items()},
        cases={name: len(mine) for name, mine in known.items()},
        failed=sum(value > randomisation.BOUND for _, value in known.get(randomisation.FIGURE, [])),
        pointing_right=_figure(pointed, draws, mean=True),
        right=len(pointed),
    )


def _figure(known: Iterable[tuple[CaseExplained, float]], draws: Draws, *, mean: bool) -> Figure:
    pairs = list(known)
    if not pairs:
        return Figure(value=None)
    values = np.array([value for _, value in pairs], np.float64)
    groups = [case.group for case, _ in pairs]

    def statistic(weights: Numbers) -> Mapping[str, Numbers]:
        return {"value": _means(values, weights) if mean else _medians(values, weights)}

    found = intervals(draws, [(groups, statistic)])["value"]
    return found if len(set(groups)) >= ENOUGH else replace(found, low=None, high=None)


def _means(values: Numbers, weights: Numbers) -> Numbers:
    total = weights.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(weights @ values / total, np.float64)


def _medians(values: Numbers, weights: Numbers) -> Numbers:
    """Of each row of weights the value that half of the weight lies below; of an even half the mean of the two."""
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(weights[:, order], axis=1)
    half = reached[:, -1:] / 2
    last = len(values) - 1
    low = np.minimum((reached < half).sum(axis=1), last)
    high = np.minimum((reached <= half).sum(axis=1), last)
    found = (values[order][low] + values[order][high]) / 2
    return np.where(reached[:, -1] > 0, found, np.nan)
