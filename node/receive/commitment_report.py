"""What a report on storage commitment says, read from its encoded data set (PS3.4 Table J.3-4).

Only its UIDs and reasons are read; what they are worth is decided where it is known what was asked.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from node.domain.commitment import CommitmentReport
from node.domain.uid import is_valid_uid
from node.errors import Refused
from node.receive.header import Element, encoding_of, text_of
from node.receive.nested import Path, Tag, elements
from node.receive.status import INVALID_ATTRIBUTE_VALUE, MISSING_ATTRIBUTE, RESOURCE_LIMITATION

_TRANSACTION = (0x0008, 0x1195)
_REFERENCED, _FAILED = (0x0008, 0x1199), (0x0008, 0x1198)
_CLASS, _INSTANCE, _REASON = (0x0008, 0x1150), (0x0008, 0x1155), (0x0008, 0x1197)

#: Sequences around an element; the standard's own are one deep.
_DEEPEST = 8
#: Elements and items that are looked at.
_MOST_ELEMENTS = 100_000
#: Instances of one report; we ask about some hundreds at most.
_MOST_INSTANCES = 10_000
#: No text that is read is longer: a UID has 64 characters.
_LONGEST_VALUE = 64
#: Stands in for a Failure Reason that is missing or none: it is asked again.
_NO_REASON = 0


@dataclass(slots=True)
class _Notes:
    """What has been met so far: tag → value of each item, by its number."""

    transaction_uid: str = ""
    kept: dict[int, dict[Tag, str]] = field(default_factory=dict)
    failed: dict[int, dict[Tag, str]] = field(default_factory=dict)


def read(content: bytes, transfer_syntax_uid: str) -> CommitmentReport:
    """Read the data set of an N-EVENT-REPORT. What is no UID in its sequences is left out: it is none of ours.

    Raises:
        Refused: 0x0110, it cannot be read; 0x0120, 0x0106, it has no sound Transaction UID; 0x0213, more instances or
            elements than are taken.
    """
    notes = _Notes()
    encoding = encoding_of(transfer_syntax_uid)
    opened = frozenset({_REFERENCED, _FAILED})
    for path, element in elements(content, encoding, opened, deepest=_DEEPEST, most=_MOST_ELEMENTS):
        _note(notes, content, path, element, encoding.order)
    if not notes.transaction_uid:
        raise Refused(MISSING_ATTRIBUTE, "a report without a Transaction UID (0008,1195)")
    if not is_valid_uid(notes.transaction_uid):
        raise Refused(INVALID_ATTRIBUTE_VALUE, "the Transaction UID (0008,1195) is no UID")
    kept = (item for item in notes.kept.values() if is_valid_uid(item.get(_INSTANCE, "")))
    failed = (item for item in notes.failed.values() if is_valid_uid(item.get(_INSTANCE, "")))
    return CommitmentReport(
        transaction_uid=notes.transaction_uid,
        committed={item[_INSTANCE]: item.get(_CLASS, "") for item in kept},
        failed={item[_INSTANCE]: int(item.get(_REASON, _NO_REASON)) for item in failed},
    )


def _note(notes: _Notes, content: bytes, path: Path, element: Element, order: str) -> None:
    around = tuple(sequence for sequence, _ in path)
    if around == () and element.tag == _TRANSACTION:
        notes.transaction_uid = _value(content, element)
    elif around in ((_REFERENCED,), (_FAILED,)) and element.tag in (_CLASS, _INSTANCE, _REASON):
        items = notes.kept if around == (_REFERENCED,) else notes.failed
        if len(notes.kept) + len(notes.failed) >= _MOST_INSTANCES and path[0][1] not in items:
            raise Refused(RESOURCE_LIMITATION, f"more than {_MOST_INSTANCES} instances in one report")
        item = items.setdefault(path[0][1], {})
        if element.tag == _REASON:
            raw = content[element.start : element.start + 2] if element.length == 2 else b""
            item[_REASON] = str(int.from_bytes(raw, "big" if order == ">" else "little"))
        else:
            item[element.tag] = _value(content, element)


def _value(content: bytes, element: Element) -> str:
    # What is longer is no UID, and read as none.
    return text_of(content, element) if element.length <= _LONGEST_VALUE else ""
