"""One study under way: what is known of it, and how much of its time is spent."""

from __future__ import annotations

from dataclasses import dataclass

from node.catalogue import Model
from node.domain.priority import Lane
from node.domain.work import WorkHours
from node.infer.messages import Job
from node.infer.model_child import ModelChild, key_of
from node.store.outcomes import Outcome
from node.store.work_items import WorkItem


@dataclass(slots=True, kw_only=True, eq=False)
class Turn:
    """A claimed study on its way through its model's process. Times are seconds of any clock that only goes forward."""

    item: WorkItem
    outcome: Outcome
    model: Model
    job: Job
    #: In which its study stands now.
    lane: Lane
    #: The process that reads it, once one was told of it.
    child: ModelChild | None = None
    #: Whether the network has begun with it.
    started: bool = False
    #: Whether others may be answered in one pass with it, before the network begins with each.
    in_company: bool = False
    #: When it was waiting for its model to be loaded, and how long that took.
    awaits_model_since_s: float | None = None
    load_s: float = 0.0
    _spent_s: float = 0.0
    _since_s: float | None = None

    @property
    def is_spare(self) -> bool:
        """Whether nobody waits for it: anything that somebody waits for overtakes it, whatever the lanes."""
        return self.item.hours is not WorkHours.ANY

    @property
    def urgency(self) -> tuple[bool, int]:
        """The smaller, the sooner it has the network."""
        return (self.is_spare, self.lane.order)

    @property
    def limit_s(self) -> float:
        """What the card allows."""
        return self.model.card.time_limit_s

    @property
    def process(self) -> str:
        """What the process that reads it has loaded."""
        return key_of(self.model)

    @property
    def is_one_of_several(self) -> bool:
        """Whether what happens in its process now may be any one's fault of those that are answered together."""
        return self.in_company and not self.started

    @property
    def runs(self) -> bool:
        """Whether its time runs."""
        return self._since_s is not None

    def run(self, now_s: float) -> None:
        """Its time runs from now."""
        if self._since_s is None:
            self._since_s = now_s

    def stand_still(self, now_s: float) -> None:
        """Its time stands still from now: more urgent work has its place."""
        if self._since_s is not None:
            self._spent_s += now_s - self._since_s
            self._since_s = None

    def is_late(self, now_s: float) -> bool:
        """Whether it has spent more than the card allows; not while its model is being loaded."""
        running_s = now_s - self._since_s if self._since_s is not None else 0.0
        return self.child is not None and self.child.ready and self._spent_s + running_s > self.limit_s
