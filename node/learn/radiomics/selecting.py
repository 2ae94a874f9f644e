"""Which features say something: chosen from training cases alone, so that no case has a say in its own judgement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from node.learn.radiomics.table import Radiomics

Numbers = NDArray[np.float64]
#: Scaled values beyond are outliers, and held here.
_HELD = 5.0
#: Training cases of the rarest class for each feature.
_CASES_A_FEATURE = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What is done to the features of a case before it is classified."""

    #: Columns, the most telling first.
    columns: tuple[int, ...]
    #: Median, and half the distance between the quartiles over 0.6745, of each column.
    centers: tuple[float, ...]
    scales: tuple[float, ...]
    #: Why others went: reason → how many.
    dropped: dict[str, int]

    def applied(self, values: Numbers) -> Numbers:
        """(case, feature) → (case, chosen feature), scaled."""
        scaled = (values[:, list(self.columns)] - np.array(self.centers)) / np.array(self.scales)
        return np.asarray(np.clip(scaled, -_HELD, _HELD), np.float64)


def select(values: Numbers, disturbed: Numbers | None, labels: NDArray[np.intp], said: Radiomics) -> Selection:
    """Choose features: no constant ones, none that hang on the very border, none twice, and few.

    What is left is chosen by the largest relevance less redundancy (Peng et al., IEEE TPAMI 27 (2005) 1226): the
    F-statistic of the classes, over the mean correlation with what was chosen before.

    Args:
        values: (case, feature) of the training cases.
        disturbed: the same of regions a pixel wider; `None`: not known.
        labels: class of each case.
        said: how much is asked.
    """
    centers = np.median(values, axis=0)
    scales = np.diff(np.percentile(values, (25, 75), axis=0), axis=0)[0] / (2 * 0.6745)
    spread = values.std(axis=0)
    scales = np.where(scales > 1e-9 * np.maximum(1.0, np.abs(centers)), scales, spread)
    varies = scales > 1e-9 * np.maximum(1.0, np.abs(centers))
    dropped = {"constant": int((~varies).sum())}
    left = np.flatnonzero(varies)
    if disturbed is not None and said.stability:
        stable = np.array([_alike(values[:, each], disturbed[:, each]) >= said.stability for each in left], np.bool_)
        dropped["unstable"] = int((~stable).sum())
        left = left[stable]
    scaled = np.clip((values[:, left] - centers[left]) / scales[left], -_HELD, _HELD)
    relevance = _f_statistics(scaled, labels)
    order = np.argsort(-relevance, kind="stable")
    alike = np.abs(_correlations(scaled))
    kept: list[int] = []
    for each in order.tolist():
        if all(alike[each, other] <= said.correlated for other in kept):
            kept.append(each)
    dropped["correlated"] = len(left) - len(kept)
    most = min(said.most, max(1, int(np.bincount(labels).min()) // _CASES_A_FEATURE), len(kept))
    chosen = _telling(kept, relevance, alike, most)
    dropped["less telling"] = len(kept) - len(chosen)
    columns = [int(left[each]) for each in chosen]
    return Selection(
        columns=tuple(columns),
        centers=tuple(float(centers[each]) for each in columns),
        scales=tuple(float(scales[each]) for each in columns),
        dropped=dropped,
    )


def _telling(kept: Sequence[int], relevance: Numbers, alike: Numbers, most: int) -> list[int]:
    chosen: list[int] = []
    while len(chosen) < most:
        waiting = [each for each in kept if each not in chosen]
        worth = [
            relevance[each] / max(0.05, alike[each, chosen].mean()) if chosen else relevance[each] for each in waiting
        ]
        chosen.append(waiting[int(np.argmax(worth))])
    return chosen


def _alike(one: Numbers, other: Numbers) -> float:
    """Rank correlation (Spearman)."""
    first, second = rankdata(one), rankdata(other)
    if not (first.std() and second.std()):
        return 0.0
    return float(np.corrcoef(first, second)[0, 1])


def _correlations(values: Numbers) -> Numbers:
    moved = values - values.mean(axis=0)
    lengths = np.sqrt((moved**2).sum(axis=0))
    moved = moved / np.where(lengths > 0, lengths, 1)
    return np.asarray(moved.T @ moved, np.float64)


def _f_statistics(values: Numbers, labels: NDArray[np.intp]) -> Numbers:
    """Variance between the classes over that within them, of each column."""
    classes = np.unique(labels)
    mean = values.mean(axis=0)
    between = np.zeros(values.shape[1])
    within = np.zeros(values.shape[1])
    for label in classes:
        mine = values[labels == label]
        between += len(mine) * (mine.mean(axis=0) - mean) ** 2
        within += ((mine - mine.mean(axis=0)) ** 2).sum(axis=0)
    freedom = max(1, len(values) - len(classes)) / max(1, len(classes) - 1)
    return np.asarray(between / np.maximum(within, 1e-12) * freedom, np.float64)
