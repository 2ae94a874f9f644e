"""One object's arrival: looked over before anybody says that it is here; and how a file that nobody sent is kept."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from pydicom.uid import DeflatedExplicitVRLittleEndian
from xxhash import xxh3_128_hexdigest

from node.domain.time import Clock
from node.errors import Refused
from node.receive import part10
from node.receive.header import Content, Header, walk
from node.receive.indexing import is_held, strong_digest
from node.receive.layouts import Layouts
from node.receive.status import CANNOT_UNDERSTAND, DOES_NOT_MATCH
from node.receive.syntaxes import DEFLATED, is_lossy
from node.store import arrivals, instances, retention
from node.store.arrivals import Arrival
from node.store.database import Database
from node.store.spool import Spool

#: Source of what no peer sent.
IMPORT = "import"
_INFLATABLE = str(DeflatedExplicitVRLittleEndian)


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where an object comes from."""

    #: Name of the peer, or `IMPORT`.
    source: str
    #: AE titles of the association; empty where there was none.
    sending_ae_title: str = ""
    receiving_ae_title: str = ""
    #: We asked for it: a sub-operation of our own C-MOVE, C-GET or WADO-RS.
    retrieved: bool = False

    def told(self) -> str:
        """What the file meta group has to say besides the AE titles, so that a rebuilt index has the same rows."""
        if not self.retrieved and (self.sending_ae_title or self.source == IMPORT):
            return ""
        return json.dumps({"source": self.source, "retrieved": self.retrieved})


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


def arrive(db: Database, spool: Spool, clock: Clock, received: Received, *, inflated_maximum_bytes: int = 0) -> bool:
    """Keep one object as a file: when this returns, it is durable and indexed. `False` if these bytes were held.

    The connection has to sync its commits: no journal knows of the file.

    Raises:
        Refused: it cannot be understood, or is not what the command said; nothing is kept.
        OSError: the disk is full or failing; nothing is acknowledged.
        Transient: the database stayed busy or is full; the object may lie in the spool, unacknowledged.
    """
    header = looked_over(
        received.content,
        received.transfer_syntax_uid,
        received.sop_class_uid,
        received.sop_instance_uid,
        inflated_maximum_bytes=inflated_maximum_bytes,
    )
    origin = Origin(
        source=received.source,
        sending_ae_title=received.sending_ae_title,
        receiving_ae_title=received.receiving_ae_title,
    )
    arrival = arrival_of(header, origin, received.transfer_syntax_uid, len(received.content))
    held = instances.held_of(db, [header.sop_instance_uid])
    freed = retention.freed_of(db, [header.sop_instance_uid])
    for digest in (xxh3_128_hexdigest(received.content), strong_digest([received.content])):
        arrival = replace(arrival, digest=digest)
        row, path = held.get((header.sop_instance_uid, digest), (0, ""))
        gone = freed.get((header.sop_instance_uid, digest))
        if gone is not None:
            same = None if gone.digest == strong_digest([received.content]) else False
        else:
            same = is_held(spool, path, received.content) if path else None
        if same is not False:
            break
    else:
        row, same, gone = 0, None, None
    if same:
        return False
    head = head_of(arrival, origin)
    path = spool.keep((head, received.content), header.sop_instance_uid, arrival.digest)
    with db.transaction():
        if gone is not None:
            retention.restore(db, clock.now(), row, path)
            return False
        if row:
            instances.move(db, row, path)
            return False
        return arrivals.record_arrival(db, clock.now(), replace(arrival, path=path))


def looked_over(
    content: Content,
    transfer_syntax_uid: str,
    sop_class_uid: str = "",
    sop_instance_uid: str = "",
    *,
    inflated_maximum_bytes: int = 0,
    layouts: Layouts | None = None,
) -> Header:
    """Walk over the data set and compare it with what the command said; empty UIDs are not compared.

    `layouts` remembers from one object to the next.

    Raises:
        Refused: with the status and the reason.
    """
    if not len(content):
        raise Refused(CANNOT_UNDERSTAND, "an empty data set")
    refuse_deflated(transfer_syntax_uid, inflated_maximum_bytes)
    try:
        header = walk(content, transfer_syntax_uid, inflated_maximum_bytes=inflated_maximum_bytes, layouts=layouts)
    except Refused as error:
        refusal = error.status, error.reason
    else:
        compare(header, sop_class_uid, sop_instance_uid)
        return header
    # Not the error itself: its frames hold on to the content, which the caller wants to let go of.
    raise Refused(*refusal)


def refuse_deflated(transfer_syntax_uid: str, inflated_maximum_bytes: int) -> None:
    """Refuse a data set that could become too large.

    Raises:
        Refused: 0xC000, it is deflated, and none that is may be as large as a byte.
    """
    if transfer_syntax_uid in DEFLATED and not (inflated_maximum_bytes and transfer_syntax_uid == _INFLATABLE):
        raise Refused(CANNOT_UNDERSTAND, "a deflated data set: send or save it inflated")


def compare(header: Header, sop_class_uid: str, sop_instance_uid: str) -> None:
    """Compare the data set with what the command said; empty UIDs are not compared.

    Raises:
        Refused: 0xA900, it is another object.
    """
    for name, said, found in (
        ("SOP Class", sop_class_uid, header.sop_class_uid),
        ("SOP Instance", sop_instance_uid, header.sop_instance_uid),
    ):
        if said and said != found:
            raise Refused(DOES_NOT_MATCH, f"the {name} UID of the data set is not the command's")


def arrival_of(
    header: Header, origin: Origin, transfer_syntax_uid: str, size: int, *, digest: str = "", path: str = ""
) -> Arrival:
    """Return the index row of an object; `size` is that of the data set, bytes."""
    return Arrival(
        study_instance_uid=header.study_instance_uid,
        series_instance_uid=header.series_instance_uid,
        sop_instance_uid=header.sop_instance_uid,
        sop_class_uid=header.sop_class_uid,
        transfer_syntax_uid=transfer_syntax_uid,
        digest=digest,
        size=size,
        path=path,
        source=origin.source,
        lossy=is_lossy(transfer_syntax_uid, header.lossy_image_compression),
        retrieved=origin.retrieved,
    )


def head_of(arrival: Arrival, origin: Origin, *, length: int = 0) -> bytes:
    """The Part 10 head that the object is kept with."""
    return part10.head(
        sop_class_uid=arrival.sop_class_uid,
        sop_instance_uid=arrival.sop_instance_uid,
        transfer_syntax_uid=arrival.transfer_syntax_uid,
        sending=origin.sending_ae_title,
        receiving=origin.receiving_ae_title,
        origin=origin.told(),
        length=length,
    )


def has_room(folder: Path, minimum_free_percent: float) -> bool:
    """Whether the disk of `folder` has its reserve."""
    usage = shutil.disk_usage(folder)
    return 100.0 * usage.free / usage.total >= minimum_free_percent
