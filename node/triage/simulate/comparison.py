"""A scenario, simulated: every figure over independent replications with its interval, and what triage changes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from node.domain.scenario import OFF, Scenario
from node.triage.simulate.figures import CURVE, FIGURES, groups, measured, summary
from node.triage.simulate.reading_room import read_all
from node.triage.simulate.sample import draw
from node.triage.simulate.student import Estimate, estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupFigures:
    """The waiting times of one group under one discipline, minutes: all the time in the room but that of reading."""

    discipline: str
    group: str
    #: Studies of the group in a replication, on average.
    studies: float
    #: Each of `FIGURES` → its mean over the replications.
    waits_min: dict[str, Estimate]
    #: From arrival to the finished report, mean.
    turnaround_min: Estimate
    #: Each of `FIGURES` → what is more than with Matins off, replication by replication the same studies.
    differences_min: dict[str, Estimate]
    #: Each of `FIGURES` → how many times that with Matins off; left out where that is zero.
    ratios: dict[str, Estimate]
    #: Wait that each share of `CURVE` stays below, mean over the replications.
    curve_min: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What was simulated, and what came of it."""

    scenario: Scenario
    #: Discipline by discipline, Matins off first, and in each the groups in the same order.
    figures: tuple[GroupFigures, ...]

    def of(self, discipline: str, group: str) -> GroupFigures:
        """The figures of a group under a discipline.

        Raises:
            KeyError: nobody was of that group often enough.
        """
        for each in self.figures:
            if (each.discipline, each.group) == (discipline, group):
                return each
        raise KeyError((discipline, group))


#: What one replication says of a group: its size, `FIGURES` and "turnaround", and the curve.
_One = tuple[int, dict[str, float], list[float]]


def simulate(scenario: Scenario, done: Callable[[], None] = lambda: None) -> Comparison:
    """Simulate every discipline on the same studies, replication by replication; `done` is called after each."""
    disciplines = (OFF, *scenario.disciplines)
    found: dict[tuple[str, str], dict[int, _One]] = defaultdict(dict)
    for replication in range(scenario.run.replications):
        sample = draw(scenario, replication)
        window = measured(scenario)
        masks = [(group, mask[window]) for group, mask in groups(scenario, sample)]
        for discipline in disciplines:
            finished = read_all(sample, scenario.models, discipline, scenario.room)
            turnaround = (finished - sample.arrived_min)[window]
            # What is left of a reading that nothing interrupted is a rounding error, not a wait.
            waits = np.maximum(turnaround - sample.reading_min[window], 0.0)
            for group, mask in masks:
                if mask.any():
                    figures = {**summary(waits[mask]), "turnaround": float(turnaround[mask].mean())}
                    curve = np.quantile(waits[mask], CURVE).tolist()
                    found[discipline.name, group][replication] = (int(mask.sum()), figures, curve)
        done()
    # Who is of a group is no matter of the discipline, so replications pair.
    told = [
        _figures(discipline, group, each, found[OFF.name, group])
        for (discipline, group), each in found.items()
        if len(each) > 1
    ]
    return Comparison(scenario=scenario, figures=tuple(told))


def _figures(discipline: str, group: str, each: dict[int, _One], off: dict[int, _One]) -> GroupFigures:
    def over(figure: str) -> list[float]:
        return [figures[figure] for _, figures, _ in each.values()]

    def before(figure: str) -> list[float]:
        return [figures[figure] for _, figures, _ in off.values()]

    differences = {name: [a - b for a, b in zip(over(name), before(name), strict=True)] for name in FIGURES}
    ratios = {
        name: [a / b for a, b in zip(over(name), before(name), strict=True)] for name in FIGURES if all(before(name))
    }
    return GroupFigures(
        discipline=discipline,
        group=group,
        studies=float(np.mean([size for size, _, _ in each.values()])),
        waits_min={name: _estimate(over(name)) for name in FIGURES},
        turnaround_min=_estimate(over("turnaround")),
        differences_min={name: _estimate(values) for name, values in differences.items()},
        ratios={name: _estimate(values) for name, values in ratios.items()},
        curve_min=tuple(np.mean([curve for _, _, curve in each.values()], axis=0).tolist()),
    )


def _estimate(values: list[float]) -> Estimate:
    found = estimate(values)
    assert found is not None
    return found
