"""Threads that share the interpreter's lock are gathered on one processor while several associations are served.

Only one of them runs Python at a time. On several processors each hand-over of the lock wakes another processor up, and
that can cost more than the work between two of them, on virtual machines most of all (`benchmarks/results/receive.md`:
two processors). One alone has nobody to hand over to, and TLS deciphers beside the lock: neither gathers anybody.
No process that the listener starts is bound by it.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import structlog

from node.loop import describe_error

_FEWEST = 2
#: Others have so much of our processor before another one is looked for, which has to be so much better.
_CROWDED, _BETTER = 0.5, 0.25
#: Sooner after the last look nothing can be said.
_SHORTEST_S = 0.1
_STATISTICS = Path("/proc/stat")
_TASKS = Path("/proc/self/task")
_TICK_S = 1.0 / os.sysconf("SC_CLK_TCK")
#: Fields of a processor's line (proc(5)) that are idle time: idle, iowait.
_IDLE = (3, 4)
#: Fields of a thread's line behind its name: utime, stime.
_USED = slice(11, 13)

log = structlog.get_logger()


def idle_s() -> dict[int, float]:
    """Seconds for which each processor has been idle since the machine started; nothing where that is not told."""
    found: dict[int, float] = {}
    try:
        with _STATISTICS.open(encoding="ascii") as stream:
            for line in stream:
                name, *fields = line.split(maxsplit=max(_IDLE) + 2)
                if not name.startswith("cpu"):
                    # What follows is long, and of no interest.
                    break
                if name != "cpu":
                    found[int(name[3:])] = sum(int(fields[each]) for each in _IDLE) * _TICK_S
    except (OSError, ValueError, IndexError):
        return {}
    return found


def used_s(threads: Iterable[int]) -> dict[int, float]:
    """Seconds of processor time that each of these threads of ours has used; those that are told."""
    found: dict[int, float] = {}
    for each in threads:
        with suppress(OSError, ValueError):
            fields = (_TASKS / str(each) / "stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2]
            found[each] = sum(map(int, fields.split()[_USED])) * _TICK_S
    return found


@dataclass(frozen=True, slots=True)
class _Seen:
    """What one look found."""

    at_s: float
    idle_s: dict[int, float]
    used_s: dict[int, float]


class Gathering:
    """Which threads there are, and where they run. Threads join and leave by themselves; another one looks after it."""

    def __init__(
        self,
        *,
        on: bool = True,
        put: Callable[[int, Collection[int]], None] = os.sched_setaffinity,
        allowed: Callable[[int], Collection[int]] = os.sched_getaffinity,
        idle: Callable[[], dict[int, float]] = idle_s,
        used: Callable[[Iterable[int]], dict[int, float]] = used_s,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """With `on=False` nobody is ever gathered."""
        self._on = on
        self._put_thread = put
        self._allowed = allowed
        self._idle = idle
        self._used = used
        self._clock_s = clock_s
        self._lock = threading.Lock()
        self._everywhere = frozenset(allowed(0))
        #: Native thread id -> whether it serves an association.
        self._threads: dict[int, bool] = {}
        #: The processor where they are; `None` while they are anywhere.
        self.processor: int | None = None
        self._seen: _Seen | None = None
        #: How busy others keep each processor: a share of the time between the last two looks.
        self._others: dict[int, float] = {}
        self._failure = ""

    def join(self, *, association: bool = False) -> None:
        """The calling thread is one of those; `association`: it serves one. It has to leave before it ends."""
        with self._lock:
            if self._on:
                self._threads[threading.get_native_id()] = association
                self._settle()
                self._put_caller(self._where())
        self._tell()

    def leave(self) -> None:
        """The calling thread is none of those any more; nothing where it never was."""
        with self._lock:
            if self._threads.pop(threading.get_native_id(), None) is not None:
                self._put_caller(self._everywhere)
                self._settle()
        self._tell()

    @contextmanager
    def joined(self) -> Iterator[None]:
        """The calling thread is one of those meanwhile, and serves no association of its own."""
        self.join()
        try:
            yield
        finally:
            self.leave()

    def look(self) -> None:
        """See how busy the processors are, and move where others keep ours busy.

        To be called a few times a second, by a thread that never joins: where that may run, all may.
        """
        with self._lock:
            threads = list(self._threads)
            if not any(self._threads.values()):
                self._seen = None
                return
        seen, allowed = _Seen(self._clock_s(), self._idle(), self._used(threads)), frozenset(self._allowed(0))
        with self._lock:
            self._learn(seen)
            if allowed != self._everywhere:
                self._everywhere, self.processor = allowed, None
                self._settle()
                self._put_all()
            elif self.processor is not None and self._is_crowded(self.processor):
                self.processor = self._quietest()
                self._put_all()
        self._tell()

    def _learn(self, seen: _Seen) -> None:
        before = self._seen
        passed_s = seen.at_s - before.at_s if before is not None else 0.0
        if before is None or passed_s < _SHORTEST_S:
            self._seen = before or seen
            return
        self._seen = seen
        self._others = {
            each: 1.0 - min(1.0, (idle - before.idle_s[each]) / passed_s)
            for each, idle in seen.idle_s.items()
            if each in before.idle_s
        }
        if self.processor in self._others:
            own_s = sum(used - before.used_s[each] for each, used in seen.used_s.items() if each in before.used_s)
            self._others[self.processor] = max(0.0, self._others[self.processor] - own_s / passed_s)

    def _is_crowded(self, processor: int) -> bool:
        others = self._others.get(processor, 0.0)
        return others > _CROWDED and self._others.get(self._quietest(), others) < others - _BETTER

    def _quietest(self) -> int:
        # What is told nothing of may be switched off; the first has the most to do for the machine.
        known = self._everywhere & self._others.keys() or self._everywhere
        return min(known, key=lambda each: (self._others.get(each, 0.0), each == 0, each))

    def _settle(self) -> None:
        """Gather or scatter, where their number asks for it."""
        several = sum(self._threads.values()) >= _FEWEST and len(self._everywhere) > 1
        if several != (self.processor is not None):
            self.processor = self._quietest() if several else None
            self._put_all()

    def _where(self) -> frozenset[int]:
        return self._everywhere if self.processor is None else frozenset((self.processor,))

    def _put_caller(self, processors: frozenset[int]) -> None:
        # A thread that a gathered one has started is bound like that one.
        if frozenset(self._allowed(0)) != processors:
            self._put(threading.get_native_id(), processors)

    def _put_all(self) -> None:
        for each in list(self._threads):
            self._put(each, self._where())

    def _put(self, thread: int, processors: frozenset[int]) -> None:
        if not self._on:
            return
        try:
            self._put_thread(thread, processors)
        except ProcessLookupError:
            self._threads.pop(thread, None)
        except OSError as error:
            # Nobody may choose here.
            self._failure = describe_error(error)
            self._on, self.processor = False, None
            for each in self._threads:
                with suppress(OSError):
                    self._put_thread(each, self._everywhere)
            self._threads.clear()

    def _tell(self) -> None:
        if self._failure:
            failure, self._failure = self._failure, ""
            log.warning("threads_not_gathered", reason=failure)


#: For who serves no associations.
SCATTERED = Gathering(on=False)
