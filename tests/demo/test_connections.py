from __future__ import annotations

import gc
import socket
import struct
import sys
import threading

import pytest

from node.demo.head import DemoStudy
from node.demo.sender import Address, send
from node.errors import Transient

#: Close without a goodbye: the peer's connection is reset.
RESET = struct.pack("ii", 1, 0)


def test_a_connection_that_the_peer_resets_is_closed(
    studies: dict[str, DemoStudy], monkeypatch: pytest.MonkeyPatch
) -> None:
    left: list[object] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def reset() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(65536)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)

        resetting = threading.Thread(target=reset)
        resetting.start()
        gc.collect()
        monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: left.append(unraisable.exc_value))
        with pytest.raises(Transient, match="broke off"):
            send(studies["unsuitable"].instances[:1], Address("127.0.0.1", listening.getsockname()[1], "RUDE"))
        resetting.join()
    gc.collect()
    assert left == []
