"""Work items `reject`: a rejection note over what one destination has of one study, written and queued for it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from pydicom import Dataset, dcmread
from pydicom.errors import InvalidDicomError

from node.domain.rejection import REJECTION_NOTE
from node.domain.time import Clock
from node.domain.work import WorkKind
from node.errors import Failed, MatinsError
from node.loop import Handling
from node.report import shelf, zone
from node.report.rejection_note import PATIENT_AND_STUDY, NoteContent, build
from node.store import artifacts, studies, withdrawal_notes, work_items
from node.store.database import Database
from node.store.withdrawal_notes import SentResult
from node.store.work_items import WorkItem

_LEASE_S = 60.0


def handling(db: Database, clock: Clock, owner: str) -> Handling:
    """How the report room treats `reject` items."""

    def reject(item: WorkItem, error: MatinsError) -> None:
        work_items.park(db, clock.now(), item, str(error))

    def died(item: WorkItem, reason: str) -> None:
        work_items.give_up_or_retry(db, clock.now(), item, reason)

    return Handling(
        kind=WorkKind.REJECT,
        owner=f"{owner}{os.getpid()}",
        lease_s=_LEASE_S,
        handle=lambda item: write_note(db, clock, item),
        reject=reject,
        died=died,
    )


def write_note(db: Database, clock: Clock, item: WorkItem) -> None:
    """Write the note durably, then record and queue it in the transaction that finishes the item.

    Raises:
        Failed: it cannot be said in which series what it names lies.
        Transient: the disk or the database is busy.
    """
    note = withdrawal_notes.note(db, int(item.subject))
    if note is None or note.artifact_id is not None:
        with db.transaction():
            work_items.finish(db, clock.now(), item, "no longer wanted")
        return
    named = [_placed(db, each) for each in withdrawal_notes.named_by(db, note.id)]
    header = _header(db, note.study_instance_uid, named)
    # Where the header names no zone: this machine's.
    decided_at = datetime.fromisoformat(note.created_at).astimezone(zone.named(header))
    content = NoteContent(title=note.title, reason=note.reason, named=named, header=header, decided_at=decided_at)
    profile = f"note {note.id}"
    built = shelf.store(db, REJECTION_NOTE, profile, build(content))
    with db.transaction():
        if not work_items.finish(db, clock.now(), item):
            return
        artifact_id = artifacts.record(
            db,
            clock.now(),
            outcome_id=named[0].outcome_id,
            kind=REJECTION_NOTE,
            profile=profile,
            path=built.path,
            size=built.size,
            digest=built.digest,
            sop_instance_uid=built.sop_instance_uid,
            sop_class_uid=built.sop_class_uid,
            series_instance_uid=built.series_instance_uid,
        )
        withdrawal_notes.queue(db, clock.now(), note.id, artifact_id)


def _placed(db: Database, named: SentResult) -> SentResult:
    """With its series, read from the file where no row tells it."""
    if named.series_instance_uid:
        return named
    header = _read(db, named, ("SeriesInstanceUID",))
    if header is None:
        raise Failed(f"{named.path} is gone, and with it in which series it lies; have it deleted at the destination")
    return replace(named, series_instance_uid=str(header.SeriesInstanceUID))


def _header(db: Database, study_instance_uid: str, named: Sequence[SentResult]) -> Dataset:
    """Patient and study as they were sent; as they are known here where no file is left."""
    for each in named:
        found = _read(db, each, PATIENT_AND_STUDY)
        if found is not None:
            found.decode()
            return found
    study = studies.study(db, study_instance_uid)
    if study is None:
        raise Failed(f"no study {study_instance_uid} is held here")
    header = Dataset()
    header.StudyInstanceUID = study_instance_uid
    header.PatientName, header.PatientID = study.patient.name, study.patient.patient_id
    header.PatientBirthDate, header.PatientSex = study.patient.birth_date, study.patient.sex
    if study.patient.issuer:
        header.IssuerOfPatientID = study.patient.issuer
    header.StudyDate, header.StudyTime = study.order.study_date, study.order.study_time
    header.StudyID, header.AccessionNumber = study.order.study_id, study.order.accession_number
    if study.order.study_description:
        header.StudyDescription = study.order.study_description
    return header


def _read(db: Database, named: SentResult, keywords: Sequence[str]) -> Dataset | None:
    try:
        return dcmread(db.folder / named.path, stop_before_pixels=True, specific_tags=list(keywords))
    except (OSError, InvalidDicomError):
        return None
