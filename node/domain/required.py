"""A series that a study has to hold before it is complete, and the words in which that is said."""

from __future__ import annotations

from dataclasses import dataclass

from node.domain.model_card import NUMBER_FIELDS, TEXT_FIELDS
from node.domain.rule import Clause, Field, Kind

#: Number of instances of any kind in the series, beside the fields that a model card knows of a series.
INSTANCE_COUNT = "instance_count"


@dataclass(frozen=True, slots=True, kw_only=True)
class RequiredSeries:
    """One series that a study has to hold."""

    #: What a reader calls it.
    name: str
    #: What one series has to meet, over `SERIES_FIELDS`.
    when: Clause


#: Every field that `required` may name: the same as in a model card's conditions.
SERIES_FIELDS: dict[str, Field] = {
    name: Field(
        name=name,
        kind=Kind.TEXT if name in TEXT_FIELDS else Kind.NUMBER,
        meaning=name.rpartition(".")[2].replace("_", " "),
        source="the described instances of the series",
    )
    for name in sorted({*TEXT_FIELDS, *NUMBER_FIELDS, INSTANCE_COUNT})
}
