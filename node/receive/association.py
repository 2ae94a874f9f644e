"""The door: who calls, from where, and what is accepted or refused, with the reason in the log and the events.

Here an exception becomes a status: whatever goes wrong with an object, its sender is told, and never told success.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from ipaddress import ip_address
from typing import cast

import structlog
from pydicom.dataset import Dataset
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.events import Event
from pynetdicom.pdu_primitives import A_ASSOCIATE

from node.config import Peer, Settings
from node.domain.time import Clock
from node.domain.uid import is_valid_uid
from node.errors import Refused, Transient
from node.loop import describe_error
from node.receive import status
from node.receive.arrival import Received, arrive, has_room
from node.receive.guard import GuardedAssociation
from node.receive.lobby import Lobby
from node.store import events
from node.store.database import Database
from node.store.spool import Spool

#: DICOM Application Context Name (PS3.7 §A.2.1).
_APPLICATION_CONTEXT = "1.2.840.10008.3.1.1.1"
#: Error Comment (0000,0902), LO: 64 characters (PS3.7 §C).
_LONGEST_COMMENT = 64
#: An address that nobody has is told of once in so many seconds.
_AGAIN_S = 10.0
_MOST_STRANGERS = 1000

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """An association request."""

    calling_ae_title: str
    called_ae_title: str
    address: str
    application_context: str = _APPLICATION_CONTEXT


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """An A-ASSOCIATE-RJ: result, source and reason/diagnostic of PS3.8 Table 9-21, and why in words."""

    result: int
    source: int
    diagnostic: int
    reason: str

    def __str__(self) -> str:
        """The codes as they are usually told, and the reason."""
        return f"RJ {self.result}/{self.source}/{self.diagnostic}: {self.reason}"


def judge(settings: Settings, call: Call) -> Peer | Rejection:
    """Say which peer calls, or why nobody does: an AE title counts only from an address of its peer."""
    if call.application_context != _APPLICATION_CONTEXT:
        return Rejection(result=1, source=1, diagnostic=2, reason="not the DICOM application context")
    if call.called_ae_title != settings.node.ae_title:
        reason = f"it calls {_shown(call.called_ae_title)}, but this node is {settings.node.ae_title}"
        return Rejection(result=1, source=1, diagnostic=7, reason=reason)
    peer = settings.peer_titled(call.calling_ae_title)
    if peer is None:
        reason = f"no peer has the AE title {_shown(call.calling_ae_title)}; if it is one, add it to [[peers]]"
        return Rejection(result=1, source=1, diagnostic=3, reason=reason)
    if not _is_from(peer, call.address):
        reason = f"{peer.name} may not call from {call.address}; its addresses: {', '.join(peer.addresses) or 'none'}"
        return Rejection(result=1, source=1, diagnostic=3, reason=reason)
    return peer


class Door:
    """What the C-STORE SCP asks before it answers."""

    def __init__(self, settings: Settings, db: Database, spool: Spool, clock: Clock, lobby: Lobby) -> None:
        self._settings = settings
        self._db = db
        self._spool = spool
        self._clock = clock
        self._lobby = lobby
        self._strangers: dict[str, float] = {}

    def is_listed(self, address: str) -> bool:
        """Whether any peer may call from there. This machine always may: it is told why it is rejected."""
        known = any(_is_from(peer, address) for peer in self._settings.peers)
        if known or ip_address(address).is_loopback:
            return True
        now_s = time.monotonic()
        if now_s - self._strangers.get(address, -_AGAIN_S) >= _AGAIN_S:
            if len(self._strangers) >= _MOST_STRANGERS:
                self._strangers.clear()
            self._strangers[address] = now_s
            self._note(address, "closed", "no peer has this address; the connection was closed unread")
        return False

    def requested(self, event: Event) -> None:
        """Reject an association, or let it go on to the negotiation of its contexts (PS3.8 §7.1.1)."""
        association = cast("GuardedAssociation", event.assoc)
        request = cast("A_ASSOCIATE", association.requestor.primitive)
        call = Call(
            calling_ae_title=(request.calling_ae_title or "").strip(),
            called_ae_title=(request.called_ae_title or "").strip(),
            address=association.requestor.address or "",
            application_context=str(request.application_context_name or ""),
        )
        try:
            verdict = self._verdict(association, call)
        except Exception as error:
            log.exception("verdict_failed", reason=describe_error(error))
            verdict = Rejection(result=2, source=2, diagnostic=1, reason="an internal error")
        if isinstance(verdict, Peer):
            association.peer = verdict
            log.info("association_accepted", peer=verdict.name, address=call.address)
            return
        self._note(f"{_shown(call.calling_ae_title)} at {call.address}", "rejected", str(verdict))
        association.acse.send_reject(verdict.result, verdict.source, verdict.diagnostic)
        association.kill()

    def store(self, event: Event) -> int | Dataset:
        """Answer one C-STORE: 0x0000 only after the object is durable and indexed (PS3.4 §B.2.3)."""
        association = cast("GuardedAssociation", event.assoc)
        try:
            self._authorise(association.peer)
            outcome = "kept" if self._arrive(event, association) else "held"
        except Refused as error:
            return self._refuse(association, event, error.status, error.reason)
        except Transient as error:
            return self._refuse(association, event, status.OUT_OF_RESOURCES, str(error))
        except OSError as error:
            reason = f"the object could not be written: {error.strerror or error}"
            return self._refuse(association, event, status.OUT_OF_RESOURCES, reason)
        except Exception as error:
            log.exception("arrival_failed", reason=describe_error(error))
            return self._refuse(association, event, status.PROCESSING_FAILURE, "an internal error")
        association.objects[outcome] += 1
        return status.SUCCESS

    def ended(self, association: GuardedAssociation) -> None:
        """An association is over, or a connection that never became one."""
        self._lobby.leave(association.connection)
        if association.peer is not None:
            how = "released" if association.is_released else "aborted"
            log.info("association_ended", peer=association.peer.name, how=how, **association.objects)

    def _verdict(self, association: GuardedAssociation, call: Call) -> Peer | Rejection:
        verdict = judge(self._settings, call)
        if isinstance(verdict, Rejection):
            return verdict
        reserve = self._settings.data.minimum_free_percent
        if not has_room(self._settings.data.folder, reserve):
            reason = f"less than {reserve:g} % of the disk is free; nothing is taken until there is room"
            return Rejection(result=2, source=3, diagnostic=1, reason=reason)
        limit = self._lobby.admit(association.connection, verdict.name)
        if limit:
            return Rejection(result=2, source=3, diagnostic=2, reason=f"more than {limit}")
        return verdict

    def _authorise(self, peer: Peer | None) -> None:
        if peer is None or "source" not in peer.roles:
            name = peer.name if peer else "nobody"
            raise Refused(status.NOT_AUTHORISED, f"{name} may not store here: it has not the role source")

    def _arrive(self, event: Event, association: GuardedAssociation) -> bool:
        request = cast("C_STORE", event.request)
        sop_class_uid = str(request.AffectedSOPClassUID or "")
        sop_instance_uid = str(request.AffectedSOPInstanceUID or "")
        if sop_class_uid != event.context.abstract_syntax:
            raise Refused(status.SOP_CLASS_NOT_SUPPORTED, "not the SOP Class of the presentation context")
        if not is_valid_uid(sop_instance_uid):
            raise Refused(status.INVALID_OBJECT_INSTANCE, "the command's SOP Instance UID is no UID")
        assert association.peer is not None
        assert request.DataSet is not None
        with request.DataSet.getbuffer() as content:
            received = Received(
                content=content,
                transfer_syntax_uid=str(event.context.transfer_syntax),
                source=association.peer.name,
                sending_ae_title=association.peer.ae_title,
                receiving_ae_title=self._settings.node.ae_title,
                sop_class_uid=sop_class_uid,
                sop_instance_uid=sop_instance_uid,
            )
            return arrive(self._db, self._spool, self._clock, received)

    def _refuse(self, association: GuardedAssociation, event: Event, code: int, reason: str) -> Dataset:
        association.objects["refused"] += 1
        uid = str(cast("C_STORE", event.request).AffectedSOPInstanceUID or "")
        uid = uid if is_valid_uid(uid) else ""
        peer = association.peer.name if association.peer else ""
        told = f"0x{code:04X}: {reason}"
        log.warning("object_refused", peer=peer, sop_instance_uid=uid, reason=told)
        self._record("instance", uid, "refused", f"{told} (from {peer})")
        answer = Dataset()
        answer.Status = code
        answer.ErrorComment = reason.encode("ascii", "replace").decode()[:_LONGEST_COMMENT]
        return answer

    def _note(self, who: str, after: str, reason: str) -> None:
        log.warning("association_refused", who=who, reason=reason)
        self._record("association", who, after, reason)

    def _record(self, about: str, subject: str, after: str, reason: str) -> None:
        """A refusal stands whether or not it can be written down."""
        try:
            with self._db.transaction():
                events.record(self._db, self._clock.now(), about, subject, after=after, reason=reason)
        except Exception as error:
            log.warning("refusal_not_recorded", reason=describe_error(error))


def _is_from(peer: Peer, address: str) -> bool:
    found = ip_address(address)
    mapped = getattr(found, "ipv4_mapped", None)
    return any((mapped or found) in network for network in peer.networks)


def _shown(ae_title: str) -> str:
    """An AE title as a stranger sent it, without anything that could forge a line."""
    return re.sub(r"[^\x21-\x7e ]", "?", ae_title)[:16] or "(empty)"
