"""What we ask of a manager of Unified Procedure Steps as who wants work done, and what its answers mean (PS3.4 §CC.2).

Every step is an instance of UPS Push; setting it is a service of UPS Pull (PS3.4 Tables CC.2-1, CC.2-3).
"""

from __future__ import annotations

import logging

from pydicom import Dataset
from pydicom.tag import Tag
from pydicom.uid import UID
from pynetdicom.dimse_primitives import N_ACTION, N_CREATE, N_GET, N_SET

from node.deliver.carriage import Lost, Unreachable
from node.deliver.dialogue import Dialogue, Response, text_of
from node.deliver.routes import Heard, Reply
from node.deliver.statuses import Verdict, meaning_of
from node.domain.dicom_json import Attributes, element
from node.domain.ups import PULL, PUSH, Action, UpsState, UpsStatus
from node.domain.ups_attributes import SPECIFIC_CHARACTER_SET

# They quote the values that they complain about: names and IDs among them.
for _quotes in ("pydicom", "pynetdicom"):
    logging.getLogger(_quotes).setLevel(logging.CRITICAL)
_STATE = Tag(0x00741000)
#: Said of the service, not of the step: nothing gets in before a person has mended something.
_LOCKED = frozenset({0x0118, 0x0122, 0x0124, 0x0211})
_WORDS = {
    UpsStatus.MAY_NO_LONGER_BE_UPDATED: "the step may no longer be updated",
    UpsStatus.WRONG_TRANSACTION_UID: "the step was claimed",
    UpsStatus.NO_SUCH_UPS: "it knows no such step",
    UpsStatus.NOT_CREATED_SCHEDULED: "a step has to be created SCHEDULED",
}


class Steps:
    """The steps of one manager, over an open association."""

    def __init__(self, dialogue: Dialogue, name: str, *, limit_s: float) -> None:
        self._dialogue = dialogue
        self._name = name
        self._limit_s = limit_s

    @property
    def can_be_set(self) -> bool:
        """Whether the manager offers to change a step that it has."""
        return self._dialogue.accepts(PULL)

    def create(self, uid: str, attributes: Attributes) -> int:
        """Ask for a step and return the status.

        Raises:
            NotOffered, Lost: as `Dialogue.ask`.
        """
        request = N_CREATE()
        request.AffectedSOPClassUID, request.AffectedSOPInstanceUID = UID(PUSH), UID(uid)
        return self._put(PUSH, request, attributes).status

    def set(self, uid: str, changes: Attributes) -> int:
        """Change a step that nobody has claimed, and return the status: no Transaction UID (PS3.4 §CC.2.6.2).

        Raises:
            NotOffered, Lost: as `Dialogue.ask`.
        """
        request = N_SET()
        request.RequestedSOPClassUID, request.RequestedSOPInstanceUID = UID(PUSH), UID(uid)
        return self._put(PULL, request, changes).status

    def state(self, uid: str) -> UpsState | None:
        """The state of a step; `None` where the manager knows none with this UID.

        Raises:
            NotOffered, Lost: as `Dialogue.ask`.
            Unreachable: it does not let us look.
        """
        request = N_GET()
        request.RequestedSOPClassUID, request.RequestedSOPInstanceUID = UID(PUSH), UID(uid)
        request.AttributeIdentifierList = [_STATE]
        answer = self._put(PUSH, request, None)
        if answer.status == UpsStatus.NO_SUCH_UPS:
            return None
        if (reply := self.reply(answer.status)).heard is not Heard.ACKNOWLEDGED or answer.identifier is None:
            raise Lost(reply.reason or f"{self._name} says nothing of a step")
        said = text_of(answer.identifier, "ProcedureStepState")
        if said not in list(UpsState):
            raise Lost(f"{self._name} names no state of a step that it has")
        return UpsState(said)

    def request_cancel(self, uid: str, content: Attributes) -> int:
        """Ask that a step be canceled, and return the status.

        Raises:
            NotOffered, Lost: as `Dialogue.ask`.
        """
        request = N_ACTION()
        request.RequestedSOPClassUID, request.RequestedSOPInstanceUID = UID(PUSH), UID(uid)
        request.ActionTypeID = int(Action.REQUEST_CANCEL)
        return self._put(PUSH, request, content).status

    def reply(self, status: int) -> Reply:
        """What a status means for what was told.

        Raises:
            Unreachable: nobody is let in as things are set up.
        """
        meaning = meaning_of(status)
        if meaning.verdict is Verdict.SENT:
            return Reply(Heard.ACKNOWLEDGED, f"0x{status:04X} {meaning.meaning}" if status else "")
        words = _WORDS[UpsStatus(status)] if status in _WORDS else meaning.meaning
        reason = f"{self._name} answers 0x{status:04X}: {words}"
        if status in _LOCKED:
            raise Unreachable(f"{reason}; allow our AE title there to ask for steps", by_configuration=True)
        return Reply(Heard.AGAIN if meaning.verdict is Verdict.AGAIN else Heard.REFUSED, reason)

    def _put(
        self, service: str, request: N_ACTION | N_CREATE | N_GET | N_SET, content: Attributes | None
    ) -> Response:  # fmt: skip
        said = None
        if content is not None:
            said = Dataset.from_json({**content, SPECIFIC_CHARACTER_SET: element("CS", "ISO_IR 192")})
        return self._dialogue.ask(service, request, said, limit_s=self._limit_s)
