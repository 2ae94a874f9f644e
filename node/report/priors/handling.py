"""How the report room treats `read_prior` items."""

from __future__ import annotations

import os

from node.domain.prior_document import PriorDocument
from node.domain.time import Clock
from node.domain.work import WorkKind
from node.errors import Failed, MatinsError
from node.loop import Handling
from node.report.priors.messages import Question
from node.report.priors.reader import DocumentReader
from node.store import work_items
from node.store.database import Database
from node.store.work_items import WorkItem
from node.workflow import prior_reading
from node.workflow.policy import Policy
from node.workflow.prior_reading import Reading

_LEASE_S = 120.0


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
    document = None if reading.doubt else _document(db, reader, reading)
    with db.transaction():
        prior_reading.complete(db, clock.now(), policy, item, reading, document, reading.doubt)


def _document(db: Database, reader: DocumentReader, reading: Reading) -> PriorDocument:
    held = reading.held
    path = db.folder / held.path
    if held.freed_at or not path.is_file():
        raise Failed("its file is not here any more")
    return reader.read(
        Question(
            path=str(path),
            kind=reading.kind,
            sop_class_uid=held.sop_class_uid,
            sop_instance_uid=held.sop_instance_uid,
        )
    )
