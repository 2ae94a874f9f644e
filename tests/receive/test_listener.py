from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from node.domain.work import WorkKind
from node.store import instances
from node.store.database import Database, open_database
from node.store.instances import HeldInstance
from tests.receive.objects import mr_slice
from tests.receive.peer import calling, store_dataset
from tests.site import free_port

ROOT = Path(__file__).resolve().parents[2]
CONFIG = """
[node]
port = {port}
[data]
minimum_free_percent = 0
[catalogue]
models_folder = "{root}/models"
rules_folder = "{root}/rules"
[[peers]]
name = "SCANNER"
ae_title = "SCANNER1"
addresses = ["127.0.0.1/32"]
roles = ["source"]
issuer = "A"
"""


class Room:
    """The listen room as `matins serve` starts it."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.folder = folder
        (folder / "config.toml").write_text(CONFIG.format(port=self.port, root=ROOT))
        self.notices = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notices.bind(str(folder / "notify"))
        self.notices.settimeout(30)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> str:
        """Start it and return what it says once it is ready."""
        command = [sys.executable, "-m", "node", "listen", "--config", str(self.folder / "config.toml")]
        environment = {**os.environ, "NOTIFY_SOCKET": str(self.folder / "notify")}
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=log)
        while True:
            told = self.notices.recv(1000).decode()
            if told.startswith("READY=1"):
                return told

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def end(self, number: int = signal.SIGTERM) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(40)

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    def database(self) -> Database:
        return open_database(self.folder / "var", "test")


def wait_for(what: Callable[[], object], *, limit_s: float = 30.0) -> None:
    deadline_s = time.monotonic() + limit_s
    while not what():
        assert time.monotonic() < deadline_s, "waited in vain"
        time.sleep(0.02)


def children(pid: int) -> list[int]:
    """Process ids of all below `pid`."""
    own = [int(each) for path in Path(f"/proc/{pid}/task").glob("*/children") for each in path.read_text().split()]
    return own + [grandchild for child in own for grandchild in children(child)]


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    made = Room(tmp_path)
    yield made
    if made.process is not None and made.process.poll() is None:
        made.end(signal.SIGKILL)
    made.notices.close()


def described(room: Room) -> list[HeldInstance]:
    db = room.database()
    try:
        return [each for each in instances.of_study(db) if each.state == "described"]
    finally:
        db.close()


def test_the_room_receives_describes_and_drains(room: Room):
    assert f"MATINS at 127.0.0.1:{room.port}" in room.start()
    with calling(room.port) as association:
        assert [store_dataset(association, mr_slice(number)) for number in range(1, 4)] == [0x0000] * 3
    wait_for(lambda: len(described(room)) == 3)
    assert {each.instance.patient.issuer for each in described(room) if each.instance} == {"A"}
    below = children(room.pid)
    assert len(below) == 2
    assert room.end() == 0
    wait_for(lambda: not any(map(is_alive, below)))


def test_the_listening_process_has_no_model_library_in_its_memory(room: Room):
    room.start()
    for pid in (room.pid, *children(room.pid)):
        mapped = Path(f"/proc/{pid}/maps").read_text()
        assert not [name for name in ("torch", "monai", "highdicom", "scipy") if f"/{name}/" in mapped]
    resident = Path(f"/proc/{room.pid}/status").read_text().partition("VmRSS:")[2].split()[0]
    assert int(resident) < 150 * 1024


@pytest.mark.parametrize("which", [0, 1])
def test_a_killed_describing_process_is_started_again_and_loses_nothing(room: Room, which: int):
    room.start()
    wait_for(lambda: len(children(room.pid)) == 2)
    os.kill(children(room.pid)[which], signal.SIGKILL)
    with calling(room.port) as association:
        assert [store_dataset(association, mr_slice(number)) for number in range(1, 4)] == [0x0000] * 3
    wait_for(lambda: len(described(room)) == 3)
    assert room.end() == 0


def test_what_was_acknowledged_before_a_kill_is_there_after_it(room: Room):
    room.start()
    with calling(room.port) as association:
        assert [store_dataset(association, mr_slice(number)) for number in range(1, 6)] == [0x0000] * 5
        below = children(room.pid)
        room.end(signal.SIGKILL)
        association.abort()
    wait_for(lambda: not any(map(is_alive, below)))
    for file in (room.folder / "var").glob("matins.sqlite*"):
        file.unlink()
    (room.folder / "var" / "spool" / "incoming" / "half.tmp").write_bytes(b"half")
    room.start()
    wait_for(lambda: len(described(room)) == 5)
    assert {each.source for each in described(room)} == {"SCANNER"}
    assert list((room.folder / "var" / "spool" / "incoming").iterdir()) == []
    assert room.end() == 0


def test_a_claim_of_a_killed_predecessor_is_taken_back(room: Room):
    db = room.database()
    db.close()
    room.start()
    with calling(room.port) as association:
        assert store_dataset(association, mr_slice()) == 0x0000
    wait_for(lambda: len(described(room)) == 1)
    room.end()
    db = room.database()
    db.execute("UPDATE work_item SET state = 'claimed', owner = 'describe:1', lease_boot_s = 1e12")
    db.execute("UPDATE instance SET state = 'pending'")
    db.close()
    room.start()
    wait_for(lambda: len(described(room)) == 1)
    db = room.database()
    assert [row["state"] for row in db.rows("SELECT state FROM work_item WHERE kind = ?", (WorkKind.DESCRIBE,))] == [
        "finished"
    ]
    db.close()
    room.end()


def test_a_taken_port_is_told_with_the_remedy(room: Room):
    with socket.socket() as other:
        other.bind(("127.0.0.1", room.port))
        other.listen()
        command = [sys.executable, "-m", "node", "listen", "--config", str(room.folder / "config.toml")]
        result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert result.returncode == 2
    assert f"cannot listen on 127.0.0.1:{room.port}" in result.stderr
    assert "Name another port" in result.stderr
