"""[retrieve]: patience with archives that are asked for studies, and which priors are fetched."""

from __future__ import annotations

import re
from datetime import time
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, field_validator

from node.config.priors import PriorSelector, named_with_key
from node.config.values import Seconds, Section

_HOURS = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])-([01][0-9]|2[0-3]):([0-5][0-9])")


def _hours(text: str) -> str:
    found = _HOURS.fullmatch(text)
    if text and (found is None or text[:5] == text[6:]):
        raise ValueError('two different times of the day, as "22:00-06:00", or "" for the whole day')
    return text


#: Hours of the day by local time, as "22:00-06:00"; empty for the whole day.
Hours = Annotated[str, AfterValidator(_hours)]


def hours_of(text: Hours) -> tuple[time, time] | None:
    """`Hours` parsed: from, and until; `None` for the whole day."""
    found = _HOURS.fullmatch(text)
    if found is None:
        return None
    first_hour, first_minute, last_hour, last_minute = (int(part) for part in found.groups())
    return time(first_hour, first_minute), time(last_hour, last_minute)


class RetrieveSettings(Section):
    """[retrieve]: patience with archives that are asked for studies, and which priors are fetched."""

    #: Seconds for an archive's answer to a query.
    answer_s: Seconds = 30.0
    #: A retrieval in which neither an answer nor an object comes for this long is broken off and tried again.
    silence_s: Seconds = 120.0
    #: One retrieval is broken off after so many seconds in any case.
    limit_s: Seconds = 3600.0
    #: A study that could not be had in so many tries is given up.
    tries: Annotated[int, Field(ge=1, le=20)] = 5
    #: `matins fetch` stops where more studies than this match, so that a typing error does not empty the archive.
    most_studies: Annotated[int, Field(ge=1, le=10_000)] = 200
    #: So many earlier studies of the same patient are fetched when a study closes; 0 fetches none.
    priors: Annotated[int, Field(ge=0, le=20)] = 0
    #: Not older than this, days before the study.
    priors_within_days: Annotated[int, Field(ge=1, le=36_525)] = 1825
    #: Only studies with a modality of the study's own, or any.
    priors_modalities: Literal["same", "any"] = "same"
    #: Local time of the day in which priors are fetched, as "22:00-06:00"; empty for the whole day.
    priors_between: Hours = ""
    #: What is fetched for studies of one kind, beside or in place of `priors`: each takes its own.
    select: Annotated[tuple[PriorSelector, ...], Field(strict=False, max_length=50)] = ()

    @field_validator("select", mode="before")
    @classmethod
    def _clauses_are_sound(cls, written: Any) -> Any:
        return named_with_key(written)

    @field_validator("select")
    @classmethod
    def _have_names_of_their_own(cls, selectors: tuple[PriorSelector, ...]) -> tuple[PriorSelector, ...]:
        if len({each.name for each in selectors} | {"priors"}) <= len(selectors):
            raise ValueError('two selectors have the same name, or one is called "priors"')
        return selectors

    @property
    def selectors(self) -> tuple[PriorSelector, ...]:
        """Every selector in its order; last the one that `priors` stands for, where it is set."""
        if not self.priors:
            return self.select
        plain = PriorSelector(
            name="priors", count=self.priors, within_days=self.priors_within_days, modalities=self.priors_modalities
        )
        return (*self.select, plain)

    @property
    def priors_hours(self) -> tuple[time, time] | None:
        """`priors_between` parsed: from, and until; `None` for the whole day."""
        return hours_of(self.priors_between)
