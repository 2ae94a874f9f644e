"""Figures with their intervals, and what calibration and operating points come to: the parts of an evaluation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

_FORBID: Any = {"extra": "forbid"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One number: the mean of the seeds, with its 95 % interval by bootstrap of the groups."""

    __pydantic_config__: ClassVar = _FORBID

    #: `None`: not defined for these cases.
    value: float | None
    low: float | None = None
    high: float | None = None
    #: Standard deviation over the seeds (n - 1); `None`: fewer than two have it.
    spread: float | None = None
    #: The number of each seed, in the order of `Evaluation.seeds`.
    seeds: tuple[float | None, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One point of a curve; what x and y are stands with the curve."""

    __pydantic_config__: ClassVar = _FORBID

    x: float
    y: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Bin:
    """One bin of a reliability curve: what was said of its cases, and how many were positive."""

    __pydantic_config__: ClassVar = _FORBID

    low: float
    high: float
    cases: int
    #: Mean probability that was said.
    said: float
    #: Share that was positive, with Wilson's 95 % interval.
    found: float
    found_low: float
    found_high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Reliability:
    """How well a probability holds what it says; of the first seed where there are several."""

    __pydantic_config__: ClassVar = _FORBID

    #: Expected calibration error: bins of equal width, and of equally many cases.
    ece: Figure
    ece_equal_mass: Figure
    #: What the ECE of so few cases is on average though every probability holds: it is never 0 of a sample.
    ece_by_chance: float | None
    brier: Figure
    #: Parts of the Brier score (Murphy 1973): it is reliability - resolution + uncertainty, but for the width of bins.
    brier_reliability: float | None = None
    brier_resolution: float | None = None
    brier_uncertainty: float | None = None
    bins: tuple[Bin, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaling:
    """Calibration of one class, of one seed: probability = 1 / (1 + exp(-(z / temperature + bias))).

    z is the logit of the class's softmax share: see `node.domain.target.Calibration`, which is made of this.
    """

    __pydantic_config__: ClassVar = _FORBID

    temperature: float
    bias: float
    cases: int
    positives: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibrated:
    """One class against the rest, before and after calibration."""

    __pydantic_config__: ClassVar = _FORBID

    #: One a seed, fitted on all cases that may choose: what a card takes over.
    scalings: tuple[Scaling | None, ...]
    #: Of the softmax shares as they come.
    before: Reliability
    #: Each case by a calibration that was fitted on cases of other groups; `None`: too few to fit.
    after: Reliability | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """So many of so many, with Wilson's 95 % interval (Wilson 1927), of the first seed."""

    __pydantic_config__: ClassVar = _FORBID

    count: int
    of: int
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Predictive:
    """What a reader may expect of an answer, where so many of the patients have it."""

    __pydantic_config__: ClassVar = _FORBID

    prevalence: float
    positive_predictive_value: float | None
    negative_predictive_value: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NetBenefit:
    """One threshold of a decision curve (Vickers and Elkin 2006)."""

    __pydantic_config__: ClassVar = _FORBID

    threshold: float
    model: float
    #: Of calling every case positive; of calling none so it is 0.
    everyone: float


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatingPoint:
    """Where the model is set to work, for the positive class."""

    __pydantic_config__: ClassVar = _FORBID

    #: Sensitivity that was asked for.
    wanted_sensitivity: float
    #: Where it was chosen: "validation" or "out of fold".
    chosen_on: str
    #: One a seed, on the calibrated probability where there is a calibration, else on the share: a card's
    #: `operating_point`. `None`: no threshold can be found.
    thresholds: tuple[float | None, ...]
    #: At the threshold of each seed, on the cases that judge.
    sensitivity: Figure
    specificity: Figure
    sensitivity_share: Share
    specificity_share: Share
    #: The same, where every case is judged by a threshold chosen without its fold; empty figures where the cases that
    #: judge did not choose: the ones above are held out then.
    held_out_sensitivity: Figure | None = None
    held_out_specificity: Figure | None = None
    predictive: tuple[Predictive, ...] = ()
    net_benefit: tuple[NetBenefit, ...] = ()
