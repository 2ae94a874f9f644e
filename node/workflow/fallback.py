"""A destination does not store an output: another kind takes its place there, if there is one."""

from __future__ import annotations

from collections.abc import Sequence

from node.config import Peer
from node.domain.output import SOP_CLASS_OF_OUTPUT
from node.domain.time import Instant
from node.domain.work import ResultState
from node.store import artifacts, capabilities, outbox, outcomes, work_items
from node.store.database import Database
from node.store.outbox import OutboxRow
from node.store.work_items import WorkItem
from node.workflow import reporting
from node.workflow.deliveries import REPLACED, is_replaced
from node.workflow.reportable import REPORTED_OUTCOMES
from node.workflow.reporting import BuiltResult

#: Somebody may plan on it: it is sent where it is asked for, and takes nothing's place.
_NEVER = frozenset({"rtstruct"})
_STANDING = frozenset({ResultState.QUEUED, ResultState.SENT, ResultState.COMMITTED, ResultState.HELD})


def refused_row(db: Database, item: WorkItem) -> OutboxRow | None:
    """The row that another kind is wanted for; `None` if it is wanted no longer."""
    row = outbox.row(db, int(item.subject.partition(":")[0]))
    if row is None or row.state is not ResultState.DEAD:
        return None
    outcome = outcomes.outcome(db, row.outcome_id)
    return row if outcome is not None and outcome.state in REPORTED_OUTCOMES else None


def next_kinds(row: OutboxRow, peer: Peer, fallbacks: Sequence[str]) -> list[str]:
    """Kinds that may take the place of a row, the best first; `fallbacks` are those that its output names itself.

    After these, those of the peer's that come after them in its own order.
    """
    passed = [peer.fallback.index(kind) + 1 for kind in (row.kind, *fallbacks) if kind in peer.fallback]
    chain = (*fallbacks, *peer.fallback[max(passed, default=0) :])
    return [kind for kind in dict.fromkeys(chain) if kind != row.kind and kind not in _NEVER]


def standing_kinds(db: Database, row: OutboxRow, *, of_study: frozenset[str]) -> frozenset[str]:
    """Kinds of the same outcome, or of the study where they speak of all of it, that are there or queued."""
    return frozenset(each.kind for each in _others(db, row, of_study) if each.state in _STANDING)


def tried_kinds(db: Database, row: OutboxRow, *, of_study: frozenset[str]) -> frozenset[str]:
    """Kinds that the destination was to get before, and did not take."""
    others = _others(db, row, of_study)
    return frozenset(each.kind for each in others if each.state is ResultState.DEAD or is_replaced(each))


def known_refusal(db: Database, now: Instant, row: OutboxRow, kind: str) -> str:
    """Why the row's destination is known not to take a kind; empty if it is not known."""
    sop_class_uid = SOP_CLASS_OF_OUTPUT.get(kind, "")
    return capabilities.known_refusal(db, now, row.destination, sop_class_uid) if sop_class_uid else ""


def replace(db: Database, now: Instant, item: WorkItem, row: OutboxRow, kind: str, built: BuiltResult | None) -> bool:
    """Queue what was built for the destination of a row alone, and end the row; `False` if that is wanted no longer.

    Without `built`, what takes its place is there, or queued, already. In the caller's transaction.
    """
    if refused_row(db, item) is None:
        work_items.finish(db, now, item, "no longer wanted")
        return False
    if not work_items.finish(db, now, item):
        return False
    if built is not None:
        reporting.queue(db, now, row.outcome_id, row.study_instance_uid, built, [row.destination])
    return outbox.move(db, now, row, ResultState.SUPERSEDED, f"{REPLACED}{kind}: {row.reason}")


def _others(db: Database, row: OutboxRow, of_study: frozenset[str]) -> list[OutboxRow]:
    """Rows for the same destination that tell of the same outcome.

    What speaks of all models does so if it was made after this one was through, and stands.
    """
    outcome = outcomes.outcome(db, row.outcome_id)
    finished_at = outcome.finished_at if outcome else ""
    current = {each.id for each in outcomes.current(db, row.study_instance_uid)}
    found = []
    for each in outbox.of_study(db, row.study_instance_uid):
        if each.destination != row.destination or each.id == row.id:
            continue
        artifact = artifacts.artifact(db, each.artifact_id) if each.kind in of_study else None
        together = artifact is not None and artifact.created_at >= finished_at and each.outcome_id in current
        if each.outcome_id == row.outcome_id or together:
            found.append(each)
    return found
