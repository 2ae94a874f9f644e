"""Who leans on the door, over the wire: each attack gets its exact answer, and a good peer is served while it lasts."""

from __future__ import annotations

import random
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import pytest
from pydicom.uid import MRImageStorage
from pynetdicom import build_context
from pynetdicom.pdu import A_ASSOCIATE_RQ

from node.receive import association
from node.receive.acceptor import Acceptor
from node.receive.intakes import cstore
from node.receive.keeper import Keeper
from node.store import events, instances
from node.store.database import Database
from tests.receive.objects import PEER, encoded, mr_slice, settings_for
from tests.receive.peer import (
    association_request,
    bare,
    command_set,
    connect,
    echo_command,
    p_data,
    pdu_from,
    store_command,
)
from tests.receive.stub_keeper import StubIncoming, StubKeeper

BAD, GOOD = "BAD", "SCANNER1"
PEERS = (PEER, {**PEER, "name": "BAD", "ae_title": BAD})
REJECT, ABORT = 3, 7
#: How long a good peer waits before it gives up, seconds.
PATIENCE_S = 5.0
INVALID = (ABORT, bytes([0, 0, 2, 6]))
UNRECOGNIZED = (ABORT, bytes([0, 0, 2, 1]))
UNEXPECTED = (ABORT, bytes([0, 0, 2, 2]))
UNRECOGNIZED_PARAMETER = (ABORT, bytes([0, 0, 2, 4]))
UNEXPECTED_PARAMETER = (ABORT, bytes([0, 0, 2, 5]))


class ForgetfulIncoming(StubIncoming):
    """Counts what it is given."""

    received = 0

    def write(self, piece: memoryview) -> None:
        ForgetfulIncoming.received += len(piece)


class ForgetfulKeeper(StubKeeper):
    """Keeps nothing at all."""

    def receive(self, origin, **named):
        return ForgetfulIncoming(origin, named, {})


def opened(folder: Path, db: Database, **limits: object) -> Acceptor:
    receive = {"artim_s": 1.0, "idle_s": 30.0, "maximum_associations": 24, "maximum_associations_per_peer": 12}
    settings = settings_for(folder / "var", *PEERS, receive={**receive, **limits})
    return cstore.start(settings, ForgetfulKeeper(db).as_keeper())


@pytest.fixture
def port(tmp_path: Path, db: Database) -> Iterator[int]:
    running = opened(tmp_path, db)
    yield running.port
    running.stop(0.0)


def good_echo(port: int) -> None:
    """A good peer comes in, is answered, and leaves."""
    with closing(bare(port, association_request(GOOD))) as peer:
        peer.socket.settimeout(PATIENCE_S)
        assert peer.echo() == 0x0000
        peer.release()


# ------------------------------------------------------------------------------------------- A1: places and patience


def silent(port: int, _number: int) -> socket.socket:
    return connect(port)


def half_a_header(port: int, number: int) -> socket.socket:
    connection = connect(port)
    connection.sendall(b"\x01\x00\x00\x00\x00"[: number % 5 + 1])
    return connection


def half_a_request(port: int, number: int) -> socket.socket:
    connection = connect(port)
    request = association_request(BAD)
    connection.sendall(request[: len(request) - 1 - number % 100])
    return connection


@pytest.mark.parametrize("come", [silent, half_a_header, half_a_request])
def test_two_hundred_who_never_say_who_they_are(port: int, come: Callable[[int, int], socket.socket]):
    with ExitStack() as held:
        for number in range(200):
            held.enter_context(closing(come(port, number)))
        good_echo(port)
        before = threading.active_count()
        assert before < 24 * 2 + 10
    good_echo(port)


def test_a_slow_drip_ends_with_artim_though_something_always_comes(port: int):
    request, stop = association_request(BAD), threading.Event()
    with ExitStack() as held:
        drips = [held.enter_context(closing(connect(port))) for _ in range(20)]

        def drip() -> None:
            for byte in request:
                for connection in drips:
                    with suppress(OSError):
                        connection.sendall(bytes([byte]))
                if stop.wait(0.05):
                    return

        dripping = threading.Thread(target=drip)
        dripping.start()
        try:
            good_echo(port)
            assert {pdu_from(connection)[0] for connection in drips} == {0}
        finally:
            stop.set()
            dripping.join()


def test_idle_associations_hold_their_peers_places_and_nobody_elses(port: int, db: Database):
    with ExitStack() as held:
        for _ in range(12):
            held.enter_context(closing(bare(port, association_request(BAD))))
        refused = held.enter_context(closing(connect(port)))
        refused.sendall(association_request(BAD))
        assert pdu_from(refused) == (REJECT, bytes([0, 2, 3, 2]))
        good_echo(port)
        assert "RJ 2/3/2: more than 12 associations of BAD at once" in events.latest(db, "association")[0].reason


def test_places_in_all_are_bounded_too(tmp_path: Path, db: Database):
    running = opened(tmp_path, db, maximum_associations=4)
    try:
        with ExitStack() as held:
            for title in (BAD, GOOD, BAD, GOOD):
                held.enter_context(closing(bare(running.port, association_request(title))))
            refused = held.enter_context(closing(connect(running.port)))
            refused.sendall(association_request(GOOD))
            assert pdu_from(refused) == (REJECT, bytes([0, 2, 3, 2]))
    finally:
        running.stop(0.0)


def test_who_does_not_read_is_ended_and_its_place_is_free(port: int):
    with ExitStack() as held:
        deaf = [held.enter_context(closing(bare(port, association_request(BAD)))) for _ in range(12)]
        for peer in deaf:
            peer.socket.setblocking(False)
            with suppress(BlockingIOError, ConnectionResetError, BrokenPipeError):
                while True:
                    peer.socket.sendall(p_data(3, 3, echo_command()) * 100)
        good_echo(port)
        for peer in deaf:
            # Ended while the peer still reads nothing: what it sends is refused.
            peer.socket.setblocking(True)
            peer.socket.settimeout(PATIENCE_S)
            with pytest.raises((ConnectionResetError, BrokenPipeError)):
                while True:
                    peer.socket.sendall(p_data(3, 3, echo_command()))
        good_echo(port)


def test_who_was_rejected_or_aborted_and_stays_holds_no_place(port: int):
    with ExitStack() as held:
        for number in range(60):
            connection = held.enter_context(closing(connect(port)))
            if number % 2:
                connection.sendall(association_request("NOBODY"))
                assert pdu_from(connection)[0] == REJECT
            else:
                connection.sendall(association_request(BAD) + b"\x04\0\0\0\0\0")
                assert [pdu_from(connection)[0], pdu_from(connection)] == [2, INVALID]
        good_echo(port)


# -------------------------------------------------------------------------------------------- A2: lengths and amounts


@pytest.mark.parametrize("kind", [1, 2, 3, 4, 5, 6, 7])
@pytest.mark.parametrize("length", [0xFFFFFFFF, 0x80000000, (512 << 10) + 1])
@pytest.mark.parametrize("associated", [False, True])
def test_a_length_over_the_limit_is_invalid_at_its_header(port: int, kind: int, length: int, associated: bool):
    connection = bare(port, association_request(BAD)).socket if associated else connect(port)
    with closing(connection):
        connection.sendall(struct.pack(">BxI", kind, length))
        assert [pdu_from(connection), pdu_from(connection)[0]] == [INVALID, 0]


def test_a_byte_over_the_maximum_length_is_too_much(port: int):
    with closing(bare(port, association_request(BAD))) as peer:
        peer.socket.sendall(struct.pack(">BxI", 4, 131073))
        assert peer.pdu() == INVALID
    with closing(bare(port, association_request(BAD))) as peer:
        peer.begin_store()
        peer.data(bytes(131072 - 6), last=True)
        assert peer.answer()[0] == 0x0000


def flooded(connection: socket.socket, pdu: bytes, times: int) -> None:
    with suppress(ConnectionResetError, BrokenPipeError):
        for _ in range(times):
            connection.sendall(pdu)


def test_a_command_without_an_end_is_invalid(port: int):
    with closing(bare(port, association_request(BAD))) as peer:
        flooded(peer.socket, p_data(1, 1, bytes(16000)), 5)
        assert peer.pdu() == INVALID
    good_echo(port)


def test_a_data_set_without_an_end_is_refused_and_aborted(tmp_path: Path, db: Database):
    running = opened(tmp_path, db, maximum_object_bytes=1 << 20)
    ForgetfulIncoming.received = 0
    try:
        with closing(bare(running.port, association_request(BAD))) as peer:
            peer.begin_store()
            flooded(peer.socket, p_data(1, 0, bytes(65536)), 17)
            assert peer.answer()[0] == 0xA700
            assert peer.pdu()[0] == ABORT
        assert ForgetfulIncoming.received == 1 << 20
        good_echo(running.port)
    finally:
        running.stop(0.0)


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"\0",
        struct.pack(">IBB", 0, 1, 3),
        struct.pack(">IBB", 1, 1, 3),
        struct.pack(">IBB", 0x7FFFFFFF, 1, 3) + bytes(100),
        struct.pack(">IBB", 103, 1, 3) + bytes(100),
        struct.pack(">IBB", 99, 1, 1) + bytes(100),
    ],
)
def test_pdvs_that_lie_are_invalid(port: int, value: bytes):
    with closing(bare(port, association_request(BAD))) as peer:
        peer.socket.sendall(struct.pack(">BxI", 4, len(value)) + value)
        assert peer.pdu() == INVALID


# ------------------------------------------------------------------------------------------ A3: out of turn, and junk

RELEASE_RQ, RELEASE_RP = struct.pack(">BxI4x", 5, 4), struct.pack(">BxI4x", 6, 4)
ACCEPT_PDU, REJECT_PDU = struct.pack(">BxI", 2, 68) + bytes(68), struct.pack(">BxI", 3, 4) + bytes(4)


@pytest.mark.parametrize(
    ("sent", "answer"),
    [
        (p_data(1, 3, echo_command()), UNEXPECTED),
        (RELEASE_RQ, UNEXPECTED),
        (RELEASE_RP, UNEXPECTED),
        (ACCEPT_PDU, UNEXPECTED),
        (REJECT_PDU, UNEXPECTED),
        (b"\x00\0\0\0\0\4\0\0\0\0", UNRECOGNIZED),
        (b"\x08\0\0\0\0\4\0\0\0\0", UNRECOGNIZED),
        (b"\xff" * 10, UNRECOGNIZED),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", UNRECOGNIZED),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(32), UNRECOGNIZED),
        (struct.pack(">BxI", 1, 0), INVALID),
        (struct.pack(">BxI", 1, 1000) + bytes(1000), UNRECOGNIZED_PARAMETER),
        (struct.pack(">BxI", 1, 1000) + random.Random(1).randbytes(1000), INVALID),
        (b"\x07\0\0\0\0\4\0\0\0\0", (0, b"")),
    ],
)
def test_what_may_not_come_first(port: int, sent: bytes, answer: tuple[int, bytes]):
    with closing(connect(port)) as connection:
        connection.sendall(sent)
        assert pdu_from(connection) == answer
        assert pdu_from(connection)[0] == 0


@pytest.mark.parametrize(
    ("sent", "answer"),
    [
        (association_request(BAD), UNEXPECTED),
        (ACCEPT_PDU, UNEXPECTED),
        (REJECT_PDU, UNEXPECTED),
        (RELEASE_RP, UNEXPECTED),
        (b"\x00\0\0\0\0\4\0\0\0\0", UNRECOGNIZED),
        (b"\x99\0\0\0\0\4\0\0\0\0", UNRECOGNIZED),
        (b"\x07\0\0\0\0\4\0\0\0\0", (0, b"")),
        (p_data(5, 3, echo_command()), UNEXPECTED_PARAMETER),
        (p_data(2, 3, echo_command()), UNEXPECTED_PARAMETER),
        (p_data(0, 3, echo_command()), UNEXPECTED_PARAMETER),
        (p_data(1, 0, b"data first"), UNEXPECTED_PARAMETER),
        (p_data(1, 3, store_command()) + p_data(1, 3, store_command()), UNEXPECTED_PARAMETER),
        (p_data(1, 3, store_command()) + p_data(1, 0, b"x") + p_data(3, 0, b"x"), UNEXPECTED_PARAMETER),
        (p_data(1, 1, store_command()[:20]) + p_data(3, 3, echo_command()), UNEXPECTED_PARAMETER),
        (p_data(1, 3, b""), INVALID),
        (p_data(1, 3, b"no command at all"), INVALID),
        (p_data(1, 3, command_set(0x8001, [(0x0120, b"\1\0")], data_set=False)), INVALID),
    ],
)
def test_what_may_not_come_in_an_association(port: int, sent: bytes, answer: tuple[int, bytes]):
    with closing(bare(port, association_request(BAD))) as peer:
        peer.socket.sendall(sent)
        assert peer.pdu() == answer
        assert peer.pdu()[0] == 0
    good_echo(port)


def test_after_a_release_nothing_is_answered(port: int):
    with closing(bare(port, association_request(BAD))) as peer:
        peer.socket.sendall(RELEASE_RQ + p_data(3, 3, echo_command()) + association_request(BAD))
        assert [peer.pdu()[0], peer.pdu()[0]] == [6, 0]


def test_a_request_without_any_context_that_is_offered_is_accepted_without_one(port: int):
    pdu = A_ASSOCIATE_RQ()
    pdu.decode(association_request(BAD))
    context = build_context("1.2.3.4.5")
    context.context_id = 1
    primitive = pdu.to_primitive()
    primitive.presentation_context_definition_list = [context]
    pdu = A_ASSOCIATE_RQ()
    pdu.from_primitive(primitive)
    with closing(bare(port, pdu.encode())) as peer:
        peer.socket.sendall(p_data(1, 3, echo_command()))
        assert peer.pdu() == UNEXPECTED_PARAMETER


def test_mutated_streams_neither_kill_nor_deafen(port: int):
    """A short run of what `benchmarks/` does for long; the seed makes it the same each time."""
    seeded = random.Random(20261121)
    whole = [
        association_request(BAD),
        p_data(3, 3, echo_command()),
        p_data(1, 3, store_command()),
        p_data(1, 2, encoded(mr_slice())),
        RELEASE_RQ,
    ]
    for number in range(300):
        stream = bytearray(b"".join(whole[seeded.randrange(2) :]) if number % 7 else whole[0] + b"".join(whole))
        for _ in range(seeded.randrange(1, 8)):
            at = seeded.randrange(min(len(stream), 600))
            stream[at : at + seeded.randrange(3)] = seeded.randbytes(seeded.randrange(3))
        with closing(connect(port)) as connection, suppress(ConnectionResetError, BrokenPipeError):
            connection.sendall(stream)
            connection.shutdown(socket.SHUT_WR)
            while pdu_from(connection)[0]:
                pass
        if number % 50 == 0:
            good_echo(port)
    good_echo(port)


# --------------------------------------------------------------------------------- A6: data sets that are not sound

SOUND = encoded(mr_slice())
PIXELS = SOUND.index(b"\xe0\x7f\x10\x00")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x08",
        SOUND[:-1],
        SOUND[: PIXELS + 4],
        SOUND + b"\0",
        SOUND[: PIXELS + 8] + b"\xff\xff\xff\xff" + SOUND[PIXELS + 12 :],
        SOUND[: PIXELS + 8] + b"\xfe\xff\xff\xff" + SOUND[PIXELS + 12 :],
        SOUND[:4] + b"\0\0" + SOUND[6:],
        bytes(5000),
        random.Random(2).randbytes(5000),
    ],
    ids=[
        *("empty", "one byte", "cut", "cut in a header", "a byte more", "undefined without end", "4 GiB promised"),
        *("no VR", "zeros", "noise"),
    ],
)
def test_a_data_set_that_is_not_sound_cannot_be_understood(
    door: cstore.Acceptor, keeper: Keeper, db: Database, content: bytes
):
    with closing(bare(door.port)) as peer:
        peer.begin_store()
        peer.data(content, last=True)
        status, comment = peer.answer()
        assert status & 0xF000 == 0xC000
        assert comment
        assert peer.store(SOUND)[0] == 0x0000
    assert keeper.settle()
    assert len(instances.of_study(db, current_only=False)) == 1


# -------------------------------------------------------------------------------------------------- A8: who may call


def rejected(port: int, request: bytes) -> tuple[int, bytes]:
    with closing(connect(port)) as connection:
        connection.sendall(request)
        return pdu_from(connection)


def with_fixed(request: bytes, at: int, content: bytes) -> bytes:
    return request[:at] + content + request[at + len(content) :]


@pytest.mark.parametrize(
    ("request_pdu", "codes"),
    [
        (association_request("NOBODY"), (1, 1, 3)),
        (with_fixed(association_request(GOOD), 26, b" " * 16), (1, 1, 3)),
        (with_fixed(association_request(GOOD), 26, b"\xff\0\r\n" * 4), (1, 1, 3)),
        (with_fixed(association_request(GOOD), 10, b"ELSEWHERE".ljust(16)), (1, 1, 7)),
        (with_fixed(association_request(GOOD), 10, b" " * 16), (1, 1, 7)),
        (association_request(GOOD, application_context="1.2.3"), (1, 1, 2)),
        (with_fixed(association_request(GOOD), 6, b"\0\2"), (1, 2, 2)),
    ],
)
def test_who_may_not_call_is_told_the_code(port: int, db: Database, request_pdu: bytes, codes: tuple[int, int, int]):
    assert rejected(port, request_pdu) == (REJECT, bytes([0, *codes]))
    [event] = events.latest(db, "association")
    assert event.reason.startswith("RJ {}/{}/{}: ".format(*codes))
    assert event.subject.isprintable()
    good_echo(port)


def test_version_bits_that_are_not_ours_are_not_tested(port: int):
    with closing(bare(port, with_fixed(association_request(GOOD), 6, b"\xff\xff"))) as peer:
        assert peer.echo() == 0x0000


def test_a_title_from_the_wrong_address_is_rejected_and_told_as_an_alert(tmp_path: Path, db: Database):
    settings = settings_for(tmp_path / "var", {**PEER, "addresses": ["10.0.0.0/8"]})
    running = cstore.start(settings, ForgetfulKeeper(db).as_keeper())
    try:
        assert rejected(running.port, association_request(GOOD)) == (REJECT, bytes([0, 1, 1, 3]))
    finally:
        running.stop(0.0)
    [event] = events.latest(db, "security")
    assert event.subject == "SCANNER1 at 127.0.0.1"


def test_an_address_on_no_list_is_closed_before_a_byte_is_read(
    port: int, db: Database, monkeypatch: pytest.MonkeyPatch
):
    class Elsewhere:
        is_loopback = False

    real = association.ip_address
    monkeypatch.setattr(association, "_is_from", lambda *_: False)
    monkeypatch.setattr(association, "ip_address", lambda _address: Elsewhere())
    with closing(connect(port)) as connection:
        assert pdu_from(connection) == (0, b"")
    monkeypatch.undo()
    assert association.ip_address is real
    good_echo(port)


def test_a_low_disk_rejects_for_now(port: int, monkeypatch: pytest.MonkeyPatch):
    with monkeypatch.context() as disk:
        disk.setattr(association, "has_room", lambda *_: False)
        assert rejected(port, association_request(GOOD)) == (REJECT, bytes([0, 2, 3, 1]))
    good_echo(port)


def test_a_user_identity_that_is_refused_is_told(tmp_path: Path, db: Database):
    settings = settings_for(tmp_path / "var", {**PEER, "user": {"name": "night"}})
    running = cstore.start(settings, ForgetfulKeeper(db).as_keeper())
    try:
        assert rejected(running.port, association_request(GOOD)) == (REJECT, bytes([0, 1, 1, 1]))
    finally:
        running.stop(0.0)


# ------------------------------------------------------------------------------------- A11: what a store does not do


@pytest.mark.parametrize("field", [0x0010, 0x0020, 0x0021, 0x0100, 0x0110, 0x0120, 0x0130, 0x0140, 0x0150])
def test_no_other_operation_is_done_on_a_storage_context(port: int, field: int):
    with closing(bare(port, association_request(BAD))) as peer:
        assert peer.ask(command_set(field, [(0x0002, MRImageStorage.encode())], data_set=False))[0] == 0x0211
        assert set(peer.last) == {0x0000, 0x0002, 0x0100, 0x0120, 0x0800, 0x0900, 0x0902}
        assert peer.echo() == 0x0000
