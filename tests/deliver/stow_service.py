"""A STOW-RS service on the loopback address that answers as a test tells it."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Sequence
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from types import TracebackType
from typing import Self

from pydicom import Dataset, dcmread

#: Status, body, and further headers; or what to do with the connection instead.
Answer = tuple[int, bytes] | tuple[int, bytes, dict[str, str]] | Callable[[socket.socket], None]


def about(uid: str, sop_class: str, *, failure: int | None = None, warning: int | None = None) -> bytes:
    """The data set of an answer about one object (PS3.18 §10.5.3.2)."""
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, uid
    answer = Dataset()
    if failure is not None:
        item.FailureReason = failure
        answer.FailedSOPSequence = [item]
    else:
        if warning is not None:
            item.WarningReason = warning
        answer.ReferencedSOPSequence = [item]
    return json.dumps(answer.to_json_dict()).encode()


class StowService:
    """Answers are used up one by one; the last one stays. Without any, everything is stored."""

    def __init__(self, answers: Sequence[Answer] = ()) -> None:
        self.answers = list(answers)
        #: (SOP Instance UID, data set as received), in the order received.
        self.received: list[tuple[str, bytes]] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                service._answer(self)

            def log_message(self, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = False
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}/dicom-web"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers["Content-Length"]))
        self.paths.append(request.path)
        self.headers.append({name.lower(): value for name, value in request.headers.items()})
        head = f"Content-Type: {request.headers['Content-Type']}\r\n\r\n".encode()
        (part,) = BytesParser().parsebytes(head + body).get_payload()  # type: ignore[misc]
        content = part.get_payload(decode=True)  # type: ignore[union-attr]
        assert part.get_content_type() == "application/dicom"  # type: ignore[union-attr]
        # The parser takes bytes as text with surrogates and gives them back as they were.
        assert isinstance(content, bytes)
        assert body.count(content) == 1
        header = dcmread(BytesIO(content), stop_before_pixels=True)
        start = 144 + int.from_bytes(content[140:144], "little")
        self.received.append((str(header.SOPInstanceUID), content[start:]))
        answer = self.answers[min(len(self.received), len(self.answers)) - 1] if self.answers else None
        if callable(answer):
            answer(request.connection)
            request.close_connection = True
            return
        status, said, *more = answer or (200, about(str(header.SOPInstanceUID), str(header.SOPClassUID)))
        request.send_response(status)
        for name, value in (more[0] if more else {}).items():
            request.send_header(name, value)
        request.send_header("Content-Type", "application/dicom+json")
        request.send_header("Content-Length", str(len(said)))
        request.end_headers()
        request.wfile.write(said)
