"""A short walk over an encoded data set: what the index needs, and whether every element ends where it says.

No value is parsed but a handful of UIDs, nothing is copied; time, depth and memory are bounded. Truncated objects,
elements that claim more than there is, and sequences without an end are found here, before the answer.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache

from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

from node.domain.uid import is_usable_uid, is_valid_uid
from node.errors import Refused
from node.receive.elements import (
    Content,
    Element,
    Encoding,
    Source,
    Tag,
    broken,
    element_at,
    encoding_of,
    text_of,
    wanted,
)
from node.receive.layouts import Layouts
from node.receive.scan import scan
from node.receive.status import CANNOT_UNDERSTAND, INVALID_OBJECT_INSTANCE
from node.receive.windows import Inflated, Whole, Windows

__all__ = ["Content", "Element", "Encoding", "Header", "element_at", "encoding_of", "text_of", "walk", "walk_file"]

_SOP_CLASS, _SOP_INSTANCE = (0x0008, 0x0016), (0x0008, 0x0018)
_STUDY, _SERIES = (0x0020, 0x000D), (0x0020, 0x000E)
_LOSSY = (0x0028, 0x2110)
_NAMES = {
    _SOP_CLASS: "SOP Class UID",
    _SOP_INSTANCE: "SOP Instance UID",
    _STUDY: "Study Instance UID",
    _SERIES: "Series Instance UID",
}
#: What is read, and what says whose it is: where that stands twice, one reader sees one patient and another the other.
_ONCE = _NAMES | {
    _LOSSY: "Lossy Image Compression",
    (0x0010, 0x0010): "Patient's Name",
    (0x0010, 0x0020): "Patient ID",
    (0x0010, 0x0021): "Issuer of Patient ID",
    (0x0010, 0x0030): "Patient's Birth Date",
}
_NUMBERS = frozenset(number for _, number in _ONCE)
_IMPLICIT = str(ImplicitVRLittleEndian)
_DEFLATED = str(DeflatedExplicitVRLittleEndian)
_NOT_TO_SCAN = frozenset((str(ExplicitVRBigEndian), _DEFLATED))
#: More of a value is not read; a UID has 64 characters.
_LONGEST_VALUE = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What the index needs of one object; UIDs without padding, usable by `domain.uid`, the class valid."""

    sop_class_uid: str
    sop_instance_uid: str
    study_instance_uid: str
    series_instance_uid: str
    #: Lossy Image Compression (0028,2110) as the object has it: "00", "01" or empty.
    lossy_image_compression: str


def walk(
    content: Content,
    transfer_syntax_uid: str,
    *,
    inflated_maximum_bytes: int = 0,
    layouts: Layouts | None = None,
) -> Header:
    """Walk over the encoded data set from its first to its last byte.

    A deflated one is inflated up to `inflated_maximum_bytes` in small pieces, none of which is kept. `layouts`
    remembers from one object to the next.

    Raises:
        Refused: 0xC000 if an element does not end where it says, a UID is missing or no UID, an element that says what
            or whose this is occurs twice, or the data set holds elements that belong elsewhere or inflates to more;
            0x0117 if the SOP Instance UID is no UID.
    """
    if transfer_syntax_uid not in _NOT_TO_SCAN:
        explicit = transfer_syntax_uid != _IMPLICIT
        found = scan(content, _ONCE, _NUMBERS, _LONGEST_VALUE, explicit=explicit, layouts=layouts)
        if found is not None:
            return _header(found)
    return _by_the_book(Whole(content), transfer_syntax_uid, inflated_maximum_bytes)


def walk_file(
    descriptor: int,
    offset: int,
    transfer_syntax_uid: str,
    *,
    size: int | None = None,
    inflated_maximum_bytes: int = 0,
) -> Header:
    """Walk over the data set that lies in an open file from byte `offset` on, `size` bytes or to the file's end.

    The same as `walk`, for large objects: the file is read through windows of at most 64 KiB by `pread`, neither mapped
    nor moved in, so that memory stays flat and the descriptor may be in use elsewhere. Long values are skipped.

    Raises:
        Refused: as `walk` does.
        OSError: the file cannot be read.
    """
    if size is None:
        size = max(0, os.fstat(descriptor).st_size - offset)
    return _by_the_book(Windows(descriptor, offset, size), transfer_syntax_uid, inflated_maximum_bytes)


def _by_the_book(source: Source, transfer_syntax_uid: str, inflated_maximum_bytes: int) -> Header:
    if transfer_syntax_uid == _DEFLATED:
        if not inflated_maximum_bytes:
            raise broken("a deflated data set: send or save it inflated")
        source = Inflated(source, inflated_maximum_bytes)
    return _header(wanted(source, encoding_of(transfer_syntax_uid), _ONCE, _LONGEST_VALUE))


def _header(found: dict[Tag, tuple[int, bytes]]) -> Header:
    try:
        sop_class_uid, sop_instance_uid, study_instance_uid, series_instance_uid = [
            _uid(tag, *found[tag]) for tag in _NAMES
        ]
    except (KeyError, Refused):
        missing = [name for tag, name in _NAMES.items() if tag not in found or not _text(found[tag][1])]
        if missing:
            raise broken(f"missing or empty: {', '.join(missing)}") from None
        raise
    return Header(
        sop_class_uid=sop_class_uid,
        sop_instance_uid=sop_instance_uid,
        study_instance_uid=study_instance_uid,
        series_instance_uid=series_instance_uid,
        lossy_image_compression=_text(found[_LOSSY][1]).strip() if _LOSSY in found else "",
    )


@lru_cache(maxsize=1024)
def _uid(tag: Tag, length: int, value: bytes) -> str:
    """The UID that an element holds; remembered, since three of four are those of a whole series.

    Raises:
        Refused: it is none.
    """
    uid = _text(value)
    is_uid = is_valid_uid if tag == _SOP_CLASS else is_usable_uid
    if not is_uid(uid) or length > _LONGEST_VALUE:
        status = INVALID_OBJECT_INSTANCE if tag == _SOP_INSTANCE else CANNOT_UNDERSTAND
        raise Refused(status, f"the {_NAMES[tag]} is no UID")
    return uid


def _text(value: bytes) -> str:
    """The value without padding; bytes that are no ASCII become U+FFFD."""
    return str(value, "ascii", "replace").rstrip("\0 ")
