"""Reading rooms that formulas know."""

from __future__ import annotations

from collections.abc import Sequence

from node.domain.priority import Lane
from node.domain.scenario import Arrivals, Discipline, Disease, Duration, Kind, Room, Run, Scenario, SimulatedModel

EXPONENTIAL = Duration(mean_min=10.0)


def room(
    per_min: float,
    *,
    readers: int | tuple[int, ...] = 1,
    reading: Duration = EXPONENTIAL,
    stat: float = 0.0,
    urgent: float = 0.0,
    interrupted_by: tuple[Lane, ...] = (),
    models: Sequence[SimulatedModel] = (),
    prevalence: float = 0.1,
    disciplines: Sequence[Discipline] = (),
    run: Run | None = None,
) -> Scenario:
    """One kind of study, and one disease where there are models."""
    return Scenario(
        title="a room",
        arrivals=Arrivals(per_hour=per_min * 60),
        kinds=(Kind(name="CT", reading=reading, stat=stat, urgent=urgent),),
        room=Room(radiologists=readers, interrupted_by=interrupted_by),
        diseases=(Disease(name="disease", prevalence=prevalence),) if models else (),
        models=tuple(models),
        disciplines=tuple(disciplines),
        run=run or Run(studies=5000, replications=20, seed=7),
    )


def model(**changes: object) -> SimulatedModel:
    """A model of the published kind; by default it raises what it flags."""
    values: dict[str, object] = {"name": "model", "disease": "disease", "sensitivity": 0.9, "specificity": 0.9}
    values |= {"lane": Lane.URGENT, "points": 100.0, **changes}
    return SimulatedModel(**values)  # type: ignore[arg-type]
