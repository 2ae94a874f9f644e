"""The place of a study in the worklist: a lane, and inside it a score that waiting makes up for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC
from math import fsum, inf

from node.domain.priority import Lane, is_requested_priority, lane_of_requested_priority
from node.domain.rule import ORDER
from node.triage.facts import RankFacts
from node.triage.rules import CompiledRule, Contribution, contributions


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """Where a study stands, and why."""

    lane: Lane
    #: Sum of the reasons' points.
    score: float
    #: `score − points_per_minute · minutes of arrival`: greater is read first within a lane. It does not
    #: change while time passes, so an index holds the order.
    sort_key: float
    reasons: tuple[Contribution, ...]
    #: Ascending in reading order over all studies: lane, key, arrival, UID.
    place: tuple[int, float, str, str]

    @property
    def reason_rows(self) -> list[dict[str, object]]:
        """The reasons as they are stored and printed."""
        return [{"rule": each.rule, "points": each.points, "because": each.because} for each in self.reasons]


def rank(facts: RankFacts, rules: Sequence[CompiledRule], *, points_per_minute: float) -> Ranking:
    """Place a study by its order, its history and what live models found.

    The lane is the order's, raised (never lowered) by the rules that fire. Inside a lane a study is
    overtaken only by those that arrive within `overtaking_window_min` after it. Every contribution is
    ≥ 0 and rules that ask models answer "unknown" as long as there is no result, so a result never puts
    a study below the place it had without, and a failed or refused one leaves it there.
    """
    reasons = (*_by_order(facts.requested_priority), *contributions(rules, facts))
    lane = min((each.lane for each in reasons if each.lane), key=lambda each: each.order, default=Lane.ROUTINE)
    score = fsum(each.points for each in reasons)
    sort_key = static_key(score, facts.arrived_at.timestamp() / 60.0, points_per_minute)
    arrived = facts.arrived_at.astimezone(UTC).isoformat(timespec="microseconds")
    place = (lane.order, -sort_key, arrived, facts.study_instance_uid)
    return Ranking(lane=lane, score=score, sort_key=sort_key, reasons=reasons, place=place)


def static_key(score: float, arrived_min: float, points_per_minute: float) -> float:
    """Points less what waiting is worth, of an arrival in minutes: the greater is read first, and time changes none."""
    return score - points_per_minute * arrived_min


def highest_score(rules: Sequence[CompiledRule]) -> float:
    """The most points that any study can have."""
    return fsum(max(each.rule.points, each.rule.points_when_missing) for each in rules)


def overtaking_window_min(score: float, highest: float, points_per_minute: float) -> float:
    """For how many minutes after its arrival newer studies of its lane can still overtake a study.

    Whatever arrives later stands behind it, so nobody starves in a lane; across lanes an alarm watches.
    """
    return (highest - score) / points_per_minute if points_per_minute > 0 else inf


def _by_order(requested_priority: str) -> tuple[Contribution, ...]:
    """What the order says, where it says more than routine."""
    said = requested_priority.strip().upper()
    lane = lane_of_requested_priority(said)
    if said and not is_requested_priority(said):
        because = f"The order's priority “{said[:16]}” is not known and counts as routine"
        return (Contribution(rule=ORDER, points=0.0, because=because),)
    if lane is Lane.ROUTINE:
        return ()
    return (Contribution(rule=ORDER, points=0.0, because=f"The order's priority is {said}", lane=lane),)
