"""How long to wait before trying again: doubling, with jitter, never above a maximum."""

from __future__ import annotations

import random

#: Jitter takes away up to this share, so that many rows or nodes do not come back at the same moment.
_JITTER = 0.25
_MAXIMUM_DOUBLINGS = 20


def backoff_s(failures: int, *, first_s: float, maximum_s: float) -> float:
    """Return the wait after the `failures`-th failure in a row (1 is the first), seconds."""
    doublings = min(max(failures - 1, 0), _MAXIMUM_DOUBLINGS)
    return min(maximum_s, first_s * 2.0**doublings) * random.uniform(1 - _JITTER, 1)
