from __future__ import annotations

import io
import random
import struct
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.uid import MRImageStorage
from pynetdicom.dimse_messages import _MESSAGE_TYPES, C_ECHO_RQ, C_STORE_RQ, N_ACTION_RQ
from pynetdicom.dimse_primitives import C_ECHO, C_STORE, N_ACTION
from pynetdicom.dsutils import decode as pynetdicom_decode
from pynetdicom.dsutils import encode as pynetdicom_encode

from node.receive import command_set
from node.receive.command_set import Command, Malformed, Operation, decode, plain, response

UIDS = st.lists(st.integers(0, 10**9), min_size=2, max_size=6).map(lambda parts: ".".join(map(str, parts)))
TITLES = st.text(st.sampled_from("ABCXYZ019_"), min_size=1, max_size=16)
SHORTS = st.integers(0, 0xFFFF)


def encoded(message: Any, primitive: Any) -> bytes:
    """A request's command set as pynetdicom writes it."""
    message.primitive_to_message(primitive)
    content = pynetdicom_encode(message.command_set, True, True)
    assert content is not None
    return bytes(content)


def command(operation: Operation = Operation.C_STORE, **changes: Any) -> Command:
    values: dict[str, Any] = {
        "operation": operation,
        "message_id": 7,
        "has_data_set": True,
        "sop_class_uid": MRImageStorage,
        "sop_instance_uid": "1.2.3",
        "move_originator": "",
    }
    return Command(**{**values, **changes})


def element(number: int, value: bytes, group: int = 0) -> bytes:
    return struct.pack("<HHI", group, number, len(value)) + value


@settings(max_examples=60)
@given(instance=UIDS, message_id=SHORTS, originator=st.none() | TITLES)
def test_a_store_request_of_pynetdicoms_is_read(instance: str, message_id: int, originator: str | None):
    request = C_STORE()
    request.MessageID, request.Priority = message_id, 2
    request.AffectedSOPClassUID, request.AffectedSOPInstanceUID = MRImageStorage, instance
    request.DataSet = io.BytesIO(b"\0\0")
    if originator:
        request.MoveOriginatorApplicationEntityTitle, request.MoveOriginatorMessageID = originator, 1
    assert decode(encoded(C_STORE_RQ(), request)) == command(
        message_id=message_id, sop_instance_uid=instance, move_originator=originator or ""
    )


@pytest.mark.parametrize("priority", [b"\2\0", b"\1\0", None])
@pytest.mark.parametrize("instance", ["1.2.3", "1.2.34", "1." + "2" * 62])
def test_a_usual_store_request_is_read_at_once_and_as_by_the_book(instance: str, priority: bytes | None):
    padded = instance.encode() + b"\0" * (len(instance) % 2)
    parts = [element(0x0000, b"\1\0\0\0"), element(0x0002, b"1.2.840.10008.5.1.4.1.1.4\0"), element(0x0100, b"\1\0")]
    parts += [element(0x0110, b"\x0a\x01")] + ([element(0x0700, priority)] if priority else [])
    parts += [element(0x0800, b"\0\0"), element(0x1000, padded)]
    usual = b"".join(parts)
    assert command_set._usual_store(usual) == command(message_id=266, sop_instance_uid=instance) == decode(usual)
    assert command_set._usual_store(usual + element(0x1031, b"\1\0")) is None
    chance = random.Random(instance)
    read = 0
    for _ in range(3000):
        spoiled = bytearray(usual)
        for _ in range(chance.randint(1, 3)):
            spoiled[chance.randrange(len(spoiled))] = chance.choice((0, 1, 2, 0x30, 0x2E, 0x10, 0x41, 0xFF))
        short = command_set._usual_store(bytes(spoiled))
        if short is not None:
            assert short == command_set._by_the_book(bytes(spoiled))
            read += 1
    assert read > 100


def test_requests_without_a_data_set_are_read():
    echo = C_ECHO()
    echo.MessageID, echo.AffectedSOPClassUID = 3, "1.2.840.10008.1.1"
    found = decode(encoded(C_ECHO_RQ(), echo))
    assert (found.operation, found.message_id, found.has_data_set) == (Operation.C_ECHO, 3, False)
    action = N_ACTION()
    action.MessageID, action.ActionTypeID = 4, 1
    action.RequestedSOPClassUID, action.RequestedSOPInstanceUID = "1.2.840.10008.1.20.1", "1.2.840.10008.1.20.1.1"
    found = decode(encoded(N_ACTION_RQ(), action))
    assert found.operation.title == "N-ACTION"
    assert (found.sop_class_uid, found.sop_instance_uid) == ("1.2.840.10008.1.20.1", "1.2.840.10008.1.20.1.1")


@settings(max_examples=60)
@given(
    operation=st.sampled_from([each for each in Operation if each is not Operation.C_CANCEL]),
    status=SHORTS,
    instance=UIDS,
    comment=st.text(max_size=80),
)
def test_pynetdicom_reads_each_response(operation: Operation, status: int, instance: str, comment: str):
    found = response(command(operation, sop_instance_uid=instance), status, comment)
    read = pynetdicom_decode(io.BytesIO(found), True, True)
    name, _ = _MESSAGE_TYPES[read.CommandField]
    assert name == f"{operation.title}-RSP"
    assert (read.Status, read.MessageIDBeingRespondedTo, read.CommandDataSetType) == (status, 7, 0x0101)
    assert (read.AffectedSOPClassUID, read.AffectedSOPInstanceUID) == (MRImageStorage, instance)
    assert read.CommandGroupLength == len(found) - 12
    shown = plain(comment)
    assert len(shown) == min(len(comment), 64)
    assert str(read.get("ErrorComment", "")).rstrip() == shown.rstrip()
    assert len(found) % 2 == 0


def test_what_is_no_uid_is_not_remembered():
    command_set._affected_class.cache_clear()
    for number in range(300):
        response(command(sop_class_uid=f"{number}é" * 9000), 0)
    assert command_set._affected_class.cache_info().currsize == 0


def test_what_is_no_uid_is_not_echoed():
    found = response(command(sop_instance_uid="../../etc", sop_class_uid="$(touch x)"), 0x0117)
    read = pynetdicom_decode(io.BytesIO(found), True, True)
    assert "AffectedSOPInstanceUID" not in read
    assert "AffectedSOPClassUID" not in read


def test_only_padding_is_taken_off_a_uid():
    start = element(0x0100, b"\1\0") + element(0x0110, b"\7\0") + element(0x0800, b"\0\0")
    read = [decode(start + element(0x1000, value)).sop_instance_uid for value in (b"1.2\0", b" 1.2", b"1\0.2", b"\xff")]
    assert read == ["1.2", " 1.2", "1\0.2", "�"]


SOUND = element(0x0100, b"\1\0") + element(0x0110, b"\7\0") + element(0x0800, b"\0\0")


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        b"\0",
        SOUND[:-1],
        SOUND + b"\0\0\0",
        SOUND + struct.pack("<HHI", 0, 0x1000, 0xFFFFFFFF) + b"1.2",
        SOUND + element(0x0010, b"P1", group=0x0010),
        element(0x0100, b"\1\0") + element(0x0800, b"\0\0"),
        element(0x0110, b"\7\0") + element(0x0800, b"\0\0"),
        element(0x0100, b"\1\0") + element(0x0110, b"\7\0"),
        element(0x0100, b"\1\0\0\0") + element(0x0110, b"\7\0") + element(0x0800, b"\0\0"),
        element(0x0100, b"\1\x80") + element(0x0120, b"\7\0") + element(0x0800, b"\1\1"),
        element(0x0100, b"\x99\x09") + element(0x0110, b"\7\0") + element(0x0800, b"\0\0"),
    ],
)
def test_what_cannot_be_answered_is_malformed(broken: bytes):
    with pytest.raises(Malformed):
        decode(broken)


@settings(max_examples=300)
@given(st.binary(max_size=200) | st.tuples(st.just(SOUND), st.binary(max_size=40)).map(b"".join))
def test_nothing_else_is_ever_raised(junk: bytes):
    with suppress(Malformed):
        assert decode(junk).message_id <= 0xFFFF


def test_a_cancel_names_what_it_cancels():
    found = decode(element(0x0100, b"\xff\x0f") + element(0x0120, b"\5\0") + element(0x0800, b"\1\1"))
    assert (found.operation, found.message_id) == (Operation.C_CANCEL, 5)
