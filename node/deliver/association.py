"""One association as SCU: opened with the presentation contexts that are wanted, its messages kept in order.

pynetdicom negotiates and moves the bytes. Answers are taken from its event for every message, not from its
`send_c_…`: its reactor thread now and then takes the answer that these wait for, and it never compares an answer's
Message ID with the request's.
"""

from __future__ import annotations

import queue
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from pydicom import Dataset
from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.pdu_primitives import SCP_SCU_RoleSelectionNegotiation
from pynetdicom.presentation import PresentationContext, build_context, build_role

from node.config import DeliverSettings, Peer
from node.deliver.carriage import Lost, Unreachable
from node.deliver.statuses import TRANSIENT, rejection_reason

#: (SOP Class UID, transfer syntax UID)
Context = tuple[str, str]

#: A peer that offers shorter PDUs than this would make us build millions of them (PS3.8 §D.1 sets no minimum).
_SHORTEST_PDU_BYTES = 256
#: We announce 16382; whoever announces more than this wants our memory.
_LONGEST_PDU_BYTES = 1 << 20
_PIECE_BYTES = 65536
#: 0 would mean: do not wait.
_SHORTEST_WAIT_S = 0.001
#: Result of an A-ASSOCIATE-AC (PS3.8 §7.1.1.7).
_ACCEPTED = 0
#: For pynetdicom's thread to end after its association, seconds.
_END_S = 5.0


class Inbox:
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
                transport.recv = _bounded(self._socket, timeout_s)  # type: ignore[assignment, method-assign]

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


def _bounded(connection: socket.socket, timeout_s: float) -> Callable[[int], bytearray]:
    """How pynetdicom reads a PDU: none that is longer than was agreed, none that drips on for ever."""

    def recv(length: int) -> bytearray:
        if length > _LONGEST_PDU_BYTES:
            raise OSError(f"a PDU of {length} bytes")
        deadline_s, content = time.monotonic() + timeout_s, bytearray()
        try:
            while len(content) < length:
                connection.settimeout(max(_SHORTEST_WAIT_S, deadline_s - time.monotonic()))
                piece = connection.recv(min(length - len(content), _PIECE_BYTES))
                if not piece or time.monotonic() > deadline_s:
                    break
                content += piece
        finally:
            connection.settimeout(timeout_s)
        return content

    return recv


@contextmanager
def associated(
    peer: Peer,
    our_ae_title: str,
    settings: DeliverSettings,
    wanted: Sequence[Context],
    handlers: Sequence[evt.EventHandlerType] = (),
    *,
    as_scp: bool = False,
) -> Iterator[tuple[Association, Inbox]]:
    """Hold an association with exactly these presentation contexts; released at the end, aborted on any error.

    `handlers` are bound besides those that fill the inbox. `as_scp`: we take the role of SCP (PS3.7 §D.3.3.4). One of
    which the peer accepts no context is yielded too; it has ended already.

    Raises:
        Unreachable: nobody answers, or the association is rejected.
    """
    inbox = Inbox()
    bound = [*inbox.handlers(settings.dimse_s), *handlers]
    roles = [build_role(uid, scp_role=True) for uid in dict.fromkeys(uid for uid, _ in wanted)] if as_scp else []
    contexts = [build_context(*each) for each in wanted]
    association = _associate(peer, our_ae_title, settings, contexts, roles, bound)
    try:
        if not _is_answered(association, len(wanted)):
            raise _why_not(association, peer, our_ae_title, inbox, settings)
        # 0 means: of any length (PS3.8 §D.1).
        longest = association.acceptor.maximum_length or 0
        if 0 < longest < _SHORTEST_PDU_BYTES:
            raise Unreachable(f"{peer.name} takes PDUs of {longest} bytes at most", by_configuration=True)
        yield association, inbox
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
    peer: Peer,
    ours: str,
    settings: DeliverSettings,
    contexts: list[PresentationContext],
    roles: list[SCP_SCU_RoleSelectionNegotiation],
    handlers: list[evt.EventHandlerType],
) -> Association:
    assert peer.port is not None
    ae = AE(ae_title=ours)
    ae.connection_timeout = settings.connect_s
    ae.acse_timeout = settings.dimse_s
    ae.dimse_timeout = settings.dimse_s
    # Its idle timer counts received bytes only and would abort a long upload; we keep our own time.
    ae.network_timeout = None
    return ae.associate(peer.host, peer.port, contexts, ae_title=peer.ae_title, ext_neg=[*roles], evt_handlers=handlers)


def _why_not(association: Association, peer: Peer, ours: str, inbox: Inbox, settings: DeliverSettings) -> Unreachable:
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
