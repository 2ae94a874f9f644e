"""Calls on the disk fail, one here, one there: nothing that fails is acknowledged, nothing acknowledged is lost."""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

from node.store import instances
from node.store.spool import Spool
from tests.receive.objects import encoded, mr_slice
from tests.receive.peer import calling, store
from tests.receive.test_listener import Room
from tests.site import wait_until

_CALLS = "pwritev,pwritev2,pwrite64,fdatasync,fsync,link,linkat,unlink,unlinkat,rename"
_SMALL, _LARGE = (64, 64), (1000, 800)
#: Out of resources, cannot be processed (PS3.4 Table B.2-1, PS3.7 Annex C).
_REFUSALS = {0xA700, 0x0110}

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.interop,
    pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed (Debian: strace)"),
]


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    made = Room(tmp_path)
    made.start()
    yield made
    if made.process is not None and made.process.poll() is None:
        made.end(signal.SIGKILL)
    made.notices.close()


@contextmanager
def failing(pid: int, error: str, number: int) -> Iterator[None]:
    """In each thread, the `number`-th of the calls and each fifth after it fails."""
    inject = f"inject={_CALLS}:error={error}:when={number}+5"
    command = ["strace", "-f", "-e", f"trace={_CALLS}", "-e", inject, "-o", "/dev/null", "-p", str(pid)]
    tracer = subprocess.Popen(command, stderr=subprocess.PIPE)
    assert tracer.stderr is not None
    try:
        tracer.stderr.readline()  # "Process … attached"
        yield
    finally:
        tracer.send_signal(signal.SIGINT)
        tracer.wait(20)
        tracer.stderr.close()


def send(port: int, first: int, count: int) -> dict[str, int]:
    """Send `count` objects, one in four too large for the journal; return their statuses."""
    found = {}
    with calling(port) as association:
        for number in range(first, first + count):
            uid = f"1.2.826.9.{number}"
            rows, columns = _LARGE if number % 4 == 3 else _SMALL
            pixels = np.full((rows, columns), number % 4096, dtype=np.int16).tobytes()
            content = encoded(mr_slice(SOPInstanceUID=uid, Rows=rows, Columns=columns, PixelData=pixels))
            found[uid] = store(association, content, sop_instance=uid).Status
    return found


def held(room: Room) -> dict[str, int]:
    """The first pixel of each instance that is indexed and readable."""
    db = room.database()
    try:
        spool, found = Spool(db.folder), {}
        for each in instances.of_study(db):
            with spool.open(each.path) as stream:
                found[each.sop_instance_uid] = int.from_bytes(dcmread(stream).PixelData[:2], "little")
        return found
    finally:
        db.close()


def test_no_failing_call_loses_what_was_acknowledged_or_shuts_the_door(room: Room) -> None:
    statuses: dict[str, int] = {}
    for turn, (error, number) in enumerate((error, n) for error in ("EIO", "ENOSPC") for n in range(1, 9)):
        with failing(room.pid, error, number):
            statuses |= send(room.port, 1000 * (turn + 1), 12)
    assert set(statuses.values()) <= {0x0000, *_REFUSALS}
    refused = [uid for uid, status in statuses.items() if status]
    assert refused, "no call failed where it mattered"
    after = send(room.port, 90_000, 12)
    assert set(after.values()) == {0x0000}, "it has to recover by itself"
    room.end(signal.SIGKILL)
    room.start()
    acknowledged = {uid for uid, status in (statuses | after).items() if status == 0x0000}
    wait_until("the index", lambda: acknowledged <= set(held(room)))
    found = held(room)
    assert {uid: found[uid] for uid in acknowledged} == {uid: int(uid[10:]) % 4096 for uid in acknowledged}
