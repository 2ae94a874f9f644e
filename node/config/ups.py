"""[ups]: Unified Procedure Steps, the worklist that others pull."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from node.config.values import Seconds, Section


class UpsSettings(Section):
    """[ups]: what a step says of itself, and how long it stays."""

    #: Worklist Label (0074,1202) of the steps that ask for a study to be read, and of those that name none.
    worklist_label: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[^\\\x00-\x1f\x7f]+$")] = "READING"
    #: From the closing of a study until it should have been read, by lane, seconds.
    expected_stat_s: Seconds = 3600.0
    expected_urgent_s: Seconds = 14400.0
    expected_routine_s: Seconds = 86400.0
    #: A step that is final, and a report that nobody took, are kept so long, seconds.
    keep_s: Seconds = 172800.0
    #: Steps that peers may have made and that are still kept.
    maximum_created: Annotated[int, Field(ge=1, le=1_000_000)] = 10_000
    #: Matches that one C-FIND is told at most.
    maximum_matches: Annotated[int, Field(ge=1, le=100_000)] = 2000
