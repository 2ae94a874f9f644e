"""A reading room as a scenario file describes it: who comes, who reads, what models see, and by which order."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from math import log, sqrt
from typing import ClassVar

from node.domain.priority import Lane

#: Keys that the file does not know are mistakes.
_FORBID = {"extra": "forbid"}
HOURS = 24


class Spread(StrEnum):
    """How durations of one kind differ."""

    #: All alike.
    FIXED = "fixed"
    #: Memoryless, as the formulas of queueing theory have it.
    EXPONENTIAL = "exponential"
    #: Skewed to the right, as reading times are; wants `deviation_min`.
    LOGNORMAL = "lognormal"


@dataclass(frozen=True, slots=True, kw_only=True)
class Duration:
    """A random number of minutes."""

    __pydantic_config__: ClassVar = _FORBID

    mean_min: float
    spread: Spread = Spread.EXPONENTIAL
    #: Standard deviation, of a lognormal one alone.
    deviation_min: float = 0.0

    @property
    def second_moment_min2(self) -> float:
        """The mean of its square, minutes²."""
        match self.spread:
            case Spread.FIXED:
                return self.mean_min**2
            case Spread.EXPONENTIAL:
                return 2 * self.mean_min**2
            case Spread.LOGNORMAL:
                return self.mean_min**2 + self.deviation_min**2

    @property
    def lognormal(self) -> tuple[float, float]:
        """Mean and standard deviation of the logarithm, for a lognormal one."""
        variance = log(1 + (self.deviation_min / self.mean_min) ** 2)
        return log(self.mean_min) - variance / 2, sqrt(variance)


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """Who reads."""

    __pydantic_config__: ClassVar = _FORBID

    #: How many read at once; or 24 numbers, one for each hour of the day. Who goes off duty finishes a study first.
    radiologists: int | tuple[int, ...] = 1
    #: A study of these lanes interrupts the reading of one of a lower lane, which is resumed later.
    interrupted_by: tuple[Lane, ...] = ()

    @property
    def by_hour(self) -> tuple[int, ...]:
        """How many read in each hour of the day."""
        return (self.radiologists,) * HOURS if isinstance(self.radiologists, int) else self.radiologists


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrivals:
    """When studies come: independently of each other (Poisson), more in some hours than in others."""

    __pydantic_config__: ClassVar = _FORBID

    #: The mean over the whole day.
    per_hour: float
    #: 24 relative numbers; empty: all hours alike.
    by_hour: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of study."""

    __pydantic_config__: ClassVar = _FORBID

    name: str
    reading: Duration
    #: Of all studies, in relation to the other kinds.
    share: float = 1.0
    #: Of its studies so many are ordered STAT, and so many URGENT, whatever the patient has. 0–1.
    stat: float = 0.0
    urgent: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Disease:
    """Something that a study may show and that should be read soon."""

    __pydantic_config__: ClassVar = _FORBID

    name: str
    #: Of the studies of `kinds`, 0–1.
    prevalence: float
    #: Kinds of study that can show it; empty: every kind.
    kinds: tuple[str, ...] = ()
    #: How long a study with it takes to read, where that differs from its kind.
    reading: Duration | None = None
    #: Of its patients so many are ordered URGENT because somebody suspects it. 0–1.
    urgent: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedModel:
    """A model that looks for one disease, as well as its ROC says.

    Either `sensitivity` and `specificity` (a model that says yes or no), or `auc` and `specificity`: a binormal ROC,
    cut where the specificity is. Its probability is calibrated: of the studies with 0.3, three of ten have it.
    """

    __pydantic_config__: ClassVar = _FORBID

    name: str
    disease: str
    specificity: float
    sensitivity: float | None = None
    auc: float | None = None
    #: Of a binormal ROC: standard deviation of the diseased over that of the others.
    deviation_ratio: float = 1.0
    #: From a study's arrival to the model's answer.
    time: Duration = Duration(mean_min=0.0, spread=Spread.FIXED)
    #: So often it gives no answer, and changes nothing. 0–1.
    failure_rate: float = 0.0
    #: The lane into which it raises what it flags; none: it gives points alone.
    lane: Lane | None = None
    #: Points of a study that has the disease for certain; any other gets this times its probability.
    points: float = 0.0
    #: Points of whatever it flags, beside these.
    points_if_flagged: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Discipline:
    """One order in which the waiting studies are read."""

    __pydantic_config__: ClassVar = _FORBID

    name: str
    #: What models flag stands in their lane.
    lanes: bool = True
    #: What models think gives points.
    points: bool = True
    #: What a minute of waiting is worth, as [rank] of config.toml has it; 0: points alone count.
    points_per_minute: float = 0.1
    #: All that models give adds this at most, and an order for STAT or URGENT adds as much, as [rank] of config.toml
    #: has it: so models bring no study above one that a person ordered sooner. 0: among what is ordered URGENT and what
    #: is raised there, the arrival alone decides.
    findings_maximum: float = 100.0
    #: Models that are on; empty: all.
    models: tuple[str, ...] = ()


#: Lanes as ordered, and in them first come, first read: with this every other discipline is compared.
OFF = Discipline(name="Matins off", lanes=False, points=False, points_per_minute=0.0)
MATINS = Discipline(name="Matins")


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """How much is simulated."""

    __pydantic_config__: ClassVar = _FORBID

    #: Of one replication, those that warm up and wind down included.
    studies: int = 10_000
    replications: int = 20
    seed: int = 1
    #: Share of the studies at the beginning that nothing is measured of: the room was empty when they came.
    warm_up: float = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A reading room, its studies and models, and the disciplines that are compared with Matins off."""

    __pydantic_config__: ClassVar = _FORBID

    title: str
    arrivals: Arrivals
    kinds: tuple[Kind, ...]
    room: Room = Room()
    diseases: tuple[Disease, ...] = ()
    models: tuple[SimulatedModel, ...] = ()
    disciplines: tuple[Discipline, ...] = (MATINS,)
    run: Run = Run()

    def disease(self, name: str) -> Disease:
        """The disease of that name."""
        return next(each for each in self.diseases if each.name == name)

    @property
    def traffic(self) -> float:
        """Work that comes over work that can be done; from 1 on the queue grows without end."""
        total = sum(kind.share for kind in self.kinds)
        minutes = sum(kind.share / total * self.mean_reading_min(kind) for kind in self.kinds)
        return self.arrivals.per_hour / 60 * minutes / (sum(self.room.by_hour) / HOURS)

    def mean_reading_min(self, kind: Kind) -> float:
        """The mean minutes of reading a study of that kind, diseases included."""
        mean, rest = 0.0, 1.0
        for disease in self.diseases:
            if disease.reading is not None and (not disease.kinds or kind.name in disease.kinds):
                # The first of its diseases with a reading time of its own decides.
                mean += rest * disease.prevalence * disease.reading.mean_min
                rest *= 1 - disease.prevalence
        return mean + rest * kind.reading.mean_min
