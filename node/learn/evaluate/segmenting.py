"""Figures of a segmentation, of one or several seeds: means over the cases in which a figure is defined."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from node.learn.evaluate.bootstrap import Draws, Method, Statistic, intervals
from node.learn.evaluate.cohort import Cohort, groups_of
from node.learn.evaluate.evaluation import Agreement, SegmentationFigures, SegmentSummary
from node.learn.evaluate.figures import Figure, Point
from node.learn.evaluate.metrics import Numbers, mean
from node.learn.prediction import Prediction, SegmentFigures

#: Figures of which the mean of the segments is told.
_OVERALL = ("dice", "hd95_mm", "surface_dice")
#: Of these, those from 0 to 1.
_SHARES = ("dice", "surface_dice")
_NAMES = (*_OVERALL, "volume_error_ml", "volume_error_percent")


def segmentation(
    cohorts: Sequence[Cohort], names: Sequence[str], tolerance_mm: float, draws: Draws, method: Method = Method.BCA
) -> SegmentationFigures:
    """Judge what the seeds said; segment 1 has the first name."""
    numbers = range(1, len(names) + 1)
    statistics = [(groups_of(each.judged), statistic_of(each.judged, numbers)) for each in cohorts]
    first = cohorts[0].judged
    figures = intervals(draws, statistics, method, rests_on=_groups_behind(first, numbers))
    return SegmentationFigures(
        tolerance_mm=tolerance_mm,
        figures={name: figures[name] for name in _OVERALL},
        segments=tuple(_segment(number, name, first, figures) for number, name in zip(numbers, names, strict=True)),
    )


def statistic_of(judged: Sequence[Prediction], numbers: Sequence[int]) -> Statistic:
    """Means over the cases: of each segment as "NUMBER NAME", and of all segments."""
    columns = {number: _columns([each.segments.get(number) for each in judged]) for number in numbers}

    def statistic(weights: Numbers) -> Mapping[str, Numbers]:
        found = {
            f"{number} {name}": mean(values, weights) for number in numbers for name, values in columns[number].items()
        }
        for name in _OVERALL:
            each = np.stack([found[f"{number} {name}"] for number in numbers])
            # A segment that no case has is not missed; of one that a case has there is a figure.
            known = np.isfinite(each)
            count = known.sum(axis=0)
            found[name] = np.where(count > 0, np.where(known, each, 0).sum(axis=0) / np.maximum(count, 1), np.nan)
        return found

    return statistic


def agreement(said_ml: Numbers, true_ml: Numbers) -> Agreement | None:
    """Limits of agreement (Bland and Altman, Lancet 1 (1986) 307); `None` of fewer than two cases."""
    if len(said_ml) < 2:
        return None
    off = said_ml - true_ml
    middle, spread = float(off.mean()), float(off.std(ddof=1))
    return Agreement(mean_ml=middle, low_ml=middle - 1.96 * spread, high_ml=middle + 1.96 * spread)


def _groups_behind(judged: Sequence[Prediction], numbers: Sequence[int]) -> dict[str, int]:
    """Of how many groups each share is: those in which the segment is, or is seen."""
    groups = groups_of(judged)
    found: dict[str, int] = {}
    for number in numbers:
        there = [each.segments.get(number) for each in judged]
        count = len({name for name, one in zip(groups, there, strict=True) if one is not None and one.dice is not None})
        found |= {f"{number} {name}": count for name in _SHARES}
    return found | {name: min((found[f"{number} {name}"] for number in numbers), default=0) for name in _SHARES}


def _segment(number: int, name: str, first: Sequence[Prediction], figures: Mapping[str, Figure]) -> SegmentSummary:
    known = [each.segments[number] for each in first if number in each.segments]
    there = [each for each in known if each.volume_ml > 0 or each.true_volume_ml > 0]
    said, true = (
        np.array([each.volume_ml for each in there], np.float64),
        np.array([each.true_volume_ml for each in there], np.float64),
    )
    return SegmentSummary(
        number=number,
        name=name,
        present=sum(each.true_volume_ml > 0 for each in known),
        falsely_seen=sum(each.volume_ml > 0 and not each.true_volume_ml for each in known),
        missed=sum(each.true_volume_ml > 0 and not each.volume_ml for each in known),
        figures={each: figures[f"{number} {each}"] for each in _NAMES},
        agreement=agreement(said, true),
        volumes_ml=tuple(Point(x=x, y=y) for x, y in zip(true.tolist(), said.tolist(), strict=True)),
        dice=tuple(each.dice for each in known if each.dice is not None),
    )


def _columns(found: Sequence[SegmentFigures | None]) -> dict[str, Numbers]:
    """Figure → its value of each case; NaN where a case has none."""

    def column(name: str) -> Numbers:
        values = [None if each is None else getattr(each, name) for each in found]
        return np.array([np.nan if value is None else value for value in values], np.float64)

    said, true = column("volume_ml"), column("true_volume_ml")
    off = np.where((said > 0) | (true > 0), said - true, np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(true > 0, 100 * np.abs(off) / true, np.nan)
    columns = {name: column(name) for name in _OVERALL}
    return columns | {"volume_error_ml": off, "volume_error_percent": share}
