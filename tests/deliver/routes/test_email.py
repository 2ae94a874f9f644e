from __future__ import annotations

import email
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from email.message import Message
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from node.config import DeliverSettings, Route
from node.deliver.carriage import Lost, Unreachable
from node.deliver.routes import Heard, Reply
from node.deliver.routes import email as kind
from node.domain.notice import said
from node.errors import Misconfigured
from tests.deliver.routes.letters import AT, FLAG, letter
from tests.site import free_port


@dataclass
class MailServer:
    """Takes mail as SMTP says, unless told otherwise."""

    data_reply: str = "250 kept"
    recipient_replies: dict[str, str] = field(default_factory=dict)
    hangs_up_after_data: bool = False
    port: int = 0
    mails: list[str] = field(default_factory=list)

    def speak(self, connection: socket.socket) -> None:
        with connection.makefile("rwb") as file:

            def say(line: str) -> None:
                file.write(line.encode() + b"\r\n")
                file.flush()

            say("220 mail.example.org")
            while line := file.readline().decode().rstrip("\r\n"):
                word = line[:4].upper()
                if word == "DATA":
                    say("354 go on")
                    lines = []
                    while (text := file.readline().decode()) not in (".\r\n", ""):
                        lines.append(text)
                    self.mails.append("".join(lines))
                    if self.hangs_up_after_data:
                        return
                    say(self.data_reply)
                elif word == "RCPT":
                    address = line.partition("<")[2].partition(">")[0]
                    say(self.recipient_replies.get(address, "250 ok"))
                elif word == "QUIT":
                    say("221 bye")
                    return
                else:
                    say("250 ok")


@contextmanager
def listening(server: MailServer) -> Iterator[MailServer]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server.port = listener.getsockname()[1]
        listener.settimeout(30)

        def serve() -> None:
            with suppress(OSError):
                connection, _ = listener.accept()
                with connection:
                    connection.settimeout(30)
                    server.speak(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server
        finally:
            with suppress(OSError), socket.create_connection(("127.0.0.1", server.port), timeout=5):
                pass
            thread.join()


def route(port: int = 25, **more: object) -> Route:
    keys = {"name": "MAIL", "kind": "email", "host": "127.0.0.1", "port": port, "answer_s": 20.0}
    addresses = {"from_address": "matins@example.org", "to": ["a@example.org", "b@example.org"]}
    return Route.model_validate({**keys, **addresses, **more})


def send(used: Route) -> Reply:
    message = kind.message(used, letter(used))
    with kind.opened(used, DeliverSettings(connect_s=60)) as post:
        return post.send(message, "M1", AT)


def parsed(message: bytes) -> tuple[Message, str]:
    mail = email.message_from_bytes(message)
    body = mail.get_payload(decode=True)
    assert isinstance(body, bytes)
    return mail, body.decode()


def test_a_mail_names_the_lane_and_the_finding_and_links_to_the_page() -> None:
    used = route(page="https://matins.example.org")
    made = kind.message(used, letter(used, link="https://matins.example.org/studies/1.2"))
    mail, body = parsed(made)
    assert (mail["Subject"], mail["To"]) == ("Matins: STAT study", "a@example.org, b@example.org")
    assert mail["Message-ID"] == f"<{letter(used).control_id}@example.org>"
    assert "Finding: Hemorrhage, left, 2 of them, probability 0.88 [bleed]" in body
    assert "Page: https://matins.example.org/studies/1.2" in body


@given(st.text(max_size=200))
@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=50)
def test_nothing_that_a_study_says_becomes_a_header(text: str) -> None:
    used = route(phi=["patient_name", "accession_number", "study_description", "reasons"])
    patient = replace(FLAG.patient, name=f"{text}\r\nBcc: x@evil.example\r\n\r\n{text}")
    attacked = replace(
        FLAG, patient=patient, accession_number=f"\nBcc: y@evil.example{text}", study_description=text, reasons=(text,)
    )
    made = kind.message(used, letter(used, attacked))
    mail, body = parsed(made)
    plain, _ = parsed(kind.message(used, letter(used)))
    assert mail.items() == plain.items()
    assert "Bcc" in body
    assert said(attacked, used.says).patient.name


def test_a_mail_that_the_server_takes_is_acknowledged() -> None:
    with listening(MailServer()) as server:
        assert send(route(server.port)).heard is Heard.ACKNOWLEDGED
    assert "Subject: Matins: STAT study" in server.mails[0]


def test_an_address_that_is_refused_does_not_give_the_others_the_mail_twice() -> None:
    with listening(MailServer(recipient_replies={"b@example.org": "550 nobody"})) as server:
        reply = send(route(server.port))
    assert (reply.heard, reply.reason) == (Heard.ACKNOWLEDGED, "1 of 2 addresses are refused there")


@pytest.mark.parametrize(("code", "heard"), [("451", Heard.AGAIN), ("554", Heard.REFUSED)])
def test_what_the_server_answers_decides_how_it_goes_on(code: str, heard: Heard) -> None:
    with listening(MailServer(data_reply=f"{code} CANARYNAME no")) as server:
        reply = send(route(server.port))
    assert reply.heard is heard
    assert "CANARY" not in reply.reason


def test_a_server_that_hangs_up_after_the_mail_may_have_it() -> None:
    with listening(MailServer(hangs_up_after_data=True)) as server, pytest.raises(Lost):
        send(route(server.port))
    assert len(server.mails) == 1


def test_where_nobody_answers_the_notice_waits() -> None:
    with pytest.raises(Unreachable, match="no mail server answers"):
        send(route(free_port()))


@pytest.mark.parametrize(
    "address", ["a@example.org\r\nBcc: x@y", "a b@example.org", "a", "<a@example.org>", "a@example.org, b@example.org"]
)
def test_addresses_that_are_none_are_refused(address: str) -> None:
    with pytest.raises(ValueError, match="one address as"):
        route(to=[address])


def test_a_login_is_not_sent_in_the_clear_nor_read_where_others_may(tmp_path: Path) -> None:
    file = tmp_path / "mail.login"
    file.write_text("user\nword\n")
    file.chmod(0o644)
    with pytest.raises(ValueError, match="in the clear"):
        route(login_file=str(file))
    with pytest.raises(Misconfigured, match="chmod 600"):
        kind.check(route(login_file=str(file), tls="starttls"))
