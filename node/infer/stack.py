"""Who has the network: the studies that were begun, the most urgent on top, and the processes that stand back."""

from __future__ import annotations

import time
from collections.abc import Sequence

from node.domain.engine import PASS_S
from node.domain.priority import Lane
from node.infer.messages import OrderKind
from node.infer.model_child import ModelChild
from node.infer.turn import Turn


def together(turn: Turn, child: ModelChild, most: int) -> int:
    """How many studies a process may answer in one pass with this one; a STAT study has no company."""
    if not child.ready or not child.reads_many or child.frugal or turn.lane is Lane.STAT or len(turn.job.slices) > 1:
        return 1
    return min(most, int(PASS_S / max(child.quickest_s, 1e-6)))


class Stack:
    """The last study computes; each other stands back until those over it are through."""

    def __init__(self) -> None:
        self._turns: list[Turn] = []
        #: Processes that were told to wait.
        self._paused: set[ModelChild] = set()

    @property
    def turns(self) -> Sequence[Turn]:
        """All of them, the top one last."""
        return tuple(self._turns)

    @property
    def top(self) -> Turn | None:
        """The one that computes."""
        return self._turns[-1] if self._turns else None

    def push(self, turn: Turn, child: ModelChild, company: Sequence[Turn] = ()) -> None:
        """Give a study that its process knows the network, over whatever has it; its company comes right after it."""
        self._turns += [turn, *company]
        child.order(OrderKind.GO, job_id=turn.job.id, company=tuple(each.job.id for each in company))
        self._let_the_top_run()

    def remove(self, turn: Turn) -> None:
        """A study no longer computes; what stood back for it goes on."""
        if turn in self._turns:
            self._turns.remove(turn)
        self._let_the_top_run()

    def current(self, child: ModelChild) -> Turn | None:
        """What a process computes, or has before it."""
        of_child = [turn for turn in self._turns if turn.child is child]
        started = [turn for turn in of_child if turn.started]
        return started[-1] if started else (of_child[0] if of_child else None)

    def started(self, child: ModelChild, turn: Turn) -> None:
        """The network has begun with a study, perhaps in the midst of another."""
        outer, now_s = self.current(child), time.monotonic()
        if outer is not None and outer is not turn:
            outer.stand_still(now_s)
        turn.started = True
        turn.run(now_s)

    def paused(self, child: ModelChild) -> None:
        """A process waits, as it was told to."""
        current = self.current(child)
        if current is not None and child in self._paused:
            current.stand_still(time.monotonic())

    def go_on(self, child: ModelChild) -> None:
        """The time of what a process computes runs, if it is loaded and was not told to wait."""
        current = self.current(child)
        if current is not None and child.ready and child not in self._paused:
            current.run(time.monotonic())

    def forget(self, child: ModelChild) -> None:
        """A process is gone."""
        self._paused.discard(child)

    def _let_the_top_run(self) -> None:
        """Pause each process that another stands over; what it is told to read meanwhile, it reads all the same."""
        held_back = {
            turn.child
            for place, turn in enumerate(self._turns)
            if turn.child is not None and any(over.child is not turn.child for over in self._turns[place + 1 :])
        }
        for child in held_back - self._paused:
            child.order(OrderKind.PAUSE)
        for child in self._paused - held_back:
            child.order(OrderKind.RESUME)
        self._paused = held_back
