"""A crowd at the door: of many refusals of one caller only some are told, with the number of the others."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

#: So many refusals of one address are told in so many seconds.
MOST = 20
WITHIN_S = 10.0
#: Addresses that are counted.
_MOST_ADDRESSES = 1000


class Crowd:
    """Counts refusals by address; its door's threads share it."""

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._clock_s = clock_s
        self._lock = threading.Lock()
        #: Address -> when its count began, refusals since then, and those that were not told.
        self._counts: dict[str, tuple[float, int, int]] = {}

    def untold(self, address: str) -> int | None:
        """Count one refusal: `None` where it is not to be told, else how many before it were not."""
        with self._lock:
            now_s = self._clock_s()
            if address not in self._counts and len(self._counts) >= _MOST_ADDRESSES:
                self._counts.clear()
            began_s, count, untold = self._counts.get(address, (now_s, 0, 0))
            if now_s - began_s >= WITHIN_S:
                began_s, count = now_s, 0
            if count >= MOST:
                self._counts[address] = began_s, count, untold + 1
                return None
            self._counts[address] = began_s, count + 1, 0
            return untold
