"""The C-STORE and C-ECHO SCP (PS3.4 Annexes A and B), on pynetdicom's acceptor behind `node.receive.guard`."""

from __future__ import annotations

import threading
import time

import pydicom.config
import pynetdicom._config
from pynetdicom import evt
from pynetdicom.ae import ApplicationEntity

from node import IMPLEMENTATION_VERSION_NAME
from node.config import Settings
from node.domain.uid import IMPLEMENTATION_CLASS_UID
from node.errors import Misconfigured
from node.receive.association import Door
from node.receive.guard import GuardedServer, SharedContexts
from node.receive.keeper import Keeper
from node.receive.lobby import Lobby
from node.receive.syntaxes import supported_contexts

NAME = "cstore"

_POLL_S = 0.05
#: An accepting loop that has not gone round for so long hangs.
_HUNG_S = 10.0


class Acceptor:
    """The SCP at work."""

    def __init__(self, server: GuardedServer, lobby: Lobby, thread: threading.Thread) -> None:
        self._server = server
        self._lobby = lobby
        self._thread = thread
        host, port = server.server_address[:2]
        self.port = int(port)
        self.where = f"{server.ae.ae_title} at {host}:{port}"

    def is_alive(self) -> bool:
        """Whether it still accepts: its loop goes round."""
        return self._thread.is_alive() and time.monotonic() - self._server.last_turn_s < _HUNG_S

    def stop(self, drain_s: float) -> None:
        """Accept nobody new, let associations finish for `drain_s` seconds, then abort them."""
        if self._thread.is_alive():
            self._server.shutdown()
        deadline_s = time.monotonic() + drain_s
        while not self._lobby.is_empty() and time.monotonic() < deadline_s:
            time.sleep(_POLL_S)
        for association in self._server.active_associations:
            association.abort()
        self._thread.join()


def start(settings: Settings, keeper: Keeper) -> Acceptor:
    """Listen on [node] address and port.

    Raises:
        Misconfigured: the port is taken, or the address is not this machine's.
    """
    # Its own handlers describe every PDU, with values, for a log that we do not keep.
    pynetdicom._config.LOG_HANDLER_LEVEL = "none"
    # UIDs are judged by ourselves, so that a wrong one gets a status instead of an abort, or a warning at each step.
    pynetdicom._config.VALIDATORS["UI"] = lambda _uid: (True, "")
    pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
    entity = ApplicationEntity(settings.node.ae_title)
    entity.implementation_class_uid = IMPLEMENTATION_CLASS_UID
    entity.implementation_version_name = IMPLEMENTATION_VERSION_NAME
    entity.maximum_pdu_size = settings.receive.maximum_pdu_bytes
    entity.maximum_associations = 1 << 30  # the lobby counts
    entity.acse_timeout = settings.receive.artim_s
    entity.network_timeout = settings.receive.idle_s
    entity.dimse_timeout = settings.receive.idle_s
    lobby = Lobby(settings.receive)
    door = Door(settings, keeper.db, keeper.spool, keeper.clock, lobby)
    try:
        server = GuardedServer(
            entity,
            (settings.node.address, settings.node.port),
            SharedContexts(supported_contexts()),
            [(evt.EVT_REQUESTED, door.requested), (evt.EVT_C_STORE, door.store)],
            limits=settings.receive,
            lobby=lobby,
            is_listed=door.is_listed,
            ended=door.ended,
        )
    except OSError as error:
        where = f"{settings.node.address}:{settings.node.port}"
        remedy = "Name another port, end what listens there, or name an address of this machine"
        raise Misconfigured("config.toml", "node.port", f"cannot listen on {where}: {error}", remedy) from error
    return Acceptor(server, lobby, server.serve_in_background())
