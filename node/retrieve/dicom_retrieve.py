"""Has an archive send a study: by C-MOVE to our own AE title, or by C-GET (PS3.4 §C.4.2, §C.4.3).

What C-MOVE brings comes in through our own door, like everything else. C-GET is the last resort: what it brings is
handed to the listener as files. Either runs in a process that can be killed, since either can hang.
"""

from __future__ import annotations

import tempfile
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from pydicom import Dataset
from pynetdicom import StoragePresentationContexts, _config, evt
from pynetdicom.dimse_primitives import C_GET, C_MOVE
from pynetdicom.presentation import PresentationContext, build_context
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StudyRootQueryRetrieveInformationModelGet,
    StudyRootQueryRetrieveInformationModelMove,
)

from node.errors import Failed, Transient
from node.retrieve.conversation import PENDING, Conversation, Response, conversation
from node.retrieve.hand_over import HandOver
from node.retrieve.question import NotOffered, Portion, Reply, Tally, Transfer, Way
from node.store.inbox import UNFINISHED, new_part

MOVE = str(StudyRootQueryRetrieveInformationModelMove)
GET = str(StudyRootQueryRetrieveInformationModelGet)

#: PS3.4 Table C.4-2 (C-MOVE) and Table C.4-3 (C-GET); 0x01nn: PS3.7 Annex C.
_SUCCESS = 0x0000
_SOME_FAILED = 0xB000
_CANCELLED = 0xFE00
_NO_RESOURCES = frozenset({0xA701, 0xA702})
_DESTINATION_UNKNOWN = 0xA801
_NEVER = {
    0x0122: "does not offer this retrieval",
    0x0124: "does not allow us to retrieve",
    0xA900: "cannot do anything with this request",
}
#: Transfer syntaxes that are taken over C-GET, best first: native, lossless, lossy (PS3.5 §10); deflated never.
_SYNTAXES = (
    *("1.2.840.10008.1.2.1", "1.2.840.10008.1.2"),
    *("1.2.840.10008.1.2.4.70", "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.5"),
    *("1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51", "1.2.840.10008.1.2.4.91", "1.2.840.10008.1.2.4.81"),
)
#: Presentation contexts of one association beside the retrieval's own (PS3.8 §9.3.2.2: 128 in all).
_MOST_STORED = 126
_STORED = 0x0000
_REFUSED = 0xA700  # PS3.4 §B.2.3

Tell = Callable[[Tally], None]


def retrieve(transfer: Transfer, stop: threading.Event, tell: Tell) -> Reply:
    """Have every portion sent, one after the other; `tell` hears how far it is.

    Raises:
        Failed: the archive will never send it as things are set up; the reason names the remedy.
        Transient: not now.
    """
    if transfer.way is Way.GET:
        return _get(transfer, stop, tell)
    with conversation(transfer, [MOVE], stop) as asked:
        return _portions(asked, transfer, tell, MOVE)


def _get(transfer: Transfer, stop: threading.Event, tell: Tell) -> Reply:
    given = HandOver(transfer, stop)
    # Objects go to disk as they come, and where they may be handed over by a rename.
    _config.STORE_RECV_CHUNKED_DATASET = True
    unfinished = Path(transfer.folder) / UNFINISHED
    unfinished.mkdir(mode=0o700, exist_ok=True)
    tempfile.tempdir = str(unfinished)
    problems: list[Transient] = []

    def store(event: evt.Event) -> int:
        part = new_part(given.folder)
        Path(event.dataset_path).rename(part)
        try:
            return _STORED if given.give(part) else _REFUSED
        except Transient as error:
            problems.append(error)
            part.unlink(missing_ok=True)
            return _REFUSED

    wanted = transfer.sop_class_uids or tuple(str(each.abstract_syntax) for each in StoragePresentationContexts)
    contexts: list[PresentationContext] = [build_context(uid, list(_SYNTAXES)) for uid in wanted[:_MOST_STORED]]
    try:
        with conversation(transfer, [GET], stop, stored=contexts, store=store) as asked:
            reply = _portions(asked, transfer, tell, GET)
    except Transient:
        if not given.refused:
            raise
        # The archive reports what we refused.
        reply = Reply(tally=Tally(completed=given.given, failed=given.refused.total()))
    if problems:
        raise problems[0]
    return reply.model_copy(update={"disbelieved": dict(given.refused)})


def _portions(asked: Conversation, transfer: Transfer, tell: Tell, sop_class_uid: str) -> Reply:
    if not asked.accepts(sop_class_uid):
        raise NotOffered(f"{transfer.peer} offers no {transfer.way.value.upper()} for studies")
    done: Counter[str] = Counter()
    reasons: list[str] = []
    for portion in transfer.portions:
        request = C_GET() if sop_class_uid == GET else C_MOVE()
        if isinstance(request, C_MOVE):
            request.MoveDestination = transfer.our_ae_title
        last: Response | None = None
        identifier = identifier_of(transfer.study_instance_uid, portion)
        for response in asked.ask(request, sop_class_uid, identifier, limit_s=transfer.longest_s):
            last = response
            tell(_tally(done, response))
        assert last is not None
        for name, number in _tally(Counter(), last).model_dump().items():
            done[name] += number
        reasons += [reason] if (reason := _reason(last, transfer)) else []
    return Reply(tally=Tally(**{**done, "remaining": 0}), reason="; ".join(dict.fromkeys(reasons)))


def identifier_of(study_instance_uid: str, portion: Portion) -> Dataset:
    """Return the identifier of a retrieval: unique keys alone, down to its level (PS3.4 §C.4.2.2.1)."""
    identifier = Dataset()
    identifier.StudyInstanceUID = study_instance_uid
    identifier.QueryRetrieveLevel = "STUDY"
    if portion.series_instance_uid:
        identifier.QueryRetrieveLevel = "SERIES"
        identifier.SeriesInstanceUID = portion.series_instance_uid
    if portion.sop_instance_uids:
        identifier.QueryRetrieveLevel = "IMAGE"
        identifier.SOPInstanceUID = list(portion.sop_instance_uids)
    return identifier


def _tally(before: Counter[str], response: Response) -> Tally:
    return Tally(
        remaining=response.number("NumberOfRemainingSuboperations"),
        completed=before["completed"] + response.number("NumberOfCompletedSuboperations"),
        failed=before["failed"] + response.number("NumberOfFailedSuboperations"),
        warning=before["warning"] + response.number("NumberOfWarningSuboperations"),
    )


def _reason(last: Response, transfer: Transfer) -> str:
    """What a final response says against the portion; empty for success.

    Raises:
        Failed, Transient: nothing of it will come, or not now.
    """
    status, peer = last.status, transfer.peer
    failed = last.number("NumberOfFailedSuboperations")
    if status == _SUCCESS and not failed:
        return ""
    if status in (_SUCCESS, _SOME_FAILED):
        return f"{peer} could not send {failed or 'some'} of the instances"
    if status == _DESTINATION_UNKNOWN:
        raise Failed(
            f"{peer} does not know our AE title {transfer.our_ae_title} (0xA801): enter it there,"
            f" with this machine's address and port {transfer.our_port}"
        )
    if status in _NEVER:
        raise Failed(f"{peer} {_NEVER[status]} (0x{status:04X})")
    if status in _NO_RESOURCES:
        raise Transient(f"{peer} is short of resources (0x{status:04X})")
    if status == _CANCELLED:
        raise Transient("the retrieval was cancelled")
    assert status not in PENDING
    # Orthanc says so, too, where it does not know the destination.
    hint = f"; does it know our AE title {transfer.our_ae_title} at this address?" if transfer.way is Way.MOVE else ""
    raise Transient(f"{peer} could not send the study (0x{status:04X}{hint})")
