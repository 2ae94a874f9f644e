"""HL7 v2 over MLLP: patients, orders and reports as hospital systems tell them. Off by default."""

from __future__ import annotations

import structlog

from node.config import Settings
from node.receive.acceptor import listen
from node.receive.association import Door
from node.receive.intakes import Running
from node.receive.keeper import Keeper
from node.receive.lobby import Lobby
from node.receive.tls import Credentials

NAME = "hl7"

log = structlog.get_logger()


def start(settings: Settings, keeper: Keeper) -> Running | None:
    """Listen on [node] address and [receive.hl7] port; `None` while it is not enabled.

    Raises:
        Misconfigured: the port is taken, or a certificate cannot be used.
    """
    limits = settings.receive.hl7
    if not limits.enabled:
        return None
    from node.receive.hl7.server import Hl7Port
    from node.receive.stow.caller import is_local

    credentials = Credentials.read(settings)
    listener = listen(settings.node.address, limits.port, "receive.hl7.port", credentials)
    if credentials is None and not is_local(settings.node.address):
        log.warning("hl7_in_the_clear", address=settings.node.address, remedy="name a certificate in [receive.tls]")
    most = {
        "maximum_associations": limits.maximum_connections,
        "maximum_associations_per_peer": limits.maximum_connections_per_sender,
    }
    door = Door(settings, keeper, Lobby(settings.receive.model_copy(update=most)))
    return Hl7Port(listener, door)
