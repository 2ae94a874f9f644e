"""Figures of a classifier, of one or several seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray

from node.learn.evaluate import calibration, metrics, operating, ranking
from node.learn.evaluate.bootstrap import Draws, Method, Statistic, intervals
from node.learn.evaluate.cohort import Cohort, groups_of, logits_of, truth_of
from node.learn.evaluate.evaluation import ClassFigures, ClassificationFigures
from node.learn.evaluate.figures import Calibrated, Figure, OperatingPoint, Point, Reliability
from node.learn.evaluate.metrics import Numbers, number
from node.learn.evaluate.settling import ClassOfSeed, Settled, settle
from node.learn.prediction import Prediction

#: Of each class alone, of its column of the confusion matrix.
_RATES = {
    "precision": metrics.precision,
    "recall": metrics.recall,
    "specificity": metrics.specificity,
    "f1": metrics.f1,
}
_BEFORE, _AFTER = "before", "after"
_ECE, _MASS = _ERRORS = ("ece", "mass")
_SENSITIVITY, _SPECIFICITY = "sensitivity", "specificity at"


def classification(
    cohorts: Sequence[Cohort],
    names: Sequence[str],
    positive: int,
    sensitivity: float,
    draws: Draws,
    settled: Settled | None = None,
    method: Method = Method.BCA,
) -> ClassificationFigures:
    """Judge what the seeds said."""
    seeds = [[settle(each, label, sensitivity, settled) for label in range(len(names))] for each in cohorts]
    statistics = [
        (groups_of(each.judged), _statistic(each, classes, positive))
        for each, classes in zip(cohorts, seeds, strict=True)
    ]
    errors = {
        f"{label} {when} {error}" for label, when, error in product(range(len(names)), (_BEFORE, _AFTER), _ERRORS)
    }
    rests_on = groups_behind(cohorts[0].judged, len(names), positive)
    figures = intervals(draws, statistics, method, errors, rests_on)
    matrices = [_matrix(each, len(names), None) for each in cohorts]
    per_class = tuple(
        _class(name, [classes[label] for classes in seeds], _under(f"{label} ", figures))
        for label, name in enumerate(names)
    )
    return ClassificationFigures(
        positive=positive,
        figures={name: figure for name, figure in figures.items() if not name[0].isdigit()},
        classes=per_class,
        confusion=tuple(tuple(row) for row in np.mean(matrices, axis=0).round(6).tolist()),
        operating=_operating(cohorts, [each[positive] for each in seeds], sensitivity, figures, positive, settled),
    )


def rates(matrix: Numbers) -> dict[str, Numbers]:
    """Every figure of (…, truth, answer) confusion matrices: over all classes by name, of one as "LABEL NAME"."""
    cases = matrix.sum(axis=-1)
    has_cases, occurs = cases > 0, (cases > 0) | (matrix.sum(axis=-2) > 0)
    has_others = cases.sum(axis=-1, keepdims=True) > cases
    counted = {"precision": has_cases, "recall": has_cases, "specificity": has_others, "f1": occurs}
    found = {"accuracy": metrics.accuracy(matrix), "balanced_accuracy": metrics.balanced_accuracy(matrix)}
    for name, rate in _RATES.items():
        values = rate(matrix)
        found[f"{name}_macro"] = metrics.macro(values, counted[name])
        found[f"{name}_weighted"] = metrics.weighted(values, cases)
        found |= {f"{label} {name}": values[..., label] for label in range(matrix.shape[-1])}
    return found


def groups_behind(judged: Sequence[Prediction], classes: int, positive: int) -> dict[str, int]:
    """Of how many groups each share is, by the names of `rates` and the statistics: of an AUC, of the smaller side."""
    groups, truth, answer = np.array(groups_of(judged)), truth_of(judged), logits_of(judged).argmax(axis=1)

    def count(chosen: NDArray[np.bool_]) -> int:
        return len(set(groups[chosen].tolist()))

    sides = [(count(truth == label), count(truth != label)) for label in range(classes)]
    everyone, least = len(set(groups.tolist())), min((there for there, _ in sides if there), default=0)
    found = {"accuracy": everyone, "balanced_accuracy": least}
    found |= {f"{rate}_weighted": everyone for rate in _RATES}
    found |= {f"{name}_macro": least for name in (*_RATES, "auc", "average_precision")}
    for label, (there, others) in enumerate(sides):
        found |= {f"{label} {name}": there for name in ("recall", "f1", "average_precision")}
        found |= {f"{label} specificity": others, f"{label} precision": count(answer == label)}
        found[f"{label} auc"] = min(there, others)
    for way in ("", "held out "):
        found |= {f"{positive} {way}{_SENSITIVITY}": sides[positive][0]}
        found |= {f"{positive} {way}{_SPECIFICITY}": sides[positive][1]}
    return found


def statistic_of_some(judged: Sequence[Prediction], positive: ClassOfSeed, classes: int) -> Statistic:
    """What is told of a subgroup: of its cases, with what was settled of the positive class."""
    truth, answer = truth_of(judged), logits_of(judged).argmax(axis=1)

    def statistic(weights: Numbers) -> Mapping[str, Numbers]:
        matrix = metrics.confusion(truth, answer, classes, weights)
        area, _ = ranking.area_and_precision(positive.share, positive.positive, weights)
        works = _works(positive, weights)
        found = {"accuracy": metrics.accuracy(matrix), "auc": area}
        found |= {
            name: works[key]
            for name, key in ((_SENSITIVITY, _SENSITIVITY), ("specificity", _SPECIFICITY))
            if key in works
        }
        return found

    return statistic


def _statistic(cohort: Cohort, classes: Sequence[ClassOfSeed], positive: int) -> Statistic:
    truth, logits = truth_of(cohort.judged), logits_of(cohort.judged)
    given = metrics.shares(logits)
    brier, losses = metrics.brier(given, truth), metrics.log_loss(logits, truth)
    set_to_work = classes[positive]

    def statistic(weights: Numbers) -> Mapping[str, Numbers]:
        found = rates(_matrix(cohort, given.shape[1], weights))
        found |= {"brier": metrics.mean(brier, weights), "log_loss": metrics.mean(losses, weights)}
        ranks = [ranking.area_and_precision(each.share, each.positive, weights) for each in classes]
        for place, name in enumerate(("auc", "average_precision")):
            of_classes = np.stack([each[place] for each in ranks], axis=-1)
            found |= {f"{label} {name}": of_classes[:, label] for label in range(len(classes))}
            found[f"{name}_macro"] = metrics.macro(of_classes, np.isfinite(of_classes))
        for label, each in enumerate(classes):
            found |= {f"{label} {name}": values for name, values in _holds(each, weights).items()}
        found |= {f"{positive} {name}": values for name, values in _works(set_to_work, weights).items()}
        return found

    return statistic


def _matrix(cohort: Cohort, classes: int, weights: Numbers | None) -> Numbers:
    answer = logits_of(cohort.judged).argmax(axis=1)
    return metrics.confusion(truth_of(cohort.judged), answer, classes, weights)


def _holds(one: ClassOfSeed, weights: Numbers) -> dict[str, Numbers]:
    """How well probabilities hold, before and after calibration."""
    found = {"brier": metrics.mean((one.share - one.positive) ** 2, weights)}
    for when, said in ((_BEFORE, one.share), (_AFTER, one.held_out)):
        if said is not None:
            found[f"{when} {_ECE}"] = calibration.ece(said, one.positive, weights, calibration.equal_width())
            found[f"{when} {_MASS}"] = calibration.ece(said, one.positive, weights, calibration.equal_mass(said))
            found[f"{when} brier"] = metrics.mean((said - one.positive) ** 2, weights)
    return found


def _works(one: ClassOfSeed, weights: Numbers) -> dict[str, Numbers]:
    """Sensitivity and specificity where the model is set to work."""
    found = {}
    ways = (("", one.told, one.threshold), ("held out ", one.share, one.held_out_at))
    for way, said, at in ways:
        if at is not None:
            found[f"{way}{_SENSITIVITY}"] = operating.sensitivity_at(said, one.positive, weights, at)
            found[f"{way}{_SPECIFICITY}"] = operating.specificity_at(said, one.positive, weights, at)
    return found


def _class(name: str, seeds: Sequence[ClassOfSeed], figures: Mapping[str, Figure]) -> ClassFigures:
    first = seeds[0]
    variance = ranking.delong(first.share, first.positive)
    told = (*_RATES, "auc", "average_precision", "brier")
    before = _reliability(first.share, first, figures, _BEFORE)
    after = None
    if all(each.held_out is not None for each in seeds) and first.held_out is not None:
        after = _reliability(first.held_out, first, figures, _AFTER)
    return ClassFigures(
        name=name,
        cases=int(first.positive.sum()),
        figures={each: figures[each] for each in told},
        roc=_points(ranking.roc(first.share, first.positive)),
        precision_recall=_points(ranking.precision_recall(first.share, first.positive)),
        calibration=Calibrated(scalings=tuple(each.scaling for each in seeds), before=before, after=after),
        auc_delong=number(np.float64(variance**0.5)) if variance >= 0 else None,
    )


def _reliability(said: Numbers, one: ClassOfSeed, figures: Mapping[str, Figure], when: str) -> Reliability:
    edges = calibration.equal_width()
    bins = calibration.reliability(said, one.positive, edges)
    parts = calibration.decomposed(bins)
    return Reliability(
        ece=figures[f"{when} {_ECE}"],
        ece_equal_mass=figures[f"{when} {_MASS}"],
        ece_by_chance=calibration.by_chance(said, edges),
        brier=figures[f"{when} brier"],
        brier_reliability=parts[0] if parts else None,
        brier_resolution=parts[1] if parts else None,
        brier_uncertainty=parts[2] if parts else None,
        bins=bins,
    )


def _operating(
    cohorts: Sequence[Cohort],
    seeds: Sequence[ClassOfSeed],
    sensitivity: float,
    figures: Mapping[str, Figure],
    positive: int,
    settled: Settled | None,
) -> OperatingPoint | None:
    first, at = seeds[0], seeds[0].threshold
    if at is None or any(each.threshold is None for each in seeds):
        return None
    mine = _under(f"{positive} ", figures)
    reached = first.told >= at
    held_out = mine.get(f"held out {_SENSITIVITY}"), mine.get(f"held out {_SPECIFICITY}")
    # What a reader may expect is what held on cases that did not choose.
    expected = [held or shown for held, shown in zip(held_out, (mine[_SENSITIVITY], mine[_SPECIFICITY]), strict=True)]
    where = "out of fold" if cohorts[0].is_out_of_fold else "validation"
    return OperatingPoint(
        wanted_sensitivity=sensitivity,
        chosen_on="the model's card" if settled else where,
        thresholds=tuple(each.threshold for each in seeds),
        sensitivity=mine[_SENSITIVITY],
        specificity=mine[_SPECIFICITY],
        sensitivity_share=operating.share(int((reached & first.positive).sum()), int(first.positive.sum())),
        specificity_share=operating.share(int((~reached & ~first.positive).sum()), int((~first.positive).sum())),
        held_out_sensitivity=held_out[0],
        held_out_specificity=held_out[1],
        predictive=operating.predictive(expected[0].value, expected[1].value),
        net_benefit=operating.net_benefit(first.told if first.held_out is None else first.held_out, first.positive),
    )


def _under(prefix: str, figures: Mapping[str, Figure]) -> dict[str, Figure]:
    return {name.removeprefix(prefix): each for name, each in figures.items() if name.startswith(prefix)}


def _points(curve: Numbers) -> tuple[Point, ...]:
    return tuple(Point(x=x, y=y) for x, y in curve.round(6).tolist())
