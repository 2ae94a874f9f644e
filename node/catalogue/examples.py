"""The examples of a rule's file: cases by which it is tried whenever it is checked."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter

from node.catalogue.toml_file import validate
from node.domain.change import Change, Verdict
from node.domain.finding import Code, Finding, Measurement
from node.domain.history import TOPICS, Fact, Standing
from node.domain.measures import TERMS, Quantity
from node.domain.rule import DAYS, Example, Said
from node.errors import Misconfigured

_FORBID = {"extra": "forbid"}
#: Facts, findings and changes that name no source or prior of their own.
_HERE = "example"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Told:
    __pydantic_config__ = _FORBID

    topic: str
    value: str = ""
    unit: str = ""
    coded: str = ""
    observed_at: str = ""
    ended_at: str = ""
    standing: Literal["yes", "no"] = "yes"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    __pydantic_config__ = _FORBID

    code: str
    model: str = _HERE
    present: bool | None = None
    probability: float | None = None
    lesion_number: int = 0
    sizes: dict[Quantity, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Changed:
    __pydantic_config__ = _FORBID

    code: str
    verdict: Verdict
    model: str = _HERE
    quantity: Quantity = Quantity.VOLUME
    before: float | None = None
    after: float | None = None
    ratio: float | None = None
    doubling_days: float | None = None
    days: int | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Study:
    __pydantic_config__ = _FORBID

    modality: tuple[str, ...] = ()
    body_part: tuple[str, ...] = ()
    study_description: str = ""
    patient_age_years: float | None = None
    patient_sex: str = ""
    prior_days: float | None = None
    requested_priority: str = ""
    patient_location: str = ""
    hour_of_day: int = 12
    day_of_week: str = "WEDNESDAY"
    history: tuple[_Told, ...] = ()
    findings: tuple[_Found, ...] = ()
    changes: tuple[_Changed, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _ExampleFile:
    __pydantic_config__ = _FORBID

    title: str
    says: Said
    facts: _Study


_EXAMPLE: TypeAdapter[_ExampleFile] = TypeAdapter(_ExampleFile)


def read_example(table: dict[str, Any], key: str, file: Path) -> Example:
    """Turn one `[[examples]]` table into a value.

    Raises:
        Misconfigured: an unknown, missing or mistyped key; a topic or day that there is not.
    """
    try:
        written = validate(_EXAMPLE, table, file)
    except Misconfigured as error:
        raise Misconfigured(file, f"{key}.{error.key}".rstrip("."), error.problem, error.remedy) from None
    facts = written.facts
    for index, told in enumerate(facts.history):
        if told.topic not in TOPICS:
            remedy = f"Choose one of {', '.join(sorted(TOPICS))}"
            raise Misconfigured(file, f"{key}.facts.history[{index}].topic", f'no topic "{told.topic}"', remedy)
    if facts.day_of_week not in DAYS or not 0 <= facts.hour_of_day <= 23:
        raise Misconfigured(file, f"{key}.facts", "no such hour or day", f"Give 0 to 23, and one of {', '.join(DAYS)}")
    models = sorted({each.model for each in facts.findings})
    return Example(
        title=written.title,
        says=written.says,
        study=_study(facts),
        history=tuple(_fact(told) for told in (*facts.history, *_located(facts.patient_location))),
        results=tuple((name, tuple(_finding(e) for e in facts.findings if e.model == name)) for name in models),
        changes=tuple(_change(each) for each in facts.changes),
    )


def _study(facts: _Study) -> tuple[tuple[str, str | float | tuple[str, ...]], ...]:
    plain: dict[str, str | float | tuple[str, ...] | None] = {
        "modalities": facts.modality,
        "body_parts": facts.body_part,
        "study_description": facts.study_description,
        "patient_age_years": facts.patient_age_years,
        "patient_sex": facts.patient_sex,
        "prior_days": facts.prior_days,
        "requested_priority": facts.requested_priority,
        "hour_of_day": facts.hour_of_day,
        "day_of_week": facts.day_of_week,
    }
    return tuple((name, value) for name, value in plain.items() if value is not None)


def _located(location: str) -> tuple[_Told, ...]:
    return (_Told(topic="patient_location", value=location),) if location else ()


def _fact(told: _Told) -> Fact:
    return Fact(
        code=told.topic,
        value=told.value,
        unit=told.unit,
        source=_HERE,
        observed_at=told.observed_at,
        coded=told.coded,
        standing=Standing(told.standing),
        ended_at=told.ended_at,
    )


def _code(text: str) -> Code:
    scheme, _, value = text.partition(":")
    return Code(value, scheme, value)


def _finding(found: _Found) -> Finding:
    measured = tuple(
        Measurement(quantity=TERMS[each].code, unit=TERMS[each].unit, derivation=TERMS[each].derivation, value=size)
        for each, size in sorted(found.sizes.items())
    )
    return Finding(
        code=_code(found.code),
        present=found.present,
        probability=found.probability,
        lesion_number=found.lesion_number,
        measurements=measured,
    )


def _change(changed: _Changed) -> Change:
    term = TERMS[changed.quantity]
    return Change(
        model=changed.model,
        code=_code(changed.code),
        quantity=term.code,
        unit=term.unit,
        before=changed.before,
        after=changed.after,
        ratio=changed.ratio,
        doubling_days=changed.doubling_days,
        days=changed.days,
        prior_study_instance_uid=_HERE,
        verdict=changed.verdict,
        reason=changed.reason,
    )
