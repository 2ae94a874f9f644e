"""The digest of a night: what moved and why, what failed, what never came, who waits longest, what nobody has seen.

It names studies by their UID and nothing of a patient; whoever shows it to people adds what they may see.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import date, timedelta
from typing import Any

from node.domain.inquiry import InquiryState
from node.domain.night import RunState
from node.domain.time import Instant
from node.store import (
    acknowledgements,
    backfills,
    digests,
    expected_studies,
    inquiries,
    night_events,
    nightly_runs,
)
from node.store.database import Database
from node.store.night_events import MovedPlace
from node.workflow import routes_told
from node.workflow.policy import Policy

#: Of one heading.
_MOST_TOLD = 30
_LONGEST_WAITS = 10
#: Points by which a score has to move to be told.
_SCORE_STEP = 10.0
#: What was scheduled longer ago, and is missing, was told before, or the node was not there to see it come.
_LOOK_BACK = timedelta(days=7)
_LANES = ("STAT", "URGENT", "ROUTINE")

Body = dict[str, Any]


def gathered(db: Database, now: Instant, policy: Policy, day: date) -> Body:
    """Everything that the morning of a local day is told; reads alone."""
    last = digests.newest(db)
    earliest = (now.wall - timedelta(days=1)).isoformat(timespec="microseconds")
    since = last.made_at if last is not None and last.made_at < now.iso else earliest
    moved = [each for each in night_events.moved_places(db, since) if _is_worth_telling(each)]
    open_findings = [each for each in acknowledgements.waiting(db) if not each.after_report]
    return {
        "day": day.isoformat(),
        "since": since,
        "until": now.iso,
        "timezone": policy.settings.night.timezone,
        "arrived": night_events.arrivals(db, since),
        "unread": night_events.unread_by_lane(db),
        "moved_total": len(moved),
        "moved": [asdict(each) for each in sorted(moved, key=_by_place)[:_MOST_TOLD]],
        "unacknowledged": [
            {
                "study_instance_uid": each.study_instance_uid,
                "lane": each.lane.value if each.lane else "",
                "model": each.key.model,
                "finding": each.code.meaning,
                "asked_at": each.asked_at,
                "overdue": each.overdue,
            }
            for each in open_findings[:_MOST_TOLD]
        ],
        "discrepancies": len(acknowledgements.discrepancies(db)),
        "failed": _failed(db, since),
        **_expected(db, now, policy),
        "pending": night_events.pending_models(db),
        "unreachable": _unreachable(db, policy),
        "longest_waits": night_events.longest_waits(db, now, _LONGEST_WAITS),
        "night": [
            {"task": run.task.value, "day": run.day.isoformat(), "state": run.state.value, "reason": run.reason}
            for run in nightly_runs.since(db, since)
            if run.state is not RunState.BEGUN
        ],
        "backfills": [
            {"id": each.id, "archive": each.peer, "state": each.state.value, "reason": each.reason}
            | {"studies": backfills.counts(db, each.id)}
            for each in backfills.running(db)
        ],
    }


def keep(db: Database, now: Instant, policy: Policy, day: date, body: Body) -> None:
    """Keep a digest and queue its letters, in the caller's transaction; what never arrived is told once."""
    routes = [route.name for route in policy.settings.routes if "digest" in route.tells_when]
    digests.record(db, now, day, str(body["since"]), body, routes)
    for each in body["never_arrived"]:
        expected_studies.mark_missed(db, each["study_instance_uid"], day.isoformat())


def urgent_count(body: Mapping[str, Any]) -> int:
    """How many things somebody should look at."""
    failed = sum(len(each) for each in body["failed"].values())
    waits = sum(bool(each["too_long"]) for each in body["longest_waits"])
    others = ("unacknowledged", "never_arrived", "pending", "unreachable")
    return failed + waits + int(bool(body["discrepancies"])) + sum(len(body[key]) for key in others)


def _failed(db: Database, since: str) -> Body:
    return {
        "models": night_events.failed_models(db, since),
        "results": night_events.stopped_results(db),
        "retrievals": night_events.failed_retrievals(db, since),
        "work": night_events.parked_work(db, since),
    }


def _expected(db: Database, now: Instant, policy: Policy) -> Body:
    """Who was scheduled and never came; those whose time is hardly over may still come."""
    until = now.wall - timedelta(minutes=policy.settings.night.arrives_within_min)
    since = until - _LOOK_BACK
    counted = expected_studies.counts(db, until - timedelta(days=1), until)
    missing = expected_studies.missing(db, since, until)
    return {
        "expected": asdict(counted),
        "never_arrived_total": len(missing),
        "never_arrived": [
            {
                "study_instance_uid": each.study_instance_uid,
                "worklist": each.peer,
                "modalities": list(each.modalities),
                "scheduled_at": each.scheduled_at.isoformat(),
            }
            for each in missing
        ],
    }


def _unreachable(db: Database, policy: Policy) -> list[Body]:
    """Whom the node does not reach, each with what it said last."""
    found = [
        {"what": f"route {each['name']}", "reason": each["reason"]}
        for each in routes_told.routes_told(db, policy.settings)
        if each["state"] == "trouble"
    ]
    found += [
        {"what": f"archive {each['peer']}", "reason": each["reason"]} for each in night_events.waiting_archives(db)
    ]
    known = {server.name for server in policy.settings.fhir}
    found += [
        {"what": f"FHIR server {each.server}", "reason": each.reason}
        for each in inquiries.newest_of_servers(db)
        if each.server in known and each.state is InquiryState.FAILED
    ]
    found += [
        {"what": f"{each['number']} question(s): {each['kind']}", "reason": each["reason"]}
        for each in night_events.waiting_questions(db)
    ]
    return found


def _is_worth_telling(each: MovedPlace) -> bool:
    """A change of lane, or of score by a step; of what is new only what stands above the rest."""
    (lane_before, score_before), (lane, score) = _place(each.before), _place(each.after)
    if each.is_new:
        return lane != "ROUTINE" or score >= _SCORE_STEP
    return lane_before != lane or abs(score - score_before) >= _SCORE_STEP


def _by_place(each: MovedPlace) -> tuple[int, float, str]:
    lane, score = _place(each.after)
    return (_LANES.index(lane) if lane in _LANES else len(_LANES), -score, each.study_instance_uid)


def _place(shown: str) -> tuple[str, float]:
    lane, _, score = shown.partition(" ")
    try:
        return lane, float(score)
    except ValueError:
        return lane, 0.0
