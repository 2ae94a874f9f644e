"""The children of the room, one a destination: started when needed, ended when idle, killed when they hang."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass

import structlog

from node.config import Settings
from node.deliver.backoff import backoff_s
from node.deliver.holdings import Holdings, Results
from node.deliver.lifeline import Errand, Listener, owner_of
from node.domain.time import Clock
from node.store.database import Database

#: A child that lived this long had recovered: its next death counts as the first.
_RECOVERED_S = 60.0
_COMMAND = (sys.executable, "-m", "node.deliver.child")

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long the room waits for what, seconds."""

    #: From the start of a child until its first sign of life.
    start_s: float = 60.0
    #: A child without rows is ended after this.
    idle_s: float = 60.0
    #: From SIGTERM until SIGKILL.
    drain_s: float = 15.0
    #: Before a dead child is started again; doubles with each death in a row.
    backoff_s: float = 1.0
    backoff_maximum_s: float = 60.0


@dataclass(slots=True, kw_only=True)
class _Child:
    """What the room knows of the child of one destination."""

    process: subprocess.Popen[bytes]
    listener: Listener
    #: Monotonic seconds at which it was started, and last needed.
    started_s: float
    needed_s: float
    #: Whether SIGTERM was sent, and why we killed it, if we did.
    ending: bool = False
    verdict: str = ""


class Children:
    """Looks after the children. One thread; nothing in it waits for a child, but for `drain`."""

    def __init__(
        self,
        db: Database,
        clock: Clock,
        settings: Settings,
        *,
        patience: Patience | None = None,
        command: Sequence[str] = _COMMAND,
        holdings: Holdings | None = None,
    ) -> None:
        self._settings = settings
        #: What a child that is gone had claimed.
        self._holdings = holdings or Results(db, clock, settings.deliver)
        self._patience = patience or Patience()
        self._command = command
        self._children: dict[str, _Child] = {}
        #: By destination: deaths in a row, and the monotonic second before which it is not started again.
        self._deaths: dict[str, int] = {}
        self._due_s: dict[str, float] = {}

    def running(self) -> dict[str, int]:
        """Process ids, by destination."""
        return {name: child.process.pid for name, child in self._children.items()}

    def look_after(self, needed: Collection[str]) -> None:
        """Bury the dead, kill the silent, end those that are not needed, and start those that are."""
        now_s = time.monotonic()
        for name, child in list(self._children.items()):
            if child.process.poll() is not None:
                self._bury(name, child, now_s)
            elif child.listener.is_silent():
                child.verdict = "it went silent and was killed"
                child.process.kill()
            elif name in needed:
                child.needed_s = now_s
            elif now_s - child.needed_s > self._patience.idle_s:
                self._end(child)
        for name in needed:
            if name not in self._children and now_s >= self._due_s.get(name, 0.0):
                self._start(name, now_s)

    def drain(self) -> None:
        """Ask all children to end, and kill those that are still there when the time is up."""
        for child in self._children.values():
            self._end(child)
        deadline_s = time.monotonic() + self._patience.drain_s
        while self._children:
            for name, child in list(self._children.items()):
                if child.process.poll() is not None:
                    self._bury(name, child, time.monotonic())
                elif time.monotonic() > deadline_s:
                    child.verdict = "it did not end in time and was killed"
                    child.process.kill()
            time.sleep(0.02)

    def _start(self, name: str, now_s: float) -> None:
        try:
            process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        except OSError as error:
            self._mourn(name, now_s, f"it cannot be started: {error.strerror}")
            return
        assert process.stdin is not None
        assert process.stdout is not None
        listener = Listener(process.stdout.fileno(), self._patience.start_s)
        self._children[name] = _Child(process=process, listener=listener, started_s=now_s, needed_s=now_s)
        # The settings fit into a pipe; if it is already dead, it is buried next time.
        with suppress(BrokenPipeError):
            process.stdin.write(Errand(destination=name, settings=self._settings).model_dump_json().encode() + b"\n")
            process.stdin.flush()

    def _end(self, child: _Child) -> None:
        if not child.ending:
            child.ending = True
            child.process.send_signal(signal.SIGTERM)

    def _bury(self, name: str, child: _Child, now_s: float) -> None:
        """Reap a child; what it held is queued again, later if the child died over it."""
        code, pid = child.process.wait(), child.process.pid
        if child.ending and not child.verdict:
            self._holdings.release(owner_of(pid))
            self._deaths.pop(name, None)
        else:
            how = f"exit code {code}" if code >= 0 else f"killed by {signal.Signals(-code).name}"
            self._holdings.put_back(owner_of(pid), name, child.verdict or f"its sender died ({how})")
            if now_s - child.started_s > _RECOVERED_S:
                self._deaths.pop(name, None)
            self._mourn(name, now_s, f"{child.verdict} ({how})" if child.verdict else how)
        # Last: a busy database above means that all of this is done again.
        del self._children[name]
        for pipe in (child.process.stdin, child.process.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):
                    pipe.close()

    def _mourn(self, name: str, now_s: float, how: str) -> None:
        """Note a death, and when the destination is served again."""
        self._deaths[name] = self._deaths.get(name, 0) + 1
        patience = self._patience
        wait_s = backoff_s(self._deaths[name], first_s=patience.backoff_s, maximum_s=patience.backoff_maximum_s)
        self._due_s[name] = now_s + wait_s
        log.error("sender_died", destination=name, how=how, again_in_s=round(wait_s, 1))
