"""What a node does by night and in the morning, and what became of it."""

from __future__ import annotations

from enum import StrEnum


class NightlyTask(StrEnum):
    """One thing that is done once a local day, in this order."""

    #: Modality worklists are asked who is scheduled on the day in which the night ends.
    PREFETCH = "prefetch"
    #: Priors of unread studies are given to today's models.
    RERUN = "rerun"
    #: Everything that waits is ranked anew.
    RANKING = "ranking"
    #: What the night brought is written down.
    DIGEST = "digest"
    #: The weekly figures on waiting times, where a week is over.
    IMPACT = "impact"

    @property
    def is_of_the_evening(self) -> bool:
        """Whether it is due when the night begins; else in the morning."""
        return self in (NightlyTask.PREFETCH, NightlyTask.RERUN)


class RunState(StrEnum):
    """What became of one task on one day."""

    #: It was begun; if nobody is at it, it is begun again.
    BEGUN = "begun"
    DONE = "done"
    #: It was not done, and never will be for that day, with the reason.
    SKIPPED = "skipped"
    FAILED = "failed"
    #: It was done while the clock was ahead: it counts for nothing.
    UNTIMELY = "untimely"


class BackfillState(StrEnum):
    """Where the fetching of studies of old stands."""

    RUNNING = "running"
    #: By a person, who may have it go on.
    STOPPED = "stopped"
    #: Every study is here and read, or it is known why not.
    DONE = "done"


class BackfilledState(StrEnum):
    """Where one study of it stands."""

    #: An archive lists it.
    FOUND = "found"
    #: It is asked for.
    ASKED = "asked"
    #: It was given to the models, or was here already.
    READ = "read"
    #: It could not be had, or no model could be given it, with the reason.
    LEFT_OUT = "left out"
