"""STOW-RS in the listen room's own process, beside the DICOM port."""

from __future__ import annotations

import re
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.store import instances
from tests.receive.objects import mr_slice, part10
from tests.receive.peer import calling, store_dataset
from tests.receive.stow.bodies import PART, TOKEN, body, head, post
from tests.receive.test_listener import Room, described, wait_for
from tests.site import free_port

HTTP_LIBRARIES = {"h11", "python_multipart", "starlette", "uvicorn", "httpx", "fastapi"}


class HttpRoom(Room):
    """The listen room with its HTTP port open."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.http_port = free_port()
        token = folder / "scanner.token"
        token.write_text(TOKEN)
        token.chmod(0o600)
        file = folder / "config.toml"
        stow = f"[receive.stow]\nenabled = true\nport = {self.http_port}\n"
        file.write_text(stow + file.read_text() + 'stow_token_file = "scanner.token"\n')


@pytest.fixture
def http(tmp_path: Path) -> Iterator[HttpRoom]:
    made = HttpRoom(tmp_path)
    yield made
    if made.process is not None and made.process.poll() is None:
        made.end(signal.SIGKILL)
    made.notices.close()


def imported(room: Room) -> set[str]:
    """Packages that the room's process and those below it have loaded."""
    return set(re.findall(r"(?m)^import time:[^|]*\|[^|]*\| +(\w+)", room.log))


def pss_mib(pid: int) -> float:
    return int(re.findall(r"(?m)^Pss: +(\d+)", Path(f"/proc/{pid}/smaps_rollup").read_text())[0]) / 1024


def test_a_listener_without_http_loads_nothing_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PYTHONPROFILEIMPORTTIME", "1")
    room = Room(tmp_path)
    assert "http" not in room.start()
    assert room.end() == 0
    room.notices.close()
    assert "pydicom" in imported(room)
    assert imported(room) & HTTP_LIBRARIES == set()


def test_one_with_http_loads_two_small_libraries_and_stays_small(http: HttpRoom, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PYTHONPROFILEIMPORTTIME", "1")
    assert f"http://127.0.0.1:{http.http_port}/studies" in http.start()
    contents = [part10(mr_slice(number)) for number in range(1, 201)]
    assert post(http.http_port, body(contents)).status == 200
    assert pss_mib(http.pid) < 150
    assert http.end() == 0
    assert imported(http) & HTTP_LIBRARIES == {"h11", "python_multipart"}


def test_what_comes_over_http_is_described_like_the_rest(http: HttpRoom):
    http.start()
    assert post(http.http_port, body([part10(mr_slice(number)) for number in (1, 2)])).status == 200
    with calling(http.port) as association:
        assert store_dataset(association, mr_slice(3)) == 0x0000
    wait_for(lambda: len(described(http)) == 3)
    assert {each.instance.patient.issuer for each in described(http) if each.instance} == {"A"}
    assert {each.source for each in described(http)} == {"SCANNER"}
    assert http.end() == 0


def test_what_was_told_as_stored_is_there_after_a_kill(http: HttpRoom):
    http.start()
    assert post(http.http_port, body([part10(mr_slice(number)) for number in range(1, 31)])).status == 200
    http.end(signal.SIGKILL)
    http.start()
    db = http.database()
    assert {each.source for each in instances.of_study(db)} == {"SCANNER"}
    assert len(instances.of_study(db)) == 30
    db.close()
    assert http.end() == 0


def test_the_dicom_port_is_open_while_somebody_leans_on_the_other(http: HttpRoom):
    http.start()
    leaning = [socket.create_connection(("127.0.0.1", http.http_port)) for _ in range(40)]
    for each in leaning[:20]:
        each.sendall(b"POST /st")
    for each in leaning[20:]:
        each.sendall(head(10_000_000) + b"--edge\r\n" + PART + b"\r\nx")
    with calling(http.port) as association:
        assert store_dataset(association, mr_slice(1)) == 0x0000
    for each in leaning:
        each.close()
    assert http.end() == 0


def test_a_large_object_over_http_is_never_in_memory(http: HttpRoom):
    http.start()
    before = pss_mib(http.pid)
    rows, columns = 8192, 16384
    small = part10(mr_slice(1, Rows=rows, Columns=columns, PixelData=b""))
    # The pixels come last: their length stands in the last four bytes.
    start = small[:-4] + (rows * columns * 2).to_bytes(4, "little")
    peak = before

    def pieces() -> Iterator[bytes]:
        nonlocal peak
        yield b"--edge\r\n" + PART + b"\r\n" + start
        for number in range(rows * columns * 2 >> 20):
            if number % 32 == 0:
                peak = max(peak, pss_mib(http.pid))
            yield bytes(1 << 20)
        yield b"\r\n--edge--\r\n"

    assert post(http.http_port, pieces()).status == 200
    assert max(peak, pss_mib(http.pid)) - before < 50
    assert http.end() == 0
