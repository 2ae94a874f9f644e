"""What peers ask of a Unified Procedure Step: to claim it, to change it, to end it, to cancel it, to watch it.

Each returns the status of the answer (PS3.4 Annex CC) and why in words; everything happens in the caller's transaction.
A claim of a step to read a study says that somebody reads it, its completion that it is read.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from node.config import Settings
from node.domain.dicom_json import Attributes, element, is_filled, text
from node.domain.matching import matches
from node.domain.report_state import ReportState
from node.domain.time import Instant
from node.domain.ups import (
    FILTERED_GLOBAL_SUBSCRIPTION,
    GLOBAL_SUBSCRIPTION,
    KNOWING,
    TABLE,
    Action,
    UpsEvent,
    UpsState,
    UpsStatus,
    event_of,
    judge_setting,
)
from node.domain.ups_attributes import (
    CONTACT_NAME,
    CONTACT_URI,
    DELETION_LOCK,
    DISCONTINUATION_REASON,
    REASON_FOR_CANCELLATION,
    RECEIVING_AE,
    REQUESTING_AE,
    TRANSACTION_UID,
    fault_of_setting,
    unmet,
    with_cancellation,
)
from node.store import performing as performances
from node.store import studies, ups, ups_watch
from node.store.database import Database
from node.store.ups import UpsRow
from node.workflow import reading_steps, reported
from node.workflow import ups as steps
from node.workflow.policy import Policy
from node.workflow.steps_seen import as_seen

#: Status and reason.
Answer = tuple[UpsStatus, str]
_DONE: Answer = (UpsStatus.SUCCESS, "")
_UNKNOWN: Answer = (UpsStatus.NO_SUCH_UPS, "no step with this UID is managed here")
_WELL_KNOWN = (GLOBAL_SUBSCRIPTION, FILTERED_GLOBAL_SUBSCRIPTION)
#: Each step that is made is held against all of them.
_MOST_GLOBAL, _LONGEST_KEYS = 32, 4096
#: Steps that one transaction has a peer watch.
_WATCHED = 50
_PASSED_ON = (REASON_FOR_CANCELLATION, DISCONTINUATION_REASON, CONTACT_URI, CONTACT_NAME)


def change_state(
    db: Database,
    now: Instant,
    policy: Callable[[], Policy],
    uid: str,
    asked: str,
    transaction_uid: str,
    *,
    performer: str,
) -> Answer:
    """Claim a step, complete or cancel it; `policy` is asked for where a study's rank may move by it."""
    row = ups.step(db, uid, shown_alone=True)
    if row is None:
        return _UNKNOWN
    if asked not in list(UpsState):
        return UpsStatus.INVALID_ATTRIBUTE_VALUE, "the Procedure Step State is none of its four"
    event = event_of(UpsState(asked), row.state, held=row.transaction_uid, told=transaction_uid)
    cell = TABLE[event, row.state]
    if cell.after is None:
        return cell.status, f"{event.value}: the step is {row.state}"
    if cell.if_final_met:
        row = _ready_to_end(now, row, cell.after)
        if missing := unmet(row.attributes, cell.after):
            return UpsStatus.FINAL_STATE_NOT_MET, f"before it is {cell.after} it needs the {missing}"
    claims = event is UpsEvent.CLAIM
    steps.move(
        db,
        now,
        row,
        cell.after,
        reason=f"by {performer}",
        transaction_uid=transaction_uid if claims else "",
        performer=performer if claims else "",
    )
    if row.number:
        _tell_the_reading_list(db, now, policy(), row, cell.after, performer)
    return cell.status, ""


def set_attributes(db: Database, now: Instant, uid: str, changes: Attributes) -> Answer:
    """Change what a step says (PS3.4 §CC.2.6)."""
    row = ups.step(db, uid, shown_alone=True)
    if row is None:
        return _UNKNOWN
    told = text(changes, TRANSACTION_UID)
    status = judge_setting(row.state, held=row.transaction_uid, told=told)
    if status is not UpsStatus.SUCCESS:
        return status, f"the step is {row.state}"
    changes = {tag: value for tag, value in changes.items() if tag != TRANSACTION_UID}
    if fault := fault_of_setting(changes):
        return fault
    steps.change(db, now, row, changes)
    return _DONE


def request_cancel(
    db: Database, now: Instant, policy: Callable[[], Policy], uid: str, told: Attributes, *, ae_title: str
) -> Answer:
    """Cancel a step that nobody has claimed, or pass the wish on to who has (PS3.4 §CC.2.2.3)."""
    row = ups.step(db, uid, shown_alone=True)
    if row is None:
        return _UNKNOWN
    cell = TABLE[UpsEvent.REQUEST_CANCEL, row.state]
    if cell.through_in_progress:
        steps.cancel_unclaimed(db, now, row, reason=f"asked by {ae_title}", told=told)
        if row.number:
            # The study has still to be read, whoever does not want this step.
            reading_steps.schedule(db, now, policy(), row.study_instance_uid)
        return cell.status, ""
    if not cell.asks_performer:
        return cell.status, f"the step is {row.state}"
    if performances.ask_to_cancel(db, now, "", uid, f"by {ae_title}"):
        return cell.status, ""
    if row.performer not in ups_watch.subscriptions(db, uid):
        return UpsStatus.PERFORMER_OUT_OF_REACH, f"{row.performer} does not watch the step"
    content = {REQUESTING_AE: element("AE", ae_title), **{tag: told[tag] for tag in _PASSED_ON if is_filled(told, tag)}}
    steps.report_cancel_request(db, now, uid, content)
    return cell.status, ""


def watch(db: Database, now: Instant, settings: Settings, uid: str, action: Action, told: Attributes) -> Answer:
    """Subscribe a peer to reports, unsubscribe it, or suspend its global subscription (PS3.4 §CC.2.3).

    Whom all steps are reported to, `watch_what_stands` has watch those that there are.
    """
    peer = settings.peer_titled(text(told, RECEIVING_AE))
    if peer is None or not set(KNOWING) & set(peer.roles) or not (peer.host and peer.port):
        return (
            UpsStatus.RECEIVING_AE_UNKNOWN,
            "no performer, reader or requester with host and port has the Receiving AE",
        )
    lock = text(told, DELETION_LOCK)
    if action is Action.SUBSCRIBE and lock not in ("TRUE", "FALSE"):
        return UpsStatus.INVALID_ATTRIBUTE_VALUE, "the Deletion Lock is neither TRUE nor FALSE"
    if uid in _WELL_KNOWN:
        return _watch_all(db, peer.name, uid, action, told, locked=lock == "TRUE")
    if action is Action.SUSPEND_GLOBAL:
        return UpsStatus.NOT_FOR_THIS_INSTANCE, "only a global subscription can be suspended"
    row = ups.step(db, uid, shown_alone=True)
    if row is None or as_seen(db, settings, peer, row) is None:
        return _UNKNOWN
    if action is Action.UNSUBSCRIBE:
        ups_watch.unsubscribe(db, uid, peer.name)
        return _DONE
    ups_watch.subscribe(db, uid, peer.name, locked=lock == "TRUE")
    steps.report_state(db, now, uid, row.attributes, to=peer.name)
    return _DONE


def _watch_all(db: Database, subscriber: str, uid: str, action: Action, told: Attributes, *, locked: bool) -> Answer:
    keys = _keys(uid, told)
    if action is Action.UNSUBSCRIBE:
        ups_watch.unsubscribe_all(db, subscriber)
        return _DONE
    if action is Action.SUSPEND_GLOBAL:
        ups_watch.suspend(db, subscriber)
        return _DONE
    if len(str(keys)) > _LONGEST_KEYS or ups_watch.count_global(db, subscriber, keys) >= _MOST_GLOBAL:
        limit = f"{_MOST_GLOBAL} filters of {_LONGEST_KEYS} characters"
        return UpsStatus.RESOURCE_LIMITATION, f"{subscriber} may have {limit}; unsubscribe from some"
    ups_watch.subscribe_globally(db, subscriber, keys, locked=locked)
    return _DONE


def watch_what_stands(db: Database, now: Instant, settings: Settings, uid: str, told: Attributes) -> None:
    """Have a peer that has subscribed to all steps, or those that match, watch those that there are already.

    Opens its own transactions, a few steps each: there may be ten thousand.
    """
    peer, keys = settings.peer_titled(text(told, RECEIVING_AE)), _keys(uid, told)
    if peer is None:
        return
    locked = text(told, DELETION_LOCK) == "TRUE"
    seen = (found for row in ups.shown(db) if (found := as_seen(db, settings, peer, row)) is not None)
    matching = [row.sop_instance_uid for row in seen if matches(keys, row.attributes)]
    for piece in (matching[at : at + _WATCHED] for at in range(0, len(matching), _WATCHED)):
        with db.transaction():
            for row in ups.shown(db, uids=piece):
                held = ups_watch.subscriptions(db, row.sop_instance_uid).get(peer.name)
                # What was said of this step alone counts more: no lock is lost.
                ups_watch.subscribe(db, row.sop_instance_uid, peer.name, locked=locked or bool(held))
                if locked:
                    steps.report_state(db, now, row.sop_instance_uid, row.attributes, to=peer.name)


def _keys(uid: str, told: Attributes) -> Attributes:
    """What a global subscription asks of steps; nothing where it is not a filtered one."""
    if uid != FILTERED_GLOBAL_SUBSCRIPTION:
        return {}
    return {tag: value for tag, value in told.items() if tag not in (RECEIVING_AE, DELETION_LOCK)}


def _ready_to_end(now: Instant, row: UpsRow, after: UpsState) -> UpsRow:
    """The step with what we may fill in ourselves: when it was canceled."""
    if after is not UpsState.CANCELED:
        return row
    return replace(row, attributes=with_cancellation(row.attributes, at=steps.date_time(now.wall), reason=None))


def _tell_the_reading_list(
    db: Database, now: Instant, policy: Policy, row: UpsRow, after: UpsState, performer: str
) -> None:
    """Say how far the report of a study is; who gives it back leaves what others have told of it meanwhile."""
    uid, told_by = row.study_instance_uid, f"ups {performer}"
    study = studies.study(db, uid)
    known = study.report_state if study else ReportState.UNREAD
    moves = {
        (UpsState.IN_PROGRESS, ReportState.UNREAD): ReportState.BEING_READ,
        (UpsState.CANCELED, ReportState.BEING_READ): ReportState.UNREAD,
    }
    state = ReportState.FINAL if after is UpsState.COMPLETED else moves.get((after, known), known)
    if not reported.record(db, now, policy, uid, state, told_by=told_by):
        reading_steps.schedule(db, now, policy, uid)
