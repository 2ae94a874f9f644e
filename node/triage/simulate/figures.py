"""Waiting times of groups of patients, in figures that are compared."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from node.domain.priority import Lane
from node.domain.scenario import Scenario
from node.triage.simulate.sample import Mask, Numbers, Sample

#: What is told of the waiting times of a group, minutes.
FIGURES = ("mean", "median", "p95", "p99", "max")
DISEASED, OTHERS, EVERYBODY = "diseased", "others", "everybody"
#: Shares of the studies at which the curve of the waiting times is kept.
CURVE = (*(share / 100 for share in range(0, 100, 2)), 0.99, 0.995, 0.999)
#: Share of the studies at the end that nothing is measured of: nobody comes after them who would be read before them.
_WINDING_DOWN = 0.05


def summary(waits_min: Numbers) -> dict[str, float]:
    """Each of `FIGURES` of some waiting times, minutes."""
    return {
        "mean": float(waits_min.mean()),
        **dict(zip(FIGURES[1:4], np.quantile(waits_min, (0.5, 0.95, 0.99)).tolist(), strict=True)),
        "max": float(waits_min.max()),
    }


def measured(scenario: Scenario) -> slice:
    """Which studies of a replication count: those between warming up and winding down."""
    count = scenario.run.studies
    return slice(round(scenario.run.warm_up * count), count - round(_WINDING_DOWN * count))


def groups(scenario: Scenario, sample: Sample) -> Iterator[tuple[str, Mask]]:
    """The groups of patients that are told apart, the same under every discipline; empty ones too.

    Diseased is who has anything of `diseases`; a disease that no model looks for is told as not targeted. Missed is
    who has a disease without being flagged for it, flagged in error who was flagged and has none.
    """
    count = len(sample.arrived_min)
    diseased = np.zeros(count, dtype=np.bool_)
    for mask in sample.has.values():
        diseased |= mask
    yield EVERYBODY, np.ones(count, dtype=np.bool_)
    if scenario.diseases:
        yield DISEASED, diseased
        yield OTHERS, ~diseased
    flagged = np.zeros(count, dtype=np.bool_)
    for disease in scenario.diseases:
        has = sample.has[disease.name]
        by = [
            answers.flagged
            for model, answers in zip(scenario.models, sample.answers, strict=True)
            if model.disease == disease.name
        ]
        if len(scenario.diseases) > 1:
            yield disease.name if by else f"{disease.name} (not targeted)", has
        if not by and scenario.models:
            yield f"{disease.name} (not targeted), ordered {Lane.ROUTINE}", has & (sample.ordered == Lane.ROUTINE.order)
        if by:
            own = np.logical_or.reduce(by)
            yield f"{disease.name}, missed", has & ~own
            flagged |= own
    if scenario.models:
        yield "flagged in error", flagged & ~diseased
    for lane in (Lane.STAT, Lane.URGENT):
        ordered = sample.ordered == lane.order
        yield f"ordered {lane}", ordered
        if lane is Lane.URGENT and scenario.models:
            yield f"ordered {lane}, not flagged", ordered & ~flagged
