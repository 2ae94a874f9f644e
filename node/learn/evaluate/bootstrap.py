"""95 % intervals: the groups of cases are drawn anew, and every figure is computed again of what was drawn.

A group (a patient, images that are nearly the same) is drawn as a whole: its cases say one thing, not several. Groups
are drawn within their class, so that no resample lacks one. Nothing is sorted anew: a resample is a number of times
that each case counts, and figures weigh their cases. Of several seeds the same groups are drawn for all, and the
figure is their mean: its interval is that of other patients, not of other seeds, whose spread is told beside it.

Percentile: Efron and Tibshirani, An Introduction to the Bootstrap (1993), ch. 13; BCa: ch. 14. Where every resample
gives the same nothing is learnt by resampling: a share that is always 0 or 1 then has Wilson's interval of as many
groups as it rests on, for an AUC those of the smaller side; another figure has none.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from node.learn.evaluate.figures import Figure
from node.learn.evaluate.metrics import Numbers, number
from node.learn.evaluate.operating import wilson

#: (row, case) weights → name → (row) figures; NaN where it is not defined.
Statistic = Callable[[Numbers], Mapping[str, Numbers]]
REPLICATES = 1000
CONFIDENCE = 0.95
#: Groups are left out one by one for BCa's acceleration; of more than these, so many parts of them are.
_MOST_LEFT_OUT = 200
#: Weights held at once.
_MOST_WEIGHTS = 1 << 20
#: Resamples that must have a figure for its interval to be told.
_LEAST_DEFINED = 0.5
#: Resamples that differ by less are the same.
_SAME = 1e-12


class Method(StrEnum):
    """How an interval is made of the resamples."""

    PERCENTILE = "percentile"
    #: Bias-corrected and accelerated.
    BCA = "bca"
    #: Percentiles moved so that the resamples' mean lies on the figure: for one that every resampling adds to, as to a
    #: calibration error. It is the interval of the same figure of as many other cases.
    CENTRED = "centred"


@dataclass(frozen=True, slots=True, kw_only=True)
class Draws:
    """How often each group counts."""

    #: Group → its column.
    groups: Mapping[str, int]
    #: (1 + replicate + left out, group): all once, then as drawn, then with a part left out.
    counts: NDArray[np.float32]
    replicates: int

    def columns(self, groups: Sequence[str]) -> NDArray[np.intp]:
        """The column of the group of each case."""
        return np.array([self.groups[group] for group in groups], np.intp)


def draw(
    groups: Sequence[str], strata: Sequence[Hashable] | None = None, *, replicates: int = REPLICATES, seed: int = 0
) -> Draws:
    """Draw the groups of the cases; `strata` is the class of each case, and a group is of the class that most are of.

    A class with a single group is drawn together with the largest class: alone it would never vary.
    """
    columns = {group: column for column, group in enumerate(sorted(set(groups)))}
    rng = np.random.default_rng(seed)
    count = len(columns)
    drawn = np.zeros((replicates, count), np.float32)
    for members in _strata(groups, strata, columns):
        drawn[:, members] = rng.multinomial(len(members), np.full(len(members), 1 / len(members)), size=replicates)
    parts = np.arange(count) if count <= _MOST_LEFT_OUT else rng.permutation(count) % _MOST_LEFT_OUT
    left_out = np.ones((int(parts.max(initial=-1)) + 1, count), np.float32)
    left_out[parts, np.arange(count)] = 0
    counts = np.concatenate([np.ones((1, count), np.float32), drawn, left_out])
    return Draws(groups=columns, counts=counts, replicates=replicates)


def intervals(
    draws: Draws,
    statistics: Sequence[tuple[Sequence[str], Statistic]],
    method: Method = Method.BCA,
    centred: Container[str] = (),
    rests_on: Mapping[str, int] | None = None,
) -> dict[str, Figure]:
    """The figures of several seeds, each with the groups of its cases: name → mean of the seeds, with its interval.

    Figures in `centred` are centred, whatever the method. One that a seed does not have at all is left out. `rests_on`
    says of shares, 0 to 1, of how many groups they are.
    """
    if not statistics:
        return {}
    rows = [_rows(draws, groups, statistic) for groups, statistic in statistics]
    names = [name for name in rows[0] if all(name in each for each in rows)]
    methods = {name: Method.CENTRED if name in centred else method for name in names}
    of = rests_on or {}
    return {
        name: _figure([each[name] for each in rows], draws.replicates, methods[name], of.get(name, 0)) for name in names
    }


def interval(
    value: float, drawn: Numbers, left_out: Numbers, method: Method, groups: int = 0
) -> tuple[float, float] | None:
    """The two ends for a value, of what was drawn and of what came out with parts left out.

    `groups`: of a share, how many it is of. `None`: too few resamples have it, or all have the same.
    """
    known = drawn[np.isfinite(drawn)]
    if not np.isfinite(value) or len(known) < max(2, _LEAST_DEFINED * len(drawn)):
        return None
    if float(np.ptp(known)) <= _SAME:
        is_limit = groups > 0 and min(abs(value), abs(1 - value)) <= _SAME
        return wilson(groups if value > 0.5 else 0, groups) if is_limit else None
    tails = np.array([(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    if method is Method.BCA:
        tails = _corrected(tails, value, known, left_out[np.isfinite(left_out)])
    low, high = np.quantile(known, tails)
    if method is Method.CENTRED:
        off = float(known.mean()) - value
        low, high = max(0.0, low - off), high - off
    return min(float(low), value), max(float(high), value)


def _corrected(tails: Numbers, value: float, drawn: Numbers, left_out: Numbers) -> Numbers:
    """BCa's percentiles; the plain ones where the bias is without bounds, or nothing varies."""
    near = np.isclose(drawn, value, rtol=1e-12, atol=1e-12)
    below = float(((drawn < value) & ~near).mean() + near.mean() / 2)
    if not 0 < below < 1:
        return tails
    bias = float(ndtri(below))
    off = left_out.mean() - left_out if len(left_out) else np.zeros(1)
    spread = float((off**2).sum())
    acceleration = float((off**3).sum()) / (6 * spread**1.5) if spread > 1e-24 else 0.0
    moved = bias + ndtri(tails)
    return np.asarray(ndtr(bias + moved / (1 - acceleration * moved)), np.float64)


def _figure(seeds: Sequence[Numbers], replicates: int, method: Method, groups: int) -> Figure:
    stacked = np.stack(seeds)
    known = np.isfinite(stacked)
    counts = known.sum(axis=0)
    means = np.where(counts > 0, np.where(known, stacked, 0).sum(axis=0) / np.maximum(counts, 1), np.nan)
    each, value = stacked[:, 0], float(means[0])
    ends = interval(value, means[1 : 1 + replicates], means[1 + replicates :], method, groups)
    defined = each[np.isfinite(each)]
    return Figure(
        value=number(value),
        low=ends[0] if ends else None,
        high=ends[1] if ends else None,
        spread=float(defined.std(ddof=1)) if len(defined) > 1 else None,
        seeds=tuple(number(one) for one in each),
    )


def _rows(draws: Draws, groups: Sequence[str], statistic: Statistic) -> dict[str, Numbers]:
    columns = draws.columns(groups)
    found = [dict(statistic(weights)) for weights in _weights(draws, columns)]
    return {name: np.concatenate([each[name] for each in found]) for name in found[0]}


def _weights(draws: Draws, columns: NDArray[np.intp]) -> Iterator[Numbers]:
    step = max(1, _MOST_WEIGHTS // max(1, len(columns)))
    for start in range(0, len(draws.counts), step):
        yield draws.counts[start : start + step][:, columns].astype(np.float64)


def _strata(
    groups: Sequence[str], strata: Sequence[Hashable] | None, columns: Mapping[str, int]
) -> list[NDArray[np.intp]]:
    """Columns that are drawn among themselves."""
    if strata is None:
        return [np.arange(len(columns))] if columns else []
    votes: list[dict[Hashable, int]] = [{} for _ in columns]
    for group, stratum in zip(groups, strata, strict=True):
        mine = votes[columns[group]]
        mine[stratum] = mine.get(stratum, 0) + 1
    of_stratum: dict[Hashable, list[int]] = {}
    for column, mine in enumerate(votes):
        of_stratum.setdefault(max(mine, key=lambda each: (mine[each], str(each))), []).append(column)
    ordered = sorted(of_stratum.values(), key=len, reverse=True)
    alone = [column for members in ordered[1:] if len(members) < 2 for column in members]
    kept = [members for place, members in enumerate(ordered) if place == 0 or len(members) > 1]
    return [np.array(members + (alone if place == 0 else []), np.intp) for place, members in enumerate(kept)]
