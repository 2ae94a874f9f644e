"""A reading worklist that listens to HL7 v2 over MLLP, and answers as a test tells it."""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

#: What it does with one message: a code of table 0008, or one of these.
#: It keeps the message and closes before it acknowledges; resets the connection; says nothing; says other things first.
LOST, RESET, SILENT, JUNK, OTHERS, FOREIGN, TWICE, BYTEWISE, FLOOD = (
    "lost", "reset", "silent", "junk", "others", "foreign", "twice", "bytewise", "flood",
)  # fmt: skip


def acknowledgement(code: str, control_id: str, more: str = "") -> bytes:
    head = f"MSH|^~\\&|RIS|H|MATINS||20260101||ACK|X{control_id}|P|2.5.1"
    return f"\x0b{head}\rMSA|{code}|{control_id}{more}\r\x1c\r".encode()


@dataclass
class Ris:
    """Keeps a message once, by MSH-10. Replies are used up one by one; the last one stays."""

    replies: Sequence[str] = ("AA",)
    #: MSH-10 → message, in the order in which they first came.
    kept: dict[str, str] = field(default_factory=dict)
    #: MSH-10 of everything that came, in order.
    received: list[str] = field(default_factory=list)
    #: What came a second time under a known number, and was not the same.
    different: list[str] = field(default_factory=list)
    codec: str = "utf-8"
    port: int = 0
    tls: object = None
    over: threading.Event = field(default_factory=threading.Event)
    _count: int = 0

    def serve(self, listener: socket.socket) -> None:
        while not self.over.is_set():
            if select.select([listener], [], [], 0.05)[0]:
                with suppress(OSError):
                    connection, _ = listener.accept()
                    with connection:
                        self._speak(connection)

    def _speak(self, connection: socket.socket) -> None:
        if self.tls is not None:
            connection.settimeout(60)
            with self.tls.wrap_socket(connection, server_side=True) as secured:  # type: ignore[attr-defined]
                self._converse(secured)
        else:
            self._converse(connection)

    def _converse(self, connection: socket.socket) -> None:
        connection.settimeout(0.05)
        rest = b""
        while not self.over.is_set():
            try:
                piece = connection.recv(65536)
            except TimeoutError:
                continue
            if not piece:
                return
            rest += piece
            while b"\x1c\r" in rest:
                block, _, rest = rest.partition(b"\x1c\r")
                if not self._take(connection, block.lstrip(b"\x0b").decode(self.codec)):
                    return

    def _take(self, connection: socket.socket, message: str) -> bool:
        control_id = message.split("|")[9]
        reply = self.replies[min(self._count, len(self.replies) - 1)]
        self._count += 1
        self.received.append(control_id)
        if reply not in ("AE", "AR", "CE", "CR") and self.kept.setdefault(control_id, message) != message:
            self.different.append(message)
        if reply == LOST:
            return False
        if reply == RESET:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
            return False
        if reply == SILENT:
            return True
        if reply == FLOOD:
            with suppress(OSError):
                while not self.over.is_set():
                    connection.sendall(b"\x0b" + b"x" * 65536)
            return False
        code = reply if len(reply) == 2 else "AA"
        answer = acknowledgement(code, control_id, "|PATIENT CANARY^NAME\x1b[31m is not known" if code != "AA" else "")
        if reply == JUNK:
            answer = b"\x0b\x1c\r\x1c\x1cnonsense\x0bMSA|AA|" + control_id.encode() + b"\x1c\r\x0bMSH\x1c\r" + answer
        if reply == OTHERS:
            answer = acknowledgement("AA", "SOMEBODY-ELSES") + acknowledgement("AR", control_id[:-1]) + answer
        if reply == FOREIGN:
            answer = acknowledgement("AA", "SOMEBODY-ELSES")
        if reply == TWICE:
            answer = answer + answer
        if reply == BYTEWISE:
            for position in range(len(answer)):
                connection.sendall(answer[position : position + 1])
        else:
            connection.sendall(answer)
        return True


@contextmanager
def listening(ris: Ris) -> Iterator[Ris]:
    """Let the worklist listen on the loopback address."""
    with socket.create_server(("127.0.0.1", ris.port)) as listener:
        ris.port = listener.getsockname()[1]
        ris.over.clear()
        thread = threading.Thread(target=ris.serve, args=(listener,))
        thread.start()
        try:
            yield ris
        finally:
            ris.over.set()
            thread.join()
