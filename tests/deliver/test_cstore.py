"""Peers that break the protocol: bounded in time, nothing believed, the row is tried again."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from node.config import DeliverSettings, Peer
from node.deliver.association import associated
from node.deliver.carriage import Unreachable
from tests.deliver.conftest import EXPLICIT
from tests.fakes import SR

PATIENCE = DeliverSettings(connect_s=5, dimse_s=1, backoff_s=1, backoff_maximum_s=2)


@contextmanager
def raw_peer(behave: Callable[[socket.socket], None]) -> Iterator[Peer]:
    """A listener that reads the A-ASSOCIATE-RQ and then does as it likes."""
    over = threading.Event()

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            behave(connection)
            over.wait(60)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        yield Peer(name="PACS", ae_title="PACS", host="127.0.0.1", port=listener.getsockname()[1])
        over.set()
        thread.join(60)


def send(content: bytes) -> Callable[[socket.socket], None]:
    return lambda connection: connection.sendall(content)


def close(connection: socket.socket) -> None:
    connection.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize(
    "behave",
    [
        pytest.param(send(b""), id="silence"),
        pytest.param(close, id="close"),
        pytest.param(send(b"HTTP/1.1 400 Bad Request\r\n\r\n"), id="another protocol"),
        pytest.param(send(b"\x02\0\0\0\0\x04abcd"), id="an acceptance of four bytes"),
        pytest.param(send(b"\x02\0\xff\xff\xff\xff" + bytes(1000)), id="half a PDU of 4 GiB"),
        pytest.param(send(b"\x04\0\0\0\0\x06\0\0\0\x02\x01\x03"), id="data before the association"),
        pytest.param(send(b"\x05\0\0\0\0\x04\0\0\0\0"), id="a release"),
        pytest.param(send(b"\x07\0\0\0\0\x04\0\0\0\0"), id="an abort"),
    ],
)
def test_a_peer_that_speaks_no_dicom_is_unreachable_for_now(behave: Callable[[socket.socket], None]) -> None:
    with (
        raw_peer(behave) as peer,
        pytest.raises(Unreachable, match="gave no answer") as caught,
        associated(peer, "MATINS", PATIENCE, [(SR, EXPLICIT)]),
    ):
        pass
    assert not caught.value.by_configuration
