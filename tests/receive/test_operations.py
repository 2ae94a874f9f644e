from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, MRImageStorage
from pynetdicom import build_context
from pynetdicom.pdu import A_ASSOCIATE_RQ
from pynetdicom.pdu_primitives import A_ASSOCIATE, ImplementationClassUIDNotification, MaximumLengthNotification

from node.config import Settings
from node.errors import Refused, Transient
from node.receive import operations, session
from node.receive.intakes import Reply, Request, cstore
from node.receive.keeper import Keeper
from node.store import events
from node.store.database import Database
from tests.receive.objects import settings_for
from tests.receive.peer import VERIFICATION, Bare, bare, command_set, echo_command, p_data
from tests.receive.stub_keeper import StubKeeper

#: Modality Performed Procedure Step.
MPPS = "1.2.840.10008.3.1.2.3.3"
MR, ECHO, STEP = 1, 3, 5


class Service:
    """An intake that answers what it is told to."""

    SOP_CLASSES = (MPPS,)

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.reply: Reply | Exception = Reply(status=0)

    def answer(self, _settings: Settings, _keeper: Keeper, request: Request) -> Reply:
        self.requests.append(request)
        if isinstance(self.reply, Exception):
            raise self.reply
        return self.reply


def request_pdu(maximum_length: int = 16384) -> bytes:
    primitive = A_ASSOCIATE()
    primitive.application_context_name = "1.2.840.10008.3.1.1.1"
    primitive.calling_ae_title, primitive.called_ae_title = "SCANNER1", "MATINS"
    contexts = [build_context(uid, ExplicitVRLittleEndian) for uid in (MRImageStorage, VERIFICATION)]
    contexts.append(build_context(MPPS, ImplicitVRLittleEndian))
    for number, context in enumerate(contexts):
        context.context_id = 2 * number + 1
    primitive.presentation_context_definition_list = contexts
    length, implementation = MaximumLengthNotification(), ImplementationClassUIDNotification()
    length.maximum_length_received = maximum_length
    implementation.implementation_class_uid = "1.2.3"
    primitive.user_information = [length, implementation]
    pdu = A_ASSOCIATE_RQ()
    pdu.from_primitive(primitive)
    return pdu.encode()


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Service:
    made = Service()
    monkeypatch.setattr(session, "dimse_services", lambda: {MPPS: made})
    return made


@pytest.fixture
def port(tmp_path: Path, db: Database, service: Service) -> Iterator[int]:
    running = cstore.start(settings_for(tmp_path / "var"), StubKeeper(db).as_keeper())
    yield running.port
    running.stop(0.0)


@pytest.fixture
def peer(port: int) -> Iterator[Bare]:
    with closing(bare(port, request_pdu())) as made:
        yield made


def create(**changes: Any) -> bytes:
    """An N-CREATE-RQ command set."""
    elements = [(0x0002, MPPS.encode()), (0x1000, changes.pop("instance", "1.2.3").encode())]
    return command_set(0x0140, elements, data_set=True, message_id=9)


#: Command Field of a request -> where its SOP class stands.
OPERATIONS = {
    0x0010: 0x0002,
    0x0020: 0x0002,
    0x0021: 0x0002,
    0x0100: 0x0002,
    0x0110: 0x0003,
    0x0120: 0x0003,
    0x0130: 0x0003,
    0x0140: 0x0002,
    0x0150: 0x0003,
}


@pytest.mark.parametrize(("field", "context_id"), [*((each, MR) for each in (*OPERATIONS, 0x0030)), (0x0130, ECHO)])
@pytest.mark.parametrize("data_set", [False, True])
def test_what_nobody_offers_there_is_unrecognised_and_the_association_goes_on(
    peer: Bare, db: Database, field: int, context_id: int, data_set: bool
):
    class_element = OPERATIONS.get(field, 0x0002)
    command = command_set(field, [(class_element, MRImageStorage.encode())], data_set=data_set)
    peer.socket.sendall(p_data(context_id, 3, command))
    if data_set:
        peer.data(bytes(20000), last=False, context_id=context_id)
        peer.data(bytes(20000), last=True, context_id=context_id)
    status, comment = peer.answer()
    assert (f"0x{status:04X}", comment) == ("0x0211", "not offered on this presentation context")
    assert struct.unpack("<HH", peer.last[0x0100] + peer.last[0x0120]) == (field | 0x8000, 5)
    assert peer.store(b"xx")[0] == 0x0000
    assert events.latest(db, "association")[0].reason.endswith("0x0211: not offered on this presentation context")


@pytest.mark.parametrize("field", [0x0001, 0x0010, 0x0020, 0x0021, 0x0030])
def test_c_services_are_not_offered_on_the_context_of_another(peer: Bare, service: Service, field: int):
    elements = [(0x0002, MPPS.encode()), (0x1000, b"1.2.3")]
    assert peer.ask(command_set(field, elements, data_set=False), context_id=STEP)[0] == 0x0211
    assert service.requests == []


def test_an_echo_is_answered_also_with_a_data_set_that_means_nothing(peer: Bare):
    assert peer.echo() == 0x0000
    peer.socket.sendall(p_data(ECHO, 3, command_set(0x0030, [(0x0002, VERIFICATION.encode())], data_set=True)))
    peer.data(b"what for", last=True, context_id=ECHO)
    assert peer.answer()[0] == 0x0000


def test_a_cancel_has_no_answer(peer: Bare):
    cancel = command_set(0x0FFF, [(0x0120, b"\5\0")], data_set=False)
    peer.socket.sendall(p_data(MR, 3, cancel))
    assert peer.echo() == 0x0000


@pytest.mark.parametrize(
    "command",
    [
        command_set(0x8001, [(0x0120, b"\5\0"), (0x0900, b"\0\0")], data_set=False),
        command_set(0x0999, [], data_set=False),
        b"",
        b"\0\0\0\0",
        struct.pack("<HHI", 0, 0x1000, 0xFFFFFFFF),
    ],
)
def test_a_command_that_cannot_be_answered_aborts(peer: Bare, command: bytes):
    peer.socket.sendall(p_data(MR, 3, command))
    assert peer.pdu() == (7, bytes([0, 0, 2, 6]))


def test_a_service_gets_the_request_unparsed_and_its_reply_is_sent(peer: Bare, service: Service):
    peer.socket.sendall(p_data(STEP, 3, create()))
    peer.data(b"attri", last=False, context_id=STEP)
    peer.data(b"butes", last=True, context_id=STEP)
    assert peer.answer() == (0x0000, "")
    [request] = service.requests
    assert (request.operation, request.sop_class_uid, request.sop_instance_uid) == ("N-CREATE", MPPS, "1.2.3")
    assert (request.content, request.transfer_syntax_uid) == (b"attributes", ImplicitVRLittleEndian)
    assert (request.type_id, request.peer.name) == (None, "SCANNER")
    assert peer.last[0x1000].rstrip(b"\0") == b"1.2.3"
    assert struct.unpack("<HH", peer.last[0x0100] + peer.last[0x0120]) == (0x8140, 9)


@pytest.mark.parametrize(("field", "element"), [(0x0130, 0x1008), (0x0100, 0x1002)])
def test_the_type_of_an_action_or_event_is_told_and_echoed(peer: Bare, service: Service, field: int, element: int):
    uid = (0x0003, 0x1001) if field == 0x0130 else (0x0002, 0x1000)
    elements = [(uid[0], MPPS.encode()), (uid[1], b"1.2.3"), (element, b"\2\0")]
    assert peer.ask(command_set(field, elements, data_set=False), context_id=STEP)[0] == 0x0000
    assert service.requests[0].type_id == 2
    assert peer.last[element] == b"\2\0"


@pytest.mark.parametrize(
    ("reply", "status", "comment"),
    [
        (Reply(status=0x0111, reason="it exists", error_id=7), 0x0111, "it exists"),
        (Refused(0x0120, "no status"), 0x0120, "no status"),
        (Transient("the database is busy"), 0x0110, "the database is busy"),
        (RuntimeError("a bug"), 0x0110, "an internal error"),
    ],
    ids=str,
)
def test_what_a_service_refuses_is_told_and_noted(
    peer: Bare, service: Service, db: Database, reply: Reply | Exception, status: int, comment: str
):
    service.reply = reply
    peer.socket.sendall(p_data(STEP, 3, create()))
    peer.data(b"xx", last=True, context_id=STEP)
    assert peer.answer() == (status, comment)
    assert (peer.last.get(0x0903) == b"\7\0") is isinstance(reply, Reply)
    assert events.latest(db, "association")[0].reason == f"N-CREATE: 0x{status:04X}: {comment}"
    assert peer.echo() == 0x0000


def test_a_request_about_what_is_no_uid_reaches_no_service(peer: Bare, service: Service):
    peer.socket.sendall(p_data(STEP, 3, create(instance="../x")))
    peer.data(b"xx", last=True, context_id=STEP)
    assert peer.answer()[0] == 0x0117
    assert service.requests == []


def test_a_data_set_over_the_limit_is_told_and_aborted(peer: Bare, service: Service, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(operations, "LONGEST_IDENTIFIER", 10000)
    peer.socket.sendall(p_data(STEP, 3, create()))
    peer.data(bytes(8000), last=False, context_id=STEP)
    peer.data(bytes(8000), last=True, context_id=STEP)
    assert peer.answer()[0] == 0x0213
    assert peer.pdu()[0] == 7
    assert service.requests == []


def test_a_peer_that_takes_little_at_once_is_answered_in_pieces(port: int):
    with closing(bare(port, request_pdu(maximum_length=30))) as peer:
        peer.socket.sendall(p_data(ECHO, 3, echo_command()))
        together, control = b"", 1
        while control != 3:
            kind, content = peer.pdu()
            assert kind == 4
            assert len(content) <= 30
            control, together = content[5], together + content[6:]
    assert struct.pack("<HHIH", 0, 0x0900, 2, 0x0000) in together
