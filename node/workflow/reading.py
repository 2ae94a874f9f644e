"""One model reads one revision: begun, completed, rejected, died. Every move ends in the outcome."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from node.domain.finding import Finding
from node.domain.study import StudyState
from node.domain.time import Instant
from node.domain.work import FINAL_OUTCOMES, OutcomeState, WorkKind, WorkState
from node.errors import MatinsError, Unsuitable
from node.store import artifacts, findings, outcomes, studies, work_items
from node.store.database import Database
from node.store.outcomes import Outcome
from node.store.work_items import WorkItem
from node.workflow import comparing, ranking, reportable
from node.workflow.policy import Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeFile:
    """A file of a reading that is durable on disk."""

    #: "mask", "saliency": the kind of artifact that it is.
    kind: str
    #: Relative to the data folder.
    path: str
    size: int
    #: SHA-256 of the file.
    digest: str
    #: Which of several files of its kind it is.
    profile: str = ""
    #: How it was made, as JSON (see `store.artifacts`).
    account: str = ""


def begin(db: Database, now: Instant, item: WorkItem) -> Outcome | None:
    """Note that a model starts; `None` if nobody wants the outcome any more (the item is then finished)."""
    outcome = outcomes.outcome(db, int(item.subject))
    if outcome is None or not outcomes.move(db, now, outcome.id, OutcomeState.RUNNING):
        work_items.finish(db, now, item, "no longer wanted")
        return None
    if not outcome.aside:
        reason = f"{outcome.model} reads revision {outcome.revision}"
        studies.move(db, now, item.study_instance_uid, StudyState.READING, reason)
    return outcome


def complete(
    db: Database,
    now: Instant,
    policy: Policy,
    item: WorkItem,
    found: Sequence[Finding],
    files: Sequence[MadeFile],
    timings: Mapping[str, float],
    notes: Sequence[str] = (),
) -> bool:
    """Keep findings, files and outcome, rank anew and hand on to the report; `False` if the item was taken.

    `notes` are sentences on how it was computed, where that was not the plain way.
    """
    if not work_items.finish(db, now, item):
        return False
    outcome_id = int(item.subject)
    if not outcomes.move(db, now, outcome_id, OutcomeState.RESULT, timings=timings, notes=notes):
        return False
    outcome = outcomes.outcome(db, outcome_id)
    findings.record(db, outcome_id, found)
    for file in files:
        keep(db, now, outcome_id, file)
    waits = outcome is not None and comparing.ask(db, now, outcome)
    if outcome is not None and outcome.aside:
        return True
    if not waits:
        _report(db, now, policy, outcome_id)
    ranking.rerank(db, now, policy, item.study_instance_uid)
    settle(db, now, item.study_instance_uid)
    return True


def keep(db: Database, now: Instant, outcome_id: int, file: MadeFile) -> None:
    """Note a file that was made of an outcome, in the caller's transaction; the same file again takes its place."""
    artifacts.record(
        db,
        now,
        outcome_id=outcome_id,
        kind=file.kind,
        profile=file.profile,
        path=file.path,
        size=file.size,
        digest=file.digest,
        account=file.account,
    )


def reject(db: Database, now: Instant, policy: Policy, item: WorkItem, error: MatinsError) -> None:
    """The input does not suit, or the work cannot succeed: the outcome says so, and why."""
    if isinstance(error, Unsuitable):
        if work_items.finish(db, now, item, str(error)):
            _end(db, now, policy, item, OutcomeState.NOT_APPLICABLE, str(error))
    elif work_items.park(db, now, item, str(error)):
        _end(db, now, policy, item, OutcomeState.FAILED, str(error))


def died(db: Database, now: Instant, policy: Policy, item: WorkItem, reason: str) -> None:
    """A worker died over the item: tried again, or parked after the last attempt with the outcome failed."""
    after = work_items.give_up_or_retry(db, now, item, reason)
    if after is WorkState.PARKED:
        _end(db, now, policy, item, OutcomeState.FAILED, f"{reason} ({item.attempts} attempts)")
    elif after is WorkState.READY:
        await_another_try(db, now, item, reason)


def await_another_try(db: Database, now: Instant, item: WorkItem, reason: str) -> None:
    """The outcome of an item that went back to the queue is pending again."""
    if item.kind is WorkKind.INFER:
        outcomes.move(db, now, int(item.subject), OutcomeState.PENDING, reason)


def settle(db: Database, now: Instant, study_instance_uid: str) -> None:
    """Move the study on: done once every outcome is final and every report is built."""
    study = studies.study(db, study_instance_uid)
    if study is None or study.state is StudyState.HELD:
        return
    found = outcomes.current(db, study_instance_uid)
    unfinished = [each for each in found if each.state not in FINAL_OUTCOMES]
    if any(each.state is OutcomeState.RUNNING for each in unfinished):
        return
    if unfinished or _is_unwritten(db, study_instance_uid):
        if study.state is not StudyState.READING:
            studies.move(db, now, study_instance_uid, StudyState.WAITING, "waits for a model")
        return
    if study.early:
        studies.move(db, now, study_instance_uid, StudyState.RECEIVING, "read early; waits for the rest of the study")
        return
    counts = ", ".join(f"{each.model} {each.state.value.replace('_', ' ')}" for each in found)
    studies.move(db, now, study_instance_uid, StudyState.DONE, counts or "no model is on")


def _is_unwritten(db: Database, study_instance_uid: str) -> bool:
    """Whether a report is still to be written, or waits for a comparison with a prior."""
    if work_items.unfinished(db, study_instance_uid, WorkKind.REPORT):
        return True
    compared = work_items.unfinished_subjects(db, study_instance_uid, WorkKind.COMPARE)
    return any(not comparing.is_written(db, int(each)) for each in compared)


def _end(db: Database, now: Instant, policy: Policy, item: WorkItem, state: OutcomeState, reason: str) -> None:
    outcome = outcomes.outcome(db, int(item.subject))
    if outcome is not None and outcome.aside:
        outcomes.move(db, now, outcome.id, state, reason)
        return
    if outcomes.move(db, now, int(item.subject), state, reason):
        if item.kind is WorkKind.INFER:
            _report(db, now, policy, int(item.subject))
        ranking.rerank(db, now, policy, item.study_instance_uid)
        reportable.summarise(db, now, policy, item.study_instance_uid)
    settle(db, now, item.study_instance_uid)


def _report(db: Database, now: Instant, policy: Policy, outcome_id: int) -> None:
    outcome = outcomes.outcome(db, outcome_id)
    if outcome is not None:
        reportable.begin(db, now, policy, outcome)
