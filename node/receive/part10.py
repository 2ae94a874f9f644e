"""The Part 10 wrapping of kept objects: preamble and file meta group (PS3.10 §7.1), written and read.

The file meta says who sent the object, so that the index can be rebuilt from the files alone.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import lru_cache

from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from node import IMPLEMENTATION_VERSION_NAME
from node.domain.uid import IMPLEMENTATION_CLASS_UID, is_usable_uid
from node.errors import Refused
from node.receive.header import Content, Encoding, element_at, text_of
from node.receive.status import CANNOT_UNDERSTAND

_PREAMBLE = 128
_MAGIC = b"DICM"
_OPENING = bytes(_PREAMBLE) + _MAGIC
_META = Encoding(explicit=True, order="<")
_CLASS, _INSTANCE, _SYNTAX = (0x0002, 0x0002), (0x0002, 0x0003), (0x0002, 0x0010)
_SENDING, _RECEIVING = (0x0002, 0x0017), (0x0002, 0x0018)
_CREATOR, _ORIGIN = (0x0002, 0x0100), (0x0002, 0x0102)
#: A file meta group is some hundred bytes.
_LONGEST_META = 1 << 16
#: More than preamble and file meta group ever take.
LONGEST_HEAD = _PREAMBLE + 4 + _LONGEST_META + (1 << 10)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileMeta:
    """What the file meta group says."""

    #: Empty where there is no file meta group.
    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    #: AE titles of who sent it over a network and who received it; empty where it came another way.
    sending_ae_title: str
    receiving_ae_title: str
    #: What we wrote down of where it came from; empty where the AE titles say all.
    origin: str
    #: Where the data set starts in the file.
    dataset_offset: int


def head(
    *,
    sop_class_uid: str,
    sop_instance_uid: str,
    transfer_syntax_uid: str,
    sending: str,
    receiving: str,
    origin: str = "",
    length: int = 0,
) -> bytes:
    """Return a zeroed preamble (CVE-2019-11687), "DICM" and the file meta group for one data set.

    `origin` is kept as Private Information (0002,0102), which also fills the head up to `length` bytes where one is
    given; both even, as every length in it (PS3.10 §7.1).
    """
    before, after = _around(sop_class_uid, transfer_syntax_uid, sending, receiving)
    group = before + _short(0x0003, b"UI", sop_instance_uid) + after
    if origin or length:
        told = origin.encode()
        group += _short(0x0100, b"UI", IMPLEMENTATION_CLASS_UID)
        fill = length - len(_OPENING) - 12 - len(group) - 12
        group += _long(0x0102, b"OB", told.ljust(max(fill, len(told) + len(told) % 2)))
    return _OPENING + struct.pack("<HH2sHI", 0x0002, 0x0000, b"UL", 4, len(group)) + group


@lru_cache(maxsize=1024)
def _around(sop_class_uid: str, transfer_syntax_uid: str, sending: str, receiving: str) -> tuple[bytes, bytes]:
    """The file meta elements before and behind the SOP Instance UID: the same for a whole series."""
    before = _long(0x0001, b"OB", b"\x00\x01") + _short(0x0002, b"UI", sop_class_uid)
    after = [
        _short(0x0010, b"UI", transfer_syntax_uid),
        _short(0x0012, b"UI", IMPLEMENTATION_CLASS_UID),
        _short(0x0013, b"SH", IMPLEMENTATION_VERSION_NAME),
    ]
    for number, ae_title in ((0x0016, sending), (0x0017, sending), (0x0018, receiving)):
        if ae_title:
            after.append(_short(number, b"AE", ae_title))
    return before, b"".join(after)


def read_meta(content: Content) -> FileMeta:
    """Read the head of a file; one without preamble, or without file meta as old equipment wrote it, is read too.

    Raises:
        Refused: it is no DICOM file, or does not say its transfer syntax.
    """
    offset = _PREAMBLE + len(_MAGIC)
    if bytes(content[_PREAMBLE:offset]) != _MAGIC:
        offset = 0
        if bytes(content[:2]) == b"\x08\x00":
            return _without_meta(content)
        if bytes(content[:2]) != b"\x02\x00":
            raise Refused(CANNOT_UNDERSTAND, "no DICOM file")
    found: dict[tuple[int, int], str] = {}
    limit = offset + _LONGEST_META
    try:
        while bytes(content[offset : offset + 2]) == b"\x02\x00":
            element = element_at(content, offset, _META)
            offset = element.start + element.length
            if offset > min(limit, len(content)):
                raise Refused(CANNOT_UNDERSTAND, "the file meta group does not end")
            if element.tag in (_CLASS, _INSTANCE, _SYNTAX, _SENDING, _RECEIVING, _CREATOR, _ORIGIN):
                found[element.tag] = text_of(content, element)
    except struct.error as error:
        raise Refused(CANNOT_UNDERSTAND, "the file ends inside its file meta group") from error
    if not found.get(_SYNTAX):
        raise Refused(CANNOT_UNDERSTAND, "the file does not say its transfer syntax")
    if not is_usable_uid(found[_SYNTAX]):
        raise Refused(CANNOT_UNDERSTAND, "the file's transfer syntax is no UID")
    return FileMeta(
        sop_class_uid=found.get(_CLASS, ""),
        sop_instance_uid=found.get(_INSTANCE, ""),
        transfer_syntax_uid=found[_SYNTAX],
        sending_ae_title=found.get(_SENDING, ""),
        receiving_ae_title=found.get(_RECEIVING, ""),
        origin=found.get(_ORIGIN, "") if found.get(_CREATOR) == IMPLEMENTATION_CLASS_UID else "",
        dataset_offset=offset,
    )


def is_dicom(beginning: bytes) -> bool:
    """Whether a file that begins like this, in 132 bytes, may be read by `read_meta`."""
    return beginning[_PREAMBLE : len(_OPENING)] == _MAGIC or beginning[:2] in (b"\x02\x00", b"\x08\x00")


def _without_meta(content: Content) -> FileMeta:
    """A bare data set: explicit if its first element has a VR, else implicit, the default (PS3.5 §10.1)."""
    explicit = bytes(content[4:6]).isalpha() and bytes(content[4:6]).isupper()
    syntax = ExplicitVRLittleEndian if explicit else ImplicitVRLittleEndian
    return FileMeta(
        sop_class_uid="",
        sop_instance_uid="",
        transfer_syntax_uid=str(syntax),
        sending_ae_title="",
        receiving_ae_title="",
        origin="",
        dataset_offset=0,
    )


def _short(number: int, vr: bytes, text: str) -> bytes:
    value = text.encode("ascii")
    if len(value) % 2:
        value += b"\0" if vr == b"UI" else b" "
    return struct.pack("<HH2sH", 0x0002, number, vr, len(value)) + value


def _long(number: int, vr: bytes, value: bytes) -> bytes:
    return struct.pack("<HH2s2xI", 0x0002, number, vr, len(value)) + value
