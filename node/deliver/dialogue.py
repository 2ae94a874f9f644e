"""An association on which we ask a destination: C-FIND and N-ACTION, and what it reports meanwhile (PS3.7 §9, §10).

Nothing is believed that was not asked: an answer to another message ends the dialogue.
"""

from __future__ import annotations

import queue
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO

from pydicom import Dataset
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import evt
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_FIND, N_ACTION, N_CREATE, N_EVENT_REPORT, N_GET, N_SET
from pynetdicom.dsutils import decode, encode
from pynetdicom.presentation import PresentationContext

from node.config import DeliverSettings, Peer
from node.deliver.association import Context, associated
from node.deliver.carriage import Lost
from node.errors import Transient

#: PS3.7 Annex C.
SUCCESS, PROCESSING_FAILURE, RESOURCE_LIMITATION = 0x0000, 0x0110, 0x0213
PENDING = frozenset({0xFF00, 0xFF01})  # PS3.4 §C.4.1.1.4
Ask = C_FIND | N_ACTION | N_CREATE | N_EVENT_REPORT | N_GET | N_SET
#: Command Fields of the responses (PS3.7 §E.1).
_RESPONSES = {C_FIND: 0x8020, N_EVENT_REPORT: 0x8100, N_GET: 0x8110, N_SET: 0x8120, N_ACTION: 0x8130, N_CREATE: 0x8140}
#: Where the data set of a request stands; an N-GET has none.
_CONTENTS: dict[type[Ask], str] = {
    C_FIND: "Identifier",
    N_ACTION: "ActionInformation",
    N_EVENT_REPORT: "EventInformation",
    N_CREATE: "AttributeList",
    N_SET: "ModificationList",
}
_RESPONSE = 0x8000
_REPORT = 0x0100
_SYNTAXES = (str(ExplicitVRLittleEndian), str(ImplicitVRLittleEndian))
_HIGHEST_MESSAGE_ID = 65535
#: An identifier is some hundred bytes, a report some hundred a result.
_LONGEST_DATA_SET_BYTES = 1 << 20
#: What reading a value that a stranger wrote can raise.
MALFORMED = (
    *(ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, NotImplementedError),
    *(LookupError, EOFError, RecursionError, struct.error),
)
#: While an association is kept open, seconds.
_POLL_S = 0.05
#: For the answer to a report, before the association is released, seconds.
_ANSWER_S = 10.0
#: Of a text that an archive gives, characters: a person's name has three groups of 64 (PS3.5 §6.2).
_LONGEST_TEXT = 200

#: What a report becomes: (Event Type ID, SOP Instance UID, data set) → DIMSE status.
Hear = Callable[[int, str, Dataset], int]


class NotOffered(Transient):
    """The peer accepts no presentation context for the service."""


@dataclass(frozen=True, slots=True)
class Response:
    """One response: its status (PS3.7 Annex C), and its data set where there is one."""

    status: int
    comment: str
    identifier: Dataset | None


@dataclass(frozen=True, slots=True)
class _Message:
    command: Dataset
    data: bytes


class Dialogue:
    """One association; requests are put one after the other."""

    def __init__(
        self,
        association: Association,
        peer: Peer,
        messages: queue.SimpleQueue[_Message | None],
        answered: threading.Event,
    ) -> None:
        self._association = association
        self._peer = peer
        self._messages = messages
        #: Unset while a report is being answered.
        self._answered = answered
        self._message_id = 0

    def accepts(self, sop_class_uid: str) -> bool:
        """Whether the peer accepted a presentation context for a service."""
        return self._context(sop_class_uid) is not None

    def find(self, sop_class_uid: str, identifier: Dataset, *, most: int, limit_s: float) -> list[Dataset]:
        """Return the matches of one query.

        Raises:
            NotOffered: the peer accepts no context for it.
            Unanswered: it ended without success.
            Lost: it broke off, answers something else, too much, or not within `limit_s` seconds of the last answer.
        """
        request = C_FIND()
        request.Priority = 0  # MEDIUM, PS3.7 §9.1.2.1
        request.AffectedSOPClassUID = UID(sop_class_uid)
        found: list[Dataset] = []
        for number, response in enumerate(self._asked(request, sop_class_uid, identifier, limit_s)):
            if response.status in PENDING:
                if number >= most:
                    raise Lost(f"{self._peer.name} answers with far more than was asked for")
                found += [] if response.identifier is None else [response.identifier]
            elif response.status:
                raise Unanswered(self._peer.name, response.status)
        return found

    def act(self, sop_class_uid: str, sop_instance_uid: str, action: int, content: Dataset, *, limit_s: float) -> int:
        """Put an N-ACTION and return the status.

        Raises:
            NotOffered, Lost: as above.
        """
        request = N_ACTION()
        request.RequestedSOPClassUID = UID(sop_class_uid)
        request.RequestedSOPInstanceUID = UID(sop_instance_uid)
        request.ActionTypeID = action
        [response] = self._asked(request, sop_class_uid, content, limit_s)
        return response.status

    def ask(self, sop_class_uid: str, request: Ask, content: Dataset | None, *, limit_s: float) -> Response:
        """Put a request that has one answer, on the context of a service, and return the answer.

        Raises:
            NotOffered, Lost: as above.
        """
        [response] = self._asked(request, sop_class_uid, content, limit_s)
        return response

    def linger(self, is_over: Callable[[], bool], limit_s: float) -> None:
        """Keep the association open for reports until `is_over` says so, the peer ends it, or the time is up.

        What is being reported then is answered first.
        """
        deadline_s = time.monotonic() + limit_s
        while self._association.is_established and time.monotonic() < deadline_s and not is_over():
            time.sleep(_POLL_S)
        self._answered.wait(_ANSWER_S)

    def _asked(self, request: Ask, sop_class_uid: str, content: Dataset | None, limit_s: float) -> Iterator[Response]:
        context = self._context(sop_class_uid)
        if context is None:
            raise NotOffered(f"{self._peer.name} does not offer {UID(sop_class_uid).name}")
        syntax = context.transfer_syntax[0]
        implicit, little = syntax.is_implicit_VR, syntax.is_little_endian
        self._message_id = self._message_id % _HIGHEST_MESSAGE_ID + 1
        request.MessageID = self._message_id
        if content is not None:
            setattr(request, _CONTENTS[type(request)], BytesIO(encode(content, implicit, little) or b""))
        assert context.context_id is not None
        self._association.dimse.send_msg(request, context.context_id)
        while True:
            message = self._next(limit_s)
            command = message.command
            if command.get("CommandField") != _RESPONSES[type(request)] or command.get("Status") is None:
                raise Lost(f"{self._peer.name} answered something that was not asked; nothing of it is believed")
            if command.get("MessageIDBeingRespondedTo") != self._message_id:
                raise Lost(f"{self._peer.name} answered another message than ours; nothing of it is believed")
            identifier = _decoded(message.data, implicit=implicit, little=little) if message.data else None
            yield Response(int(command.Status), str(command.get("ErrorComment", "")), identifier)
            if int(command.Status) not in PENDING:
                return

    def _next(self, limit_s: float) -> _Message:
        try:
            message = self._messages.get(timeout=limit_s)
        except queue.Empty:
            raise Lost(f"{self._peer.name} gave no answer within {limit_s:g} s") from None
        if message is None:
            raise Lost(f"{self._peer.name} broke the association off instead of answering")
        return message

    def _context(self, sop_class_uid: str) -> PresentationContext | None:
        found = (each for each in self._association.accepted_contexts if each.abstract_syntax == sop_class_uid)
        return next(found, None)


class Unanswered(Transient):
    """A query ended without success."""

    def __init__(self, peer: str, status: int) -> None:
        self.status = status
        super().__init__(f"{peer} answered the query with 0x{status:04X}")


@contextmanager
def dialogue(
    peer: Peer,
    our_ae_title: str,
    settings: DeliverSettings,
    sop_class_uids: Sequence[str],
    hear: Hear | None = None,
    *,
    as_scp: bool = False,
) -> Iterator[Dialogue]:
    """Hold an association for these services; `hear` is called in another thread with each N-EVENT-REPORT.

    `as_scp`: we are the SCP of them, and report.

    Raises:
        Unreachable: nobody answers, or the association is rejected.
    """
    messages: queue.SimpleQueue[_Message | None] = queue.SimpleQueue()
    answered = threading.Event()
    answered.set()

    def received(event: evt.Event) -> None:
        command = event.message.command_set
        if command.get("CommandField") == _REPORT:
            answered.clear()
        # What is asked of us is answered by pynetdicom.
        if int(command.get("CommandField", 0)) & _RESPONSE:
            content = event.message.data_set
            data = content.getvalue() if content is not None else b""
            messages.put(_Message(command, data) if len(data) <= _LONGEST_DATA_SET_BYTES else None)

    def said(event: evt.Event) -> None:
        if event.message.command_set.get("CommandField") == _REPORT | _RESPONSE:
            answered.set()

    def ended(_event: evt.Event) -> None:
        answered.set()
        messages.put(None)

    def reported(event: evt.Event) -> tuple[int, None]:
        return _heard(event, hear), None

    ends = (evt.EVT_ABORTED, evt.EVT_RELEASED, evt.EVT_CONN_CLOSE)
    handlers: list[evt.EventHandlerType] = [(evt.EVT_DIMSE_RECV, received), *((each, ended) for each in ends)]
    if hear is not None:
        handlers += [(evt.EVT_N_EVENT_REPORT, reported), (evt.EVT_DIMSE_SENT, said)]
    wanted: list[Context] = [(uid, syntax) for uid in sop_class_uids for syntax in _SYNTAXES]
    with associated(peer, our_ae_title, settings, wanted, handlers, as_scp=as_scp) as (association, _):
        yield Dialogue(association, peer, messages, answered)


def text_of(answer: Dataset, keyword: str) -> str:
    """The first value as text; empty where there is none, where it cannot be read, or is longer than any."""
    try:
        value = answer.get(keyword)
        texts = [str(each) for each in value] if isinstance(value, list | tuple) else [str(value or "")]
    except MALFORMED:
        return ""
    text = texts[0].strip("\0 ") if texts else ""
    return text if len(text) <= _LONGEST_TEXT else ""


def _heard(event: evt.Event, hear: Hear | None) -> int:
    """Hand a report over, and return the status of the answer."""
    request = event.request
    assert isinstance(request, N_EVENT_REPORT)
    content = request.EventInformation
    data = content.getvalue() if content is not None else b""
    if hear is None or len(data) > _LONGEST_DATA_SET_BYTES:
        return RESOURCE_LIMITATION
    syntax = UID(event.context.transfer_syntax)
    try:
        report = _decoded(data, implicit=syntax.is_implicit_VR, little=syntax.is_little_endian)
        return hear(int(request.EventTypeID or 0), str(request.AffectedSOPInstanceUID), report)
    except Transient:
        return PROCESSING_FAILURE


def _decoded(content: bytes, *, implicit: bool, little: bool) -> Dataset:
    """Read a data set.

    Raises:
        Lost: it cannot be read.
    """
    try:
        return decode(BytesIO(content), implicit, little)
    except MALFORMED:
        raise Lost("what came cannot be read") from None
