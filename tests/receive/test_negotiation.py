from __future__ import annotations

import struct
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, ImplicitVRLittleEndian, MRImageStorage
from pynetdicom.pdu import A_ASSOCIATE_AC, A_ASSOCIATE_RJ
from pynetdicom.pdu_primitives import UserIdentityNegotiation

from node.receive.negotiation import AcceptedContext, accept_pdu, agree, decode_request, reject_pdu
from node.receive.syntaxes import ACCEPTED, VERIFICATION, supported_contexts
from node.receive.upper_layer import AbortReason, InvalidPdu

APPLICATION_CONTEXT = b"1.2.840.10008.3.1.1.1"


@pytest.fixture(autouse=True)
def uids_are_judged_by_ourselves(library_settings: None, monkeypatch: pytest.MonkeyPatch) -> None:
    import pydicom.config
    import pynetdicom._config

    monkeypatch.setitem(pynetdicom._config.VALIDATORS, "UI", lambda _uid: (True, ""))
    monkeypatch.setattr(pydicom.config.settings, "reading_validation_mode", pydicom.config.IGNORE)


def item(kind: int, content: bytes) -> bytes:
    return struct.pack(">BxH", kind, len(content)) + content


def context(number: int, abstract: str = MRImageStorage, syntaxes: Sequence[str] = (ExplicitVRLittleEndian,)) -> bytes:
    content = bytes([number, 0, 0, 0]) + item(0x30, abstract.encode())
    return item(0x20, content + b"".join(item(0x40, syntax.encode()) for syntax in syntaxes))


MAXIMUM = item(0x51, struct.pack(">I", 16384))
INFORMATION = item(0x50, MAXIMUM + item(0x52, b"1.2.3"))


def request(
    *items: bytes,
    version: int = 1,
    called: bytes = b"MATINS",
    calling: bytes = b"SCANNER1",
    application: bytes = item(0x10, APPLICATION_CONTEXT),
    information: bytes = INFORMATION,
) -> bytes:
    """The value of an A-ASSOCIATE-RQ."""
    fixed = struct.pack(">H2x16s16s32x", version, called.ljust(16), calling.ljust(16))
    return fixed + application + b"".join(items or (context(1),)) + information


def test_a_request_is_read():
    found = decode_request(request(context(1), context(3, VERIFICATION), version=3, calling=b"  SCANNER1"))
    assert (found.protocol_version, found.called_ae_title, found.calling_ae_title) == (3, "MATINS", "SCANNER1")
    assert (found.application_context, found.maximum_length) == (APPLICATION_CONTEXT.decode(), 16384)
    assert [(each.context_id, each.abstract_syntax) for each in found.contexts] == [
        (1, MRImageStorage),
        (3, VERIFICATION),
    ]


@pytest.mark.parametrize(
    ("title", "read"), [(b" " * 16, ""), (bytes(16), "\0" * 16), (b"\xe4\r\n\x1b", "�\r\n\x1b"), (b"A\\B", "A\\B")]
)
def test_titles_that_are_none_are_read_for_the_verdict(title: bytes, read: str):
    assert decode_request(request(calling=title)).calling_ae_title == read


def test_user_information_that_nobody_knows_is_ignored():
    information = item(0x50, MAXIMUM + item(0x52, b"1.2.3") + item(0x5F, b"from the future") + item(0x99, b""))
    assert decode_request(request(information=information)).maximum_length == 16384


def test_a_user_identity_comes_through():
    identity = item(0x58, bytes([2, 1]) + struct.pack(">H", 5) + b"night" + struct.pack(">H", 5) + b"right")
    found = decode_request(request(information=item(0x50, MAXIMUM + item(0x52, b"1.2.3") + identity)))
    [shown] = [each for each in found.user_information if isinstance(each, UserIdentityNegotiation)]
    assert (shown.primary_field, shown.secondary_field) == (b"night", b"right")


INVALID, UNRECOGNIZED = AbortReason.INVALID_PARAMETER_VALUE, AbortReason.UNRECOGNIZED_PARAMETER
BROKEN: dict[str, tuple[bytes, AbortReason]] = {
    "nothing": (b"", INVALID),
    "half the fixed part": (request()[:40], INVALID),
    "no items": (request()[:68], INVALID),
    "no application context": (request(application=b""), INVALID),
    "two application contexts": (request(application=2 * item(0x10, APPLICATION_CONTEXT)), INVALID),
    "no presentation context": (request(b""), INVALID),
    "no user information": (request(information=b""), INVALID),
    "user information twice": (request(information=2 * INFORMATION), INVALID),
    "a cut item": (request()[:-1], INVALID),
    "half an item header": (request() + b"\x20\0", INVALID),
    "an item that lies": (request(item(0x20, b"")[:2] + b"\xff\xff"), INVALID),
    "a context without an ID": (request(item(0x20, b"\1")), INVALID),
    "a sub-item that lies": (request(item(0x20, bytes([1, 0, 0, 0]) + b"\x30\0\xff\xff1.2")), INVALID),
    "an even ID": (request(context(2)), INVALID),
    "the ID zero": (request(context(0)), INVALID),
    "an ID twice": (request(context(1), context(1, CTImageStorage)), INVALID),
    "more than 128 contexts": (request(*(context(number % 256) for number in range(1, 261, 2))), INVALID),
    "two abstract syntaxes": (request(item(0x20, bytes([1, 0, 0, 0]) + 2 * item(0x30, b"1.2"))), INVALID),
    "no abstract syntax": (request(item(0x20, bytes([1, 0, 0, 0]) + item(0x40, b"1.2"))), INVALID),
    "no transfer syntax": (request(context(1, syntaxes=())), INVALID),
    "an empty transfer syntax": (request(context(1, syntaxes=("",))), INVALID),
    "an empty abstract syntax": (request(context(1, "")), INVALID),
    "a thousand transfer syntaxes": (request(context(1, syntaxes=[f"1.2.{n}" for n in range(1000)])), INVALID),
    "a UID of 70 characters": (request(context(1, syntaxes=["1." + "2" * 68])), INVALID),
    "a maximum length of one byte": (request(information=item(0x50, item(0x51, b"\1"))), INVALID),
    "a maximum length of seven": (request(information=item(0x50, item(0x51, struct.pack(">I", 7)))), INVALID),
    "an identity that lies": (request(information=item(0x50, MAXIMUM + item(0x58, b"\2\1\xff\xffab"))), INVALID),
    "a role that lies": (request(information=item(0x50, MAXIMUM + item(0x54, b"\xff\xff1.2"))), INVALID),
    "an unknown item": (request(item(0x77, b"")), UNRECOGNIZED),
    "a result where a request belongs": (request(item(0x21, bytes(4))), UNRECOGNIZED),
    "an unknown sub-item": (request(item(0x20, bytes([1, 0, 0, 0]) + item(0x31, b"1.2"))), UNRECOGNIZED),
}


@pytest.mark.parametrize("what", BROKEN)
def test_junk_is_invalid_with_its_reason(what: str):
    value, reason = BROKEN[what]
    with pytest.raises(InvalidPdu) as found:
        decode_request(value)
    assert found.value.reason is reason


@settings(max_examples=400)
@given(data=st.data())
def test_no_mutation_raises_anything_else(data: st.DataObject):
    identity = item(0x58, bytes([1, 1]) + struct.pack(">H", 5) + b"night" + struct.pack(">H", 0))
    role = item(0x54, struct.pack(">H", 3) + b"1.2" + b"\1\1")
    extended = item(0x56, struct.pack(">H", 3) + b"1.2" + b"\1") + item(0x57, struct.pack(">H", 3) + b"1.2" + bytes(6))
    information = item(0x50, MAXIMUM + item(0x53, bytes([0, 1, 0, 1])) + identity + role + extended)
    value = bytearray(request(context(1), context(3, VERIFICATION), information=information))
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(value) - 1))
        value[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=3))
    try:
        found = decode_request(bytes(value))
    except InvalidPdu:
        return
    results, accepted = agree(found, supported_contexts())
    assert len(results) == len(found.contexts)
    assert set(accepted) <= {each.context_id for each in found.contexts}


def agreed(*items: bytes) -> tuple[dict[int, AcceptedContext], A_ASSOCIATE_AC]:
    found = decode_request(request(*items))
    results, accepted = agree(found, supported_contexts(["1.2.840.10008.3.1.2.3.3"]))
    pdu = A_ASSOCIATE_AC()
    pdu.decode(accept_pdu(found, results, 131072))
    return accepted, pdu


def test_contexts_are_accepted_in_our_order_of_transfer_syntaxes():
    accepted, pdu = agreed(
        context(1, syntaxes=(ImplicitVRLittleEndian, ExplicitVRLittleEndian)),
        context(3, "1.2.3.4"),
        context(5, syntaxes=("1.2.3.4",)),
        context(7, "1.2.840.10008.3.1.2.3.3", (ImplicitVRLittleEndian,)),
    )
    assert {number: each.transfer_syntax for number, each in accepted.items()} == {
        1: ExplicitVRLittleEndian,
        7: ImplicitVRLittleEndian,
    }
    assert [(each.context_id, each.result) for each in pdu.presentation_context] == [(1, 0), (3, 3), (5, 4), (7, 0)]


def test_the_answer_names_us_and_our_maximum():
    _, pdu = agreed()
    assert pdu.user_information is not None
    assert pdu.user_information.maximum_length == 131072
    assert pdu.user_information.implementation_version_name.startswith("MATINS")
    assert (pdu.called_ae_title.strip(), pdu.calling_ae_title.strip()) == ("MATINS", "SCANNER1")


def test_another_role_than_ours_is_not_taken():
    role = item(0x54, struct.pack(">H", len(MRImageStorage)) + MRImageStorage.encode() + bytes([0, 1]))
    found = decode_request(request(information=item(0x50, MAXIMUM + role)))
    results, _ = agree(found, supported_contexts())
    pdu = A_ASSOCIATE_AC()
    pdu.decode(accept_pdu(found, results, 131072))
    assert pdu.user_information is not None
    assert pdu.user_information.role_selection == {}


def test_commitment_is_not_offered_to_who_asks_us_for_it():
    accepted, _ = agreed(context(1, "1.2.840.10008.1.20.1"))
    assert accepted == {}


def test_supported_contexts_are_only_read():
    supported = supported_contexts()
    before = {uid: tuple(each.transfer_syntax) for uid, each in supported.items()}
    agree(decode_request(request(context(1, syntaxes=ACCEPTED[:20]))), supported)
    assert {uid: tuple(each.transfer_syntax) for uid, each in supported.items()} == before


def test_a_rejection_is_as_pynetdicom_reads_it():
    pdu = A_ASSOCIATE_RJ()
    pdu.decode(reject_pdu(2, 3, 2))
    assert (pdu.result, pdu.source, pdu.reason_diagnostic) == (2, 3, 2)
