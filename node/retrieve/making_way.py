"""Work in spare time makes way: a retrieval that nobody waits for ends as soon as one comes that somebody does."""

from __future__ import annotations

from node.config import Settings
from node.domain.time import Clock
from node.domain.work import WorkHours
from node.errors import Transient
from node.store import work_hours
from node.store.database import Database
from node.store.work_items import WorkItem
from node.workflow import night_hours


class Overtaken(Transient):
    """It goes on another time, through no fault of its own; what has come of it stays."""


def look(db: Database, clock: Clock, settings: Settings, item: WorkItem, subject_prefix: str) -> None:
    """See whether an item still has its place.

    Raises:
        Overtaken: it has not.
    """
    if item.hours is WorkHours.ANY:
        return
    now = clock.now()
    if work_hours.is_awaited(db, now, item.kind, subject_prefix):
        raise Overtaken("made way for a study that somebody waits for")
    if item.hours is WorkHours.NIGHT and not night_hours.is_night(now, settings):
        raise Overtaken("the night is over")
