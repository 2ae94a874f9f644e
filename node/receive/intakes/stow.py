"""STOW-RS: objects over HTTP, on a port of its own. Off by default; its libraries are loaded only when it is on."""

from __future__ import annotations

import socket
from ipaddress import ip_address

import structlog

from node.config import Settings
from node.errors import Misconfigured
from node.receive.intakes import Running
from node.receive.keeper import Keeper

NAME = "stow"

_BACKLOG = 64

log = structlog.get_logger()


def start(settings: Settings, keeper: Keeper) -> Running | None:
    """Listen on [node] address and [receive.stow] port; `None` while it is not enabled.

    Raises:
        Misconfigured: the port is taken, nobody may call, or a token or certificate cannot be used.
    """
    if not settings.receive.stow.enabled:
        return None
    from node.receive.stow.caller import Callers
    from node.receive.stow.server import HttpPort
    from node.receive.tls import server_context

    callers, context = Callers(settings), server_context(settings)
    address, port = settings.node.address, settings.receive.stow.port
    try:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        listening = socket.create_server((address, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        problem = f"cannot listen on {address}:{port}: {error.strerror}"
        remedy = "Name another port, end what listens there, or name an address of this machine"
        raise Misconfigured("config.toml", "receive.stow.port", problem, remedy) from error
    if context is None and not _is_local(address):
        log.warning("stow_in_the_clear", address=address, remedy="name a certificate in [receive.tls]")
    return HttpPort(settings, keeper, callers, listening, context)


def _is_local(address: str) -> bool:
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"
