from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from node.config import ReceiveSettings
from node.receive.upper_layer import AbortReason, InvalidPdu
from node.receive.wire import LONGEST_OTHER, LONGEST_REQUEST, Ended, Expired, Interrupted, Wire

LIMITS = ReceiveSettings(artim_s=0.3, idle_s=0.2, maximum_pdu_bytes=65536)


@pytest.fixture
def pair() -> Iterator[tuple[Wire, socket.socket]]:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        theirs = socket.create_connection(listening.getsockname(), timeout=10)
        ours, _ = listening.accept()
    wire = Wire(ours, LIMITS)
    yield wire, theirs
    wire.close()
    theirs.close()


def pdu(kind: int, value: bytes) -> bytes:
    return struct.pack(">BxI", kind, len(value)) + value


def read(wire: Wire) -> tuple[int, bytes]:
    kind, length = wire.header()
    return kind, bytes(wire.value(length))


def test_pdus_of_every_size_come_out_as_they_went_in(pair: tuple[Wire, socket.socket]):
    wire, peer = pair
    sizes = [0, 1, 5, 6, 100, 8191, 8192, 8193, 65535, 65536, 65536, 3, 65536, 40000, 40000, 7]
    values = [bytes([number]) * size for number, size in enumerate(sizes)]
    sender = threading.Thread(target=lambda: [peer.sendall(pdu(4, value)) for value in values])
    sender.start()
    for value in values:
        assert read(wire) == (4, value)
    sender.join()


def test_a_pdu_that_comes_byte_by_byte_is_whole(pair: tuple[Wire, socket.socket]):
    wire, peer = pair
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    content = pdu(5, bytes(4)) + pdu(4, b"abc")
    sender = threading.Thread(target=lambda: [peer.sendall(content[at : at + 1]) for at in range(len(content))])
    sender.start()
    assert [read(wire), read(wire)] == [(5, bytes(4)), (4, b"abc")]
    sender.join()


@pytest.mark.parametrize(
    ("kind", "length", "reason"),
    [
        (0, 4, AbortReason.UNRECOGNIZED_PDU),
        (8, 4, AbortReason.UNRECOGNIZED_PDU),
        (0x47, 0xFFFFFFFF, AbortReason.UNRECOGNIZED_PDU),
        (4, LIMITS.maximum_pdu_bytes + 1, AbortReason.INVALID_PARAMETER_VALUE),
        (4, 0xFFFFFFFF, AbortReason.INVALID_PARAMETER_VALUE),
        (1, LONGEST_REQUEST + 1, AbortReason.INVALID_PARAMETER_VALUE),
        *((kind, LONGEST_OTHER + 1, AbortReason.INVALID_PARAMETER_VALUE) for kind in (2, 3, 5, 6, 7)),
    ],
)
def test_a_header_is_judged_before_anything_is_read(
    pair: tuple[Wire, socket.socket], kind: int, length: int, reason: AbortReason
):
    wire, peer = pair
    peer.sendall(struct.pack(">BxI", kind, length))
    with pytest.raises(InvalidPdu) as found:
        wire.header()
    assert found.value.reason is reason


def test_what_a_header_promises_takes_no_memory(pair: tuple[Wire, socket.socket]):
    wire, peer = pair
    peer.sendall(struct.pack(">BxI", 1, LONGEST_REQUEST) + bytes(3000))
    with pytest.raises(Expired, match="3006 of"):
        read(wire)
    assert len(wire._buffer) == 8192


def test_the_buffer_stops_growing_at_the_longest_pdu(pair: tuple[Wire, socket.socket]):
    wire, peer = pair
    sender = threading.Thread(target=lambda: [peer.sendall(pdu(4, bytes(65536))) for _ in range(40)])
    sender.start()
    for _ in range(40):
        read(wire)
    sender.join()
    assert len(wire._buffer) <= 65536 + 8192


@pytest.mark.parametrize("window", [1, 1000, 8192, 65536])
def test_a_value_that_is_put_where_it_will_lie_is_the_one_that_was_sent(pair: tuple[Wire, socket.socket], window: int):
    wire, peer = pair
    sizes = [6, 65536, 65536, 7, 40000, 12, 65536, 100]
    values = [bytes([number]) * size for number, size in enumerate(sizes, 1)]
    sender = threading.Thread(target=lambda: [peer.sendall(pdu(4, value)) for value in values])
    sender.start()
    for value in values:
        assert wire.header() == (4, len(value))
        assert bytes(wire.peek(6)) == value[:6]
        wire.skip(6)
        placed = memoryview(bytearray(len(value) - 6))
        for at in range(0, len(placed), window):
            wire.fill(placed[at : at + window])
        assert placed == value[6:]
    sender.join()


def test_a_value_whose_last_bytes_come_alone_is_whole_and_what_follows_too(pair: tuple[Wire, socket.socket]):
    wire, peer = pair
    stream = pdu(4, b"123456" + bytes(range(50))) + pdu(4, b"next one") + pdu(5, bytes(4))

    def drip() -> None:
        for at in range(0, len(stream), 7):
            peer.sendall(stream[at : at + 7])
            time.sleep(0.002)

    sender = threading.Thread(target=drip)
    sender.start()
    assert wire.header() == (4, 56)
    assert bytes(wire.peek(6)) == b"123456"
    wire.skip(6)
    placed = memoryview(bytearray(50))
    wire.fill(placed)
    assert placed == bytes(range(50))
    assert [read(wire), read(wire)] == [(4, b"next one"), (5, bytes(4))]
    sender.join()


def placing(pair: tuple[Wire, socket.socket], sent: int) -> tuple[Wire, socket.socket]:
    """A value of 60 000 bytes is to be put where it will lie; of its PDU so many bytes were sent."""
    wire, peer = pair
    peer.sendall(pdu(4, bytes(60000))[:sent])
    wire.header()
    wire.skip(0)
    return wire, peer


def test_a_value_that_stops_coming_expires_while_it_is_put_where_it_will_lie(pair: tuple[Wire, socket.socket]):
    wire, peer = placing(pair, 30000)
    began_s = time.monotonic()
    with pytest.raises(Expired, match="of 60000 bytes"):
        wire.fill(memoryview(bytearray(60000)))
    assert time.monotonic() - began_s < 5
    peer.close()


def test_a_drip_expires_however_often_room_is_made_for_it(pair: tuple[Wire, socket.socket]):
    wire, peer = pair
    stop = threading.Event()

    def drip() -> None:
        with suppress(OSError):
            peer.sendall(pdu(4, bytes(60000))[:106])
            while not stop.wait(0.02):
                peer.sendall(bytes(50))

    sender = threading.Thread(target=drip)
    sender.start()
    wire.header()
    wire.skip(0)
    began_s = time.monotonic()
    with pytest.raises(Expired):
        for _ in range(600):
            wire.fill(memoryview(bytearray(100)))
    assert time.monotonic() - began_s < 5
    stop.set()
    sender.join()


def test_what_is_done_with_the_bytes_is_no_slowness_of_the_peer(pair: tuple[Wire, socket.socket]):
    wire, peer = placing(pair, 20000)
    threading.Timer(0.05, peer.sendall, [bytes(10006)]).start()
    wire.fill(memoryview(bytearray(30000)))
    time.sleep(2 * LIMITS.artim_s)
    threading.Timer(0.05, peer.sendall, [bytes(15000)]).start()
    threading.Timer(0.1, peer.sendall, [bytes(15000)]).start()
    wire.fill(memoryview(bytearray(30000)))


def test_another_thread_can_interrupt_while_a_value_is_put_where_it_will_lie(pair: tuple[Wire, socket.socket]):
    wire, _ = placing(pair, 30000)
    interrupter = threading.Timer(0.05, wire.interrupt)
    interrupter.start()
    with pytest.raises(Interrupted):
        wire.fill(memoryview(bytearray(60000)))
    interrupter.join()


def test_the_end_of_the_connection_inside_a_value_is_told(pair: tuple[Wire, socket.socket]):
    wire, peer = placing(pair, 30000)
    peer.close()
    with pytest.raises(Ended):
        wire.fill(memoryview(bytearray(60000)))


def test_silence_between_pdus_expires(pair: tuple[Wire, socket.socket]):
    wire, peer = pair
    peer.sendall(pdu(4, b"x"))
    read(wire)
    with pytest.raises(Expired, match="0 of 1 bytes"):
        wire.header()


def test_a_slow_drip_expires_though_something_always_comes(pair: tuple[Wire, socket.socket]):
    wire, peer = pair
    stop = threading.Event()

    def drip() -> None:
        peer.sendall(struct.pack(">BxI", 4, 10000))
        while not stop.wait(0.02):
            peer.sendall(b"x")

    dripping = threading.Thread(target=drip)
    dripping.start()
    try:
        with pytest.raises(Expired, match="of 10006 bytes"):
            read(wire)
    finally:
        stop.set()
        dripping.join()


def test_artim_bounds_everything_while_it_runs(pair: tuple[Wire, socket.socket]):
    wire, peer = pair
    wire.start_artim()
    assert 0 < wire.artim_left_s() <= LIMITS.artim_s
    time.sleep(LIMITS.artim_s)
    assert wire.artim_left_s() == 0
    peer.sendall(b"\x01")
    with pytest.raises(Expired):
        wire.header()
    wire.stop_artim()
    peer.sendall(pdu(5, bytes(4))[1:])
    # The byte that came in time for nothing stands before these.
    assert wire.header() == (1, 4)


@pytest.mark.parametrize("sent", [b"", b"\x04\x00", pdu(4, b"abc")[:-1]])
def test_the_end_of_the_connection_is_told(pair: tuple[Wire, socket.socket], sent: bytes):
    wire, peer = pair
    peer.sendall(sent)
    peer.close()
    with pytest.raises(Ended):
        read(wire)


def test_a_reset_is_the_end_too(pair: tuple[Wire, socket.socket]):
    wire, peer = pair
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()
    with pytest.raises(Ended):
        wire.header()


def test_who_does_not_read_expires_and_gets_nothing_more(pair: tuple[Wire, socket.socket]):
    wire, _ = pair
    with pytest.raises(Expired, match="does not read"):
        for _ in range(1000):
            wire.send(bytes(1 << 20))
    with pytest.raises(Ended):
        wire.send(b"more")


def test_another_thread_can_interrupt(pair: tuple[Wire, socket.socket]):
    wire, peer = pair
    interrupter = threading.Timer(0.05, wire.interrupt)
    interrupter.start()
    with pytest.raises(Interrupted):
        wire.header()
    interrupter.join()
    wire.send(b"still heard")
    assert peer.recv(100) == b"still heard"


def test_who_sends_without_a_pause_is_interrupted_all_the_same(pair: tuple[Wire, socket.socket]):
    wire, peer = pair
    peer.sendall(pdu(4, b"more"))
    wire.interrupt()
    with pytest.raises(Interrupted):
        wire.header()


def test_draining_says_that_nothing_follows_and_waits_for_the_end(pair: tuple[Wire, socket.socket]):
    wire, peer = pair
    wire.send(b"last")
    peer.sendall(bytes(100000))
    wire.start_artim()
    draining = threading.Thread(target=wire.drain)
    draining.start()
    assert peer.recv(100) == b"last"
    assert peer.recv(100) == b""
    peer.close()
    draining.join(5)
    assert not draining.is_alive()


def test_draining_ends_with_artim(pair: tuple[Wire, socket.socket]):
    wire, _ = pair
    wire.start_artim()
    wire.drain()
    assert wire.artim_left_s() == 0
