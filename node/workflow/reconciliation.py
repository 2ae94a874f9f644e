"""Before anything of a study leaves: is it filed at the destination as it came to us, and what if it is not."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from node.domain.reconciliation import Filed, Verdict, reconcile
from node.domain.time import Instant, elapsed_s
from node.domain.work import ResultState, WorkKind
from node.store import outbox, reconciliations, studies, work_items
from node.store.database import Database
from node.store.outbox import OutboxRow
from node.store.reconciliations import Correction
from node.store.studies import StudyRow
from node.store.work_items import WorkItem
from node.workflow import reporting
from node.workflow.reporting import BuiltResult

#: For so long a destination's answer counts, seconds; one that it does not have the study, for less.
FRESH_S = 60.0
_FRESH_WHILE_ABSENT_S = 4.0
_RETRY = "then `matins retry`"


class Course(StrEnum):
    """What is done about the results of a study that want to leave."""

    #: The destination is asked as whom it files the study.
    ASK = "ask"
    GO = "go"
    WAIT = "wait"
    HOLD = "hold"
    #: Some have to be built anew first, with the destination's values.
    REBUILD = "rebuild"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """A course, why, and for REBUILD which results."""

    course: Course
    reason: str = ""
    rows: tuple[OutboxRow, ...] = ()


def rule(db: Database, now: Instant, destination: str, study_instance_uid: str, rows: Sequence[OutboxRow]) -> Ruling:
    """Say what is done about results of one study for one destination."""
    study = studies.study(db, study_instance_uid)
    if study is None:
        return Ruling(course=Course.HOLD, reason="the study is not here any more")
    found = reconciliations.found(db, study_instance_uid, destination)
    if found is None or (found.revision, found.ours) != (study.revision, as_filed(study)):
        return Ruling(course=Course.ASK)
    if elapsed_s(found.asked, now) > (FRESH_S if found.filed else _FRESH_WHILE_ABSENT_S):
        return Ruling(course=Course.ASK)
    if not found.filed:
        return Ruling(course=Course.WAIT, reason=f"{destination} does not have the study yet")
    decision = reconcile(found.ours, found.filed)
    if decision.verdict is Verdict.CONTRADICTS:
        return Ruling(course=Course.HOLD, reason=f"{destination} {decision.reason}, {_RETRY}")
    others = tuple(row for row in rows if not _bears(db, row, found.ours, decision.corrections))
    if not others:
        return Ruling(course=Course.GO)
    if not decision.corrections or any(_was_built_for(db, row, decision.corrections) for row in others):
        reason = f"{destination} files the study as it came again; `matins force` builds a new result"
        return Ruling(course=Course.HOLD, reason=reason)
    return Ruling(course=Course.REBUILD, reason=f"{destination} {decision.reason}; it is built anew", rows=others)


def as_filed(study: StudyRow) -> Filed:
    """A study as we have it."""
    return Filed(patient=study.patient, accession_number=study.order.accession_number)


def record(db: Database, now: Instant, destination: str, study_instance_uid: str, filed: Sequence[Filed]) -> None:
    """Keep what a destination answered about a study; opens its own transaction."""
    with db.transaction():
        study = studies.study(db, study_instance_uid)
        if study is not None:
            ours = as_filed(study)
            revision = study.revision
            reconciliations.record(db, now, study_instance_uid, destination, revision=revision, ours=ours, filed=filed)


def order_rebuilding(db: Database, now: Instant, rows: Sequence[OutboxRow]) -> None:
    """Have results built anew with their destination's values, each once; opens its own transaction."""
    with db.transaction():
        for row in rows:
            open_subjects = work_items.unfinished_subjects(db, row.study_instance_uid, WorkKind.CORRECTION)
            if not any(subject.startswith(f"{row.id}:") for subject in open_subjects):
                subject = f"{row.id}:{row.attempts}"
                work_items.add(db, now, WorkKind.CORRECTION, subject, row.study_instance_uid)


def ordered_row(db: Database, item: WorkItem) -> tuple[OutboxRow, Correction] | None:
    """The result that is to be built anew, and the values that it has to bear; `None` if that is wanted no longer."""
    row = outbox.row(db, int(item.subject.partition(":")[0]))
    study = studies.study(db, item.study_instance_uid)
    if row is None or study is None or row.state is not ResultState.QUEUED:
        return None
    found = reconciliations.found(db, row.study_instance_uid, row.destination)
    if found is None or found.ours != as_filed(study) or not found.filed:
        return None
    decision = reconcile(found.ours, found.filed)
    if decision.verdict is not Verdict.CORRECT or _bears(db, row, found.ours, decision.corrections):
        return None
    return row, Correction(ours=found.ours, values=decision.corrections, corrected_by=row.destination)


def rebuilt(
    db: Database, now: Instant, item: WorkItem, row: OutboxRow, correction: Correction, built: BuiltResult
) -> bool:
    """Queue what was rebuilt for the row's destination alone, and end the row, in the caller's transaction.

    `False` if that is wanted no longer.
    """
    wanted = ordered_row(db, item)
    if wanted is None or dict(wanted[1].values) != dict(correction.values) or wanted[1].ours != correction.ours:
        work_items.finish(db, now, item, "no longer wanted")
        return False
    if not work_items.finish(db, now, item):
        return False
    outbox.move(db, now, row, ResultState.SUPERSEDED, f"rebuilt with the values of {row.destination}")
    artifact_id = reporting.queue(db, now, row.outcome_id, row.study_instance_uid, built, [row.destination])
    reconciliations.record_corrected(db, now, artifact_id, correction, study=row.study_instance_uid)
    return True


def given_up(db: Database, now: Instant, item: WorkItem, reason: str) -> None:
    """A result cannot be rebuilt: it is held, for it must not go as it is. In the caller's transaction."""
    row = outbox.row(db, int(item.subject.partition(":")[0]))
    if row is not None:
        why = f"{row.destination} files the study under other values, with which it cannot be built: {reason}"
        outbox.move(db, now, row, ResultState.HELD, f"{why}. `matins retry` tries again")


def variant(profile: str, corrections: Mapping[str, str]) -> str:
    """The profile under which a rebuilt result is recorded beside the first: that, and a digest of the values."""
    digest = hashlib.sha256(json.dumps(dict(corrections), sort_keys=True).encode()).hexdigest()
    return f"{profile}+{digest[:16]}"


def as_variant(built: BuiltResult, corrections: Mapping[str, str]) -> BuiltResult:
    """A rebuilt result as it is recorded."""
    return replace(built, profile=variant(built.profile, corrections))


def _was_built_for(db: Database, row: OutboxRow, corrections: Mapping[str, str]) -> bool:
    """Whether a result bears just these values beside those that the study had before: there is but one such object."""
    correction = reconciliations.correction_of(db, row.artifact_id)
    return correction is not None and dict(correction.values) == dict(corrections)


def _bears(db: Database, row: OutboxRow, ours: Filed, corrections: Mapping[str, str]) -> bool:
    """Whether a result bears just these values, of this very patient."""
    correction = reconciliations.correction_of(db, row.artifact_id)
    if correction is None:
        return not corrections
    return correction.ours == ours and dict(correction.values) == dict(corrections)
