"""A disk that is really full: senders are told so, nothing is torn, and the room goes on when there is space again."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset

from node.config import load_settings
from node.receive.recover import rebuild
from node.store import instances, tallies
from node.store.database import open_database
from node.store.spool import Spool
from tests.receive.objects import encoded, mr_slice
from tests.receive.peer import calling, store
from tests.receive.test_listener import Room
from tests.site import wait_until

MIB = 1 << 20

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """The data folder on a disk of 160 MiB of its own."""
    folder = tmp_path / "var"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=260m", "matins-test", str(folder)], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"a small disk cannot be mounted here (needs root): {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def room(small_disk: Path, tmp_path: Path) -> Iterator[Room]:
    made = Room(tmp_path)
    yield made
    if made.process is not None and made.process.poll() is None:
        made.end(signal.SIGKILL)
    made.notices.close()


def content(number: int) -> tuple[str, bytes]:
    uid = f"1.2.826.8.{number}"
    pixels = np.random.default_rng(number).integers(0, 4096, (512, 512), dtype=np.int16).tobytes()
    return uid, encoded(mr_slice(SOPInstanceUID=uid, Rows=512, Columns=512, PixelData=pixels))


def send(room: Room, number: int) -> Dataset:
    uid, octets = content(number)
    with calling(room.port) as association:
        return store(association, octets, sop_instance=uid)


def test_a_full_disk_is_told_tears_nothing_and_is_recovered_from(room: Room, small_disk: Path) -> None:
    filler = small_disk / "something else"
    filler.write_bytes(bytes(140 * MIB))  # when it goes, a segment has room, and the files of one that waits
    room.start()
    acknowledged = []
    answer = Dataset()
    for number in range(1, 400):
        answer = send(room, number)
        if answer.Status != 0x0000:
            break
        acknowledged.append(number)
    assert answer.Status == 0xA700
    assert "No space left on device" in answer.ErrorComment
    assert len(acknowledged) > 20
    with calling(room.port) as association:
        assert association.send_c_echo().Status == 0x0000
    filler.unlink()
    wait_until("the door to take objects again", lambda: send(room, 1000).Status == 0x0000, limit_s=90)
    acknowledged.append(1000)
    wait_until("everything to be described", lambda: _undescribed(room) == 0, limit_s=240)
    assert room.end() == 0
    settings = load_settings(room.folder / "config.toml")
    db, spool = open_database(settings.data.folder, "test"), Spool(settings.data.folder)
    held = {each.sop_instance_uid: spool.read(each.path) for each in instances.of_study(db)}
    for number in acknowledged:
        uid, octets = content(number)
        assert held[uid].endswith(octets)
    assert rebuild(db, spool, settings).unreadable == ()
    assert tallies.damage(db) == []
    assert os.listdir(small_disk / "spool" / "incoming") == []
    db.close()


def _undescribed(room: Room) -> int:
    db = room.database()
    try:
        return sum(each.state == "pending" for each in instances.of_study(db))
    finally:
        db.close()
