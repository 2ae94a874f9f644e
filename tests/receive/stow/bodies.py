"""Store requests as different clients write them, and a client that can misbehave."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPResponse

TOKEN = "0123456789abcdef0123456789abcdef"
TYPE = 'multipart/related; type="application/dicom"; boundary=edge'
STORED, FAILED, OTHER = "00081199", "00081198", "0008119A"
PART = b"Content-Type: application/dicom\r\n"


def body(contents: Iterable[bytes], *, boundary: str = "edge", headers: bytes = PART, end: bool = True) -> bytes:
    """A body as RFC 2046 has it, nothing more."""
    parts = b"".join(b"--%s\r\n%s\r\n%s\r\n" % (boundary.encode(), headers, content) for content in contents)
    return parts + (b"--%s--\r\n" % boundary.encode() if end else b"")


def as_curl(contents: Sequence[bytes]) -> tuple[str, bytes]:
    """A delimiter with hyphens, unquoted; the first follows an empty line."""
    boundary = "------------------------d74496d66958873e"
    kind = f"multipart/related; boundary={boundary}; type=application/dicom"
    headers = b'Content-Disposition: attachment; name="file"; filename="a.dcm"\r\nContent-Type: application/dicom\r\n'
    return kind, b"\r\n" + body(contents, boundary=boundary, headers=headers)


def as_java(contents: Sequence[bytes]) -> tuple[str, bytes]:
    """Parameters quoted, transfer syntax in the part's type, fields that nobody asked for, an epilogue."""
    boundary = "myboundary"
    kind = f'multipart/related;type="application/dicom";boundary="{boundary}"'
    headers = (
        b'Content-Type: application/dicom;transfer-syntax="1.2.840.10008.1.2.1"\r\n'
        b"Content-Location: http://localhost/bulk?x=1\r\ncontent-length: 12\r\nMIME-Version: 1.0\r\n"
    )
    return kind, body(contents, boundary=boundary, headers=headers) + b"an epilogue\r\n--myboundary\r\n"


def as_mail(contents: Sequence[bytes]) -> tuple[str, bytes]:
    """A preamble, blanks behind the delimiter, fields in other letters, a boundary with signs."""
    boundary = "=_(gap'+_,-./:=?)_"
    kind = f'Multipart/Related; Start="<1>"; Type="Application/DICOM"; Boundary="{boundary}"'
    headers = b"CONTENT-TYPE:application/dicom\r\nContent-Transfer-Encoding:  BINARY\r\n"
    whole = body(contents, boundary=boundary, headers=headers)
    spaced = whole.replace(b"--" + boundary.encode() + b"\r\n", b"--" + boundary.encode() + b" \t\r\n")
    # The first delimiter takes no blanks behind it: many clients' servers know none at all.
    first = b"--" + boundary.encode()
    return kind, b"This is a message in many parts.\r\n" + first + spaced[len(first) + 2 :]


@dataclass
class Told:
    """An answer."""

    status: int
    headers: dict[str, str]
    content: bytes
    module: dict[str, dict[str, list[dict[str, dict[str, list[object]]]]]] = field(default_factory=dict)

    def of(self, sequence: str) -> list[tuple[object, ...]]:
        """(SOP Instance UID, Failure Reason) of every item, those that there are."""
        items = self.module.get(sequence, {}).get("Value", [])
        return [
            tuple(item[tag]["Value"][0] for tag in ("00081155", "00081197") if item.get(tag, {}).get("Value"))
            for item in items
        ]


def told(response: HTTPResponse) -> Told:
    content = response.read()
    headers = {name.lower(): value for name, value in response.getheaders()}
    module = json.loads(content) if headers["content-type"].endswith("json") else {}
    return Told(response.status, headers, content, module)


def post(port: int, content: bytes | Iterable[bytes], kind: str = TYPE, path: str = "/studies", **headers: str) -> Told:
    """One request on a connection of its own; `headers` with underscores, an empty one is left out."""
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("POST", path, content, sent_headers(kind, headers))
        return told(connection.getresponse())
    finally:
        connection.close()


def sent_headers(kind: str, changes: dict[str, str]) -> dict[str, str]:
    every = {"Content-Type": kind, "Authorization": f"Bearer {TOKEN}"}
    every |= {name.replace("_", "-"): value for name, value in changes.items()}
    return {name: value for name, value in every.items() if value}


def raw(port: int, text: bytes, *, shut: bool = False) -> bytes:
    """Send bytes as they are, and return all that comes back until the end."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(text)
        if shut:
            connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(1 << 16), b""))


def head(length: int | None, kind: str = TYPE, more: str = "") -> bytes:
    """The head of a request; chunked where there is no length."""
    size = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
    lines = [
        "POST /studies HTTP/1.1",
        "Host: localhost",
        f"Authorization: Bearer {TOKEN}",
        f"Content-Type: {kind}",
        size,
    ]
    return ("\r\n".join(lines) + f"\r\n{more}\r\n").encode()
