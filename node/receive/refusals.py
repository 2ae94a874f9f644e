"""Refusals, written down beside the path of the answer: a busy database holds up nobody for long."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from queue import Full, SimpleQueue

import structlog

#: An answer waits at most so long until its refusal is written down, seconds.
_PATIENCE_S = 0.5
#: Refusals that wait to be written; more are only in the log.
_MOST = 1000

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """What was refused: what it is about (association, instance), which one, what it became, and why."""

    about: str
    subject: str
    after: str
    reason: str


class Refusals:
    """Writes refusals in the order in which they came, in a thread of its own.

    `write` is called with each of them, and raises nothing; `around` is entered by the thread for as long as it lives.
    """

    def __init__(
        self, write: Callable[[Refusal], None], around: Callable[[], AbstractContextManager[None]] = nullcontext
    ) -> None:
        self._write = write
        self._around = around
        self._waiting: SimpleQueue[tuple[Refusal, threading.Event] | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def note(self, refusal: Refusal, patience_s: float = _PATIENCE_S) -> None:
        """Have it written; return when it is, or after `patience_s` seconds."""
        written = threading.Event()
        try:
            self._put(refusal, written)
        except Full:
            log.warning("refusal_not_recorded", reason=f"{_MOST} of them wait already")
            return
        except RuntimeError as error:
            # No thread is left. It waits for the next refusal; the door, which may have called us, stays open.
            log.warning("refusal_waits", reason=str(error))
            return
        if patience_s:
            written.wait(patience_s)

    def close(self, limit_s: float = 5.0) -> None:
        """Write what waits, and end."""
        with self._lock:
            thread, self._thread = self._thread, None
            if thread is not None:
                self._waiting.put(None)
        if thread is not None:
            thread.join(limit_s)

    def _put(self, refusal: Refusal, written: threading.Event) -> None:
        with self._lock:
            if self._waiting.qsize() >= _MOST:
                raise Full
            self._waiting.put((refusal, written))
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="refusals", daemon=True)
                thread.start()
                self._thread = thread

    def _run(self) -> None:
        with self._around():
            while (entry := self._waiting.get()) is not None:
                refusal, written = entry
                self._write(refusal)
                written.set()
