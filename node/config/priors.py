"""[[retrieve.select]]: which earlier studies of a patient are fetched for which studies, and how much of each."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict, Field

from node.config.clauses import ClauseReader
from node.config.values import Section
from node.domain.rule import FIELDS, AllOf, AnyOf, Comparison, Not
from node.errors import Misconfigured

#: What `when` may ask of the study that has come.
STUDY_FIELDS = {name: FIELDS[name] for name in ("modality", "body_part", "study_description")}

_MODALITY = re.compile(r"[A-Z0-9_]{1,16}")
_MOST = 20


def _modalities(written: Any) -> Any:
    return _words(written, ("same", "any"), _MODALITY, '"same", "any", or a list as ["CT", "MR"]')


def _body_parts(written: Any) -> Any:
    return _words(written, ("same", "any"), re.compile(r".{1,16}"), '"same", "any", or a list as ["CHEST", "THORAX"]')


def _series(written: Any) -> Any:
    return () if written == [] else _words(written, ("any",), _MODALITY, '"any", or a list as ["CT"]')


def _words(written: Any, words: tuple[str, ...], form: re.Pattern[str], wanted: str) -> Any:
    if written in words:
        return written
    is_list = isinstance(written, list | tuple) and len(written) <= _MOST and (written or "same" not in words)
    if not is_list or not all(isinstance(each, str) and form.fullmatch(each) for each in written):
        raise ValueError(f"give {wanted}")
    return tuple(written)


def _clause(written: Any) -> Any:
    if written is None or isinstance(written, AllOf | AnyOf | Comparison | Not):
        return written
    return ClauseReader("", STUDY_FIELDS).read(written)


class PriorSelector(Section):
    """[[retrieve.select]]: earlier studies of the patient that are fetched for studies of one kind."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    #: What the reader sees as the reason.
    name: Annotated[str, Field(min_length=1, max_length=64)]
    #: For which studies, over `STUDY_FIELDS`; without it for every one. What a study does not say, it does not meet.
    when: Annotated[Any, BeforeValidator(_clause)] = None
    #: So many at most, the newest first.
    count: Annotated[int, Field(ge=1, le=20)] = 2
    #: Not older than this, days before the study.
    within_days: Annotated[int, Field(ge=1, le=36_525)] = 1825
    #: With a modality of the study's own, with any, or with one of these.
    modalities: Annotated[str | tuple[str, ...], BeforeValidator(_modalities)] = "same"
    #: Of a body part of the study's own, of any, or of one of these. What an archive does not tell is no obstacle, but
    #: comes after those that agree.
    body_part: Annotated[str | tuple[str, ...], BeforeValidator(_body_parts)] = "any"
    #: Which series of them, by modality, or all; [] fetches no images.
    series_modalities: Annotated[str | tuple[str, ...], BeforeValidator(_series)] = "any"
    #: Besides: their Structured Reports, Segmentations and encapsulated documents.
    include_results: bool = True


def named_with_key(written: Any) -> Any:
    """Complain of a clause with the key that the file has; values pass.

    Raises:
        Misconfigured: a `when` is no clause, or asks what nobody knows of a study.
    """
    for index, table in enumerate(written if isinstance(written, list | tuple) else ()):
        try:
            _clause(table.get("when") if isinstance(table, dict) else None)
        except Misconfigured as wrong:
            key = f"retrieve.select.{index}.{wrong.key}"
            raise Misconfigured(wrong.file, key, wrong.problem, wrong.remedy) from None
    return written
