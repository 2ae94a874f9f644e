"""Reports and segmentations beside images: when they are read back, whose they have to be, and what they become.

What a report says is history where a person stands for it (`PriorDocument.counts`); what a device says, ours or
another's, never is, or a model would confirm itself. Findings with their measurements are kept of either.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from node.domain.coding_systems import coded
from node.domain.history import Fact, Standing
from node.domain.patient import Patient, conflict, same_name
from node.domain.prior_document import DocumentKind, DocumentState, PriorDocument, kind_of
from node.domain.study import Instance, StudyState
from node.domain.time import Instant
from node.domain.work import WorkKind, WorkState
from node.store import instances, prior_documents, studies, work_items
from node.store.database import Database
from node.store.instances import HeldInstance
from node.store.prior_documents import DocumentRow
from node.store.studies import StudyRow
from node.store.work_items import WorkItem
from node.workflow import feedback, history
from node.workflow.policy import Policy

#: Of one study the newest are read.
_MOST_OF_A_STUDY = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One object that is to be read back."""

    held: HeldInstance
    kind: DocumentKind
    study: StudyRow
    #: Why nothing of it is believed; empty where it may be read.
    doubt: str


def ask(
    db: Database, now: Instant, study_instance_uid: str, held: Sequence[HeldInstance], *, again: bool = False
) -> None:
    """Have every object beside the images read that was not, or under other circumstances; as the study closes.

    What this node has made itself is known already. `again`: the others too, for the study is to be held.
    """
    found = [each for each in held if each.instance is not None and kind_of(each.sop_class_uid) is not None]
    study = studies.study(db, study_instance_uid) if found else None
    if study is None:
        return
    here = prior_documents.made_here(db, study_instance_uid)
    rows = {each.sop_instance_uid: each for each in prior_documents.of_studies(db, [study_instance_uid])}
    for each in found[-_MOST_OF_A_STUDY:]:
        row = rows.get(each.sop_instance_uid)
        is_settled = (
            row is not None
            and (row.instance_id, row.belongs_to) == (each.id, study.patient)
            and row.state is not DocumentState.NOT_BELIEVED
            # It was read in part: the images that it lies on may have come since.
            and (row.state is not DocumentState.READ or not row.reason or bool(each.freed_at))
            and not each.rejected
            and not again
        )
        if each.sop_instance_uid not in here and not is_settled:
            work_items.renew(db, now, WorkKind.READ_PRIOR, each.id, study_instance_uid)


def arrived(db: Database, now: Instant, instance_id: int, described: Instance) -> None:
    """Have an object read that comes for a study which is closed: it opens none, so that no closing asks for it."""
    if kind_of(described.sop_class_uid) is None:
        return
    uid = described.study_instance_uid
    study = studies.study(db, uid)
    if study is None or study.open or described.sop_instance_uid in prior_documents.made_here(db, uid):
        return
    work_items.renew(db, now, WorkKind.READ_PRIOR, instance_id, uid)


def ask_again(db: Database, now: Instant, ids: Sequence[int]) -> None:
    """Have those of these instances looked at again that were read: they were taken out of use."""
    for each in instances.with_ids(db, list(ids)):
        if work_items.state(db, WorkKind.READ_PRIOR, each.id) is not None:
            work_items.renew(db, now, WorkKind.READ_PRIOR, each.id, each.study_instance_uid)


def begin(db: Database, item: WorkItem) -> Reading | None:
    """What is to be read for an item; `None` if nobody wants it any more."""
    held = next(iter(instances.with_ids(db, [int(item.subject)])), None)
    kind = None if held is None else kind_of(held.sop_class_uid)
    study = studies.study(db, item.study_instance_uid)
    if held is None or kind is None or study is None or not held.current:
        return None
    return Reading(held=held, kind=kind, study=study, doubt=_doubt(held, study))


def complete(
    db: Database,
    now: Instant,
    policy: Policy,
    item: WorkItem,
    reading: Reading,
    document: PriorDocument | None,
    reason: str = "",
) -> bool:
    """Keep what was read, tell history, and rank anew every study of the patient that waits; `False` if it was taken.

    Without a document nothing that it may have said before is used any more; with one, `reason` is what could not be
    read of it. Whose study it is is looked at again.
    """
    if not work_items.finish(db, now, item, reason):
        return False
    study = studies.study(db, item.study_instance_uid) or reading.study
    doubt = _doubt(reading.held, study)
    if document is not None and doubt:
        document, reason = None, doubt
    state = DocumentState.READ if reading.kind is not DocumentKind.ENCAPSULATED else DocumentState.NOTED
    if document is None:
        state = DocumentState.NOT_BELIEVED
    _record(db, now, policy, replace(reading, study=study), document or PriorDocument(), state, reason)
    if reading.kind is DocumentKind.SEGMENTATION:
        feedback.correct(db, now, policy, reading.held, study, document, lies_on_images=not reason)
    return True


def reject(db: Database, now: Instant, policy: Policy, item: WorkItem, reason: str) -> None:
    """It cannot be read: parked for a person, and nothing that it may have said before is used any more."""
    if work_items.park(db, now, item, reason):
        _record_unreadable(db, now, policy, item, reason)


def died(db: Database, now: Instant, policy: Policy, item: WorkItem, reason: str) -> None:
    """The room died over it: tried again, or parked after the last attempt."""
    if work_items.give_up_or_retry(db, now, item, reason) is WorkState.PARKED:
        _record_unreadable(db, now, policy, item, reason)


def retry(db: Database, now: Instant, study_instance_uid: str) -> list[str]:
    """Try again what could not be read beside the images of a study; say what, in a sentence each."""
    return [
        f"the {row.kind} {row.sop_instance_uid} is read again"
        for row in prior_documents.of_studies(db, [study_instance_uid])
        if work_items.retry(db, now, WorkKind.READ_PRIOR, row.instance_id, "retry asked for")
    ]


def facts_of(document: PriorDocument, source: str, observed_at: str) -> tuple[Fact, ...]:
    """The facts of history that a report tells; none where nobody stands for it."""
    if not document.counts:
        return ()
    texts = [
        Fact(code="report", value=f"{each.heading}: {each.text}", source=source, observed_at=observed_at)
        for each in document.passages
    ]
    problems = [
        Fact(
            code="problem",
            value=each.code.meaning,
            source=source,
            observed_at=observed_at,
            coded=coded(each.code.scheme, each.code.value),
            standing=Standing.YES if each.present else Standing.NO,
        )
        for each in document.coded
    ]
    return (*texts, *problems)


def _record(
    db: Database,
    now: Instant,
    policy: Policy,
    reading: Reading,
    document: PriorDocument,
    state: DocumentState,
    reason: str,
) -> None:
    held, study = reading.held, reading.study
    origin = f"sr {held.sop_instance_uid}"
    told = () if held.ours else facts_of(document, held.source, _date(study, document))
    whose = _whose(held, study) if told and study.patient.is_identified else Patient()
    before = prior_documents.document(db, held.sop_instance_uid)
    if before is not None and before.told_of not in (Patient(), whose):
        history.learn(db, now, policy, before.told_of, (), origin=origin)
    if whose != Patient():
        history.learn(db, now, policy, whose, told, origin=origin)
    row = DocumentRow(
        sop_instance_uid=held.sop_instance_uid,
        instance_id=held.id,
        study_instance_uid=study.study_instance_uid,
        kind=reading.kind,
        document=document,
        ours=held.ours,
        facts=len(told) if whose != Patient() else 0,
        state=state,
        reason=reason,
        belongs_to=study.patient,
        told_of=whose,
        read_at=now.iso,
    )
    prior_documents.record(db, now, row)


def _record_unreadable(db: Database, now: Instant, policy: Policy, item: WorkItem, reason: str) -> None:
    reading = begin(db, item)
    if reading is not None:
        _record(db, now, policy, reading, PriorDocument(), DocumentState.UNREADABLE, reason)
        feedback.correct(db, now, policy, reading.held, reading.study, None, lies_on_images=False)


def _doubt(held: HeldInstance, study: StudyRow) -> str:
    """Say why nothing of an object may be used; empty where it may: in use, and of the patient of its study."""
    if held.rejected:
        return "a rejection note has taken it out of use"
    if study.state is StudyState.HELD:
        return "its study is held"
    if held.instance is None:
        return "its header cannot be read"
    named = held.instance.patient
    difference = conflict(named, study.patient)
    if difference is None and same_name(named.name, study.patient.name) is False:
        difference = "name differs"
    return f"it names another patient than its study: {difference}" if difference else ""


def _whose(held: HeldInstance, study: StudyRow) -> Patient:
    """The patient of the study, with what the object alone tells."""
    named = held.instance.patient if held.instance is not None else Patient()
    patient = study.patient
    return replace(patient, birth_date=patient.birth_date or named.birth_date, sex=patient.sex or named.sex)


def _date(study: StudyRow, document: PriorDocument) -> str:
    """When it was so: the day of the study, else of the report, ISO 8601; empty where neither is told."""
    for text in (study.order.study_date, document.document_date):
        try:
            return datetime.strptime(text.strip(), "%Y%m%d").date().isoformat()  # noqa: DTZ007 - a date has no zone
        except ValueError:
            continue
    return ""
