"""C-STORE as SCU: one association for what one destination is to get, stored bytes sent as they are.

pynetdicom negotiates and moves the bytes. Answers are taken from its event for every message, not from
`send_c_store`: its reactor thread now and then takes the answer that `send_c_store` waits for, and it never
compares an answer's Message ID with the request's.
"""

from __future__ import annotations

import queue
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO

from pydicom import Dataset
from pydicom.uid import UID
from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.presentation import PresentationContext, build_context

from node.config import DeliverSettings, Peer
from node.deliver.statuses import TRANSIENT, context_reason, rejection_reason
from node.deliver.stored import StoredHeader
from node.errors import Transient

#: (SOP Class UID, transfer syntax UID)
Context = tuple[str, str]

#: Command Field of C-STORE-RSP (PS3.7 §E.1).
_C_STORE_RSP = 0x8001
#: Priority MEDIUM (PS3.7 §9.3.1.1).
_MEDIUM = 0
#: A peer that offers shorter PDUs than this would make us build millions of them (PS3.8 §D.1 sets no minimum).
_SHORTEST_PDU_BYTES = 256
#: The slowest line on which an answer is still waited for.
_SLOWEST_BYTES_PER_S = 100_000
_HIGHEST_MESSAGE_ID = 65535
#: Result of an A-ASSOCIATE-AC (PS3.8 §7.1.1.7).
_ACCEPTED = 0
#: For pynetdicom's thread to end after its association, seconds.
_END_S = 5.0


class Unreachable(Transient):
    """No association came about; `by_configuration` says that a person has to mend something first."""

    def __init__(self, reason: str, *, by_configuration: bool = False) -> None:
        self.by_configuration = by_configuration
        super().__init__(reason)


class Lost(Transient):
    """The association broke, or went silent, while an object was on its way: it may or may not be there."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the peer answered to one object (PS3.7 §9.3.1.2)."""

    status: int
    #: Error Comment (0000,0902).
    comment: str = ""


def answer_limit_s(settings: DeliverSettings, size_bytes: int) -> float:
    """How long sending an object of this size and waiting for its answer may take, seconds."""
    return settings.dimse_s + size_bytes / _SLOWEST_BYTES_PER_S


def association_limit_s(settings: DeliverSettings) -> float:
    """How long opening or releasing an association may take, seconds."""
    return settings.connect_s + settings.dimse_s


class Session:
    """One association, accepted by the peer."""

    def __init__(self, association: Association, wanted: Sequence[Context], peer: Peer, inbox: _Inbox) -> None:
        self._association = association
        self._peer = peer
        self._inbox = inbox
        self._message_id = 0
        accepted = {context.context_id: context for context in association.accepted_contexts}
        results = {context.context_id: context.result for context in association.rejected_contexts}
        self._ids: dict[Context, int] = {}
        self._refused: dict[Context, int | None] = {}
        for number, (sop_class_uid, transfer_syntax_uid) in enumerate(wanted):
            # PS3.8 §9.3.2.2: odd numbers, in the order requested.
            context_id = 2 * number + 1
            taken = accepted.get(context_id)
            if taken is not None and [str(uid) for uid in taken.transfer_syntax] == [transfer_syntax_uid]:
                self._ids[sop_class_uid, transfer_syntax_uid] = context_id
            else:
                self._refused[sop_class_uid, transfer_syntax_uid] = results.get(context_id)

    def refusal(self, stored: StoredHeader) -> str:
        """Why the peer cannot be sent this object over this association; empty if it can."""
        key = (stored.sop_class_uid, stored.transfer_syntax_uid)
        if key in self._ids:
            return ""
        names = (UID(uid).name for uid in key)
        return context_reason(self._refused.get(key), *names, name=self._peer.name)

    def send(self, stored: StoredHeader, dataset: bytes, *, limit_s: float) -> Answer:
        """Send one object, `dataset` unchanged, and wait for its answer.

        Raises:
            Lost: no answer came, or one that is not for this object; the association is gone.
        """
        if not self._association.is_established:
            raise Lost(f"{self._peer.name} ended the association")
        self._message_id = self._message_id % _HIGHEST_MESSAGE_ID + 1
        request = C_STORE()
        request.MessageID = self._message_id
        request.Priority = _MEDIUM
        request.AffectedSOPClassUID = stored.sop_class_uid
        request.AffectedSOPInstanceUID = stored.sop_instance_uid
        request.DataSet = BytesIO(dataset)
        self._association.dimse.send_msg(request, self._ids[stored.sop_class_uid, stored.transfer_syntax_uid])
        command = self._inbox.take(limit_s)
        if command is None:
            raise Lost(f"{self._peer.name} broke the association off instead of answering")
        if not _is_answer(command, request):
            raise Lost(f"{self._peer.name} answered something that was not asked; nothing of it is believed")
        return Answer(int(command.Status), str(command.get("ErrorComment", "")))


def _is_answer(command: Dataset, request: C_STORE) -> bool:
    """Whether a message is the C-STORE-RSP to this request: optional fields count where they stand."""
    if command.get("CommandField") != _C_STORE_RSP or command.get("Status") is None:
        return False
    if command.get("MessageIDBeingRespondedTo") != request.MessageID:
        return False
    uids = ("AffectedSOPClassUID", "AffectedSOPInstanceUID")
    return all(not command.get(each) or command.get(each) == getattr(request, each) for each in uids)


class _Inbox:
    """Messages of the peer in the order in which they came; `None` is the end of the association."""

    def __init__(self) -> None:
        self._commands: queue.SimpleQueue[Dataset | None] = queue.SimpleQueue()
        self._socket: socket.socket | None = None

    @property
    def connected(self) -> bool:
        """Whether the TCP connection came about."""
        return self._socket is not None

    def close(self) -> None:
        """Close the connection: pynetdicom leaves it open where nothing was accepted or the peer went first."""
        if self._socket is not None:
            self._socket.close()

    def handlers(self, timeout_s: float) -> list[evt.EventHandlerType]:
        """Bindings for pynetdicom; a silent half PDU ends after `timeout_s`."""

        def opened(event: evt.Event) -> None:
            transport = event.assoc.dul.socket
            if transport is not None and transport.socket is not None:
                self._socket = transport.socket
                # Small last segments would wait 40 ms for the peer's delayed acknowledgement.
                self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._socket.settimeout(timeout_s)

        def received(event: evt.Event) -> None:
            self._commands.put(event.message.command_set)

        def ended(_event: evt.Event) -> None:
            self._commands.put(None)

        ends = (evt.EVT_ABORTED, evt.EVT_RELEASED, evt.EVT_CONN_CLOSE)
        return [(evt.EVT_CONN_OPEN, opened), (evt.EVT_DIMSE_RECV, received), *((each, ended) for each in ends)]

    def take(self, limit_s: float) -> Dataset | None:
        """Wait for the next message, or the end.

        Raises:
            Lost: neither came in time.
        """
        started_s = time.monotonic()
        try:
            return self._commands.get(timeout=limit_s)
        except queue.Empty:
            waited_s = time.monotonic() - started_s
            raise Lost(f"no answer within {waited_s:.0f} s") from None


@contextmanager
def associated(
    peer: Peer, our_ae_title: str, settings: DeliverSettings, wanted: Sequence[Context]
) -> Iterator[Session]:
    """Hold an association with exactly these presentation contexts; released at the end, aborted on any error.

    A peer that accepts none of the contexts gives a session that refuses every object.

    Raises:
        Unreachable: nobody answers, or the association is rejected.
    """
    inbox = _Inbox()
    association = _associate(peer, our_ae_title, settings, [build_context(*each) for each in wanted], inbox)
    try:
        if not _is_answered(association, len(wanted)):
            raise _why_not(association, peer, our_ae_title, inbox, settings)
        # 0 means: of any length (PS3.8 §D.1).
        longest = association.acceptor.maximum_length or 0
        if 0 < longest < _SHORTEST_PDU_BYTES:
            raise Unreachable(f"{peer.name} takes PDUs of {longest} bytes at most", by_configuration=True)
        yield Session(association, wanted, peer, inbox)
        if association.is_established:
            association.release()
    finally:
        if association.is_established:
            association.abort()
        if association.is_alive():
            association.join(_END_S)
        inbox.close()


def _is_answered(association: Association, number: int) -> bool:
    """Whether the peer accepted the association and has an answer to each presentation context."""
    if association.is_established:
        return True
    answer = association.acceptor.primitive
    if answer is None or answer.result != _ACCEPTED:
        return False
    # It took none of them: then pynetdicom has ended the association already.
    return len(answer.presentation_context_definition_results_list) == number


def _associate(
    peer: Peer, ours: str, settings: DeliverSettings, contexts: list[PresentationContext], inbox: _Inbox
) -> Association:
    assert peer.port is not None
    ae = AE(ae_title=ours)
    ae.connection_timeout = settings.connect_s
    ae.acse_timeout = settings.dimse_s
    ae.dimse_timeout = settings.dimse_s
    # Its idle timer counts received bytes only and would abort a long upload; we keep our own time.
    ae.network_timeout = None
    handlers = inbox.handlers(settings.dimse_s)
    return ae.associate(peer.host, peer.port, contexts, ae_title=peer.ae_title, evt_handlers=handlers)


def _why_not(association: Association, peer: Peer, ours: str, inbox: _Inbox, settings: DeliverSettings) -> Unreachable:
    answer = association.acceptor.primitive
    if association.is_rejected and answer is not None and answer.result is not None:
        codes = (int(answer.result), int(answer.result_source or 0), int(answer.diagnostic or 0))
        reason = rejection_reason(*codes, ours=ours, theirs=peer.ae_title, name=peer.name)
        return Unreachable(reason, by_configuration=codes[0] != TRANSIENT)
    where = f"{peer.name} ({peer.host}:{peer.port})"
    if inbox.connected:
        return Unreachable(f"{where} took the connection but gave no answer to the association request")
    return Unreachable(f"nobody answers at {where}: {_connect_error(peer, settings)}")


def _connect_error(peer: Peer, settings: DeliverSettings) -> str:
    """Try once more to learn why: pynetdicom only logs it."""
    try:
        socket.create_connection((peer.host, peer.port), settings.connect_s).close()
    except OSError as error:
        return error.strerror or str(error)
    return "it did a moment later"
