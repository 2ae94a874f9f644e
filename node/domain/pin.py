"""A person's word on the place of a study, and the reasons for a place that no rule may bear the name of."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from node.domain.priority import Lane
from node.domain.rule import ORDER

#: The names under which these stand among the reasons.
PIN = "pinned"
FINDINGS_MAXIMUM = "findings-maximum"
#: No rule may bear them.
RESERVED = frozenset({ORDER, PIN, FINDINGS_MAXIMUM})


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """Where a person has put a study: above all others, or in a lane; whatever orders, rules and models say."""

    #: The lane it stands in from now on; `None`: above every lane.
    lane: Lane | None
    #: Login of the person.
    by: str
    #: Aware.
    at: datetime
    #: The same on the scale by which waiting is counted, seconds: of several on top the one pinned first leads.
    at_s: float
    why: str

    @property
    def is_first(self) -> bool:
        """Whether it stands above every lane."""
        return self.lane is None

    @property
    def shown(self) -> str:
        """Where it is pinned: "first", or the lane."""
        return "first" if self.lane is None else self.lane.value
