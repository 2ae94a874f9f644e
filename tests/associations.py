"""Associations of pynetdicom's that end wholly with their test.

pynetdicom leaves a socket open whose peer broke off first. It dies with the association, in a cycle of references:
that is, in the middle of whatever test runs when the garbage collector meets it. And its threads end a while after the
call that ended the association.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from socketserver import BaseServer
from typing import Any

from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.transport import ThreadedAssociationServer

_POLL_S = 0.02
_END_S = 20.0


class Connections:
    """The connections of an application entity, which we close."""

    def __init__(self) -> None:
        self._open: list[tuple[Association, socket.socket]] = []
        self.handler: Any = (evt.EVT_CONN_OPEN, self._opened)

    def close(self) -> None:
        """End them, and wait for the threads that serve them."""
        for association, connection in self._open:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            if association.is_acceptor and association.requestor.primitive is None:
                # Nobody asked for an association: do not wait until the time for that is over.
                association.dul.to_user_queue.put(None)
            for thread in (association, association.dul):
                if thread.is_alive():
                    thread.join(_END_S)
            connection.close()

    @property
    def is_busy(self) -> bool:
        """Whether any association is established."""
        return any(association.is_established for association, _ in self._open)

    def _opened(self, event: evt.Event) -> None:
        transport = event.assoc.dul.socket
        assert transport is not None
        assert transport.socket is not None
        self._open.append((event.assoc, transport.socket))


@contextmanager
def associated(ae: AE, port: int, *, evt_handlers: Sequence[Any] = (), **terms: Any) -> Iterator[Association]:
    """An association with a port of this machine, accepted or not; released at the end."""
    connections = Connections()
    handlers = [*evt_handlers, connections.handler]
    association = ae.associate("127.0.0.1", port, evt_handlers=handlers, **terms)
    before, association._reactor_checkpoint = association._reactor_checkpoint, _Checkpoint(association)
    before.set()
    try:
        yield association
    finally:
        if association.is_established:
            association.release()
        connections.close()


class _Checkpoint(threading.Event):
    """Where an association's reactor stands still while an answer is waited for: `clear` returns once it does.

    pynetdicom looks at a flag that may still be the last time's: then its reactor takes the answer, and drops it.
    """

    def __init__(self, reactor: threading.Thread) -> None:
        super().__init__()
        self._reactor = reactor
        self._stands = threading.Event()
        self.set()

    def clear(self) -> None:
        if not self.is_set():
            return
        self._stands.clear()
        super().clear()
        while self._reactor.is_alive() and self._reactor is not threading.current_thread():
            if self._stands.wait(_POLL_S):
                return

    def wait(self, timeout: float | None = None) -> bool:
        while not self.is_set():
            self._stands.set()
            super().wait(timeout)
        return True


class Scp:
    """An SCP on a port of this machine, a free one unless it is named."""

    def __init__(self, ae: AE, evt_handlers: Sequence[Any] = (), *, port: int = 0) -> None:
        self._connections = Connections()
        handlers = [*evt_handlers, self._connections.handler]
        self._server = ae.make_server(("127.0.0.1", port), evt_handlers=handlers, server_class=_Server)
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, args=(_POLL_S,))
        self._thread.start()

    @property
    def is_busy(self) -> bool:
        """Whether any association is established."""
        return self._connections.is_busy

    def stop(self) -> None:
        """Listen no more, and end the associations; handlers that still run must end by themselves."""
        self._server.shutdown()
        self._thread.join()
        self._connections.close()


class _Server(ThreadedAssociationServer):
    def service_actions(self) -> None:
        """Nothing: pynetdicom's own collects garbage at every sixtieth turn."""

    def shutdown(self) -> None:
        """Stop serving; pynetdicom's own knows only servers that an AE started."""
        BaseServer.shutdown(self)
        self.server_close()
