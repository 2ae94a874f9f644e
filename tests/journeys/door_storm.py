"""kill -9 of the listen room at any moment, again and again, with three senders going on: is every answer true?"""

from __future__ import annotations

import hashlib
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil

from node.config import load_settings
from node.receive.part10 import read_meta
from node.receive.recover import rebuild
from node.store import instances, tallies
from node.store.database import open_database
from node.store.spool import Spool
from tests.receive.objects import encoded, mr_slice
from tests.receive.peer import calling, store
from tests.site import ROOT, end_with_us, free_port

_CONFIG = """
[node]
port = {port}
[data]
minimum_free_percent = 0
[catalogue]
models_folder = "{root}/models"
rules_folder = "{root}/rules"
"""
_PEER = """
[[peers]]
name = "{name}"
ae_title = "{name}"
addresses = ["127.0.0.1/32"]
roles = ["source"]
"""
_SENDERS = ("CT", "MR", "DX")
#: Rows and columns of the slices that are sent in turn: for the journal, nearly full for it, and too large for it.
_SHAPES = ((64, 64), (64, 64), (128, 128), (512, 512), (64, 64), (720, 720), (1200, 1000))


@dataclass
class Losses:
    """What the storm left behind; empty lists are what should be."""

    kills: int = 0
    acknowledged: int = 0
    #: Longest time from the start of a process until it took callers in, seconds.
    longest_start_s: float = 0.0
    #: Acknowledged instances that no row knows.
    unindexed: list[str] = field(default_factory=list)
    #: Acknowledged instances that cannot be read any more.
    lost: list[str] = field(default_factory=list)
    #: Acknowledged instances with other bytes than were sent; files that cannot be read.
    torn: list[str] = field(default_factory=list)
    #: What SQLite finds wrong with the database.
    damage: list[str] = field(default_factory=list)


class DoorStorm:
    """A listen room that is killed and started again while it is being sent to."""

    def __init__(self, folder: Path, *, kills: int, seed: int) -> None:
        self._folder = folder
        self._kills = kills
        self._random = random.Random(seed)
        self._port = free_port()
        self._over = threading.Event()
        #: UID → SHA-256 of the data set that was acknowledged.
        self._acknowledged: dict[str, str] = {}
        self._notices = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._notices.bind(str(folder / "notify"))
        self._process: subprocess.Popen[bytes] | None = None
        self._losses = Losses()
        self._contents = [_content(*shape) for shape in _SHAPES]
        config = _CONFIG.format(port=self._port, root=ROOT) + "".join(_PEER.format(name=name) for name in _SENDERS)
        (folder / "config.toml").write_text(config)

    def run(self) -> Losses:
        """Send and kill, then count."""
        senders = [threading.Thread(target=self._send, args=(*each,)) for each in enumerate(_SENDERS, start=1)]
        try:
            self._start()
            for sender in senders:
                sender.start()
            while self._losses.kills < self._kills:
                time.sleep(self._random.uniform(0.05, 0.8))
                self._kill()
            time.sleep(0.5)
            self._over.set()
            for sender in senders:
                sender.join(60)
            self._end(signal.SIGTERM)
        finally:
            self._over.set()
            self._end(signal.SIGKILL)
            self._notices.close()
        return losses_of(self._folder, self._acknowledged, self._losses)

    def _start(self) -> None:
        began_s = time.monotonic()
        command = [sys.executable, "-m", "node", "listen", "--config", str(self._folder / "config.toml")]
        environment = {**os.environ, "NOTIFY_SOCKET": str(self._folder / "notify")}
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=environment,
                stderr=log,
                preexec_fn=end_with_us,  # noqa: PLW1509
            )
        self._notices.settimeout(60)
        while not self._notices.recv(1000).startswith(b"READY=1"):
            pass
        self._losses.longest_start_s = max(self._losses.longest_start_s, time.monotonic() - began_s)

    def _kill(self) -> None:
        """The room itself, or now and then the describing below it, which the room has to start again."""
        assert self._process is not None
        room = psutil.Process(self._process.pid)
        below = room.children(recursive=True)
        if below and self._random.random() < 0.2:
            self._random.choice(below).kill()
            self._losses.kills += 1
            return
        room.kill()
        self._losses.kills += 1
        self._process.wait()
        psutil.wait_procs(below, timeout=20)
        while True:
            self._notices.setblocking(False)
            try:
                self._notices.recv(1000)
            except BlockingIOError:
                break
        self._start()

    def _end(self, number: int) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)
            self._process.wait(60)

    def _send(self, sender: int, title: str) -> None:
        """Send objects of all sizes, and note those that were acknowledged."""
        number = 0
        while not self._over.is_set():
            try:
                with calling(self._port, title=title) as association:
                    while association.is_established and not self._over.is_set():
                        number += 1
                        uid = f"1.2.826.{sender}.{100_000_000 + number}"
                        content = self._contents[number % len(self._contents)].replace(_UID, uid.encode())
                        answer = store(association, content, sop_instance=uid)
                        if answer.get("Status") == 0x0000:
                            self._acknowledged[uid] = hashlib.sha256(content).hexdigest()
            except (AssertionError, OSError, RuntimeError, ValueError):
                pass
            time.sleep(0.05)


def losses_of(folder: Path, acknowledged: Mapping[str, str], losses: Losses | None = None) -> Losses:
    """Look for everything that was acknowledged: UID → SHA-256 of the data set. No room may run."""
    losses = losses or Losses()
    losses.acknowledged = len(acknowledged)
    settings = load_settings(folder / "config.toml")
    db, spool = open_database(settings.data.folder, "test"), Spool(settings.data.folder)
    held = {each.sop_instance_uid: each.path for each in instances.of_study(db)}
    for uid, digest in acknowledged.items():
        if uid not in held:
            losses.unindexed.append(uid)
            continue
        try:
            whole = spool.read(held[uid])
        except Exception as error:
            losses.lost.append(f"{uid}: {error}")
            continue
        if hashlib.sha256(whole[read_meta(whole).dataset_offset :]).hexdigest() != digest:
            losses.torn.append(uid)
    losses.damage = tallies.damage(db)
    rebuilt = rebuild(db, spool, settings)
    losses.torn += [f"{each.path}: {each.reason}" for each in rebuilt.unreadable]
    db.close()
    return losses


_UID = b"1.2.826.9.100000000"


def _content(rows: int, columns: int) -> bytes:
    pixels = np.random.default_rng(rows).integers(0, 4096, (rows, columns), dtype=np.int16).tobytes()
    return encoded(mr_slice(SOPInstanceUID=_UID.decode(), Rows=rows, Columns=columns, PixelData=pixels))
