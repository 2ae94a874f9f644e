"""One Store Transaction (PS3.18 §10.5): its parts go to the keeper as they come, and each has its own outcome.

Whatever goes wrong with an object, its sender is told, and never told success, as at the DICOM port. What is stored
when a body breaks off stays stored: sent again, it is held already.
"""

from __future__ import annotations

import structlog

from node.config import Peer
from node.domain.uid import is_usable_uid, is_valid_uid
from node.errors import Refused
from node.receive import status
from node.receive.association import Door, tried
from node.receive.header import Header
from node.receive.keeper import Incoming, Origin
from node.receive.part10 import read_meta
from node.receive.stow.multipart import Malformed
from node.receive.stow.response import Outcome
from node.receive.syntaxes import ACCEPTED, DEFLATED, storage_classes

#: PS3.18 Table I.2-2: Referenced Transfer Syntax not supported.
TRANSFER_SYNTAX_NOT_SUPPORTED = 0xC122
#: Preamble, "DICM", and a file meta group of 64 KiB: what is read at most before the data set.
_LONGEST_HEAD = 132 + (1 << 16)
_META = 132
_STORED = frozenset(storage_classes())
_SYNTAXES = frozenset(ACCEPTED) | DEFLATED
#: Failures of one request that are written down one by one.
_MOST_EVENTS = 100

log = structlog.get_logger()


class Transaction:
    """Takes the parts of one request; used by one thread."""

    def __init__(self, door: Door, peer: Peer, study_instance_uid: str = "") -> None:
        """Begin; `study_instance_uid` is the study of the request's URL, empty where it names none."""
        #: One a part that came whole, in their order.
        self.outcomes: list[Outcome] = []
        self._door = door
        self._limits = door.settings.receive
        self._peer = peer
        self._study_instance_uid = study_instance_uid
        self._origin = Origin(
            source=peer.name, sending_ae_title=peer.ae_title, receiving_ae_title=door.settings.node.ae_title
        )
        #: The bytes of a part until its data set begins.
        self._head = bytearray()
        self._size = 0
        self._incoming: Incoming | None = None
        self._refused: Refused | None = None
        self._sop_class_uid = self._sop_instance_uid = ""
        self._inside = False

    def begin(self) -> None:
        """A part begins.

        Raises:
            Malformed: there are more of them than a request may have.
        """
        most = self._limits.stow.maximum_parts
        if len(self.outcomes) >= most:
            raise Malformed(f"more than {most} parts; send the rest by itself", 413)
        self._inside = True
        self._head.clear()
        self._size = 0
        self._refused = None
        self._sop_class_uid = self._sop_instance_uid = ""
        if tried(self._door.has_room) is not True:
            self._refuse(Refused(status.OUT_OF_RESOURCES, self._door.full))

    def describe(self, headers: dict[str, str]) -> None:
        """Look at the header fields of a part: only a Part 10 file (PS3.18 §8.7.3.1), and not in another coding."""
        named = headers.get("content-type", "application/dicom").partition(";")[0].strip().lower()
        coding = headers.get("content-transfer-encoding", "binary").strip().lower()
        if named != "application/dicom":
            self._refuse(Refused(status.CANNOT_UNDERSTAND, "a part that is not application/dicom"))
        elif coding not in ("binary", "8bit", "7bit") or headers.get("content-encoding", "identity") != "identity":
            self._refuse(Refused(status.CANNOT_UNDERSTAND, "a part in a content coding"))

    def write(self, piece: memoryview) -> None:
        """Take the next bytes of a part."""
        self._size += len(piece)
        if self._refused is not None:
            return
        if self._size > self._limits.maximum_object_bytes + _LONGEST_HEAD:
            self._refuse(Refused(status.OUT_OF_RESOURCES, f"larger than {self._limits.maximum_object_bytes} bytes"))
        elif self._incoming is not None:
            self._refuse(tried(self._incoming.write, piece))
        else:
            self._head += piece
            if len(self._head) >= _bytes_wanted(self._head):
                self._refuse(tried(self._open))

    def end(self) -> None:
        """A part is whole: keep it, and note what became of it."""
        if self._refused is None and self._incoming is None:
            self._refuse(tried(self._open))
        if self._refused is None and self._incoming is not None:
            kept = tried(self._incoming.keep)
            self._refuse(kept if isinstance(kept, Refused) else None)
        refused, self._incoming, self._inside = self._refused, None, False
        self.outcomes.append(
            Outcome(
                status=refused.status if refused else status.SUCCESS,
                sop_class_uid=self._sop_class_uid,
                sop_instance_uid=self._sop_instance_uid,
                reason=refused.reason if refused else "",
                later=refused is not None
                and refused.status == status.OUT_OF_RESOURCES
                and self._size <= self._limits.maximum_object_bytes,
            )
        )

    def close(self, reason: str = "") -> None:
        """The request is over, at its end or because of `reason`: a part that is not whole fails."""
        if self._inside:
            if self._refused is None:
                self._refuse(Refused(status.CANNOT_UNDERSTAND, reason or "it is not whole"))
            self.end()
        failed = [outcome for outcome in self.outcomes if outcome.status != status.SUCCESS]
        kept = len(self.outcomes) - len(failed)
        log.info("stow_ended", peer=self._peer.name, kept=kept, refused=len(failed), reason=reason)
        for each in failed[:_MOST_EVENTS]:
            self._door.refused_object(self._peer, each.sop_instance_uid, Refused(each.status, each.reason))

    def _refuse(self, refused: Refused | None) -> None:
        if refused is None:
            return
        self._refused = self._refused or refused
        if self._incoming is not None:
            tried(self._incoming.discard)
            self._incoming = None

    def _open(self) -> None:
        """Begin to keep the data set: the head before it is there."""
        head = bytes(self._head)
        self._head.clear()
        meta = read_meta(head)
        if is_valid_uid(meta.sop_class_uid) and is_usable_uid(meta.sop_instance_uid):
            self._sop_class_uid, self._sop_instance_uid = meta.sop_class_uid, meta.sop_instance_uid
        syntax = meta.transfer_syntax_uid
        if syntax not in _SYNTAXES:
            raise Refused(TRANSFER_SYNTAX_NOT_SUPPORTED, "a transfer syntax that is not taken")
        self._incoming = self._door.keeper.receive(
            self._origin,
            transfer_syntax_uid=syntax,
            maximum_bytes=self._limits.maximum_object_bytes,
            examine=self._examine,
        )
        with memoryview(head) as view, view[meta.dataset_offset :] as rest:
            self._incoming.write(rest)

    def _examine(self, header: Header) -> None:
        self._sop_class_uid, self._sop_instance_uid = header.sop_class_uid, header.sop_instance_uid
        if header.sop_class_uid not in _STORED:
            raise Refused(status.SOP_CLASS_NOT_SUPPORTED, "not a SOP Class that is stored")
        if self._study_instance_uid not in ("", header.study_instance_uid):
            raise Refused(status.DOES_NOT_MATCH, "an instance of another study than the request's")


def _bytes_wanted(head: bytearray) -> int:
    """How many bytes of a Part 10 file are needed to know where its data set begins (PS3.10 §7.1)."""
    if len(head) < _META + 12:
        return _META + 12
    start = _META if head[128:_META] == b"DICM" else 0
    if head[start : start + 2] != b"\x02\x00":
        return 0
    if head[start : start + 8] == b"\x02\x00\x00\x00UL\x04\x00":
        return min(start + 12 + int.from_bytes(head[start + 8 : start + 12], "little"), _LONGEST_HEAD)
    return _LONGEST_HEAD
