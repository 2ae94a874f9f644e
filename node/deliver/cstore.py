"""C-STORE as SCU: one association for what one destination is to get, each object in the syntax that it accepts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO

from pydicom import Dataset
from pydicom.uid import UID
from pynetdicom.association import Association
from pynetdicom.dimse_primitives import C_STORE

from node.config import Peer, Settings
from node.deliver.association import Context, Inbox, associated
from node.deliver.carriage import Lost
from node.deliver.encoding import DEFLATED, IMPLICIT, encoded, other_syntaxes
from node.deliver.statuses import Answer, answer_of, context_reason
from node.deliver.stored import StoredHeader
from node.store.capabilities import Capability

#: Command Field of C-STORE-RSP (PS3.7 §E.1).
_C_STORE_RSP = 0x8001
#: Priority MEDIUM (PS3.7 §9.3.1.1).
_MEDIUM = 0
_HIGHEST_MESSAGE_ID = 65535


@contextmanager
def opened(peer: Peer, settings: Settings, stored: Sequence[StoredHeader]) -> Iterator[CStore]:
    """Hold an association for these objects; one that accepts none of their contexts refuses every object.

    Raises:
        Unreachable: nobody answers, or the association is rejected.
    """
    wanted = contexts_for(peer, stored)
    with associated(peer, settings.node.ae_title, settings.deliver, wanted) as (association, inbox):
        yield CStore(association, wanted, peer, inbox)


def contexts_for(peer: Peer, stored: Sequence[StoredHeader]) -> list[Context]:
    """What is proposed: each object's class in each syntax in which it can be sent, one syntax a context."""
    return sorted({(each.sop_class_uid, syntax) for each in stored for syntax in _syntaxes(peer, each)})


def _syntaxes(peer: Peer, stored: StoredHeader) -> list[str]:
    """In which it may go, the best first."""
    others = other_syntaxes(stored, compress=peer.compress)
    return [*filter(DEFLATED.__eq__, others), stored.transfer_syntax_uid, *filter(IMPLICIT.__eq__, others)]


class CStore:
    """One association, accepted by the peer."""

    def __init__(self, association: Association, wanted: Sequence[Context], peer: Peer, inbox: Inbox) -> None:
        self._association = association
        self._peer = peer
        self._inbox = inbox
        self._message_id = 0
        accepted = {context.context_id: context for context in association.accepted_contexts}
        results = {context.context_id: context.result for context in association.rejected_contexts}
        self._ids: dict[Context, int] = {}
        self._refused: dict[Context, int | None] = {}
        for number, (sop_class_uid, transfer_syntax_uid) in enumerate(wanted):
            # PS3.8 §9.3.2.2: odd numbers, in the order requested.
            context_id = 2 * number + 1
            taken = accepted.get(context_id)
            if taken is not None and [str(uid) for uid in taken.transfer_syntax] == [transfer_syntax_uid]:
                self._ids[sop_class_uid, transfer_syntax_uid] = context_id
            else:
                self._refused[sop_class_uid, transfer_syntax_uid] = results.get(context_id)

    @property
    def learnt(self) -> list[Capability]:
        """Each context that was proposed, and what came of it."""
        taken = [Capability(sop_class_uid=key[0], transfer_syntax_uid=key[1], accepted=True) for key in self._ids]
        refused = [
            Capability(sop_class_uid=key[0], transfer_syntax_uid=key[1], accepted=False, reason=self._reason(key))
            for key in self._refused
        ]
        return taken + refused

    def refusal(self, stored: StoredHeader) -> str:
        """Why the peer cannot be sent this object over this association; empty if it can."""
        if self._syntax(stored, plainly=True):
            return ""
        return self._reason((stored.sop_class_uid, stored.transfer_syntax_uid))

    def send(self, stored: StoredHeader, content: bytes, *, plainly: bool, limit_s: float) -> Answer:
        """Send one object and wait for its answer.

        Raises:
            Lost: no answer came, or one that is not for this object; the association is gone.
            Failed: it cannot be encoded anew.
        """
        syntax = self._syntax(stored, plainly=plainly)
        request = C_STORE()
        request.DataSet = BytesIO(encoded(stored, content, syntax))
        if not self._association.is_established:
            raise Lost(f"{self._peer.name} ended the association")
        self._message_id = self._message_id % _HIGHEST_MESSAGE_ID + 1
        request.MessageID = self._message_id
        request.Priority = _MEDIUM
        request.AffectedSOPClassUID = stored.sop_class_uid
        request.AffectedSOPInstanceUID = stored.sop_instance_uid
        self._association.dimse.send_msg(request, self._ids[stored.sop_class_uid, syntax])
        command = self._inbox.take(limit_s)
        if command is None:
            raise Lost(f"{self._peer.name} broke the association off instead of answering")
        if not _is_answer(command, request):
            raise Lost(f"{self._peer.name} answered something that was not asked; nothing of it is believed")
        return answer_of(int(command.Status), str(command.get("ErrorComment", "")))

    def _syntax(self, stored: StoredHeader, *, plainly: bool) -> str:
        """The accepted syntax in which an object goes; empty where there is none. `plainly`: not deflated."""
        accepted = (syntax for syntax in _syntaxes(self._peer, stored) if (stored.sop_class_uid, syntax) in self._ids)
        return next((syntax for syntax in accepted if not (plainly and syntax == DEFLATED)), "")

    def _reason(self, context: Context) -> str:
        return context_reason(self._refused.get(context), *(UID(uid).name for uid in context), name=self._peer.name)


def _is_answer(command: Dataset, request: C_STORE) -> bool:
    """Whether a message is the C-STORE-RSP to this request: optional fields count where they stand."""
    if command.get("CommandField") != _C_STORE_RSP or command.get("Status") is None:
        return False
    if command.get("MessageIDBeingRespondedTo") != request.MessageID:
        return False
    uids = ("AffectedSOPClassUID", "AffectedSOPInstanceUID")
    return all(not command.get(each) or command.get(each) == getattr(request, each) for each in uids)
