"""Archives that speak no DICOM, or far too much of it: the process that asks is bounded, and the room goes on."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator

import pytest

from node.errors import Failed, Transient
from node.loop import Stop
from node.retrieve.asking import CHILD, ask
from tests.retrieve.test_dicom_query import question

Talk = Callable[[socket.socket, threading.Event], None]


class Liar:
    """Takes one connection after the other and does to each what it is told."""

    def __init__(self, talk: Talk) -> None:
        self._talk = talk
        self._over = threading.Event()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._socket.settimeout(0.1)
        self.port = int(self._socket.getsockname()[1])
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._over.is_set():
            try:
                connection, _ = self._socket.accept()
            except TimeoutError:
                continue
            connection.settimeout(5)
            with connection:
                try:
                    connection.recv(65536)
                    self._talk(connection, self._over)
                except OSError:
                    continue

    def stop(self) -> None:
        self._over.set()
        self._thread.join(20)
        self._socket.close()


def says_nothing(connection: socket.socket, over: threading.Event) -> None:
    over.wait()


def hangs_up(connection: socket.socket, over: threading.Event) -> None:
    return


def speaks_http(connection: socket.socket, over: threading.Event) -> None:
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    over.wait()


def sends_junk(connection: socket.socket, over: threading.Event) -> None:
    connection.sendall(b"\x02\x00\x00\x00\x00\x44" + bytes(range(256))[:68])
    over.wait()


def sends_half_a_pdu(connection: socket.socket, over: threading.Event) -> None:
    connection.sendall(struct.pack(">BBI", 2, 0, 500) + b"\x00\x01")
    over.wait()


def sends_4_gib(connection: socket.socket, over: threading.Event) -> None:
    connection.sendall(struct.pack(">BBI", 2, 0, 0xFFFFFFFF))
    while not over.is_set():
        connection.sendall(bytes(1 << 20))


@pytest.fixture
def liar() -> Iterator[Callable[[Talk], Liar]]:
    started: list[Liar] = []

    def start(talk: Talk) -> Liar:
        started.append(Liar(talk))
        return started[-1]

    yield start
    for each in started:
        each.stop()


@pytest.mark.parametrize("talk", [says_nothing, hangs_up, speaks_http, sends_junk, sends_half_a_pdu, sends_4_gib])
def test_whatever_an_archive_does_the_question_ends(
    liar: Callable[[Talk], Liar], talk: Talk, capfd: pytest.CaptureFixture[str]
) -> None:
    asked = question(liar(talk).port, connect_s=1.0, answer_s=1.0)
    with pytest.raises((Transient, Failed)):
        ask(CHILD, asked, Stop(), lambda: None, start_s=20)
    assert len(capfd.readouterr().err.splitlines()) <= 2
