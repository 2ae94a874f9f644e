"""How the report room treats `read_prior` items."""

from __future__ import annotations

import os
from dataclasses import replace

from node.domain.prior_document import DocumentKind, PriorDocument
from node.domain.study import Instance
from node.domain.time import Clock
from node.domain.work import WorkKind
from node.errors import Failed, MatinsError, Unsuitable
from node.loop import Handling
from node.report.priors.messages import Question
from node.report.priors.reader import DocumentReader
from node.store import instances, work_items
from node.store.database import Database
from node.store.work_items import WorkItem
from node.workflow import prior_reading
from node.workflow.policy import Policy
from node.workflow.prior_reading import Reading

#: A segmentation is asked twice, and its process may have to be started.
_LEASE_S = 180.0


def handling(db: Database, clock: Clock, policy: Policy, reader: DocumentReader, owner_prefix: str) -> Handling:
    """Read one object after the other, each in a process that may die of it."""

    def reject(item: WorkItem, error: MatinsError) -> None:
        prior_reading.reject(db, clock.now(), policy, item, str(error))

    def died(item: WorkItem, reason: str) -> None:
        prior_reading.died(db, clock.now(), policy, item, reason)

    return Handling(
        kind=WorkKind.READ_PRIOR,
        owner=f"{owner_prefix}{os.getpid()}",
        lease_s=_LEASE_S,
        handle=lambda item: read_back(db, clock, policy, reader, item),
        reject=reject,
        died=died,
    )


def read_back(db: Database, clock: Clock, policy: Policy, reader: DocumentReader, item: WorkItem) -> None:
    """Read one object, and keep what it says in the transaction that finishes the item.

    Raises:
        Failed: it cannot be read.
        Transient: the database is busy, or the process that reads does not start.
    """
    reading = prior_reading.begin(db, item)
    if reading is None:
        with db.transaction():
            work_items.finish(db, clock.now(), item, "no longer wanted")
        return
    document, reason = (None, reading.doubt) if reading.doubt else _document(db, reader, reading)
    with db.transaction():
        prior_reading.complete(db, clock.now(), policy, item, reading, document, reason)


def _document(db: Database, reader: DocumentReader, reading: Reading) -> tuple[PriorDocument, str]:
    """What an object says, and why its segments have no volumes, where it is a segmentation and they have none."""
    held = reading.held
    path = db.folder / held.path
    if held.freed_at or not path.is_file():
        raise Failed("its file is not here any more")
    question = Question(
        path=str(path),
        kind=reading.kind,
        sop_class_uid=held.sop_class_uid,
        sop_instance_uid=held.sop_instance_uid,
    )
    document = reader.read(question)
    if reading.kind is not DocumentKind.SEGMENTATION or not document.findings:
        return document, ""
    # What its header says stands, whatever becomes of its pixels.
    try:
        images = _images(db, held.study_instance_uid, document.made_on)
        return reader.read(replace(question, images=images)), ""
    except (Unsuitable, Failed) as error:
        return document, f"no volumes, only its header was read: {error}"


def _images(db: Database, study_instance_uid: str, series: tuple[str, ...]) -> tuple[Instance, ...]:
    """Where the images of the one series lie that a segmentation was made on; nothing of the patient.

    Raises:
        Unsuitable: it names none or several, or one that is not here.
    """
    if len(series) != 1:
        raise Unsuitable(f"it names {len(series) or 'no'} series that it was made on, not one")
    found = tuple(
        Instance(
            study_instance_uid=each.study_instance_uid,
            series_instance_uid=each.series_instance_uid,
            sop_instance_uid=each.sop_instance_uid,
            sop_class_uid=each.sop_class_uid,
            transfer_syntax_uid=each.transfer_syntax_uid,
            frame_of_reference_uid=each.instance.frame_of_reference_uid,
            plane=each.instance.plane,
            pixels=each.instance.pixels,
        )
        for each in instances.of_study(db, study_instance_uid)
        if each.instance is not None and each.readable and each.series_instance_uid == series[0]
    )
    if not found:
        raise Unsuitable("the images that it was made on are not here")
    return found
