"""Unified Procedure Steps as their manager keeps them: made, changed, moved, and everybody told who watches.

Everything here is done in the caller's transaction: what a peer is told is queued where the fact is written.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from node.config import Settings
from node.domain.dicom_json import Attributes, coded, element, is_filled, items
from node.domain.matching import matches
from node.domain.time import Instant
from node.domain.ups import PUSH, Report, UpsState
from node.domain.ups_attributes import (
    DISCONTINUATION_REASON,
    HUMAN_PERFORMERS,
    MODIFIED,
    PROGRESS,
    READINESS,
    REASON_FOR_CANCELLATION,
    SOP_CLASS_UID,
    SOP_INSTANCE_UID,
    STATE,
    STATION_NAMES,
    with_cancellation,
)
from node.store import ups, ups_watch
from node.store.database import Database
from node.store.ups import UpsRow
from node.workflow.steps_seen import as_seen

#: PS3.16 CID 9300, "Procedure Discontinuation Reason".
UNSPECIFIED = coded("110513", "DCM", "Discontinued for unspecified reason")
_KEPT = frozenset({SOP_CLASS_UID, SOP_INSTANCE_UID, STATE, MODIFIED})


def create(db: Database, now: Instant, row: UpsRow, settings: Settings) -> bool:
    """Keep a new step, and tell those who watch all and may know of it; `False` if there is one with this UID."""
    uid = row.sop_instance_uid
    said = row.attributes | {
        SOP_CLASS_UID: element("UI", PUSH),
        SOP_INSTANCE_UID: element("UI", uid),
        STATE: element("CS", row.state),
        MODIFIED: element("DT", date_time(now.wall)),
    }
    if not ups.add(db, now, replace(row, attributes=said)):
        return False
    for each in ups_watch.global_subscriptions(db):
        peer = settings.peer_named(each.subscriber)
        seen = as_seen(db, settings, peer, replace(row, attributes=said)) if peer is not None else None
        if seen is not None and matches(each.keys, seen.attributes):
            locked = each.locked or ups_watch.subscriptions(db, uid).get(each.subscriber, False)
            ups_watch.subscribe(db, uid, each.subscriber, locked=locked)
    report_state(db, now, uid, said)
    _report_assignment(db, now, uid, said, {})
    return True


def change(db: Database, now: Instant, row: UpsRow, changes: Attributes, *, tell_state: bool = False) -> None:
    """Change what a step says, and tell those who watch it what the standard has them told.

    `tell_state`: whatever changes, they are told its state, so that they look it up anew.
    """
    before = row.attributes
    after = {**before, **{tag: value for tag, value in changes.items() if tag not in _KEPT}}
    if after == before:
        return
    after[MODIFIED] = element("DT", date_time(now.wall))
    uid = row.sop_instance_uid
    ups.record(db, now, uid, after)
    if after.get(READINESS) != before.get(READINESS) or tell_state:
        report_state(db, now, uid, after)
    if PROGRESS in after and after[PROGRESS] != before.get(PROGRESS):
        _tell(db, now, uid, Report.PROGRESS, {PROGRESS: after[PROGRESS]})
    _report_assignment(db, now, uid, after, before)


def move(
    db: Database,
    now: Instant,
    row: UpsRow,
    after: UpsState,
    *,
    reason: str,
    transaction_uid: str = "",
    performer: str = "",
) -> UpsRow:
    """Move a step to another state, and tell those who watch it; return it as it is now."""
    said = row.attributes | {STATE: element("CS", after), MODIFIED: element("DT", date_time(now.wall))}
    ups.move(db, now, row, after, reason=reason, transaction_uid=transaction_uid, performer=performer)
    ups.record(db, now, row.sop_instance_uid, said)
    report_state(db, now, row.sop_instance_uid, said)
    found = ups.step(db, row.sop_instance_uid)
    assert found is not None
    return found


def cancel_unclaimed(
    db: Database, now: Instant, row: UpsRow, *, reason: str, told: Attributes | None = None
) -> UpsRow:  # fmt: skip
    """Cancel a step that nobody has claimed: through IN PROGRESS, as PS3.4 §CC.1.1 has it.

    `told`: what was given as reason, with a code where there is one.
    """
    told = told or {}
    begun = move(db, now, row, UpsState.IN_PROGRESS, reason=reason)
    codes = items(told, DISCONTINUATION_REASON)
    said = with_cancellation(begun.attributes, at=date_time(now.wall), reason=codes[0] if codes else UNSPECIFIED)
    if is_filled(told, REASON_FOR_CANCELLATION):
        first, *others = items(said, PROGRESS)
        first = {**first, REASON_FOR_CANCELLATION: told[REASON_FOR_CANCELLATION]}
        said[PROGRESS] = element("SQ", first, *others)
    return move(db, now, replace(begun, attributes=said), UpsState.CANCELED, reason=reason)


def report_state(db: Database, now: Instant, uid: str, said: Attributes, *, to: str = "") -> None:
    """Tell those who watch a step, or one of them, where it stands (PS3.4 Table CC.2.4-1)."""
    content = {STATE: said[STATE], READINESS: said[READINESS]}
    if said[STATE].get("Value") == [UpsState.CANCELED]:
        for item in items(said, PROGRESS)[:1]:
            content |= {tag: item[tag] for tag in (REASON_FOR_CANCELLATION, DISCONTINUATION_REASON) if tag in item}
    _tell(db, now, uid, Report.STATE, content, to=to)


def report_cancel_request(db: Database, now: Instant, uid: str, content: Attributes) -> None:
    """Tell those who watch a step that somebody wants it canceled."""
    _tell(db, now, uid, Report.CANCEL_REQUESTED, content)


def date_time(moment: datetime) -> str:
    """The moment as a DT of this machine's zone, with its offset from UTC (PS3.5 §6.2)."""
    return moment.astimezone().strftime("%Y%m%d%H%M%S%z")


def _report_assignment(db: Database, now: Instant, uid: str, after: Attributes, before: Attributes) -> None:
    tags = (STATION_NAMES, HUMAN_PERFORMERS)
    if any(is_filled(after, tag) and after[tag] != before.get(tag) for tag in tags):
        _tell(db, now, uid, Report.ASSIGNED, {tag: after[tag] for tag in tags if is_filled(after, tag)})


def _tell(db: Database, now: Instant, uid: str, kind: Report, content: Attributes, *, to: str = "") -> None:
    for subscriber in [to] if to else ups_watch.subscriptions(db, uid):
        ups_watch.tell(db, now, uid, kind, content, subscriber)
