"""Association negotiation as acceptor (PS3.8 §7.1.1, §9.3.2 to §9.3.4; PS3.7 Annex D), with pynetdicom's PDU classes.

The structure is walked over first: pynetdicom believes every length, and its time grows with the square of some counts.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydicom.uid import UID
from pynetdicom.pdu import A_ASSOCIATE_AC, A_ASSOCIATE_RJ, A_ASSOCIATE_RQ
from pynetdicom.pdu_primitives import (
    A_ASSOCIATE,
    ImplementationClassUIDNotification,
    ImplementationVersionNameNotification,
    MaximumLengthNotification,
    SCP_SCU_RoleSelectionNegotiation,
)
from pynetdicom.presentation import PresentationContext, negotiate_as_acceptor

from node import IMPLEMENTATION_VERSION_NAME
from node.domain.uid import IMPLEMENTATION_CLASS_UID
from node.receive.upper_layer import AbortReason, InvalidPdu, PduType

#: DICOM Application Context Name (PS3.7 §A.2.1).
APPLICATION_CONTEXT = "1.2.840.10008.3.1.1.1"

_ITEM = struct.Struct(">BxH")
#: Version, two reserved bytes, the AE titles, 32 reserved bytes (PS3.8 Table 9-11).
_FIXED = struct.Struct(">H2x16s16s32x")
_HEADER = struct.Struct(">BxI")
_APPLICATION_CONTEXT_ITEM, _PRESENTATION_CONTEXT_ITEM, _USER_INFORMATION_ITEM = 0x10, 0x20, 0x50
_ABSTRACT_SYNTAX, _TRANSFER_SYNTAX, _MAXIMUM_LENGTH, _USER_IDENTITY = 0x30, 0x40, 0x51, 0x58
#: User information sub-items that pynetdicom knows; others are to be ignored (PS3.8 §D.2).
_KNOWN_USER_INFORMATION = frozenset(range(0x51, 0x59))
#: Result of a presentation context (PS3.8 §9.3.3.2).
_USER_REJECTION = 1
#: More than there are transfer syntaxes.
_MOST_TRANSFER_SYNTAXES = 128
_MOST_USER_INFORMATION = 512
#: A PDV of one byte and its header; a peer that takes less cannot be answered.
_SHORTEST_PDU = 8
#: What pynetdicom raises for values that its classes cannot hold.
_REFUSALS = (
    *(ValueError, TypeError, AssertionError, LookupError, AttributeError, NotImplementedError),
    struct.error,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AssociationRequest:
    """An A-ASSOCIATE-RQ whose structure is sound; AE titles without spaces at their ends, perhaps empty."""

    protocol_version: int
    called_ae_title: str
    calling_ae_title: str
    application_context: str
    #: At most 128, with different, odd IDs.
    contexts: tuple[PresentationContext, ...]
    #: pynetdicom's primitives.
    user_information: tuple[Any, ...]
    #: Maximum Length Received (PS3.8 §D.1): the longest P-DATA-TF that the peer takes, bytes; 0 for any.
    maximum_length: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptedContext:
    """A presentation context that was accepted."""

    abstract_syntax: str
    transfer_syntax: str


def decode_request(value: bytes) -> AssociationRequest:
    """Read the value of an A-ASSOCIATE-RQ PDU.

    Raises:
        InvalidPdu: an item does not end where it says, is missing, unknown, doubled, or has an impossible value.
    """
    if len(value) < _FIXED.size:
        raise _invalid("an A-ASSOCIATE-RQ that ends inside its fixed part")
    version, called, calling = _FIXED.unpack_from(value)
    application_context, kept = _checked_items(value)
    # The titles are read here: pynetdicom refuses to hold one of spaces alone, which has a reject reason of its own.
    fixed = _FIXED.pack(1, b"ANY".ljust(16), b"ANY".ljust(16))
    pdu = A_ASSOCIATE_RQ()
    try:
        pdu.decode(_HEADER.pack(PduType.ASSOCIATE_RQ, _FIXED.size + len(kept)) + fixed + kept)
        primitive = pdu.to_primitive()
        contexts = tuple(primitive.presentation_context_definition_list)
        information = tuple(primitive.user_information)
    except _REFUSALS as error:
        raise _invalid(f"an A-ASSOCIATE-RQ with impossible values ({type(error).__name__})") from error
    if not all(context.transfer_syntax and context.abstract_syntax for context in contexts):
        raise _invalid("a presentation context with an empty UID")
    lengths = [item.maximum_length_received for item in information if isinstance(item, MaximumLengthNotification)]
    if lengths and 0 < lengths[0] < _SHORTEST_PDU:
        raise _invalid(f"a Maximum Length of {lengths[0]}")
    return AssociationRequest(
        protocol_version=version,
        called_ae_title=called.decode("ascii", "replace").strip(),
        calling_ae_title=calling.decode("ascii", "replace").strip(),
        application_context=application_context,
        contexts=contexts,
        user_information=information,
        maximum_length=lengths[0] if lengths else 0,
    )


def agree(
    request: AssociationRequest, supported: Mapping[str, PresentationContext]
) -> tuple[list[PresentationContext], dict[int, AcceptedContext]]:
    """Negotiate contexts: the result of each that was asked for, and those accepted, by their ID.

    supported: by abstract syntax; only read. Roles are the usual ones: who calls is SCU, we are SCP (PS3.7 §D.3.3.4);
    but where `supported` gives the caller the role of SCP, nothing is accepted unless he takes it.
    """
    asked = {str(context.abstract_syntax) for context in request.contexts}
    ours = [supported[uid] for uid in asked if uid in supported]
    roles = {UID(uid): (item.scu_role, item.scp_role) for uid, item in _proposed_roles(request).items()}
    results, _ = negotiate_as_acceptor(list(request.contexts), ours, roles)
    for context in results:
        if context.result == 0 and _is_reversed(supported.get(str(context.abstract_syntax))) and not context.as_scu:
            context.result = _USER_REJECTION
    accepted = {
        context.context_id: AcceptedContext(
            abstract_syntax=str(context.abstract_syntax), transfer_syntax=str(context.transfer_syntax[0])
        )
        for context in results
        if context.result == 0 and context.context_id is not None
    }
    return results, accepted


def agreed_roles(
    request: AssociationRequest,
    results: Sequence[PresentationContext],
    supported: Mapping[str, PresentationContext],
) -> list[SCP_SCU_RoleSelectionNegotiation]:
    """The answers to the roles that were proposed: the caller is SCP alone, where he may be (PS3.7 §D.3.3.4)."""
    accepted = {str(context.abstract_syntax) for context in results if context.result == 0}
    answers = []
    for uid in sorted(accepted & set(_proposed_roles(request))):
        if _is_reversed(supported.get(uid)):
            answer = SCP_SCU_RoleSelectionNegotiation()
            answer.sop_class_uid, answer.scu_role, answer.scp_role = UID(uid), False, True
            answers.append(answer)
    return answers


def accept_pdu(
    request: AssociationRequest,
    results: list[PresentationContext],
    maximum_length: int,
    items: Sequence[Any] = (),
) -> bytes:
    """Return the A-ASSOCIATE-AC PDU.

    maximum_length: the longest P-DATA-TF that we take, bytes. items: further user information to be sent, as
    pynetdicom's primitives.
    """
    primitive = A_ASSOCIATE()
    primitive.application_context_name = APPLICATION_CONTEXT
    primitive.called_ae_title, primitive.calling_ae_title = request.called_ae_title, request.calling_ae_title
    primitive.presentation_context_definition_results_list = results
    length = MaximumLengthNotification()
    length.maximum_length_received = maximum_length
    implementation = ImplementationClassUIDNotification()
    implementation.implementation_class_uid = IMPLEMENTATION_CLASS_UID
    version = ImplementationVersionNameNotification()
    version.implementation_version_name = IMPLEMENTATION_VERSION_NAME
    primitive.user_information = [length, implementation, version, *items]
    pdu = A_ASSOCIATE_AC()
    pdu.from_primitive(primitive)
    return pdu.encode()


def reject_pdu(result: int, source: int, diagnostic: int) -> bytes:
    """Return an A-ASSOCIATE-RJ PDU (PS3.8 §9.3.4, Table 9-21)."""
    pdu = A_ASSOCIATE_RJ()
    pdu.result, pdu.source, pdu.reason_diagnostic = result, source, diagnostic
    return pdu.encode()


def _proposed_roles(request: AssociationRequest) -> dict[str, SCP_SCU_RoleSelectionNegotiation]:
    items = (item for item in request.user_information if isinstance(item, SCP_SCU_RoleSelectionNegotiation))
    return {str(item.sop_class_uid): item for item in items}


def _is_reversed(context: PresentationContext | None) -> bool:
    """Whether the caller is the SCP of a context."""
    return context is not None and bool(context.scp_role)


def _checked_items(value: bytes) -> tuple[str, bytes]:
    """Return the application context's name, and the items that pynetdicom is to read."""
    kept: list[bytes] = []
    names: list[str] = []
    ids: list[int] = []
    information = 0
    for kind, item in _items(value, _FIXED.size):
        if kind == _APPLICATION_CONTEXT_ITEM:
            names.append(item.rstrip(b"\0 ").decode("ascii", "replace"))
            continue
        if kind == _PRESENTATION_CONTEXT_ITEM:
            ids.append(_checked_context(item))
            kept.append(_item(kind, item))
        elif kind == _USER_INFORMATION_ITEM:
            information += 1
            kept.append(_item(kind, _known_information(item)))
        else:
            raise InvalidPdu(AbortReason.UNRECOGNIZED_PARAMETER, f"an item of type 0x{kind:02X} in an A-ASSOCIATE-RQ")
    if len(names) != 1 or information != 1:
        raise _invalid("an A-ASSOCIATE-RQ without one application context and one user information item")
    if not ids or len(set(ids)) != len(ids) or not all(number % 2 for number in ids):
        raise _invalid("presentation contexts without, with doubled or with even IDs")
    return names[0], b"".join(kept)


def _checked_context(item: bytes) -> int:
    """Look over one presentation context item; return its ID."""
    if len(item) < 4:
        raise _invalid("a presentation context without an ID")
    kinds = Counter(kind for kind, _ in _items(item, 4))
    if unknown := set(kinds) - {_ABSTRACT_SYNTAX, _TRANSFER_SYNTAX}:
        what = f"a sub-item of type 0x{min(unknown):02X} in a presentation context"
        raise InvalidPdu(AbortReason.UNRECOGNIZED_PARAMETER, what)
    if kinds[_ABSTRACT_SYNTAX] != 1 or not 0 < kinds[_TRANSFER_SYNTAX] <= _MOST_TRANSFER_SYNTAXES:
        raise _invalid("a presentation context without one abstract syntax and some transfer syntaxes")
    return item[0]


def _known_information(item: bytes) -> bytes:
    kept = [_item(kind, part) for kind, part in _items(item, 0) if kind in _KNOWN_USER_INFORMATION]
    if len(kept) > _MOST_USER_INFORMATION:
        raise _invalid("too much user information")
    lengths = [len(part) - _ITEM.size for part in kept if part[0] == _MAXIMUM_LENGTH]
    if lengths not in ([], [4]):
        raise _invalid("not one Maximum Length of four bytes")
    for part in kept:
        _check_identity(part)
    return b"".join(kept)


def _check_identity(part: bytes) -> None:
    """See that the primary field of a user identity ends in it (PS3.7 Table D.3-14); pynetdicom would take less."""
    if part[0] == _USER_IDENTITY:
        content = part[_ITEM.size :]
        if len(content) < 4 or 4 + int.from_bytes(content[2:4], "big") > len(content):
            raise _invalid("a user identity that ends inside its primary field")


def _items(value: bytes, offset: int) -> Iterator[tuple[int, bytes]]:
    """Type and content of each item from `offset` on, which must fill `value` exactly."""
    while offset < len(value):
        if len(value) - offset < _ITEM.size:
            raise _invalid("an item without a length")
        kind, length = _ITEM.unpack_from(value, offset)
        offset += _ITEM.size
        if length > len(value) - offset:
            raise _invalid("an item that is longer than what holds it")
        yield kind, value[offset : offset + length]
        offset += length


def _item(kind: int, content: bytes) -> bytes:
    return _ITEM.pack(kind, len(content)) + content


def _invalid(what: str) -> InvalidPdu:
    return InvalidPdu(AbortReason.INVALID_PARAMETER_VALUE, what)
