"""Storage commitment asked of a destination (PS3.4 Annex J): N-ACTION, and the report if it comes at once."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pydicom import Dataset

from node.config import DeliverSettings, Peer
from node.deliver.dialogue import Hear, dialogue, text_of
from node.domain.commitment import (
    ALL_COMMITTED,
    PUSH_MODEL,
    PUSH_MODEL_INSTANCE,
    REQUEST,
    SOME_FAILED,
    CommitmentReport,
)
from node.domain.uid import is_valid_uid
from node.store.outbox import OutboxRow

#: For a report on the association of the request; later ones come to our own door.
LINGER_S = 5.0
#: PS3.7 Annex C: no such SOP Instance; no such event type; invalid argument value.
NO_SUCH_SOP_INSTANCE, NO_SUCH_EVENT_TYPE, INVALID_ARGUMENT = 0x0112, 0x0113, 0x0115


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a destination is asked to keep."""

    transaction_uid: str
    rows: Sequence[OutboxRow]


def new_transaction_uid() -> str:
    """A Transaction UID that was never used (PS3.5 §B.2)."""
    return f"2.25.{uuid.uuid4().int}"


def ask(
    peer: Peer,
    our_ae_title: str,
    settings: DeliverSettings,
    request: Request,
    *,
    report: Callable[[CommitmentReport], int],
    is_over: Callable[[], bool],
) -> int:
    """Ask, and return the status of the answer; where it is success, keep the association open for `LINGER_S`.

    report: takes in what is reported meanwhile, in another thread, and returns the status of the answer. is_over: there
    is no need to wait any longer.

    Raises:
        NotOffered: the destination accepts no presentation context for it.
        Unreachable: nobody answers, or the association is rejected.
        Lost: no answer came, or none to this; it may have been asked.
    """
    with dialogue(peer, our_ae_title, settings, [PUSH_MODEL], _hearing(report)) as asked:
        content = _content(request)
        status = asked.act(PUSH_MODEL, PUSH_MODEL_INSTANCE, REQUEST, content, limit_s=settings.dimse_s)
        if not status:
            asked.linger(is_over, LINGER_S)
    return status


def _content(request: Request) -> Dataset:
    """The Action Information (PS3.4 Table J.3-1)."""
    content = Dataset()
    content.TransactionUID = request.transaction_uid
    content.ReferencedSOPSequence = []
    for row in request.rows:
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = row.sop_class_uid, row.sop_instance_uid
        content.ReferencedSOPSequence.append(item)
    return content


def _hearing(report: Callable[[CommitmentReport], int]) -> Hear:
    def hear(event_type: int, sop_instance_uid: str, content: Dataset) -> int:
        if sop_instance_uid != PUSH_MODEL_INSTANCE:
            return NO_SUCH_SOP_INSTANCE
        if event_type not in (ALL_COMMITTED, SOME_FAILED):
            return NO_SUCH_EVENT_TYPE
        transaction_uid = text_of(content, "TransactionUID")
        if not is_valid_uid(transaction_uid):
            return INVALID_ARGUMENT
        return report(
            CommitmentReport(
                transaction_uid=transaction_uid,
                committed={uid: text_of(item, "ReferencedSOPClassUID") for uid, item in _items(content, "Referenced")},
                failed={uid: _number(item) for uid, item in _items(content, "Failed")},
            )
        )

    return hear


def _items(content: Dataset, which: str) -> list[tuple[str, Dataset]]:
    found = content.get(f"{which}SOPSequence") or []
    items = [(text_of(item, "ReferencedSOPInstanceUID"), item) for item in found if isinstance(item, Dataset)]
    return [(uid, item) for uid, item in items if is_valid_uid(uid)]


def _number(item: Dataset) -> int:
    text = text_of(item, "FailureReason")
    return int(text) if text.isdecimal() else 0
