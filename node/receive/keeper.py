"""The keeper: takes an object piece by piece, and returns only when it is durable and certain to be indexed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO

from node.domain.time import Clock
from node.errors import Refused
from node.receive.arrival import Received, arrive
from node.receive.header import Header
from node.receive.status import OUT_OF_RESOURCES
from node.store.database import Database
from node.store.spool import Spool


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where an object comes from."""

    #: Name of the peer, or `arrival.IMPORT`.
    source: str
    #: AE titles of the association; empty where there was none.
    sending_ae_title: str = ""
    receiving_ae_title: str = ""
    #: We asked for it: a sub-operation of our own C-MOVE, C-GET or WADO-RS.
    retrieved: bool = False


class Keeper:
    """What every intake keeps its objects with; one for the listener, shared by its threads."""

    def __init__(self, db: Database, spool: Spool, clock: Clock) -> None:
        self.db = db
        self.spool = spool
        self.clock = clock

    def receive(
        self,
        origin: Origin,
        *,
        transfer_syntax_uid: str,
        maximum_bytes: int,
        sop_class_uid: str = "",
        sop_instance_uid: str = "",
        examine: Callable[[Header], None] | None = None,
    ) -> Incoming:
        """Begin to take one object; the UIDs are what the command said, empty where there was none.

        `examine` is shown the object's header once it was walked over, before anything is kept; what it raises, `keep`
        raises.

        Raises:
            Refused: 0xC000 for a deflated transfer syntax that is not taken.
            Transient: the index is too far behind to take more; the peer is told 0xA700.
        """
        incoming = Incoming(self, origin, transfer_syntax_uid, sop_class_uid, sop_instance_uid, maximum_bytes)
        incoming.examine = examine
        return incoming


class Incoming:
    """One object while it arrives; used by one thread, ended by `keep` or `discard`."""

    def __init__(
        self,
        keeper: Keeper,
        origin: Origin,
        transfer_syntax_uid: str,
        sop_class_uid: str,
        sop_instance_uid: str,
        maximum_bytes: int,
    ) -> None:
        self._keeper = keeper
        self._origin = origin
        self._transfer_syntax_uid = transfer_syntax_uid
        self._sop_class_uid = sop_class_uid
        self._sop_instance_uid = sop_instance_uid
        self._maximum_bytes = maximum_bytes
        self._content = BytesIO()
        #: As `Keeper.receive` says.
        self.examine: Callable[[Header], None] | None = None

    def write(self, piece: memoryview) -> None:
        """Take the next bytes of the data set; the caller may reuse the memory afterwards.

        Raises:
            Refused: 0xA700, the object is over the limit.
            OSError: the disk is full or failing.
        """
        if self._content.tell() + len(piece) > self._maximum_bytes:
            raise Refused(OUT_OF_RESOURCES, f"larger than {self._maximum_bytes} bytes")
        self._content.write(piece)

    def keep(self) -> bool:
        """Look the object over and make it durable: when this returns, 0x0000 may be sent. `False` if it was held.

        Raises:
            Refused: it cannot be understood, or is not what the command said; nothing is kept.
            OSError: the disk is full or failing; nothing may be acknowledged.
            Transient: the index stayed busy; nothing may be acknowledged.
        """
        with self._content.getbuffer() as content:
            received = Received(
                content=content,
                transfer_syntax_uid=self._transfer_syntax_uid,
                source=self._origin.source,
                sending_ae_title=self._origin.sending_ae_title,
                receiving_ae_title=self._origin.receiving_ae_title,
                sop_class_uid=self._sop_class_uid,
                sop_instance_uid=self._sop_instance_uid,
            )
            return arrive(self._keeper.db, self._keeper.spool, self._keeper.clock, received, self.examine)

    def discard(self) -> None:
        """Forget what came; may be called twice."""
        self._content = BytesIO()
