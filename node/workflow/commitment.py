"""What becomes of results that were sent: promised to be kept, found at the destination, missing there, or unsaid."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from node.config import Peer
from node.domain.commitment import CommitmentReport, Remedy, failure, promises
from node.domain.time import Instant
from node.domain.work import ResultState
from node.store import commitments, events, outbox
from node.store.commitments import CommitmentState, Unconfirmed, Way
from node.store.database import Database
from node.store.outbox import OutboxRow

#: After a result was sent: what belongs together is asked about together, seconds.
QUIET_S = 5.0
#: How often a result is sent again because its destination says that it does not have it.
MOST_RESENDS = 3
#: ... and where it merely does not list it when it is queried.
_MOST_RESENDS_AFTER_QUERY = 1
#: What was accepted longer ago was perhaps deleted there on purpose: a person decides.
_RESENT_WITHIN = timedelta(days=7)
#: After a passing fault it is asked again: the first time after so long; doubles up to the maximum.
_AGAIN_S = 60.0
_AGAIN_MAXIMUM_S = 3600.0
#: How often a destination that does not list a result is queried for it before that is sent again: what was sent may
#: take a while to be indexed. The waits are 10 s, doubled up to 600 s: about fifty minutes in all.
_QUERIES = 10
_QUERY_S = 10.0
_QUERY_MAXIMUM_S = 600.0


def confirms(peer: Peer) -> bool:
    """Whether what a peer was sent can be confirmed at all."""
    return peer.confirm != "none" and bool(peer.host and peer.port)


def to_confirm(db: Database, now: Instant, peers: Iterable[Peer]) -> set[str]:
    """Names of the peers that are to be asked about what they were sent."""
    asked = (peer.name for peer in peers if confirms(peer))
    return {name for name in asked if commitments.is_due(db, now, name, quiet_s=QUIET_S)}


def apply(db: Database, now: Instant, destination: str, report: CommitmentReport) -> bool:
    """Take in a report of a destination, in the caller's transaction; `False` if it was asked no such thing.

    Only what was asked in that very transaction is believed; the same report again changes nothing, and a late one of
    an older request counts like any other.
    """
    asked = commitments.commitment(db, report.transaction_uid)
    if asked is None or asked.destination != destination:
        return False
    committed = missing = 0
    for row in commitments.results_of(db, report.transaction_uid):
        if promises(report, row.sop_instance_uid, row.sop_class_uid):
            committed += 1
            confirm(db, now, row, f"committed by {destination}")
        elif row.sop_instance_uid in report.failed and row.sent_at <= asked.asked_at:
            # What was asked before it was sent again says nothing of that.
            missing += 1
            _not_committed(db, now, row, report.failed[row.sop_instance_uid])
    reason = f"{committed} committed, {missing} not"
    commitments.move(db, now, report.transaction_uid, CommitmentState.REPORTED, reason)
    return True


def confirm(db: Database, now: Instant, row: OutboxRow, reason: str) -> bool:
    """A destination keeps a result; `False` if that is known, or the result was taken back meanwhile."""
    moved = outbox.move(db, now, row, ResultState.COMMITTED, reason)
    if moved:
        commitments.record_committed(db, now, row.id)
    return moved


def not_found(db: Database, now: Instant, row: OutboxRow) -> None:
    """A destination was queried for a result and does not list it, in the caller's transaction."""
    known = commitments.unconfirmed(db, row.id)
    if known is None or known.row.state is not ResultState.SENT:
        return
    name = row.destination
    if known.questions + 1 < _QUERIES:
        pause_s = min(_QUERY_MAXIMUM_S, _QUERY_S * 2.0**known.questions)
        commitments.count_question(db, row.id)
        commitments.postpone(db, now, row.id, pause_s, f"{name} does not list it yet")
    elif known.resends < _MOST_RESENDS_AFTER_QUERY:
        _send_again(db, now, known, f"{name} does not list it")
    else:
        remedy = "Look for it there; `matins force` makes a new one"
        commitments.go_on_by(db, now, row, Way.ENDED, f"{name} does not list it although it was sent twice. {remedy}")


def wait_s(questions: int) -> float:
    """How long to wait after the n-th passing fault in a row, seconds."""
    return min(_AGAIN_MAXIMUM_S, _AGAIN_S * 2.0 ** max(0, questions - 1))


def _not_committed(db: Database, now: Instant, row: OutboxRow, failure_reason: int) -> None:
    known = commitments.unconfirmed(db, row.id)
    if known is None or known.row.state is not ResultState.SENT:
        return
    words, remedy = failure(failure_reason)
    said = f"{row.destination} does not commit itself: {words}"
    if remedy is Remedy.NONE:
        commitments.go_on_by(db, now, row, Way.ENDED, said)
    elif remedy is Remedy.ASK_AGAIN:
        commitments.postpone(db, now, row.id, wait_s(known.questions), f"{said}; it is asked again")
        subject = f"{row.artifact_id}→{row.destination}"
        events.record(db, now, "result", subject, after="not committed", reason=said, study=row.study_instance_uid)
    elif known.resends < MOST_RESENDS:
        _send_again(db, now, known, said)
    else:
        advice = "See the destination's log, mend it there, then `matins retry`"
        outbox.move(db, now, known.row, ResultState.DEAD, f"{said}. It was sent {MOST_RESENDS + 1} times. {advice}")


def _send_again(db: Database, now: Instant, known: Unconfirmed, said: str) -> None:
    if now.wall - datetime.fromisoformat(known.row.sent_at) > _RESENT_WITHIN:
        advice = "and may have been deleted there; `matins retry` sends it again"
        reason = f"{said}. It was sent on {known.row.sent_at[:10]}, {advice}"
        outbox.move(db, now, known.row, ResultState.DEAD, reason)
    elif outbox.move(db, now, known.row, ResultState.QUEUED, f"{said}; it is sent again"):
        commitments.record_resend(db, known.row.id)
