"""Figures of a detector: mean average precision, and sensitivity at so many false boxes an image (FROC).

A box hits a true one of its class where their intersection over union reaches a limit; the highest scores choose
first, and a true box is hit once (Everingham et al., IJCV 88 (2010) 303). Average precision is the area under the
precision-recall curve, precision at each recall the highest from there on. The free-response curve (Chakraborty,
Medical Physics 16 (1989) 561) takes an overlap of 0.1: a reader looks where the box points.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from node.imaging.tasks.boxes import overlap
from node.learn.evaluate.bootstrap import Draws, Method, Statistic, intervals
from node.learn.evaluate.cohort import Cohort, groups_of
from node.learn.evaluate.evaluation import DetectionFigures
from node.learn.evaluate.figures import Point
from node.learn.evaluate.metrics import Numbers, macro, ratio
from node.learn.prediction import Prediction

#: Intersections over union at which average precision is told.
OVERLAPS = (0.1, 0.5)
#: Of the free-response curve.
FROC_OVERLAP = 0.1
#: False boxes an image.
FALSE_BOXES = (0.125, 0.25, 0.5, 1, 2, 4, 8)
_MOST_POINTS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Hits:
    """The boxes of one class over all images, the highest score first."""

    scores: Numbers
    #: Which image each lies on.
    images: NDArray[np.intp]
    is_hit: NDArray[np.bool_]
    #: True boxes of each image.
    true: NDArray[np.float64]


def hits(judged: Sequence[Prediction], label: int, limit: float) -> Hits:
    """Match the boxes of a class with the true ones, image by image."""
    found: list[tuple[float, int, bool]] = []
    for image, each in enumerate(judged):
        waiting = [box.edges for box in each.true_boxes if box.label == label]
        mine = sorted((box for box in each.boxes if box.label == label), key=lambda box: -box.score)
        for box in mine:
            shares = [overlap(box.edges, true) for true in waiting]
            best = int(np.argmax(shares)) if shares else -1
            is_hit = best >= 0 and shares[best] >= limit
            if is_hit:
                del waiting[best]
            found.append((box.score, image, is_hit))
    found.sort(key=lambda each: -each[0])
    return Hits(
        scores=np.array([each[0] for each in found], np.float64),
        images=np.array([each[1] for each in found], np.intp),
        is_hit=np.array([each[2] for each in found], np.bool_),
        true=np.array([sum(box.label == label for box in each.true_boxes) for each in judged], np.float64),
    )


def average_precision(of_class: Hits, weights: Numbers) -> Numbers:
    """For each row of image weights; NaN where there is no true box."""
    total = weights @ of_class.true
    hit, false = _counts(of_class, weights)
    answered = hit + false
    precision = np.where(answered > 0, hit / np.where(answered > 0, answered, 1), 0)
    highest = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    more = np.diff(hit, axis=1, prepend=0.0)
    return ratio((more * highest).sum(axis=1), total)


def sensitivities(classes: Sequence[Hits], weights: Numbers) -> dict[float, Numbers]:
    """False boxes an image → the highest share of true boxes that is hit with no more of them, all classes together."""
    every = _merged(classes)
    total, images = weights @ every.true, weights.sum(axis=1)
    hit, false = _counts(every, weights)
    return {
        limit: ratio(np.where(false <= limit * images[:, np.newaxis], hit, 0).max(axis=1, initial=0), total)
        for limit in FALSE_BOXES
    }


def detection(
    cohorts: Sequence[Cohort], names: Sequence[str], draws: Draws, method: Method = Method.BCA
) -> DetectionFigures:
    """Judge what the seeds said."""
    labels = range(len(names))
    statistics = [(groups_of(each.judged), statistic_of(each.judged, labels)) for each in cohorts]
    figures = intervals(draws, statistics, method, rests_on=_groups_behind(cohorts[0].judged, labels))
    first = [hits(cohorts[0].judged, label, FROC_OVERLAP) for label in labels]
    return DetectionFigures(
        figures={name: each for name, each in figures.items() if " " not in name},
        classes={
            name: {f"ap_{limit}": figures[f"{label} ap_{limit}"] for limit in OVERLAPS}
            for label, name in enumerate(names)
        },
        froc=_froc(first, len(cohorts[0].judged)),
    )


def statistic_of(judged: Sequence[Prediction], labels: Sequence[int]) -> Statistic:
    """Every figure of boxes: of one class as "LABEL NAME"."""
    matched = {limit: [hits(judged, label, limit) for label in labels] for limit in OVERLAPS}
    free = [hits(judged, label, FROC_OVERLAP) for label in labels]

    def statistic(weights: Numbers) -> Mapping[str, Numbers]:
        found: dict[str, Numbers] = {}
        for limit, classes in matched.items():
            each = np.stack([average_precision(one, weights) for one in classes], axis=-1)
            found |= {f"{label} ap_{limit}": each[:, place] for place, label in enumerate(labels)}
            found[f"map_{limit}"] = macro(each, np.isfinite(each))
        found |= {f"sensitivity_at_{limit}": each for limit, each in sensitivities(free, weights).items()}
        return found

    return statistic


def _groups_behind(judged: Sequence[Prediction], labels: Sequence[int]) -> dict[str, int]:
    """Of how many groups each share is: those that have a true box."""
    found: dict[str, int] = {}
    for label in labels:
        count = len({each.group for each in judged if any(box.label == label for box in each.true_boxes)})
        found |= {f"{label} ap_{limit}": count for limit in OVERLAPS}
    every = len({each.group for each in judged if each.true_boxes})
    names = (*(f"map_{limit}" for limit in OVERLAPS), *(f"sensitivity_at_{limit}" for limit in FALSE_BOXES))
    return found | dict.fromkeys(names, every)


def _counts(of_class: Hits, weights: Numbers) -> tuple[Numbers, Numbers]:
    """(row, distinct score) weights of the hits and of the false boxes with that score or a higher one."""
    if not len(of_class.scores):
        return np.zeros((len(weights), 1)), np.zeros((len(weights), 1))
    ends = np.flatnonzero(np.append(of_class.scores[1:] != of_class.scores[:-1], True))
    each = weights[:, of_class.images]
    hit = np.cumsum(each * of_class.is_hit, axis=1)[:, ends]
    return hit, np.cumsum(each, axis=1)[:, ends] - hit


def _merged(classes: Sequence[Hits]) -> Hits:
    scores = np.concatenate([each.scores for each in classes])
    order = np.argsort(-scores, kind="stable")
    return Hits(
        scores=scores[order],
        images=np.concatenate([each.images for each in classes])[order],
        is_hit=np.concatenate([each.is_hit for each in classes])[order],
        true=np.sum([each.true for each in classes], axis=0),
    )


def _froc(classes: Sequence[Hits], images: int) -> tuple[Point, ...]:
    every = _merged(classes)
    total = float(every.true.sum())
    if not (total and len(every.scores)):
        return ()
    hit, false = _counts(every, np.ones((1, images)))
    places = np.unique(np.linspace(0, hit.shape[1] - 1, _MOST_POINTS).round().astype(int)).tolist()
    return tuple(Point(x=float(false[0, place]) / images, y=float(hit[0, place]) / total) for place in places)
