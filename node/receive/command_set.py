"""Command sets (PS3.7 §6.3, Annex E): the fields that a performer reads and writes, Implicit VR Little Endian."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache

from node.domain.uid import is_usable_uid, is_valid_uid
from node.errors import MatinsError

#: A command set is some hundred bytes.
LONGEST_COMMAND_SET = 64 << 10
#: Error Comment (0000,0902) is an LO: 64 characters (PS3.7 Annex C).
LONGEST_COMMENT = 64

#: Command Data Set Type (0000,0800) of a message without a data set.
_NO_DATA_SET = 0x0101
#: Set in the Command Field (0000,0100) of a response.
_RESPONSE = 0x8000

_AFFECTED_SOP_CLASS, _REQUESTED_SOP_CLASS = 0x0002, 0x0003
_COMMAND_FIELD, _MESSAGE_ID, _RESPONDED_TO = 0x0100, 0x0110, 0x0120
_DATA_SET_TYPE, _STATUS, _ERROR_COMMENT = 0x0800, 0x0900, 0x0902
_AFFECTED_SOP_INSTANCE, _REQUESTED_SOP_INSTANCE = 0x1000, 0x1001
_MOVE_ORIGINATOR, _MOVE_DESTINATION = 0x1030, 0x0600

_ELEMENT = struct.Struct("<HHI")
_UNSIGNED_SHORT = struct.Struct("<H")
#: The four elements of every response: field, message, data set, status.
_UNSIGNED_SHORT_ELEMENTS = struct.Struct("<HHIHHHIHHHIHHHIH")
_GROUP_LENGTH = struct.Struct("<HHII")
#: A C-STORE request as it usually is (PS3.7 Table 9.3-1): nobody asks for more, and the UIDs have no letters.
_USUAL_STORE = re.compile(
    rb"\0\0\0\0\x04\0\0\0.{4}"
    rb"\0\0\x02\0(..)\0\0([0-9.]{1,64}\0?)"
    rb"\0\0\0\x01\x02\0\0\0\x01\0"
    rb"\0\0\x10\x01\x02\0\0\0(..)"
    rb"(?:\0\0\0\x07\x02\0\0\0..)?"
    rb"\0\0\0\x08\x02\0\0\0(..)"
    rb"\0\0\0\x10(..)\0\0([0-9.]{1,64}\0?)",
    re.DOTALL,
).fullmatch


class Operation(IntEnum):
    """Command Field (0000,0100) of a request (PS3.7 Table E.1-1)."""

    C_STORE = 0x0001
    C_GET = 0x0010
    C_FIND = 0x0020
    C_MOVE = 0x0021
    C_ECHO = 0x0030
    N_EVENT_REPORT = 0x0100
    N_GET = 0x0110
    N_SET = 0x0120
    N_ACTION = 0x0130
    N_CREATE = 0x0140
    N_DELETE = 0x0150
    #: The one request without a response (PS3.7 §9.3.2.3).
    C_CANCEL = 0x0FFF

    @property
    def title(self) -> str:
        """As the standard writes it: "N-CREATE"."""
        return self.name.replace("_", "-")


class Malformed(MatinsError):
    """A command set that cannot be answered: its elements do not end where they say, or it is no request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A request's command set; UIDs as they came, without padding, empty where there is none."""

    operation: Operation
    #: 0 to 65535; of C-CANCEL, the Message ID Being Responded To (0000,0120).
    message_id: int
    has_data_set: bool
    #: Affected SOP Class UID (0000,0002), else Requested SOP Class UID (0000,0003).
    sop_class_uid: str
    #: Affected SOP Instance UID (0000,1000), else Requested SOP Instance UID (0000,1001).
    sop_instance_uid: str
    #: Move Originator Application Entity Title (0000,1030).
    move_originator: str
    #: Move Destination (0000,0600).
    move_destination: str = ""


def decode(encoded: bytes) -> Command:
    """Read a request; elements that nobody asks for are skipped.

    Raises:
        Malformed: see there.
    """
    return _usual_store(encoded) or _by_the_book(encoded)


def _usual_store(encoded: bytes) -> Command | None:
    """What `_by_the_book` would return for a C-STORE request as it usually is, in fewer steps; else `None`."""
    found = _USUAL_STORE(encoded)
    if found is None:
        return None
    class_length, class_uid, message_id, data_set_type, instance_length, instance_uid = found.groups()
    as_number = int.from_bytes
    if as_number(class_length, "little") != len(class_uid) or as_number(instance_length, "little") != len(instance_uid):
        return None
    return Command(
        operation=Operation.C_STORE,
        message_id=as_number(message_id, "little"),
        has_data_set=as_number(data_set_type, "little") != _NO_DATA_SET,
        sop_class_uid=_text(class_uid),
        sop_instance_uid=_text(instance_uid),
        move_originator="",
    )


def _by_the_book(encoded: bytes) -> Command:
    elements = _elements(encoded)
    field = _number(elements, _COMMAND_FIELD)
    try:
        operation = Operation(field)
    except ValueError:
        raise Malformed(f"0x{field:04X} is the Command Field of no request") from None
    return Command(
        operation=operation,
        message_id=_number(elements, _RESPONDED_TO if operation is Operation.C_CANCEL else _MESSAGE_ID),
        has_data_set=_number(elements, _DATA_SET_TYPE) != _NO_DATA_SET,
        sop_class_uid=_text(elements.get(_AFFECTED_SOP_CLASS) or elements.get(_REQUESTED_SOP_CLASS)),
        sop_instance_uid=_text(elements.get(_AFFECTED_SOP_INSTANCE) or elements.get(_REQUESTED_SOP_INSTANCE)),
        move_originator=_text(elements.get(_MOVE_ORIGINATOR)).strip(),
        move_destination=_text(elements.get(_MOVE_DESTINATION)).strip(),
    )


def response(command: Command, status: int, comment: str = "") -> bytes:
    """Return the encoded response without a data set to any request but C-CANCEL.

    The UIDs of the request are echoed where they are UIDs; `comment` becomes Error Comment (0000,0902), ASCII, cut to
    64 characters.
    """
    size = _UNSIGNED_SHORT.size
    class_uid = command.sop_class_uid
    body = (_affected_class(class_uid) if is_valid_uid(class_uid) else b"") + _UNSIGNED_SHORT_ELEMENTS.pack(
        *(0, _COMMAND_FIELD, size, command.operation | _RESPONSE),
        *(0, _RESPONDED_TO, size, command.message_id),
        *(0, _DATA_SET_TYPE, size, _NO_DATA_SET),
        *(0, _STATUS, size, status),
    )
    if comment:
        body += _element(_ERROR_COMMENT, plain(comment).encode("ascii"), b" ")
    if is_usable_uid(command.sop_instance_uid):
        body += _element(_AFFECTED_SOP_INSTANCE, command.sop_instance_uid.encode("ascii"), b"\0")
    return _GROUP_LENGTH.pack(0, 0, 4, len(body)) + body


def plain(comment: str) -> str:
    """The comment as an LO can hold it (PS3.5 §6.2): printable ASCII without backslash, at most 64 characters."""
    shown = (letter if " " <= letter <= "~" and letter != "\\" else "?" for letter in comment[:LONGEST_COMMENT])
    return "".join(shown)


def _elements(encoded: bytes) -> dict[int, bytes]:
    """Element number -> value, of a command set whose elements fill it exactly."""
    elements: dict[int, bytes] = {}
    offset, end = 0, len(encoded)
    while offset < end:
        if end - offset < _ELEMENT.size:
            raise Malformed("the command set ends inside an element")
        group, number, length = _ELEMENT.unpack_from(encoded, offset)
        offset += _ELEMENT.size
        if group:
            raise Malformed(f"the command set has an element of group {group:04X}")
        if length > end - offset:
            raise Malformed(f"(0000,{number:04X}) is longer than the command set")
        elements[number] = encoded[offset : offset + length]
        offset += length
    return elements


def _number(elements: dict[int, bytes], number: int) -> int:
    value = elements.get(number, b"")
    if len(value) != _UNSIGNED_SHORT.size:
        raise Malformed(f"(0000,{number:04X}) is missing, or no unsigned short")
    return int(_UNSIGNED_SHORT.unpack(value)[0])


def _text(value: bytes | None) -> str:
    # Padding stands at the end (PS3.5 §9.1); what stands elsewhere makes it no UID.
    return value.rstrip(b"\0 ").decode("ascii", "replace") if value else ""


@lru_cache(maxsize=256)
def _affected_class(uid: str) -> bytes:
    """Affected SOP Class UID (0000,0002), of a valid one."""
    return _element(_AFFECTED_SOP_CLASS, uid.encode("ascii"), b"\0")


def _element(number: int, value: bytes, padding: bytes) -> bytes:
    if len(value) % 2:
        value += padding
    return _ELEMENT.pack(0, number, len(value)) + value
