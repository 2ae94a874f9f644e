"""Evidence documents are built: kept as files, queued for their destinations, in one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from node.domain.time import Instant
from node.domain.work import OutcomeState, ResultState
from node.store import artifacts, outbox, outcomes, work_items
from node.store.database import Database
from node.store.outcomes import Outcome
from node.store.work_items import WorkItem
from node.workflow import reading, withdrawal
from node.workflow.identity import destinations
from node.workflow.policy import Policy
from node.workflow.refusal import refuse_known
from node.workflow.reportable import NOT_PERFORMED, STUDY_KINDS, kinds_for, summarise

#: What waits, or lies, before it has left.
_UNSENT = frozenset({ResultState.QUEUED, ResultState.HELD, ResultState.DEAD})
_READ_AFTER_ALL = "the model has read the study after all"


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltResult:
    """One dataset that is durable on disk."""

    #: KIND of the output that built it.
    kind: str
    profile: str
    #: Relative to the data folder.
    path: str
    size: int
    #: SHA-256 of the file.
    digest: str
    sop_instance_uid: str
    sop_class_uid: str
    series_instance_uid: str = ""


def complete(db: Database, now: Instant, policy: Policy, item: WorkItem, built: Sequence[BuiltResult]) -> bool:
    """Record what was built and queue it where it may go; `False` if the item was taken from us."""
    outcome = outcomes.outcome(db, int(item.subject))
    if outcome is None or not work_items.finish(db, now, item):
        return False
    peers = destinations(db, policy, outcome)
    for result in built:
        names = [
            peer.name
            for peer in peers
            if result.kind in kinds_for(peer, outcome.state) and result.profile == peer.profile
        ]
        queue(db, now, outcome.id, item.study_instance_uid, result, names)
    if outcome.state is OutcomeState.RESULT:
        _take_back_not_performed(db, now, policy, outcome)
    summarise(db, now, policy, item.study_instance_uid)
    reading.settle(db, now, item.study_instance_uid)
    return True


def queue(
    db: Database, now: Instant, outcome_id: int, study: str, result: BuiltResult, destinations: Sequence[str]
) -> int:
    """Record one dataset and queue it for these destinations; one that is known not to take it gets another kind.

    Returns the artifact's id.
    """
    artifact_id = artifacts.record(
        db,
        now,
        outcome_id=outcome_id,
        kind=result.kind,
        profile=result.profile,
        path=result.path,
        size=result.size,
        digest=result.digest,
        sop_instance_uid=result.sop_instance_uid,
        sop_class_uid=result.sop_class_uid,
        series_instance_uid=result.series_instance_uid,
    )
    for name in destinations:
        if result.kind in STUDY_KINDS:
            _supersede_unsent(db, now, study, result.kind, name, artifact_id)
        outbox.add(db, now, artifact_id=artifact_id, study=study, destination=name)
        refuse_known(db, now, artifact_id, outcome_id, name)
    return artifact_id


def _take_back_not_performed(db: Database, now: Instant, policy: Policy, outcome: Outcome) -> None:
    """The model has read after all: what says that it has not is stopped, and taken back where it was sent."""
    told = [row for row in outbox.of_outcome(db, outcome.id) if row.kind == NOT_PERFORMED]
    stopped = [row for row in told if outbox.move(db, now, row, ResultState.WITHDRAWN, _READ_AFTER_ALL)]
    withdrawal.take_back(db, now, policy.settings, stopped, _READ_AFTER_ALL)


def _supersede_unsent(db: Database, now: Instant, study: str, kind: str, destination: str, artifact_id: int) -> None:
    """Keep back older summaries of the study that have not left: the newest speaks for all models."""
    for row in outbox.of_study(db, study):
        same = (row.kind, row.destination) == (kind, destination) and row.artifact_id != artifact_id
        if same and row.state in _UNSENT:
            outbox.move(db, now, row, ResultState.SUPERSEDED, "a newer summary of the study takes its place")
