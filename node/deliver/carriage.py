"""How results reach a destination: by C-STORE, by STOW-RS, or as files. One module a kind, one session at a time."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from node.config import DeliverSettings, Peer, Settings
from node.deliver.statuses import Answer
from node.deliver.stored import StoredHeader
from node.errors import Transient
from node.store.capabilities import Capability

#: The slowest line on which an answer is still waited for.
_SLOWEST_BYTES_PER_S = 100_000


class Unreachable(Transient):
    """The destination cannot be sent anything; `by_configuration` says that a person has to mend something first."""

    def __init__(self, reason: str, *, by_configuration: bool = False) -> None:
        self.by_configuration = by_configuration
        super().__init__(reason)


class Lost(Transient):
    """The connection broke, or went silent, while an object was on its way: it may or may not be there."""


class Session(Protocol):
    """A destination that is ready to be sent objects."""

    @property
    def learnt(self) -> Sequence[Capability]:
        """What opening the session has shown of what the destination takes."""
        ...

    def refusal(self, stored: StoredHeader) -> str:
        """Why this object cannot be sent over this session, with the remedy; empty if it can."""
        ...

    def send(self, stored: StoredHeader, content: bytes, *, plainly: bool, limit_s: float) -> Answer:
        """Send one object, whose whole file is `content`, and wait for its answer.

        `plainly`: as it is stored if that is possible, after an answer that may be owed to another encoding.

        Raises:
            Lost: no answer came, or one that is not for this object; the session is over.
            Unreachable: the destination lets nobody in as things are set up.
            Failed: the object cannot be encoded as the destination wants it.
        """
        ...


def opened(peer: Peer, settings: Settings, stored: Sequence[StoredHeader]) -> AbstractContextManager[Session]:
    """Hold a session with a destination for these objects, by whatever the peer is sent by.

    Raises (on entering):
        Unreachable: nobody answers, or nobody lets us in.
    """
    if peer.send_by == "stow":
        from node.deliver import stow

        return stow.opened(peer, settings, stored)
    if peer.send_by == "folder":
        from node.deliver import folder

        return folder.opened(peer, settings, stored)
    from node.deliver import cstore

    return cstore.opened(peer, settings, stored)


def answer_limit_s(settings: DeliverSettings, size_bytes: int) -> float:
    """How long sending an object of this size and waiting for its answer may take, seconds."""
    return settings.dimse_s + size_bytes / _SLOWEST_BYTES_PER_S


def opening_limit_s(settings: DeliverSettings) -> float:
    """How long opening or closing a session may take, seconds."""
    return settings.connect_s + settings.dimse_s
