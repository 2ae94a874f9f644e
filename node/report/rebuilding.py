"""Results built anew with the values under which a destination files their study."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import structlog
from pydicom import dcmread

from node.domain.time import Clock
from node.domain.work import WorkKind, WorkState
from node.errors import Failed, MatinsError
from node.loop import Handling
from node.report import shelf
from node.report.building import await_others, built, evidence_for
from node.report.gathering import gather
from node.report.outputs import Output
from node.store import artifacts, outcomes, work_items
from node.store.database import Database
from node.store.outbox import OutboxRow
from node.store.outcomes import Outcome
from node.store.reconciliations import Correction
from node.store.work_items import WorkItem
from node.workflow import reconciliation
from node.workflow.policy import Policy
from node.workflow.reporting import BuiltResult

_LEASE_S = 60.0

log = structlog.get_logger()


def handling(
    db: Database, clock: Clock, policy: Policy, available: Mapping[str, Output], owner_prefix: str
) -> Handling:
    """How the report room treats `correction` items."""

    def reject(item: WorkItem, error: MatinsError) -> None:
        if work_items.park(db, clock.now(), item, str(error)):
            reconciliation.given_up(db, clock.now(), item, str(error))

    def died(item: WorkItem, reason: str) -> None:
        if work_items.give_up_or_retry(db, clock.now(), item, reason) is WorkState.PARKED:
            reconciliation.given_up(db, clock.now(), item, reason)

    return Handling(
        kind=WorkKind.CORRECTION,
        owner=f"{owner_prefix}{os.getpid()}",
        lease_s=_LEASE_S,
        handle=lambda item: rebuild(db, clock, policy, available, item),
        reject=reject,
        died=died,
    )


def rebuild(db: Database, clock: Clock, policy: Policy, available: Mapping[str, Output], item: WorkItem) -> None:
    """Build one result anew, with the values of the destination that it waits for, and queue it there alone.

    Raises:
        Failed: it cannot be built so.
        Transient: a file or the database is busy; or what speaks of the whole study waits for its other models.
    """
    ordered = reconciliation.ordered_row(db, item)
    outcome = outcomes.outcome(db, ordered[0].outcome_id) if ordered else None
    if ordered is None or outcome is None:
        with db.transaction():
            work_items.finish(db, clock.now(), item, "no longer wanted")
        return
    row, correction = ordered
    result = _made(db, policy, available, row, outcome, correction)
    _check(db.folder / result.path, correction)
    with db.transaction():
        done = reconciliation.rebuilt(
            db, clock.now(), item, row, correction, reconciliation.as_variant(result, correction.values)
        )
    if done:
        log.info("result_rebuilt", destination=row.destination, kind=row.kind, study=row.study_instance_uid)


def _made(
    db: Database,
    policy: Policy,
    available: Mapping[str, Output],
    row: OutboxRow,
    outcome: Outcome,
    correction: Correction,
) -> BuiltResult:
    peer = policy.settings.peer_named(row.destination)
    if row.kind not in available or peer is None:
        raise Failed(f"there is no output {row.kind}, or no peer {row.destination}")
    await_others(db, outcome, available[row.kind])
    recorded = reconciliation.variant(peer.profile, correction.values)
    for each in artifacts.of_outcome(db, outcome.id):
        if (each.profile, each.kind) == (recorded, row.kind):
            return replace(shelf.kept(each), profile=peer.profile)
    gathered = replace(gather(db, policy, outcome), profile=peer.profile)
    evidence = evidence_for(db, policy, outcome, gathered, row.kind, available)
    if evidence is None:
        raise Failed("this result cannot be written so any more")
    named = {"corrections": dict(correction.values), "corrected_by": correction.corrected_by}
    together = tuple(replace(each, **named) for each in evidence.together)  # type: ignore[arg-type]
    corrected = replace(evidence, together=together, **named)  # type: ignore[arg-type]
    return built(db, corrected, [row.kind], available, {})[row.kind]


def _check(path: Path, correction: Correction) -> None:
    """See that the stored result says what it has to: whatever was lost on the way must not leave.

    Raises:
        Failed: it does not.
    """
    written = dcmread(path, stop_before_pixels=True, specific_tags=list(correction.values))
    wrong = [keyword for keyword, value in correction.values.items() if str(written.get(keyword) or "") != value]
    if wrong:
        raise Failed(f"{', '.join(sorted(wrong))} cannot be written as the destination has it")
