"""`matins serve`: starts each room as a process of its own, hears how it is, and starts it again when it dies.

The supervisor imports no room. A room tells it by sd_notify(3) that it is ready and alive; the datagram's
sender is taken from the kernel's credentials, so nobody else can speak for a room. Each room has the read end of a
pipe whose other end only the supervisor holds: when the supervisor is gone, however it went, the rooms notice.
"""

from __future__ import annotations

import os
import secrets
import select
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from node.config import load_settings
from node.domain.time import Clock, SystemClock
from node.errors import Transient
from node.loop import Herald, Stop, stop_on_signals
from node.store import events
from node.store.database import Database, open_database
from node.store.occupancy import occupied
from node.store.salvage import damage, put_aside

#: The rooms, in the order in which a study passes them.
ROOMS = ("listen", "retrieve", "infer", "report", "deliver", "clock", "web")
#: Set in a room's environment: its standard input is the pipe that ends with the supervisor.
SUPERVISED = "MATINS_SUPERVISED"

_TICK_S = 0.2
_CREDENTIALS = struct.Struct("3i")
#: A room that lived for this long and was ready does not die at its start: its next death counts as the first.
_RECOVERED_S = 5.0

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long the supervisor waits for what, in seconds."""

    #: What the first room has of the machine for itself before the others are started too, unless it is ready earlier.
    head_start_s: float = 10.0
    #: Between the start of a room, or a sign of life, and the next while it is not ready.
    start_s: float = 180.0
    #: Between two signs of life of a ready room.
    silence_s: float = 60.0
    #: From SIGTERM until SIGKILL.
    drain_s: float = 30.0
    #: Before a dead room is started again; doubles with each death in a row.
    backoff_s: float = 0.25
    backoff_maximum_s: float = 30.0


@dataclass(slots=True, kw_only=True)
class _Room:
    """What the supervisor knows of one room."""

    name: str
    command: Sequence[str]
    process: subprocess.Popen[bytes] | None = None
    ready: bool = False
    #: Monotonic seconds: when it was started, last heard, and when it may be started (again).
    started_s: float = 0.0
    heard_s: float = 0.0
    due_s: float = 0.0
    deaths: int = 0
    #: Why we killed it, if we did.
    verdict: str = field(default="")


def serve(
    config_file: Path,
    data: Path | None,
    quiet_s: float | None,
    console: Callable[[str], None],
    *,
    commands: Mapping[str, Sequence[str]] | None = None,
    patience: Patience | None = None,
) -> int:
    """Run all rooms until SIGTERM or SIGINT, then drain them; return the exit code.

    `commands` (room → command line) takes the place of the rooms of this node.

    Raises:
        Misconfigured: the settings are wrong, or another process serves the data folder; no room was started.
        Transient: the database is busy.
    """
    settings = load_settings(config_file, data=data, quiet_s=quiet_s)
    with occupied(settings.data.folder):
        stop = stop_on_signals()
        problem, aside = damage(settings.data.folder), None
        if problem:
            aside = put_aside(settings.data.folder, SystemClock().now().wall)
            console(f"the database is damaged ({problem}); it is now {aside.name}, and the index is made anew")
        # Once, before seven rooms ask for it at the same moment.
        database = open_database(settings.data.folder, "serve")
        if aside is not None:
            _note_damage(database, problem, aside)
        try:
            chosen = room_commands(config_file, data, quiet_s) if commands is None else commands
            Supervisor(chosen, database, SystemClock(), console, patience or Patience()).run(stop)
        finally:
            database.close()
    return 0


def _note_damage(db: Database, problem: str, aside: Path) -> None:
    log.error("database_damaged", reason=problem, kept_as=aside.name)
    reason = f"damaged ({problem}); kept as {aside.name}, the index is made anew from the spool"
    with db.transaction():
        events.record(db, SystemClock().now(), "database", aside.name, after="put aside", reason=reason)


def room_commands(config_file: Path, data: Path | None, quiet_s: float | None) -> dict[str, list[str]]:
    """Return the command line of each room."""
    options = ["--config", str(config_file.resolve())]
    if data is not None:
        options += ["--data", str(data.resolve())]
    if quiet_s is not None:
        options += ["--quiet", str(quiet_s)]
    return {room: [sys.executable, "-m", "node", room, *options] for room in ROOMS}


class Supervisor:
    """Keeps rooms alive. One thread; nothing in it waits for a room."""

    def __init__(
        self,
        commands: Mapping[str, Sequence[str]],
        db: Database,
        clock: Clock,
        console: Callable[[str], None],
        patience: Patience,
    ) -> None:
        self._rooms = [_Room(name=name, command=command) for name, command in commands.items()]
        self._db = db
        self._clock = clock
        self._console = console
        self._patience = patience
        self._herald = Herald()
        self._announced = False
        # An abstract address leaves no file behind when we are killed.
        self._address = f"@matins-{os.getpid()}-{secrets.token_hex(8)}"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._socket.bind("\0" + self._address[1:])

    def run(self, stop: Stop) -> None:
        """Start the rooms, look after them until asked to stop, then drain them."""
        try:
            while not stop.is_set():
                for room in self._rooms:
                    self._look_after(room)
                self._herald.alive()
                self._hear()
        finally:
            self._drain()
            self._socket.close()

    def _look_after(self, room: _Room) -> None:
        now_s = time.monotonic()
        if room.process is None:
            if now_s >= room.due_s and self._is_its_turn(room, now_s):
                self._start(room, now_s)
        elif _has_ended(room.process):
            self._bury(room, now_s)
        elif room.ready and now_s - room.heard_s > self._patience.silence_s:
            self._kill(room, f"silent for {self._patience.silence_s:g} s")
        elif not room.ready and now_s - room.heard_s > self._patience.start_s:
            self._kill(room, f"not ready after {self._patience.start_s:g} s")

    def _is_its_turn(self, room: _Room, now_s: float) -> bool:
        """The door comes first: scanners wait for it, and seven rooms that load at once would hold it up."""
        door = self._rooms[0]
        return room is door or door.ready or door.deaths > 0 or now_s > door.started_s + self._patience.head_start_s

    def _start(self, room: _Room, now_s: float) -> None:
        variables = {**os.environ, "NOTIFY_SOCKET": self._address, SUPERVISED: "1"}
        room.ready, room.verdict = False, ""
        room.started_s = room.heard_s = now_s
        try:
            # A session of its own: Ctrl-C reaches us alone, and what a room leaves behind can be ended with it.
            room.process = subprocess.Popen(room.command, stdin=subprocess.PIPE, env=variables, start_new_session=True)
        except OSError as error:
            self._mourn(room, now_s, f"cannot be started: {error}")
            return
        self._record(room, "starting")

    def _bury(self, room: _Room, now_s: float) -> None:
        if room.ready and now_s - room.started_s > _RECOVERED_S:
            room.deaths = 0
        self._mourn(room, now_s, self._end_of(room))

    def _mourn(self, room: _Room, now_s: float, how: str) -> None:
        """Note a death, and when the room is started again."""
        wait_s = min(self._patience.backoff_maximum_s, self._patience.backoff_s * 2.0 ** min(room.deaths, 16))
        room.deaths += 1
        room.due_s = now_s + wait_s
        log.error("room_died", died=room.name, how=how, again_in_s=wait_s)
        self._console(f"{room.name} died ({how}); again in {wait_s:g} s")
        self._record(room, "dead", how)

    def _end_of(self, room: _Room) -> str:
        """Reap the room and its leftovers; say how it ended."""
        assert room.process is not None
        _signal_group(room.process, signal.SIGKILL)
        code = room.process.wait()
        if room.process.stdin is not None:
            room.process.stdin.close()
        room.process, room.ready = None, False
        how = f"exit code {code}" if code >= 0 else f"killed by {signal.Signals(-code).name}"
        return f"{room.verdict}, {how}" if room.verdict else how

    def _kill(self, room: _Room, verdict: str) -> None:
        if room.process is not None and not room.verdict:
            room.verdict = verdict
            log.error("room_killed", killed=room.name, reason=verdict)
            _signal_group(room.process, signal.SIGKILL)

    def _hear(self) -> None:
        """Wait up to a tick for signs of life, and take in all there are."""
        select.select([self._socket], [], [], _TICK_S)
        while True:
            try:
                message, ancillary, _, _ = self._socket.recvmsg(4096, socket.CMSG_SPACE(_CREDENTIALS.size))
            except BlockingIOError:
                return
            room = self._sender(ancillary)
            if room is not None:
                self._take_in(room, message.decode("latin-1").splitlines())

    def _sender(self, ancillary: Sequence[tuple[int, int, bytes]]) -> _Room | None:
        for level, kind, content in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS and len(content) >= _CREDENTIALS.size:
                pid = _CREDENTIALS.unpack_from(content)[0]
                return next((room for room in self._rooms if room.process and room.process.pid == pid), None)
        return None

    def _take_in(self, room: _Room, lines: Sequence[str]) -> None:
        room.heard_s = time.monotonic()
        if "READY=1" not in lines or room.ready:
            return
        room.ready = True
        status = next((line.removeprefix("STATUS=") for line in lines if line.startswith("STATUS=")), "")
        self._console(f"{room.name} ready: {status}" if status else f"{room.name} ready")
        self._record(room, "ready", status)
        if not self._announced and all(each.ready for each in self._rooms):
            self._announced = True
            self._console("all rooms ready")
            self._herald.ready("all rooms ready")

    def _drain(self) -> None:
        """SIGTERM to all rooms, SIGKILL to those that are still there when the time is up."""
        self._herald.stopping()
        running = [room for room in self._rooms if room.process is not None]
        for room in running:
            assert room.process is not None
            room.process.send_signal(signal.SIGTERM)
        deadline_s = time.monotonic() + self._patience.drain_s
        while running:
            for room in [room for room in running if room.process is not None and _has_ended(room.process)]:
                running.remove(room)
                self._record(room, "stopped", self._end_of(room))
            if running and time.monotonic() > deadline_s:
                for room in running:
                    self._kill(room, f"did not end within {self._patience.drain_s:g} s")
            time.sleep(0.02)
        self._console("all rooms ended")

    def _record(self, room: _Room, after: str, reason: str = "") -> None:
        try:
            with self._db.transaction():
                events.record(self._db, self._clock.now(), "room", room.name, after=after, reason=reason)
        except Transient as error:
            log.warning("room_event_lost", about_room=room.name, after=after, reason=str(error))


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    """Whether the process has ended; it is not reaped yet, so its group's number is still its own."""
    try:
        return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return True


def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)
