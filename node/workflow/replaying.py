"""Replay: where studies would have stood by other rules, with what was known when. Nothing here writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from node.domain.time import Instant
from node.store import reading_list
from node.store.database import Database
from node.triage.rank import Ranking
from node.triage.replay import Fate, fates, mean_wait_min
from node.triage.rules import CompiledRule
from node.workflow import ranking
from node.workflow.courses import Remembered, iso, remembered
from node.workflow.policy import Policy

Story = dict[str, Any]


def replay_study(
    db: Database, now: Instant, policy: Policy, study_instance_uid: str, others: Sequence[CompiledRule] | None = None
) -> Story | None:
    """Where a study stands, and where it would stand by today's rules, or by `others`; `None` if it is reported.

    With `others` both lists are ranked by what is known now; else the first is the list as it is kept.
    """
    uids = reading_list.unread(db)
    if study_instance_uid not in uids:
        return None
    today = {each.row.study_instance_uid: each for each in ranking.ranked_anew(db, now, policy, uids)}
    by_today = {uid: each.ranking for uid, each in today.items()}
    row, kept = today[study_instance_uid].row, today[study_instance_uid].before
    if others is None:
        was = {"place": uids.index(study_instance_uid) + 1, "lane": kept.lane.value, "score": kept.score}
        told = {"from": {**was, "reasons": list(row.reasons)}, "to": _stand(by_today, study_instance_uid)}
    else:
        ruled = ranking.ranked_anew(db, now, replace(policy, rules=tuple(others)), uids)
        by_others = {each.row.study_instance_uid: each.ranking for each in ruled}
        told = {"from": _stand(by_today, study_instance_uid), "to": _stand(by_others, study_instance_uid)}
    return {"study_instance_uid": study_instance_uid, "studies": len(uids), **told}


def replay_night(
    db: Database,
    policy: Policy,
    since: datetime,
    until: datetime,
    *,
    before: Sequence[CompiledRule],
    after: Sequence[CompiledRule],
) -> Story:
    """What would have moved between the two moments had the rules been `after` instead of `before`.

    Every result, told fact, comparison and pin counts from the moment at which it was known. Each final report of the
    night stands for one reading, which takes whatever is on top of the list at that moment: so the two lists are
    compared under the same pace of reading, and not with what people did.
    """
    studies = remembered(db, since, until)
    first, last = iso(since), iso(until)
    readings = [
        datetime.fromisoformat(each.timeline.read_at) for each in studies if first <= each.timeline.read_at < last
    ]
    was, would = (
        fates([each.course(policy, rules, last) for each in studies], readings, until) for rules in (before, after)
    )
    rows = [_moved(each, was, would, policy, after, last) for each in studies]
    rows.sort(key=lambda row: (row["to"]["read_at"] or last, row["to"]["place"] or 0))
    return {
        "since": since.isoformat(timespec="minutes"),
        "until": until.isoformat(timespec="minutes"),
        "readings": len(readings),
        "mean_wait_min": {"from": round(mean_wait_min(was), 1), "to": round(mean_wait_min(would), 1)},
        "moved": sum(row["from"] != row["to"] for row in rows),
        "studies": rows,
    }


def _stand(ranked: Mapping[str, Ranking], uid: str) -> Story:
    order = sorted(ranked, key=lambda each: ranked[each].place)
    own = ranked[uid]
    return {"place": order.index(uid) + 1, "lane": own.lane.value, "score": own.score, "reasons": own.reason_rows}


def _moved(
    study: Remembered,
    was: Mapping[str, Fate],
    would: Mapping[str, Fate],
    policy: Policy,
    rules: Sequence[CompiledRule],
    until: str,
) -> Story:
    uid = study.row.study_instance_uid
    at = iso(would[uid].read_at or datetime.fromisoformat(until))
    told = study.ranked_at(at, policy, rules)
    return {
        "study_instance_uid": uid,
        "accession_number": study.row.order.accession_number,
        "modality": study.row.modality,
        "study_description": study.row.order.study_description,
        "received_at": study.row.first_received.iso,
        "reported_at": study.timeline.read_at,
        "from": _fate(was[uid]),
        "to": _fate(would[uid]),
        "wait_change_min": round(would[uid].wait_min - was[uid].wait_min, 1),
        "lane": told.lane.value,
        "score": told.score,
        "reasons": told.reason_rows,
    }


def _fate(fate: Fate) -> Story:
    """Either the moment at which it is read, or its place when the night ends."""
    read_at = iso(fate.read_at) if fate.read_at is not None else ""
    return {"read_at": read_at, "place": fate.place, "wait_min": round(fate.wait_min, 1)}
