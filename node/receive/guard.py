"""pynetdicom's acceptor, held to limits that it does not set itself (pynetdicom 3.0.4).

What is guarded, each measured against the stock acceptor: a PDU longer than negotiated, half a PDU without an end, a
peer that does not read, messages without an end, sockets that stay silent, operations that nobody offered, and a
deep copy of every supported context for every caller.
"""

from __future__ import annotations

import socket
import struct
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from io import BytesIO
from typing import Any, TypeAlias, cast

import structlog
from pynetdicom._globals import MODE_ACCEPTOR
from pynetdicom.ae import ApplicationEntity
from pynetdicom.association import Association
from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.dimse_primitives import C_ECHO, C_STORE
from pynetdicom.pdu_primitives import P_DATA
from pynetdicom.presentation import PresentationContext
from pynetdicom.service_class import StorageServiceClass, VerificationServiceClass
from pynetdicom.transport import AssociationSocket, RequestHandler, ThreadedAssociationServer

from node.config import Peer, ReceiveSettings
from node.loop import describe_error
from node.receive.lobby import Lobby
from node.receive.status import CANNOT_UNDERSTAND, OUT_OF_RESOURCES, SOP_CLASS_NOT_SUPPORTED, UNRECOGNISED_OPERATION

_P_DATA_TF, _ASSOCIATE_RQ, _LAST_TYPE = 0x04, 0x01, 0x07
_HEADER = struct.Struct(">BBL")
#: 128 presentation contexts with every transfer syntax there is need about 200 KB.
_LONGEST_REQUEST = 512 << 10
_LONGEST_OTHER = 1 << 10
#: A command set is some hundred bytes.
_LONGEST_COMMAND = 64 << 10
#: A-ABORT by the service provider, invalid PDU parameter value (PS3.8 §9.3.8).
_ABORT = bytes.fromhex("07 00 00 00 00 04 00 00 02 06")
_VERIFICATION = "1.2.840.10008.1.1"
#: The accepting loop goes round at least this often.
_TURN_S = 0.25

log = structlog.get_logger()


Ended: TypeAlias = Callable[["GuardedAssociation"], None]


class SharedContexts(list[PresentationContext]):
    """Supported contexts that every association shares; negotiation only reads them."""

    def __deepcopy__(self, memo: dict[int, Any]) -> SharedContexts:
        """64 ms an association for every storage class, otherwise."""
        return self


class GuardedSocket(AssociationSocket):
    """A socket whose reads and writes end, and that acknowledges small segments at once."""

    def __init__(self, association: Association, client: socket.socket, limits: ReceiveSettings) -> None:
        super().__init__(association, client_socket=client)
        self._limits = limits
        self._patience_s = limits.artim_s
        self._pdu_type: int | None = None
        self._deadline_s = 0.0
        self._from = client.getpeername()[0]
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.settimeout(limits.idle_s)

    def recv(self, nr_bytes: int) -> bytearray:
        """Read a PDU's six first bytes, then its rest; fewer if the peer is gone, too slow, or breaks a limit."""
        if self._pdu_type is None:
            self._deadline_s = time.monotonic() + self._patience_s
            header = self._read(nr_bytes)
            if len(header) == _HEADER.size and 0 < header[0] <= _LAST_TYPE:
                self._pdu_type = header[0]
            return header
        pdu_type, self._pdu_type = self._pdu_type, None
        # From here on a peer may think between two PDUs.
        self._patience_s = self._limits.idle_s
        if nr_bytes > self._longest(pdu_type):
            log.warning(
                "pdu_too_long", address=self._from, pdu_type=pdu_type, length=nr_bytes, maximum=self._longest(pdu_type)
            )
            self.send(_ABORT)
            return bytearray()
        return self._read(nr_bytes)

    def _longest(self, pdu_type: int) -> int:
        if pdu_type == _P_DATA_TF:
            return self._limits.maximum_pdu_bytes
        return _LONGEST_REQUEST if pdu_type == _ASSOCIATE_RQ else _LONGEST_OTHER

    def _read(self, wanted: int) -> bytearray:
        client = cast("socket.socket", self.socket)
        content = bytearray(wanted)
        count = 0
        with memoryview(content) as view:
            while count < wanted:
                left_s = self._deadline_s - time.monotonic()
                if left_s <= 0:
                    log.warning("pdu_too_slow", address=self._from, received=count, wanted=wanted)
                    break
                client.settimeout(left_s)
                try:
                    got = client.recv_into(view[count:])
                except TimeoutError:
                    continue
                if not got:
                    break
                count += got
                # Senders that leave Nagle on wait 40 ms for a delayed acknowledgement; the option lasts for one.
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        client.settimeout(self._limits.idle_s)
        del content[count:]
        return content


class BoundedMessages(DIMSEServiceProvider):
    """Puts messages together, up to a limit."""

    def __init__(self, association: Association, maximum_bytes: int) -> None:
        super().__init__(association)
        self._maximum_bytes = maximum_bytes
        self._over = False

    def receive_primitive(self, primitive: P_DATA) -> None:
        """Take one P-DATA; a message over the limit is answered with 0xA700 and the association aborted."""
        if self._over:
            return
        super().receive_primitive(primitive)
        message = self.message
        if message is None:
            return
        if message.encoded_command_set.tell() > _LONGEST_COMMAND:
            self._abort("a command set without an end")
        elif isinstance(message.data_set, BytesIO) and message.data_set.tell() > self._maximum_bytes:
            command = message.command_set
            refusal = C_STORE()
            refusal.MessageIDBeingRespondedTo = command.get("MessageID", 0)
            refusal.AffectedSOPClassUID = command.get("AffectedSOPClassUID")
            refusal.AffectedSOPInstanceUID = command.get("AffectedSOPInstanceUID")
            refusal.Status = OUT_OF_RESOURCES
            self.send_msg(refusal, cast("int", message.context_id))
            self._abort("an object over the limit")

    def _abort(self, reason: str) -> None:
        self._over = True
        self.message = None
        log.warning("message_too_long", address=self.assoc.requestor.address, reason=reason)
        self.assoc.acse.send_abort(0x02)


class GuardedAssociation(Association):
    """An association as acceptor that answers every request, if only to refuse it."""

    def __init__(self, ae: ApplicationEntity, connection: socket.socket, limits: ReceiveSettings, ended: Ended) -> None:
        super().__init__(ae, MODE_ACCEPTOR)
        self.dimse = BoundedMessages(self, limits.maximum_object_bytes)
        self.connection = connection
        #: Who it is, once it was let in.
        self.peer: Peer | None = None
        #: What became of its objects: kept, held, refused.
        self.objects: Counter[str] = Counter()
        self._ended = ended

    def run_reactor(self) -> None:
        """Run until the end, whatever it is."""
        try:
            super().run_reactor()
        finally:
            self._ended(self)

    def _serve_request(self, msg: Any, context_id: int) -> None:
        context = self._accepted_cx.get(context_id)
        if context is None:
            self.abort()
        elif isinstance(msg, C_STORE) and msg.MessageID is not None:
            if context.abstract_syntax == _VERIFICATION:
                self._refuse(msg, context_id, SOP_CLASS_NOT_SUPPORTED)
            elif msg.DataSet is None:
                self._refuse(msg, context_id, CANNOT_UNDERSTAND)
            else:
                StorageServiceClass(self).SCP(msg, context)
        elif isinstance(msg, C_ECHO) and context.abstract_syntax == _VERIFICATION and msg.MessageID is not None:
            VerificationServiceClass(self).SCP(msg, context)
        elif msg.MessageID is not None:
            self._refuse(msg, context_id, UNRECOGNISED_OPERATION)

    def _refuse(self, msg: Any, context_id: int, status: int) -> None:
        response = type(msg)()
        response.MessageIDBeingRespondedTo = msg.MessageID
        response.Status = status
        log.warning(
            "request_refused", address=self.requestor.address, operation=type(msg).__name__, status=f"0x{status:04X}"
        )
        self.dimse.send_msg(response, context_id)


class GuardedHandler(RequestHandler):
    """Makes the guarded association for one connection."""

    def _create_association(self) -> Association:
        server = cast("GuardedServer", self.server)
        client = cast("socket.socket", self.request)
        association = GuardedAssociation(server.ae, client, server.limits, server.ended)
        association._server = server
        association.name = f"AcceptorThread@{self.client_address[0]}:{self.client_address[1]}"
        association.set_socket(GuardedSocket(association, client, server.limits))
        association.acceptor.maximum_length = server.ae.maximum_pdu_size
        association.acceptor.ae_title = server.ae_title
        association.acceptor.address_info = self.local
        association.acceptor.implementation_class_uid = server.ae.implementation_class_uid
        association.acceptor.implementation_version_name = server.ae.implementation_version_name
        association.acceptor.supported_contexts = server.contexts
        association.requestor.address_info = self.remote
        for event, bound in server._handlers.items():
            for handler in [bound] if isinstance(bound, tuple) else bound:
                association.bind(event, handler[0], handler[1])
        return association


class GuardedServer(ThreadedAssociationServer):
    """Accepts connections; who may not call is closed before a byte is parsed."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self,
        ae: ApplicationEntity,
        address: tuple[str, int],
        contexts: SharedContexts,
        handlers: list[Any],
        *,
        limits: ReceiveSettings,
        lobby: Lobby,
        is_listed: Callable[[str], bool],
        ended: Ended,
    ) -> None:
        """Listen on `address`; `is_listed` says whether anybody may call from an address, `ended` hears each end.

        Raises:
            OSError: the address cannot be listened on.
        """
        self.limits = limits
        self.lobby = lobby
        self.ended = ended
        #: When the accepting loop last went round, monotonic seconds.
        self.last_turn_s = time.monotonic()
        self._is_listed = is_listed
        super().__init__(ae, address, ae.ae_title, contexts, evt_handlers=handlers, request_handler=GuardedHandler)
        ae._servers.append(self)

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Close a caller from an address that no peer has; let in anybody else, at the cost of who idles longest."""
        if not self._is_listed(client_address[0]):
            return False
        self.lobby.enter(request)
        return True

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002
        """A connection that could not be served: no thread, no memory, or gone already."""
        self.lobby.leave(request)
        error = sys.exc_info()[1]
        log.error("connection_failed", reason=describe_error(error) if error else "")

    def service_actions(self) -> None:
        """Called by the accepting loop at each turn."""
        super().service_actions()
        self.last_turn_s = time.monotonic()

    def serve_in_background(self) -> threading.Thread:
        """Start accepting, in a thread."""
        thread = threading.Thread(target=self.serve_forever, args=(_TURN_S,), name="accept", daemon=True)
        thread.start()
        return thread
