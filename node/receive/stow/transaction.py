"""One Store Transaction (PS3.18 §10.5): its parts go to the keeper as they come, and each has its own outcome.

Here an exception becomes a status, as at the DICOM port: whatever goes wrong with an object, its sender is told, and
never told success. What is stored when a body breaks off stays stored: sent again, it is held already.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from node.config import Peer, Settings
from node.domain.uid import is_usable_uid, is_valid_uid
from node.errors import Refused, Transient
from node.loop import describe_error
from node.receive import status
from node.receive.arrival import has_room
from node.receive.header import Header
from node.receive.keeper import Incoming, Keeper, Origin
from node.receive.part10 import FileMeta, read_meta
from node.receive.stow.multipart import Malformed
from node.receive.stow.response import Outcome
from node.receive.syntaxes import ACCEPTED, DEFLATED, storage_classes
from node.store import events

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

    def __init__(self, settings: Settings, keeper: Keeper, peer: Peer, study_instance_uid: str = "") -> None:
        """Begin; `study_instance_uid` is the study of the request's URL, empty where it names none."""
        #: One a part that came whole, in their order.
        self.outcomes: list[Outcome] = []
        self._settings = settings
        self._keeper = keeper
        self._peer = peer
        self._study_instance_uid = study_instance_uid
        self._origin = Origin(
            source=peer.name, sending_ae_title=peer.ae_title, receiving_ae_title=settings.node.ae_title
        )
        #: The bytes of a part until its data set begins.
        self._head = bytearray()
        self._incoming: Incoming | None = None
        self._failure: Refused | None = None
        self._later = False
        self._sop_class_uid = self._sop_instance_uid = ""
        self._inside = False

    def begin(self) -> None:
        """A part begins.

        Raises:
            Malformed: there are more of them than a request may have.
        """
        if len(self.outcomes) >= self._settings.receive.stow.maximum_parts:
            most = self._settings.receive.stow.maximum_parts
            raise Malformed(f"more than {most} parts; send the rest by itself", 413)
        self._inside = True
        self._head.clear()
        self._failure = None
        self._sop_class_uid = self._sop_instance_uid = ""
        reserve = self._settings.data.minimum_free_percent
        with self._noting():
            if not has_room(self._settings.data.folder, reserve):
                raise Transient(f"less than {reserve:g} % of the disk is free")

    def describe(self, headers: dict[str, str]) -> None:
        """Look at the header fields of a part: only a Part 10 file (PS3.18 §8.7.3.1), and not in another coding."""
        named = headers.get("content-type", "application/dicom").partition(";")[0].strip().lower()
        coding = headers.get("content-transfer-encoding", "binary").strip().lower()
        if named != "application/dicom":
            self._failure = Refused(status.CANNOT_UNDERSTAND, "a part that is not application/dicom")
        elif coding not in ("binary", "8bit", "7bit") or headers.get("content-encoding", "identity") != "identity":
            self._failure = Refused(status.CANNOT_UNDERSTAND, "a part in a content coding")

    def write(self, piece: memoryview) -> None:
        """Take the next bytes of a part."""
        if self._failure is not None:
            return
        with self._noting():
            if self._incoming is not None:
                self._incoming.write(piece)
                return
            self._head += piece
            if len(self._head) >= _bytes_wanted(self._head):
                self._open()

    def end(self) -> None:
        """A part is whole: keep it, and note what became of it."""
        if self._failure is None:
            with self._noting():
                (self._incoming or self._open()).keep()
        failure = self._failure
        self.outcomes.append(
            Outcome(
                status=failure.status if failure else status.SUCCESS,
                sop_class_uid=self._sop_class_uid,
                sop_instance_uid=self._sop_instance_uid,
                reason=failure.reason if failure else "",
                later=failure is not None and self._later,
            )
        )
        self._incoming = None
        self._inside = False

    def close(self, reason: str = "") -> None:
        """The request is over, at its end or because of `reason`: a part that is not whole fails."""
        if self._inside:
            if self._failure is None:
                self._fail(status.CANNOT_UNDERSTAND, reason or "it is not whole")
            self.end()
        failed = [outcome for outcome in self.outcomes if outcome.status != status.SUCCESS]
        kept = len(self.outcomes) - len(failed)
        log.info("stow_ended", peer=self._peer.name, kept=kept, refused=len(failed), reason=reason)
        if failed:
            self._record(failed)

    def _open(self) -> Incoming:
        """Begin to keep the data set: the head before it is there."""
        head = bytes(self._head)
        self._head.clear()
        meta = read_meta(head)
        if is_valid_uid(meta.sop_class_uid) and is_usable_uid(meta.sop_instance_uid):
            self._sop_class_uid, self._sop_instance_uid = meta.sop_class_uid, meta.sop_instance_uid
        self._incoming = self._begun(meta)
        with memoryview(head) as view, view[meta.dataset_offset :] as rest:
            self._incoming.write(rest)
        return self._incoming

    def _begun(self, meta: FileMeta) -> Incoming:
        if meta.transfer_syntax_uid not in _SYNTAXES:
            raise Refused(TRANSFER_SYNTAX_NOT_SUPPORTED, "a transfer syntax that is not taken")
        try:
            return self._keeper.receive(
                self._origin,
                transfer_syntax_uid=meta.transfer_syntax_uid,
                maximum_bytes=self._settings.receive.maximum_object_bytes,
                examine=self._examine,
            )
        except Refused as error:
            raise Refused(TRANSFER_SYNTAX_NOT_SUPPORTED, error.reason) from error

    def _examine(self, header: Header) -> None:
        self._sop_class_uid, self._sop_instance_uid = header.sop_class_uid, header.sop_instance_uid
        if header.sop_class_uid not in _STORED:
            raise Refused(status.SOP_CLASS_NOT_SUPPORTED, "not a SOP Class that is stored")
        if self._study_instance_uid not in ("", header.study_instance_uid):
            raise Refused(status.DOES_NOT_MATCH, "an instance of another study than the request's")

    @contextmanager
    def _noting(self) -> Iterator[None]:
        """Whatever goes wrong with a part becomes its failure."""
        try:
            yield
        except Refused as error:
            self._fail(error.status, error.reason)
        except Transient as error:
            self._fail(status.OUT_OF_RESOURCES, str(error), later=True)
        except OSError as error:
            self._fail(status.OUT_OF_RESOURCES, f"it could not be written: {error.strerror or error}", later=True)
        except Exception as error:
            log.exception("arrival_failed", reason=describe_error(error))
            self._fail(status.PROCESSING_FAILURE, "an internal error")

    def _fail(self, code: int, reason: str, *, later: bool = False) -> None:
        self._failure = Refused(code, reason)
        self._later = later
        if self._incoming is not None:
            self._incoming.discard()
            self._incoming = None

    def _record(self, failed: list[Outcome]) -> None:
        """Refusals stand whether or not they can be written down."""
        keeper = self._keeper
        try:
            with keeper.db.transaction():
                for each in failed[:_MOST_EVENTS]:
                    told = f"0x{each.status:04X}: {each.reason} (from {self._peer.name})"
                    events.record(
                        keeper.db, keeper.clock.now(), "instance", each.sop_instance_uid, after="refused", reason=told
                    )
        except Exception as error:
            log.exception("refusal_not_recorded", reason=describe_error(error))


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
