"""The MLLP port at work: its connections, and what acts upon their messages."""

from __future__ import annotations

from node.receive.acceptor import Listener
from node.receive.association import Door
from node.receive.hl7.applying import Applier
from node.receive.hl7.senders import is_listed
from node.receive.hl7.visit import Hl7Visit
from node.receive.port import Port


class Hl7Port:
    """Receives messages, and acts upon them."""

    def __init__(self, listener: Listener, door: Door) -> None:
        settings, keeper = door.settings, door.keeper
        self._applier = Applier(settings, keeper.db.room, keeper.clock)
        host = settings.node.address
        scheme = "mllps" if listener.credentials else "mllp"
        self._port = Port(
            listener,
            door,
            protocol="hl7",
            where=f"{scheme}://{f'[{host}]' if ':' in host else host}:{listener.port}",
            is_listed=lambda address: is_listed(settings, address),
            stranger="no sender of HL7 has this address; the connection was closed unread",
            visit=lambda connection, address: Hl7Visit(connection, address, door, listener.credentials, self._applier),
        )
        self.where, self.port = self._port.where, self._port.port

    def is_alive(self) -> bool:
        """Whether it still accepts, and acts."""
        return self._port.is_alive() and self._applier.is_alive()

    def stop(self, drain_s: float) -> None:
        """Accept nobody new, and close all connections: they are open for days, and what has no answer comes again."""
        del drain_s
        self._port.stop(0.0)
        self._applier.stop()
