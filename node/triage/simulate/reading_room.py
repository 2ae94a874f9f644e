"""The reading room: studies wait by the product's own key, radiologists read, some interrupt others."""

from __future__ import annotations

from dataclasses import dataclass, field
from heapq import heappop, heappush
from math import inf
from typing import TypeAlias

import numpy as np

from node.domain.priority import Lane
from node.domain.scenario import HOURS, Discipline, Room, SimulatedModel
from node.triage.rank import static_key
from node.triage.simulate.sample import Numbers, Sample

#: Ascending in reading order, as `Ranking.place`: lane, key, arrival.
Place: TypeAlias = tuple[int, float, int]
#: A model has answered: minute, study, the lane it asks for, points.
News: TypeAlias = tuple[float, int, int, float]


@dataclass(slots=True)
class _Desk:
    """Who waits and who is being read, at one moment."""

    discipline: Discipline
    interrupting: frozenset[int]
    arrived_min: list[float]
    #: Study → lane, points of its order, and all that models gave.
    lane: list[int]
    ordered_points: list[float]
    found_points: list[float]
    #: Study → minutes that its reading still takes.
    left_min: list[float]
    finished_min: list[float]
    readers: int
    place: dict[int, Place] = field(default_factory=dict)
    #: Places; one that is not the study's own any more is passed over.
    waiting: list[Place] = field(default_factory=list)
    #: Study → minute at which its reading ends, if nothing interrupts it.
    reading: dict[int, float] = field(default_factory=dict)
    endings: list[tuple[float, int]] = field(default_factory=list)

    def wait(self, study: int) -> None:
        """Put a study where it belongs among those that wait."""
        place = (self.lane[study], -self._key(study), study)
        self.place[study] = place
        heappush(self.waiting, place)

    def call(self, now: float) -> None:
        """Let everybody who has nothing to read begin what stands on top."""
        while self.waiting and len(self.reading) < self.readers:
            place = heappop(self.waiting)
            if self.place.get(place[2]) == place:
                del self.place[place[2]]
                self._begin(place[2], now)

    def interrupt(self, study: int, now: float) -> None:
        """Begin a waiting study in place of the last of those that are read, if its lane may do that."""
        if self.lane[study] not in self.interrupting or study not in self.place or len(self.reading) < self.readers:
            return
        last = max(self.reading, key=lambda each: (self.lane[each], -self._key(each), each), default=study)
        if self.lane[last] > self.lane[study]:
            self.left_min[last] = self.reading.pop(last) - now
            self.wait(last)
            del self.place[study]
            self._begin(study, now)

    def end(self) -> None:
        """Finish the reading that ends first; one that was interrupted since ends later."""
        now, study = heappop(self.endings)
        if self.reading.get(study) == now:
            del self.reading[study]
            self.finished_min[study] = now
            self.call(now)

    def hear(self, news: News) -> None:
        """Let a model's answer move a study that waits, and protect one that is read."""
        now, study, lane, points = news
        if self.finished_min[study] < inf:
            return
        self.lane[study] = min(self.lane[study], lane)
        self.found_points[study] += points
        if study in self.place:
            self.wait(study)
            self.interrupt(study, now)

    def _begin(self, study: int, now: float) -> None:
        ends = now + self.left_min[study]
        self.reading[study] = ends
        heappush(self.endings, (ends, study))

    def _key(self, study: int) -> float:
        points = self.ordered_points[study] + min(self.found_points[study], self.discipline.findings_maximum)
        return static_key(points, self.arrived_min[study], self.discipline.points_per_minute)


def read_all(sample: Sample, models: tuple[SimulatedModel, ...], discipline: Discipline, room: Room) -> Numbers:
    """Have every study read; return the minute at which each is finished.

    A place is a lane, then `static_key`, then the arrival: the order of `triage.rank.rank`, in which models raise by
    one lane and to URGENT alone, and add `findings_maximum` at most. Nobody is idle while a study waits, except who is
    off duty.
    """
    at_once, news = _news(sample, models, discipline)
    count = len(sample.arrived_min)
    desk = _Desk(
        discipline=discipline,
        interrupting=frozenset(lane.order for lane in room.interrupted_by),
        arrived_min=sample.arrived_min.tolist(),
        lane=sample.ordered.tolist(),
        ordered_points=np.where(sample.ordered == Lane.ROUTINE.order, 0.0, discipline.findings_maximum).tolist(),
        found_points=[0.0] * count,
        left_min=sample.reading_min.tolist(),
        finished_min=[inf] * count,
        readers=room.by_hour[0],
    )
    for _, study, lane, points in at_once:
        desk.lane[study] = min(desk.lane[study], lane)
        desk.found_points[study] += points
    _let_time_pass(desk, news, room.by_hour)
    return np.array(desk.finished_min)


def _let_time_pass(desk: _Desk, news: list[News], by_hour: tuple[int, ...]) -> None:
    """Take what happens in its order: endings, then changes of shift, arrivals, answers of models."""
    arrivals, heard, hour, count = desk.arrived_min, 0, 0, len(desk.arrived_min)
    shifts = len(set(by_hour)) > 1
    study = 0
    while study < count or desk.reading or desk.place:
        ending = desk.endings[0][0] if desk.endings else inf
        shift = (hour + 1) * 60.0 if shifts else inf
        arrival = arrivals[study] if study < count else inf
        answer = news[heard][0] if heard < len(news) else inf
        now = min(ending, shift, arrival, answer)
        if now == ending:
            desk.end()
        elif now == shift:
            hour += 1
            desk.readers = by_hour[hour % HOURS]
            desk.call(now)
        elif now == arrival:
            desk.wait(study)
            desk.call(now)
            desk.interrupt(study, now)
            study += 1
        else:
            desk.hear(news[heard])
            heard += 1


def _news(sample: Sample, models: tuple[SimulatedModel, ...], discipline: Discipline) -> tuple[list[News], list[News]]:
    """What models say at the very arrival, and what later, in the order of time."""
    found: list[News] = []
    for model, answers in zip(models, sample.answers, strict=True):
        raised = model.lane.order if model.lane is not None and discipline.lanes else Lane.ROUTINE.order
        worth, if_flagged = (model.points, model.points_if_flagged) if discipline.points else (0.0, 0.0)
        is_on = not discipline.models or model.name in discipline.models
        if not is_on or (raised == Lane.ROUTINE.order and not worth and not if_flagged):
            continue
        said = np.flatnonzero(np.isfinite(answers.ready_min))
        lanes = np.where(answers.flagged[said], raised, Lane.ROUTINE.order).tolist()
        points = (worth * answers.probability[said] + if_flagged * answers.flagged[said]).tolist()
        found += zip(answers.ready_min[said].tolist(), said.tolist(), lanes, points, strict=True)
    arrived = sample.arrived_min.tolist()
    later = sorted(each for each in found if each[0] > arrived[each[1]])
    return [each for each in found if each[0] <= arrived[each[1]]], later
