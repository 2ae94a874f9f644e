"""Thousands of spoiled inputs, the same at each run: a decoder answers with its own errors, soon and in little memory.

`benchmarks/mutated_streams.py` does the same to a whole listener, `benchmarks/fuzz.py` with coverage as its guide.
"""

from __future__ import annotations

import random
import socket
import time
import tracemalloc
from collections import Counter
from collections.abc import Callable
from contextlib import closing, suppress
from functools import partial

import pydicom.config
import pytest

from node.errors import MatinsError, Refused
from node.receive import command_set
from node.receive.command_set import Malformed
from node.receive.header import walk
from node.receive.intakes import cstore
from node.receive.message import Messages
from node.receive.negotiation import agree, decode_request
from node.receive.part10 import read_meta
from node.receive.syntaxes import supported_contexts
from node.receive.upper_layer import InvalidPdu
from tests.receive.mutation import data_sets, mangled, recordings, request, spoiled
from tests.receive.objects import mr_slice, part10
from tests.receive.peer import calling, connect, echo_command, store_command

COUNT = 2000


class Sink:
    """A data set's place."""

    def __init__(self) -> None:
        self.size = 0

    def write(self, piece: memoryview) -> None:
        self.size += len(piece)

    def finish(self) -> None:
        pass

    def discard(self) -> None:
        pass


def held_to(decode: Callable[[bytes], object], sound: list[bytes], errors: type[MatinsError]) -> Counter[str]:
    """Decode spoiled bytes; count what came of it. Anything but `errors` goes through."""
    chance = random.Random(f"{decode}"[:20])
    outcomes: Counter[str] = Counter()
    slowest_s = 0.0
    for number in range(COUNT):
        content = mangled(sound[number % len(sound)], chance)
        began_s = time.thread_time()
        try:
            decode(content)
        except errors:
            outcomes["refused"] += 1
        else:
            outcomes["taken"] += 1
        slowest_s = max(slowest_s, time.thread_time() - began_s)
    # Processor time of this thread: what else runs does not count.
    assert slowest_s < 1.0
    return outcomes


def peak_bytes(run: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        run()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("number", range(4))
def test_a_data_set(number: int):
    syntax, sound = data_sets()[number]
    outcomes = held_to(partial(_walk, syntax), [sound], Refused)
    assert min(outcomes["refused"], outcomes["taken"]) > 50


def test_the_head_of_a_file():
    outcomes = held_to(
        read_meta,
        [part10(mr_slice(), sending="SCANNER1")[:400], part10(mr_slice(), sending="SCANNER1")[132:400]],
        Refused,
    )
    assert min(outcomes["refused"], outcomes["taken"]) > 50


def test_a_command_set():
    outcomes = held_to(command_set.decode, [store_command(), echo_command()], Malformed)
    assert min(outcomes["refused"], outcomes["taken"]) > 50


def test_an_association_request(monkeypatch: pytest.MonkeyPatch):
    # As the listener sets the library.
    monkeypatch.setattr(pydicom.config.settings, "reading_validation_mode", pydicom.config.IGNORE)
    contexts = supported_contexts()

    def decode(content: bytes) -> None:
        agree(decode_request(content), contexts)

    outcomes = held_to(decode, [request()[6:]], InvalidPdu)
    assert min(outcomes["refused"], outcomes["taken"]) > 50


def test_presentation_data_values():
    sound = [b"".join(pdu[6:] for pdu in recording[1:-1]) for recording in recordings()]

    def decode(content: bytes) -> None:
        messages = Messages(range(1, 13, 2), _begin)
        messages.take(memoryview(content))
        messages.discard()

    outcomes = held_to(decode, sound, MatinsError)
    assert min(outcomes["refused"], outcomes["taken"]) > 50


def test_no_decoder_takes_more_memory_than_it_is_given():
    chance = random.Random("memory")
    syntax, sound = data_sets()[0]

    def many() -> None:
        for _ in range(300):
            for decode, content in (
                (partial(_walk, syntax), sound),
                (read_meta, part10(mr_slice(), sending="SCANNER1")[:400]),
            ):
                try:
                    decode(mangled(content, chance))
                except Refused:
                    continue

    assert peak_bytes(many) < 1 << 20


def test_spoiled_streams_end_and_a_good_peer_is_served_after_each_hundred(door: cstore.Acceptor):
    chance = random.Random("streams")
    good = recordings()
    for number in range(300):
        with closing(connect(door.port)) as connection, suppress(ConnectionResetError, BrokenPipeError):
            connection.sendall(spoiled(good[number % len(good)], good, chance))
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(1 << 16):
                pass
        if number % 100 == 99:
            with calling(door.port) as association:
                assert association.send_c_echo().Status == 0
    assert door.is_alive()


def _walk(syntax: str, content: bytes) -> None:
    walk(content, syntax)


def _begin(_context_id: int, encoded: bytes) -> Sink | None:
    return Sink() if command_set.decode(encoded).has_data_set else None
