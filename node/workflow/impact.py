"""What triage did to waiting times, from the node's own events: a row a week, and any weeks on request."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime, time, timedelta
from typing import Any

from node.domain.model_card import Mode
from node.domain.time import Instant
from node.store import impact as kept
from node.store.database import Database
from node.triage.simulate.hindsight import Read, impact
from node.workflow.order_facts import ordered_lanes
from node.workflow.policy import Policy

#: So many weeks back a node that did not run makes up for its rows.
_WEEKS_BACK = 8


def weekly(db: Database, now: Instant, policy: Policy) -> list[str]:
    """Keep a row for each of the last weeks that is over and has none; return those weeks, as "2026-W47".

    Weeks begin on Monday at midnight by the site's clock, and a study counts in the week of its report. Opens a
    transaction of its own, held only to write.
    """
    have, made = kept.weeks(db), {}
    for back in range(_WEEKS_BACK, 0, -1):
        begin = _monday(now, back)
        if _name(begin) not in have:
            made[_name(begin)] = _figures(db, begin, _monday(now, back - 1), policy)
    with db.transaction():
        for week, figures in made.items():
            kept.record_week(db, now, week, figures["studies"], figures)
    return list(made)


def measured(db: Database, now: Instant, policy: Policy, weeks: int) -> list[dict[str, Any]]:
    """The figures of the last `weeks` weeks, oldest first, and of the running one; kept ones as they are kept."""
    have = kept.weeks(db)
    told = []
    for back in range(weeks, -1, -1):
        begin = _monday(now, back)
        found = have.get(_name(begin)) or _figures(db, begin, _monday(now, back - 1), policy)
        told.append({**found, "over": back > 0})
    return told


def _figures(db: Database, begin: datetime, end: datetime, policy: Policy) -> dict[str, Any]:
    """The figures of the studies that were reported in that time, with what they were ranked by."""
    studies = kept.reported(db, _utc(begin), _utc(end))
    lanes = ordered_lanes(db, [each.study_instance_uid for each in studies])
    reads = [
        Read(
            listed_min=each.listed_at.timestamp() / 60,
            reported_min=each.reported_at.timestamp() / 60,
            ordered=lanes[each.study_instance_uid].order,
            lane=each.lane,
            found=each.found,
        )
        for each in studies
    ]
    return {
        "week": _name(begin),
        "from": begin.date().isoformat(),
        "studies": len(reads),
        "points_per_minute": policy.settings.rank.points_per_minute,
        "live_models": sorted(model.card.name for model in policy.active_models if model.mode is Mode.LIVE),
        "groups": [asdict(each) for each in impact(reads)],
    }


def _monday(now: Instant, back: int) -> datetime:
    """Midnight of the Monday so many weeks back, by the site's clock; -1 is the next one."""
    today = now.wall.astimezone().date()
    monday = today - timedelta(days=today.weekday() + 7 * back)
    return datetime.combine(monday, time()).astimezone()


def _name(begin: datetime) -> str:
    year, week, _ = begin.isocalendar()
    return f"{year}-W{week:02}"


def _utc(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds")
