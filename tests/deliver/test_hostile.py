"""A destination that means harm: bounded in time and memory, nothing believed, the row is tried again."""

from __future__ import annotations

import itertools
import queue
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from io import BytesIO

import pytest
from pydicom import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset

from node.deliver.carriage import Lost
from node.deliver.dialogue import Dialogue, Response
from node.deliver.query import FIND
from node.domain.work import ResultState
from node.store import outbox
from node.store.database import Database
from tests.deliver.conftest import EXPLICIT, IMPLICIT, UID_ROOT, queue_results, serving, settings_for
from tests.fakes import SR, STUDY, FakeClock

UID = f"{UID_ROOT}.1"
#: What it does once the association stands, given whether the test is over.
Behaviour = Callable[[socket.socket, threading.Event], None]
DIMSE_S = 0.3


def item(kind: int, content: bytes) -> bytes:
    return struct.pack(">BBH", kind, 0, len(content)) + content


def acceptance(contexts: dict[int, tuple[int, str]]) -> bytes:
    """An A-ASSOCIATE-AC (PS3.8 §9.3.3): context ID → (result, transfer syntax)."""
    body = struct.pack(">HH16s16s32x", 1, 0, b"PACS".ljust(16), b"MATINS".ljust(16))
    body += item(0x10, b"1.2.840.10008.3.1.1.1")
    for context_id, (result, syntax) in contexts.items():
        body += item(0x21, struct.pack(">BBBB", context_id, 0, result, 0) + item(0x40, syntax.encode()))
    body += item(0x50, item(0x51, struct.pack(">I", 16382)) + item(0x52, b"1.2.3"))
    return struct.pack(">BBI", 2, 0, len(body)) + body


#: Ours are (SR, Implicit) as 1 and (SR, Explicit) as 3.
AGREED = acceptance({1: (4, IMPLICIT), 3: (0, EXPLICIT)})


def message(context_id: int = 3, **elements: object) -> bytes:
    """A command set without a data set, as one P-DATA-TF PDU."""
    command = Dataset()
    for keyword, value in {"CommandDataSetType": 0x0101, **elements}.items():
        setattr(command, keyword, value)
    written = DicomBytesIO()
    written.is_implicit_VR, written.is_little_endian = True, True
    write_dataset(written, command)
    content = written.getvalue()
    content = struct.pack("<HHII", 0, 0, 4, len(content)) + content
    value = struct.pack(">IBB", len(content) + 2, context_id, 3) + content
    return struct.pack(">BBI", 4, 0, len(value)) + value


def answer(**elements: object) -> bytes:
    uids = {"AffectedSOPClassUID": SR, "AffectedSOPInstanceUID": UID}
    return message(**{"CommandField": 0x8001, "MessageIDBeingRespondedTo": 1, "Status": 0x0000, **uids, **elements})


def read_pdu(connection: socket.socket) -> tuple[int, bytes]:
    def exactly(length: int) -> bytes:
        content = b""
        while len(content) < length:
            piece = connection.recv(length - len(content))
            if not piece:
                raise OSError("closed")
            content += piece
        return content

    kind, length = struct.unpack(">BxI", exactly(6))
    return kind, exactly(length)


def read_object(connection: socket.socket) -> None:
    """Take P-DATA until the last fragment of a data set (PS3.8 §E.2: command bit clear, last bit set)."""
    while True:
        _, content = read_pdu(connection)
        stream = BytesIO(content)
        while head := stream.read(6):
            length, _, control = struct.unpack(">IBB", head)
            stream.read(length - 2)
            if control == 2:
                return


def says(*pdus: bytes) -> Behaviour:
    """Take the object and answer with this, then nothing."""

    def behave(connection: socket.socket, over: threading.Event) -> None:
        read_object(connection)
        for pdu in pdus:
            connection.sendall(pdu)
        over.wait(60)

    return behave


def drips(content: bytes) -> Behaviour:
    """Take the object and send this for ever, a byte at a time."""

    def behave(connection: socket.socket, over: threading.Event) -> None:
        read_object(connection)
        for byte in content:
            connection.sendall(bytes([byte]))
        while not over.wait(0.05):
            connection.sendall(b"\0")

    return behave


def floods(connection: socket.socket, over: threading.Event) -> None:
    """Fragments of a message that never ends."""
    read_object(connection)
    fragment = struct.pack(">IBB", 4098, 3, 1) + bytes(4096)
    pdu = struct.pack(">BBI", 4, 0, len(fragment)) + fragment
    while not over.wait(0.01):
        connection.sendall(pdu)


def never_reads(_connection: socket.socket, over: threading.Event) -> None:
    over.wait(60)


@contextmanager
def hostile(behave: Behaviour, agreed: bytes = AGREED) -> Iterator[int]:
    """A listener that agrees to an association and then does as it likes; yields its port."""
    over = threading.Event()

    def serve() -> None:
        connection, _ = listener.accept()
        with connection, suppress(OSError):
            connection.settimeout(30)
            read_pdu(connection)
            connection.sendall(agreed)
            behave(connection, over)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            over.set()
            thread.join(60)


def test_the_listener_of_these_tests_is_believed_when_it_answers_as_it_should(db: Database, clock: FakeClock) -> None:
    def behave(connection: socket.socket, over: threading.Event) -> None:
        read_object(connection)
        connection.sendall(answer())
        assert read_pdu(connection)[0] == 5
        connection.sendall(b"\x06\0\0\0\0\x04\0\0\0\0")

    queue_results(db, clock.now())
    with hostile(behave) as port:
        serving(db, clock, settings_for(db, {"PACS": port})).step()
    (row,) = outbox.of_study(db, STUDY)
    assert row.state is ResultState.SENT


# pynetdicom's own threads may fall over a peer that breaks the protocol: what counts is how the sending ends.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize(
    "behave",
    [
        pytest.param(says(answer(MessageIDBeingRespondedTo=2)), id="success for another message"),
        pytest.param(says(answer(AffectedSOPInstanceUID="2.25.1")), id="success for another object"),
        pytest.param(says(answer(AffectedSOPClassUID="1.2.3")), id="success for another class"),
        pytest.param(says(answer(CommandField=0x8020)), id="success of a C-FIND"),
        pytest.param(says(message(CommandField=0x8001, MessageIDBeingRespondedTo=1)), id="an answer without status"),
        pytest.param(
            says(
                message(CommandField=0x0001, MessageID=1, Priority=0, AffectedSOPClassUID=SR,
                        AffectedSOPInstanceUID=UID)
            ),
            id="C-STORE back at us",
        ),
        pytest.param(
            says(message(CommandField=0x0010, MessageID=1, Priority=0, AffectedSOPClassUID=SR)), id="C-GET at us"
        ),
        pytest.param(says(b"\x04\0\xff\xff\xff\xff" + bytes(100_000)), id="a PDU of 4 GiB"),
        pytest.param(says(b"\x09\0\0\0\0\x04abcd"), id="a PDU of no kind"),
        pytest.param(says(b"\x04\0\0\0\0\x06\0\0\0\xff\x03\x03"), id="a fragment longer than its PDU"),
        pytest.param(says(AGREED), id="a second acceptance"),
        pytest.param(says(b"\x06\0\0\0\0\x04\0\0\0\0"), id="the answer to a release that nobody asked for"),
        pytest.param(says(b"\x05\0\0\0\0\x04\0\0\0\0"), id="a release instead of an answer"),
        pytest.param(says(), id="silence"),
        pytest.param(drips(b"\x04\0\0\0\x40\0"), id="a PDU that drips"),
        pytest.param(floods, id="a message that never ends"),
        pytest.param(never_reads, id="a peer that takes nothing"),
    ],
)  # fmt: skip
def test_what_a_hostile_destination_says_is_not_believed_and_ends_in_time(
    db: Database, clock: FakeClock, behave: Behaviour
) -> None:
    queue_results(db, clock.now(), size=3_000_000 if behave is never_reads else 100)
    with hostile(behave) as port:
        settings = settings_for(db, {"PACS": port}, dimse_s=DIMSE_S)
        serving(db, clock, settings).step()
    (row,) = outbox.of_study(db, STUDY)
    assert (row.state, row.owner) == (ResultState.QUEUED, ""), row.reason
    assert row.reason
    assert [each.name for each in threading.enumerate() if each.name.startswith("RequestorThread")] == []


@pytest.mark.parametrize(
    "agreed",
    [
        pytest.param(acceptance({}), id="no context at all"),
        pytest.param(acceptance({1: (0, EXPLICIT), 3: (0, "1.2.840.10008.1.2.4.90")}), id="syntaxes never proposed"),
        pytest.param(acceptance({1: (9, IMPLICIT), 3: (7, EXPLICIT)}), id="results that there are not"),
        pytest.param(acceptance({5: (0, EXPLICIT), 7: (0, IMPLICIT)}), id="contexts never proposed"),
        pytest.param(acceptance({1: (4, IMPLICIT), 3: (0, EXPLICIT)})[:-20], id="cut off"),
        pytest.param(b"\x02\0\0\0\0\x44" + bytes(68), id="zeros"),
        pytest.param(b"\x02\0\x7f\xff\xff\xff" + bytes(1000), id="2 GiB"),
    ],
)
def test_a_junk_acceptance_gets_no_object(db: Database, clock: FakeClock, agreed: bytes) -> None:
    sent: list[bytes] = []

    def listens(connection: socket.socket, over: threading.Event) -> None:
        while not over.is_set():
            kind, content = read_pdu(connection)
            if kind == 4:
                sent.append(content)

    queue_results(db, clock.now())
    with hostile(listens, agreed) as port:
        serving(db, clock, settings_for(db, {"PACS": port}, dimse_s=DIMSE_S)).step()
    (row,) = outbox.of_study(db, STUDY)
    assert row.state in (ResultState.QUEUED, ResultState.DEAD)
    assert row.reason
    assert sent == []


def test_answers_without_an_identifier_count_too(db: Database) -> None:
    class Babbling(Dialogue):
        def _asked(self, *_: object) -> Iterator[Response]:
            yield from itertools.repeat(Response(0xFF00, "", None), 1000)

    peer = settings_for(db, {"PACS": 104}).peer_named("PACS")
    babbling = Babbling(None, peer, queue.SimpleQueue(), threading.Event())  # type: ignore[arg-type]
    with pytest.raises(Lost, match="far more than was asked"):
        babbling.find(FIND, Dataset(), most=20, limit_s=1.0)
