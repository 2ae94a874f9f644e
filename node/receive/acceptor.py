"""The accepting loop: it takes connections in, looks at their address, and never waits for any of them."""

from __future__ import annotations

import os
import selectors
import socket
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import structlog

from node.errors import Misconfigured
from node.loop import describe_error
from node.receive.association import Door, outlived
from node.receive.connection import Connection
from node.receive.session import Offer
from node.receive.tls import Credentials

_BACKLOG = 128
#: The loop goes round at least so often, seconds.
_TURN_S = 0.25
#: A loop that has not gone round for so long hangs.
_HUNG_S = 10.0
#: Pause after a connection that could not be taken: no descriptor is left, or no thread.
_BREATH_S = 0.1
_POLL_S = 0.02
#: An aborted association may still be making an object durable.
_END_S = 10.0

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """A port that listens; `credentials` where it speaks TLS."""

    socket: socket.socket
    credentials: Credentials | None = None

    @property
    def port(self) -> int:
        """Its number."""
        return int(self.socket.getsockname()[1])


def listen(address: str, port: int, key: str, credentials: Credentials | None = None) -> Listener:
    """Listen on a port.

    Raises:
        Misconfigured: the port is taken, or the address is not this machine's; `key` is named.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((address, port))
        listening.listen(_BACKLOG)
        listening.setblocking(False)
    except OSError as error:
        listening.close()
        remedy = "Name another port, end what listens there, or name an address of this machine"
        problem = f"cannot listen on {address}:{port}: {error}"
        raise Misconfigured("config.toml", key, problem, remedy) from error
    return Listener(socket=listening, credentials=credentials)


class Acceptor:
    """The SCP at work: one thread that accepts, and one a connection."""

    def __init__(self, listeners: Sequence[Listener], door: Door, offer: Offer) -> None:
        self._listeners = tuple(listeners)
        self._door = door
        self._offer = offer
        self._stopping = threading.Event()
        self._awake = os.eventfd(0)
        self._last_turn_s = time.monotonic()
        self._lock = threading.Lock()
        self._open: dict[Connection, threading.Thread] = {}
        title, address = door.settings.node.ae_title, door.settings.node.address
        #: The first port that listens.
        self.port = self._listeners[0].port
        ports = (f"{address}:{each.port}{' (TLS)' if each.credentials else ''}" for each in self._listeners)
        self.where = f"{title} at {' and '.join(ports)}"
        self._thread = threading.Thread(target=self._accept_all, name="accept", daemon=True)
        self._thread.start()

    def is_alive(self) -> bool:
        """Whether it still accepts: its loop goes round."""
        return self._thread.is_alive() and time.monotonic() - self._last_turn_s < _HUNG_S

    def stop(self, drain_s: float) -> None:
        """Accept nobody new, let associations finish for `drain_s` seconds, then abort them."""
        first = not self._stopping.is_set()
        self._stopping.set()
        if first:
            os.eventfd_write(self._awake, 1)
        self._thread.join()
        if first:
            os.close(self._awake)
        deadline_s = time.monotonic() + drain_s
        while not self._door.lobby.is_empty() and time.monotonic() < deadline_s:
            time.sleep(_POLL_S)
        with self._lock:
            left = dict(self._open)
        for connection in left:
            connection.interrupt()
        deadline_s = time.monotonic() + _END_S
        for thread in left.values():
            thread.join(max(0.0, deadline_s - time.monotonic()))
        self._door.close()

    def _accept_all(self) -> None:
        try:
            self._turn()
        finally:
            for listener in self._listeners:
                listener.socket.close()

    def _turn(self) -> None:
        with selectors.DefaultSelector() as selector:
            for listener in self._listeners:
                selector.register(listener.socket, selectors.EVENT_READ, listener)
            selector.register(self._awake, selectors.EVENT_READ)
            while not self._stopping.is_set():
                self._last_turn_s = time.monotonic()
                for key, _ in selector.select(_TURN_S):
                    if key.data is not None:
                        self._accept_one(key.data)

    def _accept_one(self, listener: Listener) -> None:
        try:
            connection, (address, *_) = listener.socket.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        except OSError as error:
            log.error("connection_failed", reason=describe_error(error))
            self._stopping.wait(_BREATH_S)
            return
        if not self._door.is_listed(address):
            connection.close()
            return
        visitor = Connection(connection, address, self._door, self._offer, listener.credentials)
        self._door.lobby.enter(visitor.wire)
        thread = threading.Thread(target=self._serve, args=(visitor,), name=f"association {address}", daemon=True)
        with self._lock:
            self._open[visitor] = thread
        try:
            thread.start()
        except RuntimeError as error:
            log.error("connection_failed", address=address, reason=describe_error(error))
            self._forget(visitor)
            self._door.lobby.leave(visitor.wire)
            visitor.wire.close()
            self._stopping.wait(_BREATH_S)

    def _serve(self, visitor: Connection) -> None:
        try:
            outlived(visitor.run, visitor.address)
        finally:
            self._door.keeper.gathering.leave()
            self._forget(visitor)

    def _forget(self, visitor: Connection) -> None:
        with self._lock, suppress(KeyError):
            del self._open[visitor]
