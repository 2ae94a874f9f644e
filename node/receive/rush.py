"""A rush at the door: while much arrives, describing stands back, so that senders do not wait for it.

On few cores, and on one disk, parsing and filing would slow every answer. They lose nothing by waiting: no study is
complete while instances arrive. Nor do they wait without end: in a rush that lasts, they take their turn.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

#: Written to the describing process's standard input while there is a rush.
MARK = b"+"

#: A rush is so many objects, or so many bytes, a second; what comes slower leaves room enough for both.
_OBJECTS_PER_S = 150.0
_BYTES_PER_S = 50e6
#: A mark counts for so long; the listener renews it four times a second.
_HOLDS_S = 0.6
#: Describing stands back for so long at first, and for so long before each of its turns after that.
LONGEST_S = 5.0
BETWEEN_S = 1.0
_POLL_S = 0.05


class Meter:
    """Says, each time it is asked, whether there was a rush since it was last asked."""

    def __init__(self, taken: Callable[[], tuple[int, int]], clock_s: Callable[[], float] = time.monotonic) -> None:
        """`taken` gives the objects and the bytes that were taken so far."""
        self._taken = taken
        self._clock_s = clock_s
        self._objects, self._octets = taken()
        self._asked_s = clock_s()

    def is_rush(self) -> bool:
        """Whether more came than can be described meanwhile."""
        now_s, (objects, octets) = self._clock_s(), self._taken()
        passed_s = max(now_s - self._asked_s, 1e-3)
        came, amount = objects - self._objects, octets - self._octets
        self._asked_s, self._objects, self._octets = now_s, objects, octets
        return came > _OBJECTS_PER_S * passed_s or amount > _BYTES_PER_S * passed_s


class Courtesy:
    """How describing stands back; `mark` is called by the thread that hears the listener."""

    def __init__(self, wait: Callable[[float], bool], clock_s: Callable[[], float] = time.monotonic) -> None:
        """`wait` sleeps for some seconds, and says whether the process is to end."""
        self._wait = wait
        self._clock_s = clock_s
        self._lock = threading.Lock()
        self._marked_s = -_HOLDS_S
        self._standing_back = False

    def mark(self) -> None:
        """There is a rush now."""
        with self._lock:
            self._marked_s = self._clock_s()

    def stand_back(self) -> None:
        """Return when the rush is over, or when it is our turn all the same."""
        longest_s = BETWEEN_S if self._standing_back else LONGEST_S
        began_s = self._clock_s()
        while self._is_rush():
            self._standing_back = True
            if self._clock_s() - began_s >= longest_s or self._wait(_POLL_S):
                return
        self._standing_back = False

    def _is_rush(self) -> bool:
        with self._lock:
            return self._clock_s() - self._marked_s < _HOLDS_S
