"""Which operation a request is, and every one but C-STORE: C-ECHO, the services of the intakes, and what nobody offers.

What is offered besides C-STORE and C-ECHO is read and answered with pynetdicom's DIMSE messages (PS3.7 §9, §10).
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing
from io import BytesIO
from typing import Any, cast

from pynetdicom.dimse_messages import _MESSAGE_TYPES, DIMSEMessage
from pynetdicom.pdu_primitives import P_DATA

from node.domain.uid import is_usable_uid
from node.errors import Refused
from node.receive import command_set, message, status
from node.receive.association import tried
from node.receive.command_set import Command, Malformed
from node.receive.intakes import DimseService, Part, QueryService, Reply, Request
from node.receive.negotiation import AcceptedContext
from node.receive.session import Session
from node.receive.storing import Overlong, Storing
from node.receive.syntaxes import VERIFICATION
from node.receive.upper_layer import AbortReason, InvalidPdu

#: Identifiers and attribute lists are some kilobytes.
LONGEST_IDENTIFIER = 4 << 20
_WHOLE_COMMAND, _RESPONSE = b"\x03", 0x8000

_Asked = command_set.Operation


def begin(session: Session, context_id: int, encoded: bytes) -> message.Operation | None:
    """Begin the operation that a command set asks for; `None` where it is answered, since no data set follows.

    Raises:
        InvalidPdu: it cannot be answered.
        Ended: the peer is gone.
        Expired: the peer does not read its answer.
    """
    try:
        command = command_set.decode(encoded)
    except Malformed as error:
        raise InvalidPdu(AbortReason.INVALID_PARAMETER_VALUE, str(error)) from error
    operation = _operation(session, context_id, command, encoded)
    if command.has_data_set:
        return operation
    operation.finish()
    return None


def _operation(session: Session, context_id: int, command: Command, encoded: bytes) -> message.Operation:
    context = session.accepted[context_id]
    asked = command.operation

    def answer(code: int, comment: str) -> None:
        session.respond(context_id, command_set.response(command, code, comment))

    if asked is _Asked.C_STORE:
        return Storing(session, context, command, answer)
    if asked is _Asked.C_CANCEL:
        return Discarding(session, lambda: None)
    if asked is _Asked.C_ECHO and context.abstract_syntax == VERIFICATION:
        return Discarding(session, lambda: answer(status.SUCCESS, ""))
    service = session.offer.services.get(context.abstract_syntax)
    operations = getattr(service, "OPERATIONS", None)
    offered = operations[context.abstract_syntax] if operations else ()
    if asked.title in offered and asked.title.startswith("C-"):
        return Answering(session, context_id, context, command, encoded, cast("QueryService", service))
    if service is None or (asked.title not in offered if operations else not asked.title.startswith("N-")):
        refused = Refused(status.UNRECOGNISED_OPERATION, "not offered on this presentation context")
        return Discarding(session, lambda: _refuse(session, command, refused, answer))
    return Serving(session, context_id, context, command, encoded, cast("DimseService", service))


class Discarding(message.Written):
    """A request whose data set is of no interest; answered when that is over, as a sender expects."""

    def __init__(self, session: Session, answer: Callable[[], None]) -> None:
        self._maximum = max(LONGEST_IDENTIFIER, session.door.settings.receive.maximum_object_bytes)
        self._answer = answer
        self._size = 0

    def write(self, piece: memoryview) -> None:
        """Throw away the next bytes.

        Raises:
            Overlong: there are too many of them; the answer was given.
        """
        self._size += len(piece)
        if self._size > self._maximum:
            self._answer()
            raise Overlong(f"a data set over {self._maximum} bytes")

    def finish(self) -> None:
        """Answer."""
        self._answer()

    def discard(self) -> None:
        """Nothing is held."""


class Serving(message.Written):
    """A DIMSE-N request that an intake answers."""

    def __init__(
        self,
        session: Session,
        context_id: int,
        context: AcceptedContext,
        command: Command,
        encoded: bytes,
        service: DimseService | None,
    ) -> None:
        self._session = session
        self._context_id = context_id
        self._context = context
        self._command = command
        self._encoded = encoded
        self._service = service
        self._content = bytearray()

    def write(self, piece: memoryview) -> None:
        """Take the next bytes.

        Raises:
            Overlong: the data set is longer than any that is taken; the answer was 0x0213.
        """
        if len(self._content) + len(piece) > LONGEST_IDENTIFIER:
            self._refuse(Refused(status.RESOURCE_LIMITATION, f"a data set over {LONGEST_IDENTIFIER} bytes"))
            raise Overlong(f"a data set over {LONGEST_IDENTIFIER} bytes")
        self._content += piece

    def finish(self) -> None:
        """Have it answered, and send the answer."""
        answered = tried(self._answered, passing=status.PROCESSING_FAILURE)
        if isinstance(answered, Refused):
            self._refuse(answered)
            return
        reply, encoded = answered
        content = (reply.content,) if reply.content else ()
        if reply.status and reply.reason:
            refused = Refused(reply.status, reply.reason)
            self._session.door.refused_request(self._session.peer, self._command.operation.title, refused)
        self._session.respond(self._context_id, encoded, *content)

    def discard(self) -> None:
        """Nothing is held."""

    def _asked(self) -> tuple[Any, Request]:
        """The request as pynetdicom reads it, and as the intake does."""
        command, session = self._command, self._session
        if command.sop_instance_uid and not is_usable_uid(command.sop_instance_uid):
            raise Refused(status.INVALID_OBJECT_INSTANCE, "the command's SOP Instance UID is no UID")
        asked = _primitive(self._context_id, self._encoded)
        type_id = getattr(asked, "ActionTypeID", getattr(asked, "EventTypeID", None))
        request = Request(
            operation=command.operation.title,
            sop_class_uid=command.sop_class_uid,
            sop_instance_uid=command.sop_instance_uid,
            type_id=None if type_id is None else int(type_id),
            content=bytes(self._content),
            transfer_syntax_uid=self._context.transfer_syntax,
            peer=session.peer,
            move_destination=command.move_destination,
            abstract_syntax=self._context.abstract_syntax,
            attributes=_tags(getattr(asked, "AttributeIdentifierList", None)),
        )
        return asked, request

    def _answered(self) -> tuple[Reply, bytes]:
        asked, request = self._asked()
        door = self._session.door
        assert self._service is not None
        reply = self._service.answer(door.settings, door.keeper, request)
        return reply, _response(self._context_id, asked, self._command, reply)

    def _refuse(self, refused: Refused) -> None:
        def answer(code: int, comment: str) -> None:
            self._session.respond(self._context_id, command_set.response(self._command, code, comment))

        _refuse(self._session, self._command, refused, answer)


class Answering(Serving):
    """A C-FIND or C-MOVE request that an intake answers part by part."""

    def __init__(
        self,
        session: Session,
        context_id: int,
        context: AcceptedContext,
        command: Command,
        encoded: bytes,
        service: QueryService,
    ) -> None:
        super().__init__(session, context_id, context, command, encoded, None)
        self._query = service

    def finish(self) -> None:
        """Have it answered, and send each part as it comes."""
        begun = tried(self._begun, passing=status.PROCESSING_FAILURE)
        if isinstance(begun, Refused):
            self._refuse(begun)
            return
        asked, parts = begun
        with closing(parts):
            while True:
                part = tried(next, parts, None, passing=status.PROCESSING_FAILURE)
                if part is None:
                    return
                if isinstance(part, Refused):
                    self._refuse(part)
                    return
                self._send(asked, part)

    def _begun(self) -> tuple[Any, Generator[Part]]:
        asked, request = self._asked()
        door = self._session.door
        return asked, cast("Generator[Part]", self._query.parts(door.settings, door.keeper, request))

    def _send(self, asked: Any, part: Part) -> None:
        if part.status != status.PENDING and part.reason:
            refused = Refused(part.status, part.reason)
            self._session.door.refused_request(self._session.peer, self._command.operation.title, refused)
        encoded = _part(self._context_id, asked, self._command, part)
        self._session.respond(self._context_id, encoded, part.identifier)


def _part(context_id: int, asked: Any, command: Command, part: Part) -> bytes:
    """The encoded command set of one of several answers."""
    answer: Any = type(asked)()
    answer.MessageIDBeingRespondedTo = command.message_id
    answer.Status = part.status
    answer.AffectedSOPClassUID = command.sop_class_uid or None
    if part.identifier:
        answer.Identifier = BytesIO(part.identifier)
    if part.reason:
        answer.ErrorComment = command_set.plain(part.reason)
    if part.counts is not None:
        remaining, completed, failed, warning = part.counts
        if part.status == status.PENDING:
            answer.NumberOfRemainingSuboperations = remaining
        answer.NumberOfCompletedSuboperations = completed
        answer.NumberOfFailedSuboperations = failed
        answer.NumberOfWarningSuboperations = warning
    return _command_set(context_id, command, answer)


def _refuse(session: Session, command: Command, refused: Refused, answer: Callable[[int, str], None]) -> None:
    session.door.refused_request(session.peer, command.operation.title, refused)
    answer(refused.status, refused.reason)


def _tags(told: Any) -> tuple[int, ...]:
    """The tags of an Attribute Identifier List; pynetdicom makes of a single one no list."""
    return tuple(map(int, (told,) if isinstance(told, int) else told or ()))


def _primitive(context_id: int, encoded: bytes) -> Any:
    """The primitive of a request's command set, as pynetdicom reads it."""
    fragment = P_DATA()
    fragment.presentation_data_value_list.append((context_id, _WHOLE_COMMAND + encoded))
    decoded = DIMSEMessage()
    decoded.decode_msg(fragment)
    return decoded.message_to_primitive()


def _response(context_id: int, asked: Any, command: Command, reply: Reply) -> bytes:
    """The encoded command set of the answer."""
    answer: Any = type(asked)()
    answer.MessageIDBeingRespondedTo = command.message_id
    answer.Status = reply.status
    answer.AffectedSOPClassUID = command.sop_class_uid or None
    answer.AffectedSOPInstanceUID = command.sop_instance_uid or reply.sop_instance_uid or None
    if reply.content:
        answer.AttributeList = BytesIO(reply.content)
    for type_id in ("ActionTypeID", "EventTypeID"):
        if hasattr(asked, type_id):
            setattr(answer, type_id, getattr(asked, type_id))
    if reply.reason:
        answer.ErrorComment = command_set.plain(reply.reason)
    if reply.error_id is not None:
        answer.ErrorID = reply.error_id
    return _command_set(context_id, command, answer)


def _command_set(context_id: int, command: Command, answer: Any) -> bytes:
    response: Any = _MESSAGE_TYPES[command.operation | _RESPONSE][1]()
    response.primitive_to_message(answer)
    fragment = next(iter(response.encode_msg(context_id, 0)))
    _, encoded = fragment.presentation_data_value_list[0]
    return bytes(encoded[1:])
