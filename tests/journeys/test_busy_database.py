"""Another writer keeps the database for a whole minute: senders are told to come later, and nothing is lost."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from node.store import instances
from node.store.database import FILE_NAME, open_database
from tests.journeys.door_storm import losses_of
from tests.journeys.tiny_model import tiny_model_folder
from tests.receive.objects import encoded, mr_slice
from tests.receive.peer import association_request, bare
from tests.site import Site, running, wait_until

pytestmark = [pytest.mark.soak, pytest.mark.timeout(400)]

_BUSY_S = 60.0
_HOLD = """
import sqlite3, sys
held = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=30)
held.execute(sys.argv[2])
print("held", flush=True)
sys.stdin.read()
held.execute("ROLLBACK")
"""
_UID = "1.2.826.9.1.100000000"


@dataclass
class Sent:
    """What the senders were told, and how fast a good peer's C-ECHO was answered."""

    #: UID → SHA-256 of the data set, acknowledged.
    acknowledged: dict[str, str] = field(default_factory=dict)
    statuses: Counter[int] = field(default_factory=Counter)
    comments: set[str] = field(default_factory=set)
    #: Seconds of the slowest answer to an object, and of each association with a C-ECHO.
    slowest_s: float = 0.0
    echoes_s: list[float] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


class Senders:
    """Two that go on with objects whatever they are told, and one that asks whether anybody is there."""

    def __init__(self, port: int) -> None:
        self.sent = Sent()
        self._port = port
        self._content = encoded(mr_slice(SOPInstanceUID=_UID))
        self._over = threading.Event()
        self._threads = [
            threading.Thread(target=self._kept, args=(self._store, 1)),
            threading.Thread(target=self._kept, args=(self._store, 2)),
            threading.Thread(target=self._kept, args=(self._echo, 0)),
        ]

    def __enter__(self) -> Sent:
        for each in self._threads:
            each.start()
        return self.sent

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for each in self._threads:
            each.join(60)

    def _kept(self, work: object, number: int) -> None:
        try:
            work(number)  # type: ignore[operator]
        except (AssertionError, OSError) as error:
            self.sent.problems.append(f"{type(error).__name__}: {error}")

    def _store(self, sender: int) -> None:
        peer = bare(self._port, association_request("SCANNER"))
        number = 100_000_000
        while not self._over.wait(0.02):
            number += 1
            uid = f"1.2.826.9.{sender}.{number}"
            content = self._content.replace(_UID.encode(), uid.encode())
            began_s = time.monotonic()
            status, comment = peer.store(content, sop_instance=uid)
            self.sent.slowest_s = max(self.sent.slowest_s, time.monotonic() - began_s)
            self.sent.statuses[status] += 1
            self.sent.comments.add(comment)
            if status == 0x0000:
                self.sent.acknowledged[uid] = hashlib.sha256(content).hexdigest()
        peer.release()
        peer.close()

    def _echo(self, _: int) -> None:
        while not self._over.wait(0.5):
            began_s = time.monotonic()
            peer = bare(self._port, association_request("SCANNER"))
            assert peer.echo() == 0x0000
            self.sent.echoes_s.append(time.monotonic() - began_s)
            peer.close()


@contextmanager
def held(file: Path, how: str) -> Iterator[None]:
    """Another process begins to write, and does not come to an end."""
    command = [sys.executable, "-c", _HOLD, str(file), how]
    holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdin is not None
    assert holder.stdout is not None
    try:
        assert holder.stdout.readline() == b"held\n"
        yield
        assert holder.poll() is None
    finally:
        holder.stdin.close()
        holder.wait(20)
        holder.stdout.close()


def indexed(site: Site) -> set[str]:
    db = open_database(site.data, "test")
    try:
        return {each.sop_instance_uid for each in instances.of_study(db)}
    finally:
        db.close()


@pytest.mark.parametrize("how", ["BEGIN IMMEDIATE", "BEGIN EXCLUSIVE"])
def test_a_database_that_is_busy_for_a_minute_refuses_in_time_and_loses_nothing(tmp_path: Path, how: str) -> None:
    site = Site(tmp_path / "site", models=tiny_model_folder(tmp_path / "models"), model="tiny")
    site.peer("SCANNER", roles=["source"])
    with running(site):
        rooms = site.rooms()
        with Senders(site.port) as sent:
            time.sleep(2)
            with held(site.data / FILE_NAME, how):
                before = indexed(site)
                time.sleep(_BUSY_S)
                during = Counter(sent.statuses)
                assert indexed(site) == before, "another process wrote meanwhile"
            wait_until("an object to be taken again", lambda: sent.statuses[0x0000] > during[0x0000])
        print(
            f"\n{how}, {_BUSY_S:g} s: answers until its end {_told(during)}, in all {_told(sent.statuses)}; slowest "
            f"answer {sent.slowest_s:.2f} s; {len(sent.echoes_s)} C-ECHOs, slowest {1000 * max(sent.echoes_s):.0f} ms; "
            f"{sorted(filter(None, sent.comments))[:2]}"
        )
        assert sent.problems == []
        assert set(sent.statuses) == {0x0000, 0xA700}
        assert during[0xA700], "nobody was refused"
        assert len(sent.echoes_s) > _BUSY_S / 2
        assert max(sent.echoes_s) <= 1.0
        wait_until("the index", lambda: set(sent.acknowledged) <= indexed(site), limit_s=60)
        assert site.rooms() == rooms, "a room died over it"
    losses = losses_of(site.folder, sent.acknowledged)
    assert [losses.unindexed, losses.lost, losses.torn, losses.damage] == [[], [], [], []]
    print(f"{losses.acknowledged} acknowledged, all of them indexed and whole")


def _told(statuses: Counter[int]) -> str:
    return ", ".join(f"0x{status:04X} × {count}" for status, count in sorted(statuses.items()))
