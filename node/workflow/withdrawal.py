"""Withdrawal: what stands no longer is stopped where it is, and marked where it has been sent already."""

from __future__ import annotations

from collections.abc import Sequence

from node.domain.time import Instant
from node.domain.work import OutcomeState, ResultState, WorkKind
from node.store import outbox, outcomes, work_items
from node.store.database import Database
from node.store.outcomes import Outcome


def withdraw_resting_on(db: Database, now: Instant, instance_ids: Sequence[int], reason: str) -> bool:
    """Supersede every outcome that rests on any of these instances; say whether one was standing.

    Results of earlier revisions that rest on them and were sent are marked too.
    """
    resting = outcomes.resting_on(db, instance_ids)
    for outcome in resting:
        _stop(db, now, outcome, OutcomeState.SUPERSEDED, reason)
    return any(outcome.state is not OutcomeState.SUPERSEDED for outcome in resting)


def withdraw_study(db: Database, now: Instant, study_instance_uid: str, reason: str) -> list[str]:
    """Withdraw all that any model made of a study; its outcomes fail with the reason, so that nothing runs again.

    Returns what was done, a sentence each.
    """
    done: list[str] = []
    for outcome in outcomes.of_study(db, study_instance_uid):
        stopped = _stop(db, now, outcome, OutcomeState.FAILED, reason)
        done += [
            f"{kind} is withdrawn{'; it had been sent to' if sent else ' from'} {to}" for kind, to, sent in stopped
        ]
        if outcome.state in (OutcomeState.PENDING, OutcomeState.RUNNING, OutcomeState.RESULT):
            done.append(
                f"what {outcome.model} {'found' if outcome.state is OutcomeState.RESULT else 'does'} is withdrawn"
            )
    return done


def _stop(
    db: Database, now: Instant, outcome: Outcome, after: OutcomeState, reason: str
) -> list[tuple[str, str, bool]]:
    """End an outcome and its work; return (kind, destination, whether it was sent) of each result that it had."""
    for kind in (WorkKind.INFER, WorkKind.REPORT):
        work_items.cancel(db, now, kind, outcome.id, reason)
    outcomes.move(db, now, outcome.id, after, reason)
    return [
        (row.kind, row.destination, row.state in (ResultState.SENT, ResultState.COMMITTED))
        for row in outbox.of_outcome(db, outcome.id)
        if outbox.move(db, now, row, ResultState.WITHDRAWN, reason)
    ]
