"""Threads that share the interpreter's lock are gathered on one processor while several associations are served.

Only one of them runs Python at a time. On several processors each hand-over of the lock wakes another processor up, and
that costs more than the work between two of them, on virtual machines most of all: gathered, eight associations have
been served half as fast again, for two thirds of the processor's time. One alone has nobody to hand over to, and TLS
deciphers beside the lock: neither is gathered. No process that is started elsewhere is bound by it.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import structlog

from node.loop import describe_error

_FEWEST = 2
#: Others have so much of our processor before another one is looked for, which has to be so much better.
_CROWDED, _BETTER = 0.5, 0.25
#: Sooner after the last look nothing can be said.
_SHORTEST_S = 0.1
_STATISTICS = Path("/proc/stat")
_TICK_S = 1.0 / os.sysconf("SC_CLK_TCK")
#: Fields of a processor's line that are idle time (proc(5)): idle, iowait.
_IDLE = (3, 4)

log = structlog.get_logger()


def idle_s() -> dict[int, float]:
    """Seconds for which each processor has been idle since the machine started; nothing where that is not told."""
    found: dict[int, float] = {}
    try:
        for line in _STATISTICS.read_text(encoding="ascii").splitlines():
            name, *fields = line.split()
            if name.startswith("cpu") and name[3:].isdigit():
                found[int(name[3:])] = sum(int(fields[each]) for each in _IDLE) * _TICK_S
    except (OSError, ValueError, IndexError):
        return {}
    return found


class Gathering:
    """Which threads there are, and where they run. Threads join and leave by themselves; one other looks after it."""

    def __init__(
        self,
        *,
        on: bool = True,
        put: Callable[[int, Collection[int]], None] = os.sched_setaffinity,
        idle: Callable[[], dict[int, float]] = idle_s,
        clock_s: Callable[[], float] = time.monotonic,
        own_s: Callable[[], float] = time.process_time,
    ) -> None:
        """With `on=False` nobody is ever gathered. `own_s` is the processor time of this process so far."""
        self._all = frozenset(os.sched_getaffinity(0))
        self._on = on and len(self._all) > 1
        self._put_thread = put
        self._idle = idle
        self._clock_s = clock_s
        self._own_s = own_s
        self._lock = threading.Lock()
        #: Native thread id -> whether it serves an association.
        self._threads: dict[int, bool] = {}
        #: The processor where they are; `None` while they are anywhere.
        self.processor: int | None = None
        #: How busy others keep each processor: a share of the time between the last two looks.
        self._others: dict[int, float] = {}
        self._seen = (clock_s(), own_s(), idle() if self._on else {})

    def join(self, *, association: bool = False) -> None:
        """The calling thread is one of those; `association`: it serves one. It has to leave before it ends."""
        if not self._on:
            return
        with self._lock:
            self._threads[threading.get_native_id()] = association
            self._settle(newcomer=threading.get_native_id())

    def leave(self) -> None:
        """The calling thread is none of those any more; nothing where it never was."""
        if not self._on:
            return
        with self._lock:
            if self._threads.pop(threading.get_native_id(), None) is None:
                return
            self._put(threading.get_native_id(), self._all)
            self._settle()

    @contextmanager
    def joined(self) -> Iterator[None]:
        """The calling thread is one of those meanwhile, and serves no association of its own."""
        self.join()
        try:
            yield
        finally:
            self.leave()

    def look(self) -> None:
        """See how busy the processors are, and move where others keep ours busy; to be called a few times a second."""
        if not self._on:
            return
        now_s, own_s, idle = self._clock_s(), self._own_s(), self._idle()
        then_s, own_then_s, idle_then = self._seen
        passed_s = now_s - then_s
        if passed_s < _SHORTEST_S:
            return
        own = (own_s - own_then_s) / passed_s
        with self._lock:
            self._seen = (now_s, own_s, idle)
            busy = {
                each: 1.0 - min(1.0, max(0.0, (idle[each] - idle_then[each]) / passed_s))
                for each in self._all
                if each in idle and each in idle_then
            }
            if self.processor is not None and self.processor in busy:
                busy[self.processor] = max(0.0, busy[self.processor] - own)
            self._others = busy
            if self.processor is not None and self._is_crowded(self.processor):
                self.processor = self._quietest()
                self._put_all()

    def _is_crowded(self, processor: int) -> bool:
        others = self._others.get(processor, 0.0)
        return others > _CROWDED and self._others[self._quietest()] < others - _BETTER

    def _quietest(self) -> int:
        return min(self._all, key=lambda each: (self._others.get(each, 0.0), -each))

    def _settle(self, newcomer: int | None = None) -> None:
        """Gather or scatter, where their number asks for it; put a newcomer where the others are."""
        several = sum(self._threads.values()) >= _FEWEST
        if several != (self.processor is not None):
            self.processor = self._quietest() if several else None
            self._put_all()
        elif newcomer is not None:
            self._put(newcomer, self._where())

    def _where(self) -> Collection[int]:
        return self._all if self.processor is None else (self.processor,)

    def _put_all(self) -> None:
        for each in self._threads:
            self._put(each, self._where())

    def _put(self, thread: int, processors: Collection[int]) -> None:
        if not self._on:
            return
        try:
            self._put_thread(thread, processors)
        except OSError as error:
            # The processors that we may have were changed, or nobody may choose here.
            log.warning("threads_not_gathered", reason=describe_error(error))
            self._on = False
            for each in self._threads:
                with suppress(OSError):
                    self._put_thread(each, self._all)


#: For who serves no associations.
SCATTERED = Gathering(on=False)
