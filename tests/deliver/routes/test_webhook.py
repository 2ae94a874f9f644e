from __future__ import annotations

import hashlib
import hmac
import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from node.config import DeliverSettings, Route
from node.deliver.carriage import Unreachable
from node.deliver.routes import Heard, Reply, webhook
from node.errors import Misconfigured
from tests.deliver.routes.letters import AT, letter
from tests.site import free_port

SECRET = b"0123456789abcdef"


@dataclass
class Receiver:
    """An HTTP service that answers with these statuses, the last one for ever."""

    statuses: Sequence[int] = (200,)
    port: int = 0
    #: (path, headers, body) of each request.
    received: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)


@contextmanager
def listening(receiver: Receiver) -> Iterator[Receiver]:
    class Door(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status = receiver.statuses[min(len(receiver.received), len(receiver.statuses) - 1)]
            receiver.received.append((self.path, dict(self.headers), body))
            self.send_response(status)
            if 300 <= status < 400:
                self.send_header("Location", f"http://127.0.0.1:{receiver.port}/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Door) as server:
        receiver.port = server.server_port
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield receiver
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    file = tmp_path / "hook.secret"
    file.write_bytes(SECRET + b"\n")
    file.chmod(0o600)
    return file


def route(port: int, secret: Path, **more: object) -> Route:
    keys = {"name": "HOOK", "kind": "webhook", "url": f"http://127.0.0.1:{port}/hook", "secret_file": str(secret)}
    return Route.model_validate({**keys, **more})


def send(used: Route, body: bytes = b"{}", control_id: str = "M1") -> Reply:
    with webhook.opened(used, DeliverSettings(connect_s=60)) as receiver:
        return receiver.send(body, control_id, AT)


def test_a_notice_is_posted_signed_with_its_time_and_its_own_key(secret: Path) -> None:
    with listening(Receiver(statuses=(202,))) as there:
        used = route(there.port, secret, page="https://matins.example.org")
        body = webhook.message(used, letter(used, link="https://matins.example.org/studies/1.2"))
        assert send(used, body, "M77").heard is Heard.ACKNOWLEDGED
    ((path, headers, received),) = there.received
    assert (path, received, headers["Idempotency-Key"]) == ("/hook", body, "M77")
    signed = hmac.new(SECRET, headers["Matins-Timestamp"].encode() + b"." + body, hashlib.sha256).hexdigest()
    assert headers["Matins-Signature"] == f"sha256={signed}"
    told = json.loads(body)
    assert (told["lane"], told["status"], told["link"]) == (
        "STAT", "preliminary", "https://matins.example.org/studies/1.2",
    )  # fmt: skip
    assert told["findings"][0]["code_value"] == "50960005"


def test_the_signature_changes_with_the_time_and_with_the_body() -> None:
    signed = {webhook.signature(SECRET, at, body)[1] for at in (AT, AT + timedelta(seconds=1)) for body in (b"a", b"b")}
    assert len(signed) == 4


@pytest.mark.parametrize(
    ("status", "heard"), [(400, Heard.REFUSED), (413, Heard.REFUSED), (429, Heard.AGAIN), (503, Heard.AGAIN)]
)
def test_what_the_receiver_answers_decides_how_it_goes_on(secret: Path, status: int, heard: Heard) -> None:
    with listening(Receiver(statuses=(status,))) as there:
        assert send(route(there.port, secret)).heard is heard


@pytest.mark.parametrize("status", [301, 302, 307, 308, 401, 404])
def test_a_redirect_is_not_followed_and_a_closed_door_waits_for_a_person(secret: Path, status: int) -> None:
    with listening(Receiver(statuses=(status, 200))) as there, pytest.raises(Unreachable) as closed:
        send(route(there.port, secret))
    assert closed.value.by_configuration
    assert len(there.received) == 1


def test_where_nobody_answers_the_notice_waits(secret: Path) -> None:
    with pytest.raises(Unreachable, match="nobody answers"):
        send(route(free_port(), secret))


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604])
def test_a_secret_that_others_may_read_is_not_used(secret: Path, mode: int) -> None:
    secret.chmod(mode)
    with pytest.raises(Misconfigured, match="chmod 600"):
        webhook.check(route(1, secret))


@pytest.mark.parametrize(
    "url",
    [
        "http://hooks.example.org/x", "https://user:word@hooks.example.org/", "file:///etc/passwd", "https://a b/",
        "https://hooks.example.org/x?y=1", "https://hooks.example.org/#x", "gopher://127.0.0.1/", "https://a/\r\nX: 1",
        "http://127.0.0.1.example.org/", "http://127.0.0.1@example.org/",
    ],
)  # fmt: skip
def test_addresses_that_are_not_plain_or_not_encrypted_are_refused(secret: Path, url: str) -> None:
    with pytest.raises(ValueError, match="https://host/path"):
        route(1, secret, url=url)
