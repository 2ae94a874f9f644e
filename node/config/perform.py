"""[perform]: work that others ask of us by a Unified Procedure Step."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field

from node.config.values import Seconds, Section

_CODE = re.compile(r"[A-Za-z0-9]{1,16}:[A-Za-z0-9._\-]{1,64}")


def _coded(text: str) -> str:
    if not _CODE.fullmatch(text):
        raise ValueError('a code as "DCM:110004", its scheme first')
    return text


#: A code as "DCM:110004".
Code = Annotated[str, AfterValidator(_coded)]


class PerformSettings(Section):
    """[perform]: which steps are meant for us, and how long we are at one."""

    #: Code value of Scheduled Station Name (0040,4025) in steps that are meant for us; empty: none is by this.
    station: Annotated[str, Field(max_length=64, pattern=r"^[A-Za-z0-9 ._\-]*$")] = ""
    #: Scheduled Workitem Code (0040,4018) of steps that are meant for us → models that have to read; none: all.
    models: dict[Code, Annotated[tuple[str, ...], Field(strict=False)]] = Field(default_factory=dict)
    #: Steps made in our own list are looked at too, not those of peers with the role ups_manager alone.
    own_list: bool = False
    #: Between two looks at the list of a manager, seconds.
    interval_s: Seconds = 30.0
    #: A step that is not done so long after it was claimed is given up, seconds.
    limit_s: Seconds = 7200.0
    #: Steps of one manager that are claimed at a time: others may be free.
    at_once: Annotated[int, Field(ge=1, le=100)] = 4
