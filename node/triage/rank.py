"""The place of a study in the worklist: a lane, and inside it a score that waiting makes up for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import fsum, inf

from node.domain.pin import FINDINGS_MAXIMUM, PIN, Pin
from node.domain.priority import Lane, is_requested_priority, lane_of_requested_priority
from node.domain.rule import ORDER
from node.triage.facts import RankFacts
from node.triage.rules import CompiledRule, Contribution, contributions

#: Bands: where a person has put a study on top, the lanes by their order, and what a rule's veto puts last.
FIRST_BAND = -1
LAST_BAND = len(Lane)
#: What all findings of a study add at most, and what an order for sooner than routine adds, where nothing else is set.
DEFAULT_FINDINGS_MAXIMUM = 100.0


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
    #: −1 above all (pinned), 0 to 2 the lanes, 3 below all (vetoed).
    band: int
    #: Ascending in reading order over all studies: band, key, arrival in seconds, UID.
    place: tuple[int, float, float, str]

    @property
    def reason_rows(self) -> list[dict[str, object]]:
        """The reasons as they are stored and printed."""
        return [{"rule": each.rule, "points": each.points, "because": each.because} for each in self.reasons]


def rank(
    facts: RankFacts,
    rules: Sequence[CompiledRule],
    *,
    points_per_minute: float,
    findings_maximum: float = DEFAULT_FINDINGS_MAXIMUM,
    queued_s: float | None = None,
    pin: Pin | None = None,
) -> Ranking:
    """Place a study by its order, its history, what live models found, and what a person says.

    The lane is the order's, raised (never lowered) by the rules that fire: by those that ask models one lane at most,
    and never to STAT. All that such rules add together is `findings_maximum` at most, and an order for sooner than
    routine adds as much; in STAT they add nothing to a study that no person put there. So findings alone bring no
    study above one that a person ordered sooner and that came no later. A rule's veto puts a study at the end of
    ROUTINE, unless its order is STAT. A pin takes the place of lane and veto.

    Inside a lane a study is overtaken only by those that arrive within `overtaking_window_min` after it. Every
    contribution is ≥ 0 and rules that ask models answer "unknown" as long as there is no result, so a result never puts
    a study below the place it had without, and a failed or refused one leaves it there.

    `queued_s`: when it joined the list, on the scale by which waiting is counted; where it is not given, the wall time
    of arrival.
    """
    said = contributions(rules, facts)
    human, by_person = _by_person(facts.requested_priority, pin, findings_maximum)
    lane, vetoed = _lane(human, said, pin)
    counted = fsum(each.points for each in said if each.by_model)
    allowed = min(counted, findings_maximum) if lane is not Lane.STAT or human is Lane.STAT else 0.0
    shown = _with_vetoes(said, followed=vetoed)
    first = tuple(each for each in shown if each.veto and vetoed)
    reasons = (*first, *by_person, *(each for each in shown if each not in first))
    if allowed < counted:
        reasons = (*reasons, _limit(allowed, counted))
    score = fsum((*(each.points for each in (*by_person, *said) if not each.by_model), allowed))
    queued_s = facts.arrived_at.timestamp() if queued_s is None else queued_s
    if pin is not None and pin.is_first:
        band, sort_key = FIRST_BAND, -pin.at_s / 60.0
    else:
        band = LAST_BAND if vetoed else lane.order
        sort_key = static_key(score, queued_s / 60.0, points_per_minute)
    place = (band, -sort_key, queued_s, facts.study_instance_uid)
    return Ranking(lane=lane, score=score, sort_key=sort_key, reasons=reasons, band=band, place=place)


def static_key(score: float, arrived_min: float, points_per_minute: float) -> float:
    """Points less what waiting is worth, of an arrival in minutes: the greater is read first, and time changes none."""
    return score - points_per_minute * arrived_min


def highest_score(
    rules: Sequence[CompiledRule],
    *,
    lane: Lane = Lane.ROUTINE,
    findings_maximum: float = DEFAULT_FINDINGS_MAXIMUM,
) -> float:
    """The most points that any study of the lane can have."""
    most = {True: [0.0], False: [0.0]}
    for each in rules:
        most[each.by_model].append(each.rule.highest_points)
    ordered = 0.0 if lane is Lane.ROUTINE else findings_maximum
    return fsum((*most[False], min(fsum(most[True]), findings_maximum), ordered))


def overtaking_window_min(score: float, highest: float, points_per_minute: float) -> float:
    """For how many minutes after its arrival newer studies of its lane can still overtake a study.

    Whatever arrives later stands behind it, so nobody starves in a lane; across lanes an alarm watches.
    """
    return (highest - score) / points_per_minute if points_per_minute > 0 else inf


def _lane(human: Lane, said: Sequence[Contribution], pin: Pin | None) -> tuple[Lane, bool]:
    """The lane, and whether a veto is followed."""
    if pin is not None and pin.lane is not None:
        return pin.lane, False
    is_pinned = pin is not None
    if human is not Lane.STAT and not is_pinned and any(each.veto and not each.by_model for each in said):
        return Lane.ROUTINE, True
    by_history = _highest((human, *(each.lane for each in said if each.lane and not each.by_model)))
    by_models = _highest((Lane.ROUTINE, *(each.lane for each in said if each.lane and each.by_model)))
    # From ROUTINE to URGENT is the one lane that models may raise a study by.
    return (Lane.URGENT if by_history is Lane.ROUTINE and by_models is not Lane.ROUTINE else by_history), False


def _highest(lanes: Sequence[Lane]) -> Lane:
    return min(lanes, key=lambda each: each.order)


def _by_person(
    requested_priority: str, pin: Pin | None, findings_maximum: float
) -> tuple[Lane, tuple[Contribution, ...]]:
    """The lane that people say, and what they say; sooner than routine is worth `findings_maximum`, once."""
    lane, said = _by_order(requested_priority)
    if pin is not None:
        where = "first of all" if pin.lane is None else f"to {pin.lane}"
        because = f"Pinned {where} by {pin.by} at {pin.at:%Y-%m-%d %H:%M} UTC: {pin.why}"
        said = (Contribution(rule=PIN, points=0.0, because=because, lane=pin.lane), *said)
        lane = pin.lane or lane
    if lane is Lane.ROUTINE:
        return lane, said
    worth = next(each for each in said if each.lane is lane)
    return lane, tuple(replace(each, points=findings_maximum) if each is worth else each for each in said)


def _by_order(requested_priority: str) -> tuple[Lane, tuple[Contribution, ...]]:
    """The lane of the order, and what it says where it says more than routine."""
    said = requested_priority.strip().upper()
    lane = lane_of_requested_priority(said)
    if said and not is_requested_priority(said):
        because = f"The order's priority “{said[:16]}” is not known and counts as routine"
        return lane, (Contribution(rule=ORDER, points=0.0, because=because),)
    if lane is Lane.ROUTINE:
        return lane, ()
    return lane, (Contribution(rule=ORDER, points=0.0, because=f"The order's priority is {said}", lane=lane),)


def _with_vetoes(said: Sequence[Contribution], *, followed: bool) -> tuple[Contribution, ...]:
    """The reasons, each veto with what became of it."""
    told = "" if followed else " (a veto that is not followed: a person's STAT or pin stands above it)"
    return tuple(replace(each, because=f"{each.because}{told}") if told and each.veto else each for each in said)


def _limit(allowed: float, counted: float) -> Contribution:
    """The reason that takes back what findings add beyond what they may."""
    because = f"Findings add {allowed:g} points at most"
    if not allowed:
        because = "Findings add nothing among the studies that are STAT by an order: no person made this one STAT"
    return Contribution(rule=FINDINGS_MAXIMUM, points=allowed - counted, because=because, by_model=True)
