"""One association on which we ask and a peer answers: C-FIND, C-MOVE, C-GET (PS3.7 §9.1), N-GET, N-SET, N-ACTION.

pynetdicom negotiates and moves the messages. Answers are taken from its event for every message, not from its
`send_c_…`: its reactor thread now and then takes the answer that those wait for, and they never compare an answer's
Message ID with the request's.
"""

from __future__ import annotations

import queue
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from pydicom import Dataset
from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_CANCEL, C_FIND, C_GET, C_MOVE, N_ACTION, N_GET, N_SET
from pynetdicom.dsutils import decode, encode
from pynetdicom.pdu_primitives import SCP_SCU_RoleSelectionNegotiation
from pynetdicom.presentation import PresentationContext

from node.errors import Failed, Transient
from node.retrieve.found import MALFORMED
from node.retrieve.question import Call, NotOffered, StepsErrand, WorklistQuery

PENDING = frozenset({0xFF00, 0xFF01})  # PS3.4 §C.4.1.1.4, §C.4.2.1.5
#: Command Fields of the responses (PS3.7 §E.1).
_RESPONSES = {C_FIND: 0x8020, C_MOVE: 0x8021, C_GET: 0x8010, N_GET: 0x8110, N_SET: 0x8120, N_ACTION: 0x8130}
#: A rejection that passes by itself, PS3.8 §9.3.4.
_REJECTED_TRANSIENT = 2
#: The one request of an association that is under way; each gets the next number.
_HIGHEST_MESSAGE_ID = 65535
#: An identifier is some hundred bytes; a list of failed instances, 65 bytes each.
_LONGEST_IDENTIFIER_BYTES = 8 << 20
_POLL_S = 0.1
#: For the answer to C-CANCEL, and for pynetdicom's thread to end after its association, seconds.
_CANCELLED_S = 4.0
_END_S = 3.0

Request = C_FIND | C_MOVE | C_GET | N_GET | N_SET | N_ACTION


@dataclass(frozen=True, slots=True)
class Response:
    """One response to a request: its command set, and its data set where there is one."""

    command: Dataset
    identifier: Dataset | None

    @property
    def status(self) -> int:
        """DIMSE status (PS3.7 Annex C)."""
        return int(self.command.Status)

    def number(self, keyword: str) -> int:
        """A count of sub-operations (PS3.7 §9.1.4); 0 where it is not told."""
        value = self.command.get(keyword)
        return int(value) if isinstance(value, int) and value > 0 else 0


class Conversation:
    """An established association, and the requests that are put on it, one after the other."""

    def __init__(self, association: Association, call: Call, heard: _Heard, stop: threading.Event) -> None:
        self._association = association
        self._call = call
        self._heard = heard
        self._stop = stop
        self._message_id = 0

    def accepts(self, sop_class_uid: str) -> bool:
        """Whether the peer accepted a presentation context for it."""
        return self._context(sop_class_uid) is not None

    def ask(
        self, request: Request, sop_class_uid: str, identifier: Dataset | None, *, limit_s: float
    ) -> Iterator[Response]:
        """Send a request, over the context of a SOP Class, and yield its responses, the last of which is final.

        Where the process is asked to end, the request is cancelled (PS3.7 §9.3.2.3) and that is the last response.

        Raises:
            NotOffered: the peer did not accept the SOP Class.
            Transient: the peer broke off, answers something else, or not within `limit_s` seconds of the last answer.
        """
        context = self._context(sop_class_uid)
        if context is None:
            raise NotOffered(f"{self._call.peer} does not offer {sop_class_uid}")
        syntax = context.transfer_syntax[0]
        self._message_id = self._message_id % _HIGHEST_MESSAGE_ID + 1
        request.MessageID = self._message_id
        encoded = encode(identifier, syntax.is_implicit_VR, syntax.is_little_endian) if identifier is not None else b""
        if isinstance(request, N_SET):
            request.ModificationList = BytesIO(encoded or b"")
        elif isinstance(request, N_ACTION):
            request.ActionInformation = BytesIO(encoded or b"")
        elif not isinstance(request, N_GET):
            request.AffectedSOPClassUID = sop_class_uid
            request.Priority = 0  # MEDIUM, PS3.7 §9.1.2.1
            request.Identifier = BytesIO(encoded or b"")
        assert context.context_id is not None
        self._association.dimse.send_msg(request, context.context_id)
        while True:
            message = self._next(context.context_id, limit_s)
            command = message.command
            if command.get("CommandField") != _RESPONSES[type(request)] or command.get("Status") is None:
                raise Transient(f"{self._call.peer} answered something that was not asked; nothing of it is believed")
            if command.get("MessageIDBeingRespondedTo") != self._message_id:
                raise Transient(f"{self._call.peer} answered another message than ours; nothing of it is believed")
            response = Response(command, self._decoded(message.data, syntax.is_implicit_VR, syntax.is_little_endian))
            yield response
            if response.status not in PENDING:
                return

    def cancel(self) -> None:
        """Ask the peer to stop answering the last request (C-CANCEL)."""
        context = next(iter(self._association.accepted_contexts))
        self._send_cancel(context.context_id)

    def _send_cancel(self, context_id: int | None) -> None:
        request = C_CANCEL()
        request.MessageIDBeingRespondedTo = self._message_id
        if self._association.is_established and context_id is not None:
            self._association.dimse.send_msg(request, context_id)

    def _next(self, context_id: int, limit_s: float) -> _Message:
        """Wait for the next response of the peer, as a sign of life counting what it stores meanwhile.

        Raises:
            Transient: none came in time, or the association is over.
        """
        cancelled = False
        deadline_s = time.monotonic() + limit_s
        while True:
            if self._stop.is_set() and not cancelled:
                cancelled = True
                self._send_cancel(context_id)
                deadline_s = time.monotonic() + _CANCELLED_S
            try:
                message = self._heard.messages.get(timeout=_POLL_S)
            except queue.Empty:
                if time.monotonic() > deadline_s:
                    raise Transient(f"{self._call.peer} gave no answer within {limit_s:g} s") from None
                continue
            if message is None:
                raise Transient(f"{self._call.peer} broke off the association")
            return message

    def _decoded(self, content: bytes, implicit: bool, little: bool) -> Dataset | None:
        if not content:
            return None
        try:
            return decode(BytesIO(content), implicit, little)
        except MALFORMED:
            raise Transient(f"{self._call.peer} sent an answer that cannot be read") from None

    def _context(self, sop_class_uid: str) -> PresentationContext | None:
        found = (each for each in self._association.accepted_contexts if each.abstract_syntax == sop_class_uid)
        return next(found, None)


@dataclass(frozen=True, slots=True)
class _Message:
    command: Dataset
    data: bytes


class _Heard:
    """Responses of the peer in the order in which they came; `None` is the end of the association."""

    def __init__(self) -> None:
        self.messages: queue.SimpleQueue[_Message | None] = queue.SimpleQueue()
        self.sockets: list[socket.socket] = []

    def handlers(self, timeout_s: float) -> list[evt.EventHandlerType]:
        """Bindings for pynetdicom; a silent half PDU ends after `timeout_s`."""

        def opened(event: evt.Event) -> None:
            transport = event.assoc.dul.socket
            if transport is not None and transport.socket is not None:
                self.sockets.append(transport.socket)
                transport.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                transport.socket.settimeout(timeout_s)

        def received(event: evt.Event) -> None:
            command = event.message.command_set
            # A request of the peer (C-STORE of a C-GET) is served by pynetdicom.
            if int(command.get("CommandField", 0)) & 0x8000:
                content = event.message.data_set
                data = content.getvalue() if content is not None else b""
                self.messages.put(_Message(command, data) if len(data) <= _LONGEST_IDENTIFIER_BYTES else None)

        def ended(_event: evt.Event) -> None:
            self.messages.put(None)

        ends = (evt.EVT_ABORTED, evt.EVT_RELEASED, evt.EVT_CONN_CLOSE)
        return [(evt.EVT_CONN_OPEN, opened), (evt.EVT_DIMSE_RECV, received), *((each, ended) for each in ends)]


@contextmanager
def conversation(
    call: Call,
    sop_class_uids: Sequence[str],
    stop: threading.Event,
    *,
    stored: Sequence[PresentationContext] = (),
    store: Callable[[evt.Event], int] | None = None,
) -> Iterator[Conversation]:
    """Hold an association for these SOP Classes; released at the end, aborted on any error.

    `stored` are the contexts for objects that come over it (C-GET), each handed to `store`, which answers a status.

    Raises:
        Failed: the peer will never take us as it is set up; `NotOffered` where it takes us, but for none of this.
        Transient: nobody answers now.
    """
    ae = AE(ae_title=call.our_ae_title)
    ae.connection_timeout = call.connect_s
    ae.acse_timeout = ae.dimse_timeout = call.answer_s
    # It counts received bytes only; we keep our own time.
    ae.network_timeout = None
    heard = _Heard()
    handlers = heard.handlers(call.answer_s)
    if store is not None:
        handlers.append((evt.EVT_C_STORE, store))
    for uid in sop_class_uids:
        ae.add_requested_context(uid)
    contexts = [*ae.requested_contexts, *stored]
    roles: list[Any] = [_role(context) for context in stored]
    association = ae.associate(
        call.host, call.port, contexts, ae_title=call.their_ae_title, ext_neg=roles, evt_handlers=handlers
    )
    try:
        if not association.is_established:
            raise _why_not(association, call)
        yield Conversation(association, call, heard, stop)
        if association.is_established:
            association.release()
    finally:
        if association.is_established:
            association.abort()
        if association.is_alive():
            association.join(_END_S)
        for each in heard.sockets:
            each.close()


def _role(context: PresentationContext) -> SCP_SCU_RoleSelectionNegotiation:
    """Offer to be the SCP of a storage class on our own association (PS3.7 §D.3.3.4)."""
    role = SCP_SCU_RoleSelectionNegotiation()
    role.sop_class_uid = context.abstract_syntax
    role.scu_role, role.scp_role = False, True
    return role


def _why_not(association: Association, call: Call) -> Failed | Transient:
    answer = association.acceptor.primitive
    if association.is_rejected and answer is not None and answer.result is not None:
        codes = f"{answer.result}/{answer.result_source}/{answer.diagnostic}"
        reason = f"{call.peer} rejects the association ({codes})"
        if (answer.result_source, answer.diagnostic) == (1, 3):
            reason += f": it does not know our AE title {call.our_ae_title}; enter it there"
        if (answer.result_source, answer.diagnostic) == (1, 7):
            reason += f": it is not called {call.their_ae_title}; correct the peer's ae_title"
        return Transient(reason) if answer.result == _REJECTED_TRANSIENT else Failed(reason)
    if association.rejected_contexts:
        kinds = {WorklistQuery: "modality worklist queries", StepsErrand: "requests of a performer"}
        what = kinds.get(type(call), "Study Root queries or retrievals")
        return NotOffered(f"{call.peer} answers no {what}")
    return Transient(f"nobody answers at {call.peer} ({call.host}:{call.port})")
