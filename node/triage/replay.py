"""A night once more: the same studies, results and readings, but the list in another order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

#: As `Ranking.place`.
Position: TypeAlias = tuple[int, float, float, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """One study through the night."""

    study_instance_uid: str
    #: When the first instance came: its wait is counted from then.
    arrived_at: datetime
    #: When it could first be seen in the list.
    listed_at: datetime
    #: From when on it stood where, oldest first; the first entry counts from `listed_at`.
    positions: tuple[tuple[datetime, Position], ...]

    def position(self, at: datetime) -> Position:
        """Where it stood at a moment after `listed_at`."""
        return next((place for since, place in reversed(self.positions) if since <= at), self.positions[0][1])


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """What becomes of a study: read at a moment, or still in the list when the night ends."""

    read_at: datetime | None
    #: 1 for the first of those still in the list; `None` where it was read.
    place: int | None
    #: Minutes from its arrival until it was read, or until the night ended.
    wait_min: float


def fates(courses: Sequence[Course], readings: Sequence[datetime], until: datetime) -> dict[str, Fate]:
    """Let every reading of the night take the study that stood on top of the list at that moment."""
    waiting: dict[str, Course] = {}
    coming = sorted(courses, key=lambda each: (each.listed_at, each.study_instance_uid))
    done: dict[str, Fate] = {}
    for at in sorted(readings):
        while coming and coming[0].listed_at <= at:
            listed = coming.pop(0)
            waiting[listed.study_instance_uid] = listed
        if waiting:
            taken = min(waiting.values(), key=_position_at(at))
            del waiting[taken.study_instance_uid]
            done[taken.study_instance_uid] = Fate(read_at=at, place=None, wait_min=_minutes(taken.arrived_at, at))
    left = [*waiting.values(), *(each for each in coming if each.listed_at <= until)]
    for place, each in enumerate(sorted(left, key=_position_at(until)), start=1):
        done[each.study_instance_uid] = Fate(read_at=None, place=place, wait_min=_minutes(each.arrived_at, until))
    return done


def mean_wait_min(told: Mapping[str, Fate]) -> float:
    """Of all studies, in minutes."""
    return sum(each.wait_min for each in told.values()) / len(told) if told else 0.0


def _position_at(at: datetime) -> Callable[[Course], Position]:
    return lambda course: course.position(at)


def _minutes(since: datetime, until: datetime) -> float:
    return max(0.0, (until - since).total_seconds() / 60.0)
