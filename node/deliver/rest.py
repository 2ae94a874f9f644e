"""How long a destination that fails is left alone, and how long it has been away."""

from __future__ import annotations

from node.config import DeliverSettings
from node.deliver.backoff import backoff_s
from node.domain.time import Clock


class Rest:
    """Failures in a row of one destination."""

    def __init__(self, clock: Clock, patience: DeliverSettings) -> None:
        self._clock = clock
        self._patience = patience
        #: In a row; the boot times of the first of them, and until which it is left alone.
        self.failures = 0
        self._since_s = 0.0
        self.until_s = 0.0

    @property
    def is_due(self) -> bool:
        """Whether the destination may be tried now."""
        return self._clock.now().boottime_s >= self.until_s

    def begin(self, *, by_configuration: bool = False) -> float:
        """Leave the destination alone, for half of the longest wait at most; return how long, seconds.

        What a person has to mend first is tried again slowly, but it is tried: no result is lost over it.
        """
        now_s, longest_s = self._clock.now().boottime_s, self._patience.backoff_maximum_s
        if not self.failures:
            self._since_s = now_s
        self.failures += 1
        wait_s = backoff_s(self.failures, first_s=self._patience.backoff_s, maximum_s=longest_s / 2)
        if by_configuration:
            wait_s = backoff_s(1, first_s=longest_s, maximum_s=longest_s)
        self.until_s = now_s + wait_s
        return wait_s

    def end(self) -> bool:
        """The destination answers again; say whether it had been away for longer than the longest wait."""
        away_s = self._clock.now().boottime_s - self._since_s if self.failures else 0.0
        self.failures = 0
        return away_s > self._patience.backoff_maximum_s
