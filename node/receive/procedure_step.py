"""What an MPPS request says, read from its encoded data set (PS3.4 Table F.7.2-1).

Only what speaks for a study's being complete is read: the status, the studies, the instances listed by series, and the
reason of a discontinuation as a code. Names, identities and free text are stepped over.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from node.domain.uid import is_usable_uid
from node.errors import Refused
from node.receive.header import Element, encoding_of, text_of
from node.receive.nested import Path, Tag, elements
from node.receive.status import INVALID_ATTRIBUTE_VALUE, MISSING_ATTRIBUTE, RESOURCE_LIMITATION

_STATUS = (0x0040, 0x0252)
_SCHEDULED_STEP = (0x0040, 0x0270)
_PERFORMED_SERIES = (0x0040, 0x0340)
_DISCONTINUATION_REASON = (0x0040, 0x0281)
_REFERENCED_IMAGES = (0x0008, 0x1140)
_REFERENCED_NON_IMAGES = (0x0040, 0x0220)
_STUDY, _SERIES = (0x0020, 0x000D), (0x0020, 0x000E)
_REFERENCED_INSTANCE = (0x0008, 0x1155)
_CODE_VALUE, _CODING_SCHEME = (0x0008, 0x0100), (0x0008, 0x0102)
_OPENED = frozenset(
    {_SCHEDULED_STEP, _PERFORMED_SERIES, _DISCONTINUATION_REASON, _REFERENCED_IMAGES, _REFERENCED_NON_IMAGES}
)
_REFERENCES = ((_PERFORMED_SERIES, _REFERENCED_IMAGES), (_PERFORMED_SERIES, _REFERENCED_NON_IMAGES))

#: Sequences around an element; the standard's own are three deep.
_DEEPEST = 16
#: Elements and items that are looked at: enough for as many instances as are taken.
_MOST_ELEMENTS = 200_000
#: Instances of one step; the largest studies have some thousands.
_MOST_INSTANCES = 50_000
#: No value that is read is longer: a UID has 64 characters.
_LONGEST_VALUE = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a request says; `None` where the attribute is not there."""

    #: Performed Procedure Step Status (0040,0252).
    status: str | None
    #: Study Instance UIDs, one an item of the Scheduled Step Attributes Sequence (0040,0270); empty where it has none.
    studies: tuple[str, ...] | None
    #: Series Instance UID → SOP Instance UIDs, of the Performed Series Sequence (0040,0340).
    listed: Mapping[str, tuple[str, ...]] | None
    #: Code Value and Coding Scheme Designator of the discontinuation; empty where there are none.
    reason: tuple[str, str]


@dataclass(slots=True)
class _Notes:
    """What has been met so far, the items of sequences by their number."""

    present: set[Tag] = field(default_factory=set)
    status: str | None = None
    studies: dict[int, str] = field(default_factory=dict)
    series: dict[int, str] = field(default_factory=dict)
    instances: dict[int, list[str]] = field(default_factory=dict)
    instance_count: int = 0
    reason: dict[Tag, str] = field(default_factory=dict)


def read(content: bytes, transfer_syntax_uid: str) -> Told:
    """Read the data set of an N-CREATE or N-SET request.

    Raises:
        Refused: 0x0110, it cannot be read; 0x0106, a value that it cannot have; 0x0120, a series without its UID;
            0x0213, more instances or elements than are taken.
    """
    notes = _Notes()
    encoding = encoding_of(transfer_syntax_uid)
    for path, element in elements(content, encoding, _OPENED, deepest=_DEEPEST, most=_MOST_ELEMENTS):
        _note(notes, content, path, element)
    return Told(
        status=notes.status,
        studies=tuple(notes.studies.values()) if _SCHEDULED_STEP in notes.present else None,
        listed=_by_series(notes) if _PERFORMED_SERIES in notes.present else None,
        reason=(notes.reason.get(_CODE_VALUE, ""), notes.reason.get(_CODING_SCHEME, "")),
    )


def _note(notes: _Notes, content: bytes, path: Path, element: Element) -> None:
    around = tuple(sequence for sequence, _ in path)
    tag = element.tag
    if around == ():
        notes.present.add(tag)
        if tag == _STATUS:
            notes.status = _value(content, element)
    elif around == (_SCHEDULED_STEP,):
        value = _value(content, element) if tag == _STUDY else ""
        notes.studies[path[0][1]] = value or notes.studies.get(path[0][1], "")
    elif around == (_PERFORMED_SERIES,):
        uid = _uid(content, element) if tag == _SERIES else ""
        notes.series[path[0][1]] = uid or notes.series.get(path[0][1], "")
    elif around in _REFERENCES and tag == _REFERENCED_INSTANCE:
        notes.instance_count += 1
        if notes.instance_count > _MOST_INSTANCES:
            raise Refused(RESOURCE_LIMITATION, f"more than {_MOST_INSTANCES} instances in one step")
        notes.instances.setdefault(path[0][1], []).append(_uid(content, element))
    elif around == (_DISCONTINUATION_REASON,) and tag in (_CODE_VALUE, _CODING_SCHEME):
        notes.reason.setdefault(tag, _value(content, element))


def _by_series(notes: _Notes) -> dict[str, tuple[str, ...]]:
    listed: dict[str, tuple[str, ...]] = {}
    for number, uid in notes.series.items():
        if not uid:
            raise Refused(MISSING_ATTRIBUTE, "a performed series without its Series Instance UID (0020,000E)")
        listed[uid] = (*listed.get(uid, ()), *notes.instances.get(number, ()))
    return listed


def _value(content: bytes, element: Element) -> str:
    if element.length > _LONGEST_VALUE:
        raise Refused(INVALID_ATTRIBUTE_VALUE, f"({element.tag[0]:04X},{element.tag[1]:04X}) is too long")
    return text_of(content, element)


def _uid(content: bytes, element: Element) -> str:
    uid = _value(content, element)
    if not is_usable_uid(uid):
        raise Refused(INVALID_ATTRIBUTE_VALUE, f"({element.tag[0]:04X},{element.tag[1]:04X}) is no UID")
    return uid
