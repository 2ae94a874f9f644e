"""Withdrawal: what stands no longer is stopped where it is, and taken back where it has been sent already.

A destination with `rejection` set is told by a rejection note (IHE Imaging Object Change Management), which the report
room writes; at any other the objects stay until a person has them deleted there. Neither can be undone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from node.config import Peer, Settings
from node.domain.model_card import Mode
from node.domain.rejection import REJECTION_NOTE, RejectionTitle
from node.domain.time import Instant
from node.domain.work import OutcomeState, ResultState, WorkKind
from node.store import artifacts, findings, outbox, outcomes, withdrawal_notes, work_items
from node.store.database import Database
from node.store.outbox import OutboxRow
from node.store.outcomes import Outcome
from node.store.withdrawal_notes import WithdrawalNote
from node.workflow.reportable import STUDY_KINDS

#: States of a result that its destination has.
SENT = frozenset({ResultState.SENT, ResultState.COMMITTED})
_STANDING = (OutcomeState.PENDING, OutcomeState.RUNNING, OutcomeState.RESULT)


def withdraw_resting_on(
    db: Database, now: Instant, settings: Settings, instance_ids: Sequence[int], reason: str
) -> bool:
    """Supersede every outcome that rests on any of these instances; say whether one was standing.

    Results of earlier revisions that rest on them and were sent are taken back too.
    """
    resting = outcomes.resting_on(db, instance_ids)
    stopped = [row for outcome in resting for row in _stop(db, now, outcome, OutcomeState.SUPERSEDED, reason)]
    take_back(db, now, settings, stopped, reason)
    return any(outcome.state is not OutcomeState.SUPERSEDED for outcome in resting)


def withdraw_outcomes(
    db: Database, now: Instant, settings: Settings, found: Sequence[Outcome], reason: str
) -> list[str]:
    """Withdraw what models made of one study; the outcomes fail with the reason, so that nothing runs again.

    Returns what was done, a sentence each.
    """
    done: list[str] = []
    stopped: list[OutboxRow] = []
    for outcome in found:
        rows = _stop(db, now, outcome, OutcomeState.FAILED, reason)
        stopped += rows
        done += [
            f"{row.kind} is withdrawn{'; it had been sent to' if row.state in SENT else ' from'} {row.destination}"
            for row in rows
        ]
        if outcome.state in _STANDING:
            done.append(
                f"what {outcome.model} {'found' if outcome.state is OutcomeState.RESULT else 'does'} is withdrawn"
            )
    for note in take_back(db, now, settings, stopped, reason):
        done.append(f"{note.destination} is told by a rejection note: {note.title.meaning} ({note.title}, DCM)")
    return done


def take_back(
    db: Database, now: Instant, settings: Settings, rows: Iterable[OutboxRow], reason: str
) -> list[WithdrawalNote]:
    """Have notes written over those of `rows` that were sent, in the caller's transaction: one a study and destination.

    `rows` as they were before they were withdrawn; those count that a destination has ever accepted. Returns the notes;
    none where the destination takes none.
    """
    groups: dict[tuple[str, str], list[OutboxRow]] = {}
    for row in rows:
        # One that was to be sent once more is there already.
        if (row.state in SENT or row.sent_at) and row.kind != REJECTION_NOTE:
            groups.setdefault((row.study_instance_uid, row.destination), []).append(row)
    opened = [
        _open_note(db, now, settings.peer_named(destination), sent, reason) for (_, destination), sent in groups.items()
    ]
    return [note for note in opened if note is not None]


def arrived(db: Database, now: Instant, peer: Peer, row: OutboxRow) -> None:
    """A destination has accepted what was stopped here while it was on its way: it is taken back there, too."""
    found = withdrawal_notes.record_arrival(db, now, row)
    if found is not None and found.state in (ResultState.WITHDRAWN, ResultState.SUPERSEDED):
        _open_note(db, now, peer, [replace(found, state=ResultState.SENT)], found.reason)


def _open_note(
    db: Database, now: Instant, peer: Peer | None, sent: Sequence[OutboxRow], reason: str
) -> WithdrawalNote | None:
    if peer is None or not peer.rejection or any(row.kind == REJECTION_NOTE for row in sent):
        return None
    note = withdrawal_notes.add(db, now, rows=sent, title=RejectionTitle(peer.rejection), reason=reason)
    if note is not None:
        work_items.add(db, now, WorkKind.REJECT, note.id, note.study_instance_uid)
    return note


def _stop(db: Database, now: Instant, outcome: Outcome, after: OutcomeState, reason: str) -> list[OutboxRow]:
    """End an outcome and its work; return the results that it had, each as it was before."""
    for kind in (WorkKind.INFER, WorkKind.REPORT):
        work_items.cancel(db, now, kind, outcome.id, reason)
    outcomes.move(db, now, outcome.id, after, reason)
    rows = [row for row in outbox.of_outcome(db, outcome.id) if row.kind != REJECTION_NOTE]
    rows += [row for row in summaries_of(db, outcome) if row.outcome_id != outcome.id]
    return [row for row in rows if outbox.move(db, now, row, ResultState.WITHDRAWN, reason)]


def summaries_of(db: Database, outcome: Outcome) -> list[OutboxRow]:
    """What speaks of all models of the study, whichever it was written for, made while this result was among theirs."""
    has_spoken = outcome.state is OutcomeState.RESULT or findings.of_outcome(db, outcome.id)
    if outcome.mode is not Mode.LIVE or not has_spoken:
        return []
    of_study = outcomes.of_study(db, outcome.study_instance_uid)
    of_model = [each for each in of_study if each.model == outcome.model and not each.aside]
    after = [each.created_at for each in of_model if each.id > outcome.id]
    made = {
        each.id
        for host in of_study
        for each in artifacts.of_outcome(db, host.id)
        if each.kind in STUDY_KINDS and outcome.finished_at <= each.created_at < min(after, default="~")
    }
    return [row for row in outbox.of_study(db, outcome.study_instance_uid) if row.artifact_id in made]
