"""The loop of every room: wake, claim, handle, finish; back off on faults; stop on SIGTERM.

An idle loop looks at the database's change counter every 25 ms and works only when it moved, or once a second.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import sdnotify
import structlog

from node.domain.time import Clock, elapsed_s
from node.domain.work import WorkKind
from node.errors import Failed, MatinsError, Transient, Unsuitable
from node.store import work_items
from node.store.database import Database
from node.store.work_items import WorkItem

_POLL_S = 0.025
_FALLBACK_S = 1.0
_LONGEST_TELLING_S = 1.0
_BACKOFF_S = 0.1
_BACKOFF_MAXIMUM_S = 5.0

log = structlog.get_logger()


class Stop:
    """Whether the room is asked to end."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def set(self) -> None:
        """Ask the room to end."""
        self._event.set()

    def is_set(self) -> bool:
        """Whether it was asked to end."""
        return self._event.is_set()

    def wait(self, seconds: float) -> bool:
        """Sleep, but not beyond the request to end; say whether it came."""
        return self._event.wait(seconds)


def stop_on_signals() -> Stop:
    """Return a `Stop` that SIGTERM and SIGINT set."""
    stop = Stop()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop


class Herald:
    """Tells whoever started the room (systemd, or `matins serve`) that it is ready and alive (sd_notify(3))."""

    def __init__(self) -> None:
        # Without a listener sdnotify would leak the socket it cannot connect.
        self._notifier = sdnotify.SystemdNotifier() if "NOTIFY_SOCKET" in os.environ else None
        if self._notifier is not None:
            # Whoever does not listen must not stop the room.
            self._notifier.socket.settimeout(_LONGEST_TELLING_S)
        self._last_s = 0.0

    def ready(self, status: str) -> None:
        """The room does its work from now on; `status` is one line for people."""
        self._tell(f"READY=1\nSTATUS={status}")

    def alive(self) -> None:
        """Feed the watchdog, at most once a second; called by the loop that does the work, and only there."""
        now_s = time.monotonic()
        if now_s - self._last_s >= 1.0:
            self._last_s = now_s
            self._tell("WATCHDOG=1")

    def stopping(self) -> None:
        """The room is ending in good order; nothing more is told."""
        self._tell("STOPPING=1")
        if self._notifier is not None:
            self._notifier.socket.close()
            self._notifier = None

    def _tell(self, state: str) -> None:
        if self._notifier is not None:
            # sdnotify would drop the whole message over a character that Latin-1 lacks.
            self._notifier.notify(state.encode("ascii", "replace").decode())


def run(db: Database, step: Callable[[], bool], stop: Stop, herald: Herald, *, fallback_s: float = _FALLBACK_S) -> None:
    """Call `step` until asked to stop: again at once while it returns `True`, else when the database has changed.

    A step that raises is logged and tried again, later each time: no fault ends a room.
    """
    backoff_s = _BACKOFF_S
    while not stop.is_set():
        herald.alive()
        seen = db.data_version()
        try:
            busy = step()
            backoff_s = _BACKOFF_S
        except Transient as error:
            log.warning("step_waits", reason=str(error))
            stop.wait(backoff_s)
            backoff_s = min(_BACKOFF_MAXIMUM_S, 2 * backoff_s)
            continue
        except Exception as error:
            log.exception("step_failed", reason=describe_error(error))
            stop.wait(backoff_s)
            backoff_s = min(_BACKOFF_MAXIMUM_S, 2 * backoff_s)
            continue
        if not busy:
            _sleep_until_changed(db, seen, stop, herald, fallback_s)


def _sleep_until_changed(db: Database, seen: int, stop: Stop, herald: Herald, fallback_s: float) -> None:
    deadline_s = time.monotonic() + fallback_s
    while time.monotonic() < deadline_s and not stop.wait(_POLL_S):
        herald.alive()
        if db.data_version() != seen:
            return


@dataclass(frozen=True, slots=True, kw_only=True)
class Handling:
    """How a room treats one kind of work item."""

    kind: WorkKind
    owner: str
    lease_s: float
    #: Does the work and finishes the item in one transaction of its own.
    handle: Callable[[WorkItem], None]
    #: Ends the item for good, with the reason (inside a transaction): nothing a retry would change.
    reject: Callable[[WorkItem, MatinsError], None]
    #: Counts a death (inside a transaction): ready again, or parked with everything that hangs on it.
    died: Callable[[WorkItem, str], None]
    #: Takes only items whose subject begins so; empty takes all.
    subject_prefix: str = ""


def work_step(db: Database, clock: Clock, handling: Handling) -> Callable[[], bool]:
    """Return a step that claims and handles one item; `True` if there was one."""

    def step() -> bool:
        prefix = handling.subject_prefix
        items = work_items.claim(
            db, clock.now(), handling.kind, handling.owner, handling.lease_s, subject_prefix=prefix
        )
        for item in items:
            _handle(db, clock, handling, item)
        return bool(items)

    return step


def _handle(db: Database, clock: Clock, handling: Handling, item: WorkItem) -> None:
    started = clock.now()

    def handle() -> None:
        with kept_alive(db, clock, item, handling.lease_s):
            handling.handle(item)

    if attempt(db, clock, item, handle, reject=handling.reject, died=handling.died):
        duration_s = round(elapsed_s(started, clock.now()), 3)
        _logged(item).info("work_finished", duration_s=duration_s)


def attempt(
    db: Database,
    clock: Clock,
    item: WorkItem,
    act: Callable[[], None],
    *,
    reject: Callable[[WorkItem, MatinsError], None],
    died: Callable[[WorkItem, str], None],
) -> bool:
    """Do something for a claimed item, and record what it raises as `Handling` says; whether it raised nothing."""
    logged = _logged(item)
    try:
        act()
    except (Unsuitable, Failed) as error:
        logged.warning("work_rejected", reason=str(error))
        with db.transaction():
            reject(item, error)
    except Transient as error:
        logged.warning("work_waits", reason=str(error))
        with db.transaction():
            work_items.give_back(db, clock.now(), item, str(error))
    except Exception as error:
        logged.exception("work_died", reason=describe_error(error))
        with db.transaction():
            died(item, describe_error(error))
    else:
        return True
    return False


def _logged(item: WorkItem) -> structlog.stdlib.BoundLogger:
    found: structlog.stdlib.BoundLogger = log.bind(
        work_item=f"{item.kind}:{item.subject}", study=item.study_instance_uid, attempt=item.attempts
    )
    return found


@contextmanager
def kept_alive(db: Database, clock: Clock, item: WorkItem, lease_s: float) -> Iterator[None]:
    """Lengthen the item's lease while the block runs."""
    done = threading.Event()

    def beat() -> None:
        while not done.wait(lease_s / 3):
            try:
                work_items.heartbeat(db, clock.now(), item, lease_s)
            except Transient as error:
                log.warning("heartbeat_waits", reason=str(error))

    thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def guarded(beat: Callable[[], None]) -> Callable[[], None]:
    """Wrap one beat of a scheduler: a fault is logged, and the next beat comes."""

    def guarded_beat() -> None:
        try:
            beat()
        except Transient as error:
            log.warning("beat_waits", reason=str(error))
        except Exception as error:
            log.exception("beat_failed", reason=describe_error(error))

    return guarded_beat


def describe_error(error: BaseException) -> str:
    """One line that names the kind of an unexpected error and what it says."""
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__
