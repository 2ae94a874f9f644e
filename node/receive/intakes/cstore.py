"""The DICOM port: C-STORE and C-ECHO (PS3.4 Annexes A and B), and what other intakes answer on it."""

from __future__ import annotations

import pydicom.config
import pynetdicom._config

from node.config import Settings
from node.errors import Misconfigured
from node.receive import tls, user_identity
from node.receive.acceptor import Acceptor, Listener, listen
from node.receive.association import Door
from node.receive.keeper import Keeper
from node.receive.lobby import Lobby
from node.receive.session import offered

NAME = "cstore"


def start(settings: Settings, keeper: Keeper) -> Acceptor:
    """Listen on [node] port, on [node] tls_port where [receive.tls] names a certificate, or on both.

    Raises:
        Misconfigured: a port is taken, the address is not this machine's, or a certificate or passcode is unsound.
    """
    # Its own handlers describe every PDU, with values, for a log that we do not keep.
    pynetdicom._config.LOG_HANDLER_LEVEL = "none"
    # UIDs are judged by ourselves, so that a wrong one gets a status instead of an abort, or a warning at each step.
    pynetdicom._config.VALIDATORS["UI"] = lambda _uid: (True, "")
    pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
    user_identity.look_at_passcodes(settings)
    offer = offered(deflated=settings.receive.deflated_maximum_bytes > 0)
    return Acceptor(_listeners(settings), Door(settings, keeper, Lobby(settings.receive)), offer)


def _listeners(settings: Settings) -> list[Listener]:
    node, credentials = settings.node, tls.Credentials.read(settings)
    opened: list[Listener] = []
    try:
        if credentials is None or settings.receive.tls.plain:
            opened.append(listen(node.address, node.port, "node.port"))
        if credentials is not None:
            opened.append(listen(node.address, node.tls_port, "node.tls_port", credentials))
    except Misconfigured:
        for each in opened:
            each.socket.close()
        raise
    return opened
