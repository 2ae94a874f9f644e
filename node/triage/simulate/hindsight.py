"""What triage did, measured: how long patients waited for the report, and how long first come, first read had taken.

The order that was not is worked out from what happened: reports were finished at the same moments, but each was that of
the study that then stood on top of a list without Matins: lanes as ordered, and in them by arrival. That takes for
granted that any radiologist could have read any study, in the same time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush

import numpy as np
from numpy.typing import NDArray

from node.domain.priority import Lane
from node.triage.simulate.figures import EVERYBODY, summary
from node.triage.simulate.sample import Mask, Numbers

#: Fewer studies of a group say nothing; of a tail one must have seen some.
FEWEST = 30
_FEWEST_OF = {"mean": FEWEST, "median": FEWEST, "max": FEWEST, "p95": 100, "p99": 500}
_RESAMPLINGS = 500
_SEED = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """One study that a radiologist has reported. Minutes are counted from any common moment."""

    #: First place in the worklist.
    listed_min: float
    #: When the report was told to be final.
    reported_min: float
    #: `Lane.order` of its order.
    ordered: int
    #: Where it stood at last.
    lane: Lane
    #: Whether a live model found something; `None` where none gave a result.
    found: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A figure of real studies; without an interval where resampling gives none."""

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Impact:
    """The minutes from the worklist to the report of one group, as they were and as they would have been."""

    group: str
    studies: int
    #: Figure → as it was. A figure for which there are too few studies is left out, here and below.
    waited_min: dict[str, Measured]
    #: Figure → first come, first read in the lane ordered.
    first_come_min: dict[str, Measured]
    #: Figure → what was less the other.
    difference_min: dict[str, Measured]


def impact(reads: Sequence[Read]) -> tuple[Impact, ...]:
    """Measure every group; intervals of 95 % come from resampling blocks of studies that follow each other.

    Waits of neighbours are alike, so single studies drawn at random would make the intervals too narrow.
    """
    reads = sorted(reads, key=lambda each: (each.listed_min, each.reported_min))
    if not reads:
        return ()
    listed = np.array([each.listed_min for each in reads])
    waited = np.array([each.reported_min for each in reads]) - listed
    otherwise = np.array(first_come(reads)) - listed
    draws = _blocks(len(reads))
    return tuple(_impact(group, mask, waited, otherwise, draws) for group, mask in _groups(reads) if mask.any())


def first_come(reads: Sequence[Read]) -> list[float]:
    """When each of `reads` would have been reported, in the same minutes, without Matins."""
    by_listing = sorted(range(len(reads)), key=lambda each: reads[each].listed_min)
    reported = [0.0] * len(reads)
    waiting: list[tuple[int, float, int]] = []
    following = 0
    for moment in sorted(each.reported_min for each in reads):
        while following < len(reads) and reads[by_listing[following]].listed_min <= moment:
            study = by_listing[following]
            heappush(waiting, (reads[study].ordered, reads[study].listed_min, study))
            following += 1
        # As many were listed by now as have been reported, so somebody waits.
        reported[heappop(waiting)[2]] = moment
    return reported


def _groups(reads: Sequence[Read]) -> Iterator[tuple[str, Mask]]:
    yield EVERYBODY, np.ones(len(reads), dtype=np.bool_)
    for name, found in (("finding present", True), ("nothing found", False), ("no model result", None)):
        yield name, np.array([each.found is found for each in reads])
    for lane in Lane:
        yield f"lane {lane}", np.array([each.lane is lane for each in reads])


def _impact(group: str, mask: Mask, waited: Numbers, otherwise: Numbers, draws: list[NDArray[np.int64]]) -> Impact:
    count = int(mask.sum())
    told = [figure for figure, fewest in _FEWEST_OF.items() if count >= fewest]
    if not told:
        return Impact(group=group, studies=count, waited_min={}, first_come_min={}, difference_min={})
    was, would = summary(waited[mask]), summary(otherwise[mask])
    drawn = [draw[mask[draw]] for draw in draws]
    resampled = [(summary(waited[each]), summary(otherwise[each])) for each in drawn if len(each)]

    def of(figure: str, value: float, values: list[float]) -> Measured:
        # A largest value has no interval: what is drawn from a sample never exceeds its own.
        low, high = (None, None) if figure == "max" else np.quantile(values, (0.025, 0.975)).tolist()
        return Measured(value=value, low=low, high=high)

    return Impact(
        group=group,
        studies=count,
        waited_min={name: of(name, was[name], [one[name] for one, _ in resampled]) for name in told},
        first_come_min={name: of(name, would[name], [other[name] for _, other in resampled]) for name in told},
        difference_min={
            name: of(name, was[name] - would[name], [one[name] - other[name] for one, other in resampled])
            for name in told
        },
    )


def _blocks(count: int) -> list[NDArray[np.int64]]:
    """Samples of as many studies, in blocks of neighbours that may run over the end (circular block bootstrap)."""
    generator = np.random.default_rng(_SEED)
    # Growing with the cube root of the number, as the theory of the method wants it (Künsch 1989).
    length = max(1, round(2 * count ** (1 / 3)))
    begins = generator.integers(0, count, size=(_RESAMPLINGS, -(-count // length)))
    drawn = (begins[:, :, None] + np.arange(length)) % count
    return list(drawn.reshape(_RESAMPLINGS, -1)[:, :count])
