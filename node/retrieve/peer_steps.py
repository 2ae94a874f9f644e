"""A peer as the manager of steps that we perform: each request is put by a process of its own that can be killed."""

from __future__ import annotations

from collections.abc import Callable

from node.config import Peer, Settings
from node.domain.dicom_json import Attributes, coded, element
from node.domain.ups import UpsState
from node.domain.ups_attributes import (
    BIRTH_DATE,
    DELETION_LOCK,
    INPUT,
    ISSUER_OF_PATIENT_ID,
    PATIENT_ID,
    PRIORITY,
    READINESS,
    RECEIVING_AE,
    SEX,
    SOP_INSTANCE_UID,
    START,
    STATE,
    STATION_NAMES,
    STUDY_INSTANCE_UID,
    TRANSACTION_UID,
    WORKITEM_CODE,
)
from node.errors import Transient
from node.retrieve import calls
from node.retrieve.question import Reply, StepRequest

#: What a look wants to know of each step beside its keys.
_TOLD = {
    SOP_INSTANCE_UID: "UI",
    STUDY_INSTANCE_UID: "UI",
    PATIENT_ID: "LO",
    ISSUER_OF_PATIENT_ID: "LO",
    BIRTH_DATE: "DA",
    SEX: "CS",
    PRIORITY: "CS",
    START: "DT",
    INPUT: "SQ",
    STATION_NAMES: "SQ",
    WORKITEM_CODE: "SQ",
}
_READ = (STATE, *_TOLD, "00404070")


class PeerList:
    """The list of one peer."""

    def __init__(self, settings: Settings, peer: Peer, ask: Callable[..., Reply]) -> None:
        self._settings = settings
        self._peer = peer
        self._ask = ask

    def offered(self) -> list[Attributes]:
        """Steps that are SCHEDULED and ready: for our station, and by each workitem code of ours."""
        keys = {tag: element(vr) for tag, vr in _TOLD.items()}
        keys |= {STATE: element("CS", UpsState.SCHEDULED), READINESS: element("CS", "READY")}
        perform = self._settings.perform
        looks = [{**keys, STATION_NAMES: element("SQ", _key(perform.station, ""))}] if perform.station else []
        for code in perform.models:
            scheme, value = code.split(":", 1)
            looks.append({**keys, WORKITEM_CODE: element("SQ", _key(value, scheme))})
        found: dict[str, Attributes] = {}
        for answer in self._put(*(StepRequest(service="find", content=look) for look in looks)) if looks else ():
            for each in answer[1]:
                uid = "".join(str(value) for value in each.get(SOP_INSTANCE_UID, {}).get("Value", ())[:1])
                found.setdefault(uid, each)
            if answer[0]:
                raise Transient(f"{self._peer.name} answered the look for work with 0x{answer[0]:04X}")
        return list(found.values())

    def read(self, uid: str) -> tuple[int, Attributes]:
        """One step, all that it says."""
        ((status, found),) = self._put(StepRequest(service="get", uid=uid, tags=_READ))
        return status, next(iter(found), {})

    def move(self, uid: str, state: UpsState, transaction_uid: str) -> int:
        """Claim a step, complete or cancel it."""
        content = {STATE: element("CS", state), TRANSACTION_UID: element("UI", transaction_uid)}
        return self._status(StepRequest(service="state", uid=uid, content=content))

    def tell(self, uid: str, said: Attributes) -> int:
        """Set attributes; the Transaction UID is among them."""
        return self._status(StepRequest(service="set", uid=uid, content=said))

    def watch(self, uid: str) -> int:
        """Have the peer report on a step to us."""
        ours = {RECEIVING_AE: element("AE", self._settings.node.ae_title), DELETION_LOCK: element("LO", "FALSE")}
        return self._status(StepRequest(service="watch", uid=uid, content=ours))

    def _status(self, request: StepRequest) -> int:
        ((status, _),) = self._put(request)
        return status

    def _put(self, *requests: StepRequest) -> list[tuple[int, tuple[Attributes, ...]]]:
        answers = self._ask(calls.steps_errand(self._settings, self._peer, requests)).steps
        if len(answers) != len(requests):
            raise Transient(f"{self._peer.name} was asked {len(requests)} things and answered {len(answers)}")
        return [(each.status, each.found) for each in answers]


def _key(value: str, scheme: str) -> Attributes:
    """A code as a key: what is empty matches anything."""
    return {**coded(value, "", ""), "00080102": element("SH", scheme)}
