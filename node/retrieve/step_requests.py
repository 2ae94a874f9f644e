"""Unified Procedure Steps of a peer, as their performer: C-FIND, N-GET, N-SET, N-ACTION (PS3.4 §CC.2)."""

from __future__ import annotations

import threading

from pydicom import Dataset
from pydicom.tag import Tag
from pydicom.uid import UID
from pynetdicom.dimse_primitives import C_FIND, N_ACTION, N_GET, N_SET

from node.domain.dicom_json import Attributes, element
from node.domain.ups import PULL, PUSH, WATCH, Action
from node.domain.ups_attributes import SPECIFIC_CHARACTER_SET
from node.errors import Transient
from node.retrieve.conversation import PENDING, Conversation, Request, conversation
from node.retrieve.found import MALFORMED
from node.retrieve.question import Reply, StepAnswer, StepRequest, StepsErrand

#: Steps that one look takes notice of.
_MOST = 1000


def put(errand: StepsErrand, stop: threading.Event) -> Reply:
    """Put the requests one after the other; the first that fails is the last.

    Raises:
        Failed: the peer will never take us as it is set up, or does not offer the service.
        Transient: no answer now; the last request was done or not.
    """
    services = [WATCH if each.service == "watch" else PULL for each in errand.requests]
    answers: list[StepAnswer] = []
    with conversation(errand, sorted(set(services)), stop) as held:
        for service, each in zip(services, errand.requests, strict=True):
            answers.append(_asked(held, service, each, errand.answer_s))
    return Reply(steps=tuple(answers))


def _asked(held: Conversation, service: str, wanted: StepRequest, limit_s: float) -> StepAnswer:
    request, content = _request(wanted)
    found: list[Attributes] = []
    status = 0
    for response in held.ask(request, service, content, limit_s=limit_s):
        status = response.status
        if response.identifier is not None and (status in PENDING or wanted.service == "get"):
            found += _read(response.identifier)
        if len(found) > _MOST:
            raise Transient(f"more than {_MOST} steps are offered")
    return StepAnswer(status=status, found=tuple(found))


def _request(wanted: StepRequest) -> tuple[Request, Dataset | None]:
    content = {**wanted.content, SPECIFIC_CHARACTER_SET: element("CS", "ISO_IR 192")}
    if wanted.service == "find":
        return C_FIND(), Dataset.from_json(content)
    request: N_GET | N_SET | N_ACTION
    if wanted.service == "get":
        request = N_GET()
        request.AttributeIdentifierList = [Tag(int(tag, 16)) for tag in wanted.tags]
    elif wanted.service == "set":
        request = N_SET()
    else:
        request = N_ACTION()
        request.ActionTypeID = int(Action.SUBSCRIBE if wanted.service == "watch" else Action.CHANGE_STATE)
        # A change of state has no text, and no other attribute (PS3.4 Table CC.2.1-1).
        content.pop(SPECIFIC_CHARACTER_SET)
    # Every step is an instance of UPS Push, whatever was negotiated (PS3.4 §CC.3.1).
    request.RequestedSOPClassUID, request.RequestedSOPInstanceUID = UID(PUSH), UID(wanted.uid)
    return request, None if wanted.service == "get" else Dataset.from_json(content)


def _read(found: Dataset) -> list[Attributes]:
    """One step in the DICOM JSON Model; what cannot be read is none."""
    try:
        return [found.to_json_dict()]
    except MALFORMED:
        return []
