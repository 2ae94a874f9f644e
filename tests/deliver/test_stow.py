"""STOW-RS: what each answer means, and that a service leads nobody astray."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trustme

from node.domain.work import ResultState, WorkKind
from node.store import capabilities, outbox, work_items
from node.store.database import Database
from node.store.outbox import OutboxRow
from tests.deliver.conftest import UID_ROOT, queue_results, serving, settings_for
from tests.deliver.stow_service import Answer, StowService, about
from tests.deliver.test_carriage import reached_by
from tests.fakes import SR, STUDY, FakeClock

UID = f"{UID_ROOT}.1"
BY_A_PERSON = 48.0


def told(db: Database, clock: FakeClock, answer: Answer, **changes: object) -> OutboxRow:
    """Send one result to a service with this answer, and return what became of it."""
    with StowService([answer]) as service:
        queue_results(db, clock.now())
        settings = settings_for(db, {"PACS": 1}, dimse_s=1.0)
        how = {"send_by": "stow", "dicomweb": service.address, **changes}
        serving(db, clock, reached_by(settings, **how)).step()
        assert len(service.received) == 1
    (row,) = outbox.of_study(db, STUDY)
    return row


def other(**changes: int) -> bytes:
    return about("2.25.666", SR, **changes)


@pytest.mark.parametrize(
    ("answer", "state", "words"),
    [
        ((200, about(UID, SR)), ResultState.SENT, ""),
        ((200, b""), ResultState.SENT, "HTTP 200 without a list"),
        ((200, b"<?xml version='1.0'?>"), ResultState.SENT, "HTTP 200 without a list"),
        ((202, about(UID, SR, warning=0xB000)), ResultState.SENT, "0xB000 coercion"),
        ((202, about(UID, SR, failure=0xC000)), ResultState.QUEUED, "0xC000 cannot understand"),
        ((202, about(UID, SR, failure=0xA700)), ResultState.QUEUED, "0xA700 refused: out of resources"),
        ((202, b""), ResultState.QUEUED, "without a list"),
        ((409, about(UID, SR, failure=0x0122)), ResultState.DEAD, "0x0122 SOP Class not supported"),
        ((409, about(UID, SR, failure=0x0124)), ResultState.DEAD, "0x0124 not authorized"),
        ((409, about(UID, SR, failure=0x0110)), ResultState.QUEUED, "0x0110 processing failure"),
        ((409, b"nonsense"), ResultState.QUEUED, "without a list"),
        # It lists our object among what it stored, and says that it stored none.
        ((409, about(UID, SR)), ResultState.QUEUED, "nothing of it is believed"),
        ((200, other()), ResultState.QUEUED, "nothing of it is believed"),
        ((202, other(failure=0x0122)), ResultState.QUEUED, "nothing of it is believed"),
        ((413, b""), ResultState.DEAD, "too large"),
        ((415, b""), ResultState.DEAD, "media type"),
        ((400, b""), ResultState.QUEUED, "refuses the request"),
        ((429, b""), ResultState.QUEUED, "for now"),
        ((503, b""), ResultState.QUEUED, "for now"),
        ((507, b""), ResultState.QUEUED, "for now"),
        ((200, b"[" * 100_000), ResultState.SENT, "without a list"),
        ((500, b"x" * 3_000_000), ResultState.QUEUED, "for now"),
    ],
)
def test_each_answer_has_its_meaning(
    db: Database, clock: FakeClock, answer: Answer, state: ResultState, words: str
) -> None:
    row = told(db, clock, answer)
    assert (row.state, words in row.reason) == (state, True), row.reason


@pytest.mark.parametrize("status", [301, 307, 308, 401, 403, 404, 405])
def test_what_a_person_has_to_mend_is_tried_again_slowly_and_never_lost(
    db: Database, clock: FakeClock, status: int
) -> None:
    with StowService() as elsewhere:
        row = told(db, clock, (status, b"", {"Location": f"{elsewhere.address}/studies"}))
        assert elsewhere.received == []
    assert row.state is ResultState.QUEUED
    assert f"HTTP {status}" in row.reason
    waits = db.row("SELECT not_before_boot_s FROM outbox")
    assert waits is not None
    assert waits[0] - clock.boottime_s >= BY_A_PERSON


def test_the_object_goes_to_studies_with_the_token_and_nothing_else_of_ours(
    db: Database, clock: FakeClock, tmp_path: Path
) -> None:
    token = tmp_path / "pacs.token"
    token.write_text("abc123\n")
    with StowService() as service:
        queue_results(db, clock.now())
        settings = reached_by(
            settings_for(db, {"PACS": 1}), send_by="stow", dicomweb=service.address, dicomweb_token_file=token
        )
        serving(db, clock, settings).step()
        (headers,) = service.headers
        assert service.paths == ["/dicom-web/studies"]
        assert headers["authorization"] == "Bearer abc123"
        assert headers["accept"] == "application/dicom+json"
        assert headers["content-type"].startswith('multipart/related; type="application/dicom"; boundary=')


@pytest.mark.parametrize("content", [None, "", "two words", "line\nbreak", "ümlaut"])
def test_a_token_that_is_none_is_told_and_nothing_is_sent(
    db: Database, clock: FakeClock, tmp_path: Path, content: str | None
) -> None:
    token = tmp_path / "pacs.token"
    if content is not None:
        token.write_text(content)
    with StowService() as service:
        queue_results(db, clock.now())
        settings = reached_by(
            settings_for(db, {"PACS": 1}), send_by="stow", dicomweb=service.address, dicomweb_token_file=token
        )
        serving(db, clock, settings).step()
        assert service.received == []
    (row,) = outbox.of_study(db, STUDY)
    assert (row.state, "dicomweb_token_file" in row.reason) == (ResultState.QUEUED, True)


def test_a_class_that_is_refused_is_remembered_and_another_kind_is_asked_for(db: Database, clock: FakeClock) -> None:
    row = told(db, clock, (409, about(UID, SR, failure=0x0122)))
    assert "0x0122" in capabilities.known_refusal(db, clock.now(), "PACS", SR)
    assert work_items.open_subjects(db, WorkKind.FALLBACK, limit=9) == [f"{row.id}:1"]


@contextmanager
def raw_service(behave: Callable[[socket.socket, threading.Event], None]) -> Iterator[str]:
    """A listener that accepts one connection and then does as it likes."""
    over = threading.Event()

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.settimeout(20)
            behave(connection, over)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/dicom-web"
        over.set()
        thread.join(60)


def silent(connection: socket.socket, over: threading.Event) -> None:
    connection.recv(65536)
    over.wait(60)


def dripping(connection: socket.socket, over: threading.Event) -> None:
    connection.recv(65536)
    try:
        connection.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        while not over.wait(0.1):
            connection.sendall(b"x")
    except OSError:
        pass


def nonsense(connection: socket.socket, over: threading.Event) -> None:
    connection.recv(65536)
    connection.sendall(b"\x03\0\0\0\0\x04\0\x01\x01\x03")


@pytest.mark.parametrize("behave", [silent, dripping, nonsense])
def test_a_service_without_an_answer_is_left_in_time_and_the_same_is_sent_again(
    db: Database, clock: FakeClock, behave: Callable[[socket.socket, threading.Event], None]
) -> None:
    queue_results(db, clock.now())
    with raw_service(behave) as address:
        settings = settings_for(db, {"PACS": 1}, dimse_s=1.0)
        serving(db, clock, reached_by(settings, send_by="stow", dicomweb=address)).step()
    (row,) = outbox.of_study(db, STUDY)
    assert (row.state, "broke off, or gave no answer" in row.reason) == (ResultState.QUEUED, True), row.reason


def test_nobody_there_is_told_with_the_address(db: Database, clock: FakeClock, nobody: int) -> None:
    queue_results(db, clock.now())
    address = f"http://127.0.0.1:{nobody}/dicom-web"
    settings = reached_by(settings_for(db, {"PACS": 1}), send_by="stow", dicomweb=address)
    serving(db, clock, settings).step()
    (row,) = outbox.of_study(db, STUDY)
    assert (row.state, address in row.reason) == (ResultState.QUEUED, True)


def test_a_certificate_that_nobody_vouches_for_gets_no_object(db: Database, clock: FakeClock) -> None:
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)

    def shake(connection: socket.socket, over: threading.Event) -> None:
        with pytest.raises(ssl.SSLError), context.wrap_socket(connection, server_side=True) as secure:
            secure.recv(1)

    queue_results(db, clock.now())
    with raw_service(shake) as address:
        settings = settings_for(db, {"PACS": 1})
        serving(db, clock, reached_by(settings, send_by="stow", dicomweb=address.replace("http", "https", 1))).step()
    (row,) = outbox.of_study(db, STUDY)
    assert (row.state, "certificate verify failed" in row.reason) == (ResultState.QUEUED, True), row.reason
