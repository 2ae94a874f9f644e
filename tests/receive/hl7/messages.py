"""Messages as hospital systems write them, and a sender that speaks MLLP."""

from __future__ import annotations

import itertools
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from node.config import Settings
from node.config.hl7 import Hl7Sender
from tests.receive.objects import PEER, settings_for
from tests.site import free_port

RIS = {
    "name": "RIS",
    "application": "RADIS",
    "facility": "HOSP",
    "addresses": ["127.0.0.1/32"],
    "issuer": "A",
    "authorities": {"HOSP": "A", "1.2.276.1": "A", "OTHERHOSP": "B"},
    "timezone": "Europe/Berlin",
    "priorities": {"URG": "HIGH"},
}
SENDER = Hl7Sender.model_validate(RIS)
_numbers = itertools.count(1)


def message(
    kind: str,
    *segments: str,
    control_id: str = "",
    sender: str = "RADIS|HOSP",
    at: str = "20260102030000",
    more: str = "",
) -> bytes:
    """A message of the RIS; `kind` as "ADT^A08"."""
    number = control_id or f"M{next(_numbers)}"
    header = f"MSH|^~\\&|{sender}|MATINS||{at}||{kind}|{number}|P|2.5.1{more}"
    return "\r".join((header, *segments)).encode() + b"\r"


def pid(ids: str = "P1^^^HOSP^MR", name: str = "Doe^Jane", born: str = "19700101", sex: str = "F") -> str:
    return f"PID|1||{ids}||{name}||{born}|{sex}"


def settings_of(folder: Path, *, senders: Sequence[dict[str, object]] = (RIS,), **limits: object) -> Settings:
    """A site with a RIS on this machine; limits are short."""
    hl7 = {"enabled": True, "port": free_port(), "message_s": 2.0, "idle_s": 20.0, "senders": list(senders), **limits}
    return settings_for(folder / "var", PEER, receive={"hl7": hl7, "artim_s": 2.0})


def framed(content: bytes) -> bytes:
    return b"\x0b" + content + b"\x1c\x0d"


class Client:
    """A system that sends."""

    def __init__(self, port: int, source: str = "127.0.0.1") -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=20, source_address=(source, 0))
        self._held = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, content: bytes) -> None:
        self.socket.sendall(framed(content))

    def answer(self) -> list[list[str]]:
        """The next answer: its segments, split into fields; empty where the connection was closed without one."""
        while b"\x1c\x0d" not in self._held:
            try:
                piece = self.socket.recv(1 << 16)
            except ConnectionResetError:
                piece = b""
            if not piece:
                return []
            self._held += piece
        content, _, self._held = self._held.partition(b"\x1c\x0d")
        assert content.startswith(b"\x0b")
        return [line.split("|") for line in content[1:].decode("latin-1").split("\r") if line]

    def told(self, content: bytes) -> str:
        """Send a message; return MSA-1 of its answer."""
        self.send(content)
        found = self.answer()
        return found[1][1] if found else ""
