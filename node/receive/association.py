"""The door: who calls, from where, and what is accepted or refused, with the reason in the log and the events.

Here an exception becomes a status: whatever goes wrong with an object, its sender is told, and never told success.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from ipaddress import ip_address
from typing import Any, TypeVar, TypeVarTuple

import structlog

from node.config import Peer, Settings
from node.errors import Refused, Transient
from node.loop import describe_error
from node.receive import status
from node.receive.arrival import has_room
from node.receive.certificate import Certificate
from node.receive.crowd import Crowd
from node.receive.keeper import Keeper
from node.receive.lobby import Connection, Lobby
from node.receive.negotiation import APPLICATION_CONTEXT
from node.receive.refusals import Refusal, Refusals
from node.receive.tls import judge_certificate
from node.receive.user_identity import judge_user
from node.store import events

#: An address that nobody has, or that does not get through TLS, is told of once a reason in so many seconds.
_AGAIN_S = 10.0
_MOST_STRANGERS = 1000
#: The disk's reserve is looked at so often.
_RESERVE_S = 1.0

T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """An association request."""

    calling_ae_title: str
    called_ae_title: str
    address: str
    application_context: str = APPLICATION_CONTEXT
    #: DICOM UL protocol versions that the caller speaks, one a bit (PS3.8 §9.3.2).
    protocol_version: int = 1
    #: What the TLS handshake has proved; `None` on the plain port.
    certificate: Certificate | None = None
    #: User information of the request, as pynetdicom's primitives.
    user_information: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """An A-ASSOCIATE-RJ: result, source and reason/diagnostic of PS3.8 Table 9-21, and why in words."""

    result: int
    source: int
    diagnostic: int
    reason: str
    #: Somebody gives himself out for a peer that he has not shown to be.
    alert: bool = False

    def __str__(self) -> str:
        """The codes as they are usually told, and the reason."""
        return f"RJ {self.result}/{self.source}/{self.diagnostic}: {self.reason}"


def judge(settings: Settings, call: Call) -> Peer | Rejection:
    """Say which peer calls, or why nobody does: an AE title counts only from an address of its peer.

    Raises:
        Misconfigured: what the peer has to show cannot be compared; nobody may be let in.
    """
    if not call.protocol_version & 1:
        return Rejection(result=1, source=2, diagnostic=2, reason="it does not speak version 1 of the protocol")
    if call.application_context != APPLICATION_CONTEXT:
        return Rejection(result=1, source=1, diagnostic=2, reason="not the DICOM application context")
    if call.called_ae_title != settings.node.ae_title:
        reason = f"it calls {shown(call.called_ae_title)}, but this node is {settings.node.ae_title}"
        return Rejection(result=1, source=1, diagnostic=7, reason=reason)
    peer = settings.peer_titled(call.calling_ae_title)
    if peer is None:
        reason = f"no peer has the AE title {shown(call.calling_ae_title)}; if it is one, add it to [[peers]]"
        return Rejection(result=1, source=1, diagnostic=3, reason=reason)
    if not _is_from(peer, call.address):
        reason = f"{peer.name} may not call from {call.address}; its addresses: {', '.join(peer.addresses) or 'none'}"
        return Rejection(result=1, source=1, diagnostic=3, reason=reason, alert=True)
    if reason := judge_certificate(settings, peer, call.certificate):
        return Rejection(result=1, source=1, diagnostic=3, reason=reason, alert=True)
    if reason := judge_user(peer, call.user_information):
        return Rejection(result=1, source=1, diagnostic=1, reason=reason, alert=True)
    return peer


def tried(
    function: Callable[[*Arguments], T], *arguments: *Arguments, passing: int = status.OUT_OF_RESOURCES
) -> T | Refused:
    """Return what `function` returns; whatever goes wrong becomes the status and the reason that the peer is told.

    passing: status of a fault that passes, or of a disk.
    """
    try:
        return function(*arguments)
    except Refused as error:
        return error
    except Transient as error:
        return Refused(passing, str(error))
    except OSError as error:
        return Refused(passing, f"it could not be written: {error.strerror or error}")
    except Exception as error:
        log.exception("request_failed", reason=describe_error(error))
        return Refused(status.PROCESSING_FAILURE, "an internal error")


def outlived(run: Callable[[], None], address: str) -> None:
    """Serve one connection: no fault in it reaches beyond it."""
    try:
        run()
    except Exception as error:
        log.exception("connection_failed", address=address, reason=describe_error(error))


class Door:
    """What every connection asks before it answers; shared by their threads."""

    def __init__(self, settings: Settings, keeper: Keeper, lobby: Lobby) -> None:
        self.settings = settings
        self.keeper = keeper
        self.lobby = lobby
        self._refusals = Refusals(self._write, keeper.gathering.joined)
        #: Address and reason -> when it was last told of, monotonic seconds.
        self._strangers: dict[tuple[str, str], float] = {}
        self._crowd = Crowd()
        self._room_until_s = 0.0

    def is_listed(self, address: str) -> bool:
        """Whether any peer may call from there. This machine always may: it is told why it is rejected.

        For the accepting thread: it waits for nothing.
        """
        if any(_is_from(peer, address) for peer in self.settings.peers) or ip_address(address).is_loopback:
            return True
        self.closed(address, "no peer has this address; the connection was closed unread")
        return False

    def closed(self, address: str, reason: str, *, alert: bool = False) -> None:
        """Note a connection that was closed before anybody said who he is; `alert` where it concerns who it was."""
        now_s = time.monotonic()
        if now_s - self._strangers.get((address, reason), -_AGAIN_S) < _AGAIN_S:
            return
        if len(self._strangers) >= _MOST_STRANGERS:
            self._strangers.clear()
        self._strangers[address, reason] = now_s
        log.warning("association_refused", who=address, reason=reason, alert=alert)
        self._refusals.note(Refusal(about=_about(alert), subject=address, after="closed", reason=reason), 0.0)

    def verdict(self, connection: Connection, call: Call) -> Peer | Rejection:
        """Let a caller in, or say why not (PS3.8 §7.1.1); one who is let in holds a place in the lobby."""
        try:
            verdict = self._verdict(connection, call)
        except Exception as error:
            log.exception("verdict_failed", reason=describe_error(error))
            verdict = Rejection(result=2, source=2, diagnostic=1, reason="an internal error")
        if isinstance(verdict, Rejection) and (untold := self._crowd.untold(call.address)) is not None:
            who = f"{shown(call.calling_ae_title)} at {call.address}"
            log.warning("association_refused", who=who, reason=str(verdict), alert=verdict.alert)
            more = f"; {untold} more from there were not told" if untold else ""
            about, reason = _about(verdict.alert), f"{verdict}{more}"
            self._refusals.note(Refusal(about=about, subject=who, after="rejected", reason=reason))
        return verdict

    def refused_object(self, peer: Peer, sop_instance_uid: str, refused: Refused) -> None:
        """Note an object that was refused; `sop_instance_uid` is a UID, or empty."""
        log.warning("object_refused", peer=peer.name, sop_instance_uid=sop_instance_uid, reason=str(refused))
        reason = f"{refused} (from {peer.name})"
        self._refusals.note(Refusal(about="instance", subject=sop_instance_uid, after="refused", reason=reason))

    def refused_request(self, peer: Peer, operation: str, refused: Refused) -> None:
        """Note a request other than C-STORE that was refused."""
        log.warning("request_refused", peer=peer.name, operation=operation, reason=str(refused))
        reason = f"{operation}: {refused}"
        self._refusals.note(Refusal(about="association", subject=peer.name, after="refused", reason=reason))

    def has_room(self) -> bool:
        """Whether the disk has its reserve, as of a second ago."""
        now_s = time.monotonic()
        if now_s < self._room_until_s:
            return True
        found = has_room(self.settings.data.folder, self.settings.data.minimum_free_percent)
        self._room_until_s = now_s + _RESERVE_S if found else 0.0
        return found

    @cached_property
    def full(self) -> str:
        """What a peer is told when the reserve is gone."""
        return f"less than {self.settings.data.minimum_free_percent:g} % of the disk is free"

    def close(self) -> None:
        """Write down what waits to be; nobody is inside any more."""
        self._refusals.close()

    def _verdict(self, connection: Connection, call: Call) -> Peer | Rejection:
        verdict = judge(self.settings, call)
        if isinstance(verdict, Rejection):
            return verdict
        if not self.has_room():
            reason = f"{self.full}; nothing is taken until there is room"
            return Rejection(result=2, source=3, diagnostic=1, reason=reason)
        limit = self.lobby.admit(connection, verdict.name)
        if limit:
            return Rejection(result=2, source=3, diagnostic=2, reason=f"more than {limit}")
        return verdict

    def _write(self, refusal: Refusal) -> None:
        """A refusal stands whether or not it can be written down."""
        db, now = self.keeper.db, self.keeper.clock.now()
        try:
            with db.transaction():
                events.record(db, now, refusal.about, refusal.subject, after=refusal.after, reason=refusal.reason)
        except Exception as error:
            log.warning("refusal_not_recorded", reason=describe_error(error))


def shown(ae_title: str) -> str:
    """An AE title as a stranger sent it, without anything that could forge a line."""
    return re.sub(r"[^\x21-\x7e ]", "?", ae_title)[:16] or "(empty)"


def _about(alert: bool) -> str:
    """What the event is about: an alert is what a person in charge of security asks for."""
    return "security" if alert else "association"


def _is_from(peer: Peer, address: str) -> bool:
    found = ip_address(address)
    mapped = getattr(found, "ipv4_mapped", None)
    return any((mapped or found) in network for network in peer.networks)
