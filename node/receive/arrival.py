"""One object's arrival: looked over, durable in the spool, indexed; only then may anybody say that it is here."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from node.domain.time import Clock
from node.errors import Refused
from node.receive import part10
from node.receive.header import Content, Header, walk
from node.receive.status import CANNOT_UNDERSTAND, DOES_NOT_MATCH
from node.receive.syntaxes import DEFLATED, is_lossy
from node.store import instances
from node.store.database import Database
from node.store.instances import Arrival
from node.store.spool import Spool

#: Source of what no peer sent.
IMPORT = "import"


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """The bytes of one data set, as they came."""

    content: Content
    transfer_syntax_uid: str
    #: Name of the peer, or `IMPORT`.
    source: str
    #: AE titles of the association; empty where there was none.
    sending_ae_title: str = ""
    receiving_ae_title: str = ""
    #: What the command said; empty where there was none.
    sop_class_uid: str = ""
    sop_instance_uid: str = ""


def arrive(
    db: Database, spool: Spool, clock: Clock, received: Received, examine: Callable[[Header], None] | None = None
) -> bool:
    """Keep one object: when this returns, it is durable and indexed. `False` if exactly these bytes were held.

    `examine` sees the header first; what it raises is raised, and nothing is kept.

    The row is written by a connection that need not sync: the rooms' start rebuilds it from the spool.

    Raises:
        Refused: it cannot be understood, or is not what the command said; nothing is kept.
        OSError: the disk is full or failing; nothing is acknowledged.
        Transient: the database stayed busy or is full; the object may lie in the spool, unacknowledged.
    """
    header = looked_over(received)
    if examine is not None:
        examine(header)
    digest = hashlib.sha256(received.content).hexdigest()
    held = instances.held_path(db, header.sop_instance_uid, digest)
    if held is not None and (db.folder / held).is_file():
        return False
    head = part10.head(
        sop_class_uid=header.sop_class_uid,
        sop_instance_uid=header.sop_instance_uid,
        transfer_syntax_uid=received.transfer_syntax_uid,
        sending=received.sending_ae_title,
        receiving=received.receiving_ae_title,
    )
    path = spool.keep((head, received.content), header.sop_instance_uid, digest)
    arrival = arrival_of(header, received.transfer_syntax_uid, digest, len(received.content), path, received.source)
    with db.transaction():
        return instances.record_arrival(db, clock.now(), arrival)


def looked_over(received: Received) -> Header:
    """Walk over the data set and compare it with its command.

    Raises:
        Refused: with the status and the reason.
    """
    if not len(received.content):
        raise Refused(CANNOT_UNDERSTAND, "an empty data set")
    if received.transfer_syntax_uid in DEFLATED:
        raise Refused(CANNOT_UNDERSTAND, "a deflated data set: send or save it inflated")
    header = walk(received.content, received.transfer_syntax_uid)
    for name, said, found in (
        ("SOP Class", received.sop_class_uid, header.sop_class_uid),
        ("SOP Instance", received.sop_instance_uid, header.sop_instance_uid),
    ):
        if said and said != found:
            raise Refused(DOES_NOT_MATCH, f"the {name} UID of the data set is not the command's")
    return header


def arrival_of(header: Header, transfer_syntax_uid: str, digest: str, size: int, path: str, source: str) -> Arrival:
    """Return the index row of an object that is durable under `path`; `size` is that of the data set, bytes."""
    return Arrival(
        study_instance_uid=header.study_instance_uid,
        series_instance_uid=header.series_instance_uid,
        sop_instance_uid=header.sop_instance_uid,
        sop_class_uid=header.sop_class_uid,
        transfer_syntax_uid=transfer_syntax_uid,
        digest=digest,
        size=size,
        path=path,
        source=source,
        lossy=is_lossy(transfer_syntax_uid, header.lossy_image_compression),
    )


def has_room(folder: Path, minimum_free_percent: float) -> bool:
    """Whether the disk of `folder` has its reserve."""
    usage = shutil.disk_usage(folder)
    return 100.0 * usage.free / usage.total >= minimum_free_percent
