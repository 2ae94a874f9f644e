"""What the answer of a STOW-RS service says of the one object that it was sent (PS3.18 §10.5.3)."""

from __future__ import annotations

import json
from typing import Any, cast

from pydicom import Dataset

from node.deliver.carriage import Lost
from node.deliver.statuses import Answer, Verdict, answer_of
from node.deliver.stored import StoredHeader

_ALL_STORED, _ACCEPTED, _CONFLICT = 200, 202, 409
#: Statuses whose body tells of each object.
ABOUT_OBJECTS = frozenset({_ALL_STORED, _ACCEPTED, _CONFLICT})
SEE_LOG = "See the destination's log, mend it there, then `matins retry`"
#: What reading JSON that means nothing can raise.
_MALFORMED = (ValueError, TypeError, AttributeError, KeyError, IndexError, RecursionError, NotImplementedError)


def about_object(status: int, body: bytes | None, stored: StoredHeader, name: str) -> Answer:
    """Find our object in the answer (PS3.18 §10.5.3.2): stored, stored with a warning, or failed with a reason.

    Raises:
        Lost: the answer is about other objects.
    """
    http = f"HTTP {status}"
    told = _told(body)
    if told is None:
        if status == _ALL_STORED:
            return Answer(verdict=Verdict.SENT, reason=f"{http} without a list of what is stored", logged=http)
        reason = f"{http} without a list of what failed. {SEE_LOG}"
        return Answer(verdict=Verdict.SLOWLY, reason=reason, logged=http)
    failed = _item(told, "FailedSOPSequence", stored)
    if failed is not None:
        return answer_of(_code(failed, "FailureReason") or 0x0110)
    listed = _item(told, "ReferencedSOPSequence", stored)
    if listed is None or status == _CONFLICT:
        raise Lost(f"{name} answered of other objects than it was sent ({http}); nothing of it is believed")
    warning = _code(listed, "WarningReason")
    if not warning:
        return Answer(verdict=Verdict.SENT, logged=http)
    told_of_it = answer_of(warning)
    # It is in the list of what is stored, whatever number the warning has.
    return Answer(verdict=Verdict.SENT, reason=told_of_it.reason, logged=told_of_it.logged)


def _told(body: bytes | None) -> Dataset | None:
    """The data set of an answer; `None` where there is none that can be read."""
    try:
        said = json.loads(body or b"")
        first = said[0] if isinstance(said, list) else said
        return Dataset.from_json(cast("dict[str, Any]", first)) if isinstance(first, dict) else None
    except _MALFORMED:
        return None


def _item(told: Dataset, sequence: str, stored: StoredHeader) -> Dataset | None:
    try:
        items = list(told.get(sequence) or ())
        return next(
            (
                item
                for item in items
                if str(item.get("ReferencedSOPInstanceUID", "")) == stored.sop_instance_uid
                and str(item.get("ReferencedSOPClassUID", stored.sop_class_uid)) == stored.sop_class_uid
            ),
            None,
        )
    except _MALFORMED:
        return None


def _code(item: Dataset, keyword: str) -> int:
    try:
        return int(item.get(keyword) or 0) & 0xFFFF
    except _MALFORMED:
        return 0
