"""One connection from its first byte to its last: the actions of the upper layer's table (PS3.8 §9.2)."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

import structlog

from node.config import Peer
from node.receive import negotiation, tls, user_identity
from node.receive.association import Call, Door, Rejection
from node.receive.certificate import Certificate
from node.receive.message import Messages, p_data_pdus
from node.receive.negotiation import AssociationRequest
from node.receive.operations import begin
from node.receive.session import Offer, Session
from node.receive.storing import Overlong
from node.receive.upper_layer import (
    EVENT_OF,
    RELEASE_RP,
    TRANSITIONS,
    AbortReason,
    AbortSource,
    Action,
    Event,
    InvalidPdu,
    State,
    abort_pdu,
)
from node.receive.wire import Ended, Expired, Interrupted, Wire

#: Actions on a PDU that need not be read to be answered.
_UNREAD = frozenset((Action.AA_1, Action.AA_8))
_EMPTY = memoryview(b"")

log = structlog.get_logger()


class Connection:
    """Serves one transport connection, in a thread of its own; others may `interrupt` it."""

    def __init__(
        self, connection: socket.socket, address: str, door: Door, offer: Offer, credentials: tls.Credentials | None
    ) -> None:
        self.wire = Wire(connection, door.settings.receive)
        self.address = address
        self._connection = connection
        self._door = door
        self._offer = offer
        self._credentials = credentials
        self._certificate: Certificate | None = None
        self._state = State.IDLE
        self._value = _EMPTY
        #: Of the P-DATA-TF that is being taken.
        self._length = 0
        self._abort = (AbortSource.SERVICE_USER, AbortReason.NOT_SPECIFIED)
        self._request: AssociationRequest | None = None
        self._verdict: Peer | Rejection | None = None
        self._session: Session | None = None
        self._messages: Messages | None = None
        self._outgoing = b""
        self._began_s = time.monotonic()
        #: How the association ended, and why if not as agreed.
        self._how, self._why = "closed", ""
        self._actions: dict[Action, Callable[[], None]] = {
            Action.AE_5: self.wire.start_artim,
            Action.AE_6: self._judge,
            Action.AE_7: self._accept,
            Action.AE_8: self._reject,
            Action.DT_1: self._send,
            Action.DT_2: self._take,
            Action.AR_2: self._consent,
            Action.AR_4: self._release,
            Action.AR_7: self._send,
            Action.AA_1: self._send_abort,
            Action.AA_8: self._send_abort,
            Action.AA_3: self._aborted,
        }

    def run(self) -> None:
        """Serve it until it is closed, whoever closes it."""
        try:
            self._happened(Event.CONNECTED)
            self._protected(self._secure)
            while self._state is not State.IDLE:
                self._protected(self._close_out if self._state is State.CLOSING else self._receive)
        finally:
            self._discard()
            self.wire.close()
            self._door.lobby.leave(self.wire)
            self._tell()

    def interrupt(self) -> None:
        """End the association by A-ABORT; for other threads."""
        self.wire.interrupt()

    def _protected(self, step: Callable[[], None]) -> None:
        """Make events of what may interrupt a step."""
        try:
            step()
        except InvalidPdu as error:
            self._why = str(error)
            self._abort = (AbortSource.SERVICE_PROVIDER, error.reason)
            self._happened_finally(Event.INVALID_PDU)
        except Ended as error:
            self._why = str(error)
            self._happened_finally(Event.CLOSED)
        except (Expired, Overlong, Interrupted) as error:
            self._why = str(error) or "this node stops"
            self._abort = (AbortSource.SERVICE_USER, AbortReason.NOT_SPECIFIED)
            waits = self._state in (State.AWAITING_REQUEST, State.CLOSING)
            self._happened_finally(Event.ARTIM_EXPIRED if waits else Event.ABORT_REQUEST)

    def _happened_finally(self, event: Event) -> None:
        """An event whose action can only fail because nobody is there any more."""
        try:
            self._happened(event)
        except (Ended, Expired):
            self._happened(Event.CLOSED)

    def _happened(self, event: Event) -> None:
        action, self._state = TRANSITIONS[event, self._state]
        perform = self._actions.get(action)
        if perform is not None:
            perform()

    def _secure(self) -> None:
        """Shake hands while ARTIM runs, where the port is a secure one."""
        if self._credentials is None:
            return
        try:
            secured = tls.secure(self._credentials.context(), self._connection)
            self.wire.secured(secured)
            self._certificate = tls.shake_hands(secured, max(0.001, self.wire.artim_left_s()))
            self.wire.shaken()
        except tls.HandshakeFailed as error:
            self._door.closed(self.address, f"TLS: {error.reason}", alert=error.alert)
            self._happened(Event.CLOSED)

    def _receive(self) -> None:
        kind, length = self.wire.header()
        event = EVENT_OF[kind]
        if TRANSITIONS[event, self._state][0] in _UNREAD:
            self._why = f"a PDU of type {kind} out of turn"
            self._abort = (AbortSource.SERVICE_PROVIDER, AbortReason.UNEXPECTED_PDU)
        elif TRANSITIONS[event, self._state][0] is Action.DT_2:
            # Its value is read as it is taken.
            self._length = length
        else:
            self._value = self.wire.value(length)
        self._happened(event)

    def _judge(self) -> None:
        self.wire.stop_artim()
        self._request = request = negotiation.decode_request(bytes(self._value))
        call = Call(
            calling_ae_title=request.calling_ae_title,
            called_ae_title=request.called_ae_title,
            address=self.address,
            application_context=request.application_context,
            protocol_version=request.protocol_version,
            certificate=self._certificate,
            user_information=request.user_information,
        )
        self._verdict = self._door.verdict(self.wire, call)
        self._happened(Event.ACCEPT if isinstance(self._verdict, Peer) else Event.REJECT)

    def _accept(self) -> None:
        peer, request = self._verdict, self._request
        assert isinstance(peer, Peer)
        assert request is not None
        results, accepted = negotiation.agree(request, self._offer.contexts)
        if self._credentials is None:
            self._door.keeper.gathering.join(association=True)
        session = Session(self._door, peer, self._offer, accepted, self._respond)
        self._session = session
        self._messages = Messages(accepted, lambda context_id, encoded: begin(session, context_id, encoded))
        maximum = self._door.settings.receive.maximum_pdu_bytes
        identity = user_identity.response_to(peer, request.user_information)
        roles = negotiation.agreed_roles(request, results, self._offer.contexts)
        self.wire.send(negotiation.accept_pdu(request, results, maximum, [*identity, *roles]))

    def _reject(self) -> None:
        verdict = self._verdict
        assert isinstance(verdict, Rejection)
        self.wire.send(negotiation.reject_pdu(verdict.result, verdict.source, verdict.diagnostic))

    def _take(self) -> None:
        assert self._messages is not None
        if not self._messages.pour(self.wire, self._length):
            self._messages.take(self.wire.value(self._length))

    def _respond(self, context_id: int, command_set: bytes, data_set: bytes = b"") -> None:
        assert self._request is not None
        self._outgoing = p_data_pdus(context_id, command_set, self._request.maximum_length, data_set)
        self._happened(Event.P_DATA_REQUEST)

    def _send(self) -> None:
        self.wire.send(self._outgoing)

    def _consent(self) -> None:
        self._how = "released"
        self._happened(Event.RELEASE_RESPONSE)

    def _release(self) -> None:
        self.wire.send(RELEASE_RP)

    def _send_abort(self) -> None:
        self._how = "aborted"
        self.wire.send(abort_pdu(*self._abort))

    def _aborted(self) -> None:
        self._how, self._why = "aborted", "by the peer"

    def _close_out(self) -> None:
        """Await the peer's closing while ARTIM runs; PDUs are ignored unread (AA-6), for nothing more is answered."""
        self._discard()
        self._door.lobby.dismiss(self.wire)
        self.wire.start_artim()
        self.wire.drain()
        self._happened(Event.CLOSED if self.wire.artim_left_s() else Event.ARTIM_EXPIRED)

    def _discard(self) -> None:
        if self._messages is not None:
            self._messages.discard()

    def _tell(self) -> None:
        """One line for an association; one for a connection that never became one, if something was wrong with it."""
        duration_s = round(time.monotonic() - self._began_s, 3)
        if self._session is not None:
            told = {"peer": self._session.peer.name, "how": self._how, **self._session.counts}
            if self._how != "released":
                told["reason"] = self._why
            log.info("association_ended", address=self.address, **told, duration_s=duration_s)
        elif self._why and not isinstance(self._verdict, Rejection):
            log.warning("connection_ended", address=self.address, reason=self._why, duration_s=duration_s)
