"""What several sections are made of."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

#: AE title, PS3.5 §6.2: 1 to 16 characters, no backslash, no control character, not only spaces.
_AE_TITLE = r"^[^\\\x00-\x1f\x7f]{1,16}$"


def _ae_title(text: str) -> str:
    if text != text.strip() or not text.isascii():
        raise ValueError("an AE title is ASCII without spaces at its ends")
    return text


def _network(text: str) -> str:
    ip_network(text)
    return text


def _time_zone(text: str) -> str:
    if text:
        try:
            ZoneInfo(text)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ValueError("a zone of the IANA database, as Europe/Berlin") from error
    return text


AeTitle = Annotated[str, Field(pattern=_AE_TITLE), AfterValidator(_ae_title)]
Network = Annotated[str, AfterValidator(_network)]
Port = Annotated[int, Field(ge=1, le=65535)]
Seconds = Annotated[float, Field(gt=0)]
#: Name in the IANA database; empty where none is given.
TimeZone = Annotated[str, AfterValidator(_time_zone)]
#: A worklist is a destination that is also told what was not read, and why. A performer pulls the Unified Procedure
#: Steps that requesters make, and works on them. A reader pulls those to read a study: who completes one has read it.
#: A modality_worklist says who is scheduled. An ups_manager has steps that we perform.
Role = Literal[
    "source",
    "destination",
    "archive",
    "worklist",
    "performer",
    "reader",
    "requester",
    "modality_worklist",
    "ups_manager",
]


class Section(BaseModel):
    """A section: frozen, strict, and without unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
