"""[completeness.<MODALITY>]: when a study is taken as complete, and which one is read at all."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict, Field

from node.config.clauses import ClauseReader
from node.config.values import Seconds, Section
from node.domain.required import SERIES_FIELDS, RequiredSeries
from node.errors import Misconfigured

_FORM = 'Write { name = "T1", when = { field = …, op = …, value = … } }'


#: Quiet times that are built in, seconds, by modality.
QUIET_DEFAULTS = {"CR": 30.0, "DX": 30.0, "CT": 120.0, "MR": 600.0}


def read_required(written: Any) -> tuple[RequiredSeries, ...]:
    """Turn the tables of `required` into values; values pass.

    Raises:
        Misconfigured: with the key below the section's own, and the remedy.
    """
    if not isinstance(written, list | tuple):
        raise Misconfigured("", "required", f"{written!r} is not a list", f"Write [ … ] of it: {_FORM}")
    return tuple(
        each if isinstance(each, RequiredSeries) else _one(each, f"required[{index}]")
        for index, each in enumerate(written)
    )


def _one(table: Any, key: str) -> RequiredSeries:
    if not isinstance(table, dict) or table.keys() != {"name", "when"}:
        raise Misconfigured("", key, "is not a name and a clause", _FORM)
    name = table["name"]
    if not isinstance(name, str) or not name.strip():
        raise Misconfigured("", f"{key}.name", "is empty", "Say what is missing when it is: the reader sees it")
    when = ClauseReader("", SERIES_FIELDS).read(table["when"], f"{key}.when")
    return RequiredSeries(name=name.strip(), when=when)


class Completeness(Section):
    """[completeness.<MODALITY>]: when a study is taken as complete; what a section leaves out is `default`'s."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    #: Seconds without a new instance, over all associations.
    quiet_s: Seconds = 60.0
    #: Seconds after the first instance at which the study is closed in any case.
    forced_s: Seconds = 3600.0
    #: Seconds without a new instance after which one series is looked at on its own: a required one, or one that
    #: a model with `early` reads.
    series_quiet_s: Seconds = 15.0
    #: A study whose Study Date is more days ago is a prior, which no model reads unless somebody asks; 0: none is.
    max_age_days: Annotated[int, Field(ge=0)] = 7
    #: What the study has to hold: each is met by one series. All here: complete before the quiet time is over.
    required: Annotated[tuple[RequiredSeries, ...], BeforeValidator(read_required)] = ()
