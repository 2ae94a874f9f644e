"""STOW-RS: objects over HTTP, on a port of its own. Off by default; its libraries are loaded only when it is on."""

from __future__ import annotations

import structlog

from node.config import Settings
from node.receive.acceptor import listen
from node.receive.association import Door
from node.receive.intakes import Running
from node.receive.keeper import Keeper
from node.receive.lobby import Lobby
from node.receive.tls import Credentials

NAME = "stow"

log = structlog.get_logger()


def start(settings: Settings, keeper: Keeper) -> Running | None:
    """Listen on [node] address and [receive.stow] port; `None` while it is not enabled.

    Raises:
        Misconfigured: the port is taken, nobody may call, or a token or certificate cannot be used.
    """
    if not settings.receive.stow.enabled:
        return None
    from node.receive.stow.caller import Callers, is_local
    from node.receive.stow.server import HttpPort

    callers, credentials = Callers(settings), Credentials.read(settings)
    address, stow = settings.node.address, settings.receive.stow
    listener = listen(address, stow.port, "receive.stow.port", credentials)
    if credentials is None and not is_local(address):
        log.warning("stow_in_the_clear", address=address, remedy="name a certificate in [receive.tls]")
    most = {"maximum_associations": stow.maximum_requests, "maximum_associations_per_peer": stow.maximum_requests}
    door = Door(settings, keeper, Lobby(settings.receive.model_copy(update=most)))
    return HttpPort(listener, door, callers)
