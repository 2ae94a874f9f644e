"""What explaining costs while it runs: forwards counted, seconds measured, others let pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from node.imaging.pipelines import STILL, Pulse

Clock = Callable[[], float]


class Meter:
    """Counts the inputs that went through the network, and gives the pulse a beat before each batch."""

    def __init__(self, clock: Clock, pulse: Pulse = STILL) -> None:
        self._clock = clock
        self._pulse = pulse
        self._began_s = clock()
        self._expected = 1
        self._held = False
        #: Inputs that went through the network so far.
        self.forwards = 0

    @property
    def elapsed_s(self) -> float:
        """Seconds since the beginning."""
        return self._clock() - self._began_s

    def expect(self, forwards: float) -> None:
        """So many more forwards are to come, for those who watch."""
        self._expected = max(1, self.forwards + round(forwards))

    def passes(self, inputs: int) -> None:
        """A batch is about to go through the network.

        Raises:
            Failed: as `Pulse.beat`.
        """
        if not self._held:
            self._pulse.beat(min(self.forwards, self._expected), self._expected)
        self.forwards += inputs

    @contextmanager
    def undisturbed(self) -> Iterator[None]:
        """Inside, no beat: another study must not go through a network while hooks are set."""
        held, self._held = self._held, True
        try:
            yield
        finally:
            self._held = held
