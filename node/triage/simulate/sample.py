"""One replication's studies, drawn once: every discipline then reads the very same ones (common random numbers)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from statistics import NormalDist
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from node.domain.priority import Lane
from node.domain.scenario import HOURS, Arrivals, Disease, Duration, Scenario, SimulatedModel, Spread

Numbers: TypeAlias = NDArray[np.float64]
Mask: TypeAlias = NDArray[np.bool_]

_DAY_MIN = HOURS * 60.0


class _Stream(IntEnum):
    """What is drawn has a stream of random numbers of its own: a change of one leaves the others as they were."""

    ARRIVAL = 0
    KIND = 1
    READING = 2
    SKEWED_READING = 3
    ORDER = 4
    DISEASE = 5
    SUSPICION = 6
    SCORE = 7
    MODEL_TIME = 8
    FAILURE = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What one model says of the studies."""

    #: study: minutes of the answer on the clock of the arrivals; infinite where there is none.
    ready_min: Numbers
    flagged: Mask
    #: study: 0–1, calibrated.
    probability: Numbers


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Studies in the order of their arrival; every array has an element a study."""

    #: Minutes since a midnight.
    arrived_min: Numbers
    #: Minutes that a radiologist needs for it.
    reading_min: Numbers
    #: `Lane.order` of the order.
    ordered: NDArray[np.int64]
    #: Number of its kind in the scenario.
    kind: NDArray[np.int64]
    #: disease → who has it.
    has: dict[str, Mask]
    #: As the scenario's models.
    answers: tuple[Answers, ...]


def draw(scenario: Scenario, replication: int) -> Sample:
    """Draw the studies of one replication; the same scenario and number give the same ones."""
    count = scenario.run.studies
    shares = np.cumsum([kind.share for kind in scenario.kinds])
    kind = np.searchsorted(shares / shares[-1], _generator(scenario, replication, _Stream.KIND).random(count), "right")
    kind = np.minimum(kind, len(shares) - 1)
    has = {
        disease.name: _applies(scenario, disease, kind)
        & (_generator(scenario, replication, _Stream.DISEASE, index).random(count) < disease.prevalence)
        for index, disease in enumerate(scenario.diseases)
    }
    arrived_min = _arrivals(scenario.arrivals, _generator(scenario, replication, _Stream.ARRIVAL), count)
    return Sample(
        arrived_min=arrived_min,
        reading_min=_readings(scenario, replication, kind, has),
        ordered=_orders(scenario, replication, kind, has),
        kind=kind,
        has=has,
        answers=tuple(
            _answers(scenario, replication, index, arrived_min, kind, has) for index in range(len(scenario.models))
        ),
    )


def _generator(scenario: Scenario, replication: int, stream: _Stream, index: int = 0) -> np.random.Generator:
    sequence = np.random.SeedSequence(scenario.run.seed, spawn_key=(replication, stream, index))
    return np.random.default_rng(sequence)


def _applies(scenario: Scenario, disease: Disease, kind: NDArray[np.int64]) -> Mask:
    """Which studies can show the disease."""
    can = np.array([not disease.kinds or each.name in disease.kinds for each in scenario.kinds])
    return can[kind]


def _arrivals(arrivals: Arrivals, generator: np.random.Generator, count: int) -> Numbers:
    """Arrivals of a Poisson process whose rate follows the hours: those of a steady one, on a bent clock."""
    by_hour = np.array(arrivals.by_hour or (1.0,) * HOURS)
    edges = np.concatenate([[0.0], np.cumsum(by_hour / by_hour.sum())])
    days = np.cumsum(generator.exponential(size=count)) / (arrivals.per_hour * HOURS)
    whole = np.floor(days)
    bent: Numbers = np.interp(days - whole, edges, np.linspace(0.0, _DAY_MIN, HOURS + 1))
    return whole * _DAY_MIN + bent


def _durations(duration: Duration, exponential: Numbers, normal: Numbers) -> Numbers:
    """Minutes of that duration, made of standard exponential and normal numbers."""
    match duration.spread:
        case Spread.FIXED:
            return np.full(len(exponential), duration.mean_min)
        case Spread.EXPONENTIAL:
            return duration.mean_min * exponential
        case Spread.LOGNORMAL:
            mean, deviation = duration.lognormal
            return np.exp(mean + deviation * normal)


def _readings(scenario: Scenario, replication: int, kind: NDArray[np.int64], has: dict[str, Mask]) -> Numbers:
    exponential = _generator(scenario, replication, _Stream.READING).exponential(size=len(kind))
    normal = _generator(scenario, replication, _Stream.SKEWED_READING).standard_normal(len(kind))
    minutes = np.empty(len(kind))
    for index, each in enumerate(scenario.kinds):
        minutes[kind == index] = _durations(each.reading, exponential, normal)[kind == index]
    # The first disease that has a time of its own decides, so it is written last.
    for disease in reversed(scenario.diseases):
        if disease.reading is not None:
            minutes[has[disease.name]] = _durations(disease.reading, exponential, normal)[has[disease.name]]
    return minutes


def _orders(scenario: Scenario, replication: int, kind: NDArray[np.int64], has: dict[str, Mask]) -> NDArray[np.int64]:
    chance = _generator(scenario, replication, _Stream.ORDER).random(len(kind))
    stat = np.array([each.stat for each in scenario.kinds])[kind]
    urgent = np.array([each.stat + each.urgent for each in scenario.kinds])[kind]
    ordered = np.where(chance < urgent, Lane.URGENT.order, Lane.ROUTINE.order)
    for index, disease in enumerate(scenario.diseases):
        suspected = _generator(scenario, replication, _Stream.SUSPICION, index).random(len(kind)) < disease.urgent
        ordered[has[disease.name] & suspected] = Lane.URGENT.order
    ordered[chance < stat] = Lane.STAT.order
    return ordered


def _answers(
    scenario: Scenario,
    replication: int,
    index: int,
    arrived_min: Numbers,
    kind: NDArray[np.int64],
    has: dict[str, Mask],
) -> Answers:
    model = scenario.models[index]
    disease = scenario.disease(model.disease)
    count = len(kind)
    generator = _generator(scenario, replication, _Stream.MODEL_TIME, index)
    taken = _durations(model.time, generator.exponential(size=count), generator.standard_normal(count))
    failed = _generator(scenario, replication, _Stream.FAILURE, index).random(count) < model.failure_rate
    asked = _applies(scenario, disease, kind) & ~failed
    flagged, probability = _opinion(
        model, disease.prevalence, has[disease.name], _generator(scenario, replication, _Stream.SCORE, index)
    )
    return Answers(
        ready_min=np.where(asked, arrived_min + taken, np.inf), flagged=flagged & asked, probability=probability
    )


def _opinion(
    model: SimulatedModel, prevalence: float, has: Mask, generator: np.random.Generator
) -> tuple[Mask, Numbers]:
    """What the model flags, and the probability it gives each study."""
    normal = generator.standard_normal(len(has))
    if model.auc is not None:
        ratio = model.deviation_ratio
        apart = NormalDist().inv_cdf(model.auc) * float(np.sqrt(1 + ratio**2))
        seen = np.where(has, apart + ratio * normal, normal)
        likelihood = np.exp(seen**2 / 2 - ((seen - apart) / ratio) ** 2 / 2) / ratio
        odds = prevalence / (1 - prevalence) * likelihood
        return seen >= _cut(model.specificity), odds / (1 + odds)
    assert model.sensitivity is not None
    low, high = _cut(model.specificity), _cut(1 - model.sensitivity)
    flagged = normal >= np.where(has, high, low)
    true, false = prevalence * model.sensitivity, (1 - prevalence) * (1 - model.specificity)
    missed, cleared = prevalence - true, (1 - prevalence) - false
    return flagged, np.where(flagged, _share(true, false), _share(missed, cleared))


def _cut(below: float) -> float:
    """The standard normal number that a share of all stays below."""
    return NormalDist().inv_cdf(below) if 0 < below < 1 else (-np.inf if below <= 0 else np.inf)


def _share(diseased: float, others: float) -> float:
    return diseased / (diseased + others) if diseased + others else 0.0
