"""What the place of a study may rest on, and how a rule's field is looked up in it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime
from math import isfinite
from typing import TypeAlias

from node.domain.change import Change
from node.domain.finding import Finding
from node.domain.history import FACT_CODES, Fact
from node.domain.model_card import Mode
from node.domain.rule import FIELDS, SENTENCE, Field, Kind, finding_key

Value: TypeAlias = str | float | bool
#: Field, model, code: what a comparison looks up.
Key: TypeAlias = tuple[str, str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelResult:
    """What one model found in the current revision. A model that failed, or is not through, has none."""

    model: str
    mode: Mode
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RankFacts:
    """Everything that the place of a study may rest on."""

    study_instance_uid: str
    #: When the first instance came; aware.
    arrived_at: datetime
    #: The same by the site's clock on the wall, 0–23.
    hour_of_day: int
    modalities: tuple[str, ...] = ()
    body_parts: tuple[str, ...] = ()
    study_description: str = ""
    patient_age_years: float | None = None
    patient_sex: str = ""
    #: Requested Procedure Priority (0040,1003).
    requested_priority: str = ""
    history: tuple[Fact, ...] = ()
    results: tuple[ModelResult, ...] = ()
    #: What has changed since earlier studies, by models that are live.
    changes: tuple[Change, ...] = ()

    def __post_init__(self) -> None:
        if self.arrived_at.utcoffset() is None:
            raise ValueError("the time of arrival must be aware")


def values(key: Key, facts: RankFacts) -> Iterator[Value]:
    """Every value of what a comparison looks up; none where it is not known. The order of the facts is no matter."""
    if key[0] == SENTENCE:
        _, found = _findings(key[1], key[2], facts)
        yield from dict.fromkeys(each.sentence for each in found if each.sentence)
        return
    field = FIELDS[key[0]]
    if field.is_finding:
        yield from _found(field, key[1], key[2], facts)
        return
    plain: tuple[Value | None, ...]
    match field.name:
        case "modality":
            plain = tuple(sorted(set(facts.modalities)))
        case "body_part":
            plain = tuple(sorted(set(facts.body_parts)))
        case "patient_location":
            plain = _history(facts, {"patient_location"})
        case "history.any":
            plain = _history(facts, FACT_CODES - {"patient_location"})
        case name if name.startswith("history."):
            plain = _history(facts, {name.removeprefix("history.")})
        case name:
            plain = (getattr(facts, name),)
    yield from (value for value in plain if value is not None and (not isinstance(value, str) or value.strip()))


def _history(facts: RankFacts, codes: AbstractSet[str]) -> tuple[str, ...]:
    return tuple(sorted({fact.value for fact in facts.history if fact.code in codes}))


def _found(field: Field, model: str, code: str, facts: RankFacts) -> Iterator[Value]:
    """Values of a finding, of live models only: nothing where no model has answered."""
    is_answered, findings = _findings(model, code, facts)
    if field.kind is Kind.BOOLEAN:
        if is_answered:
            yield any(finding.present is not False for finding in findings)
    elif field.quantity is None:
        yield from _finite(finding.probability for finding in findings)
    else:
        assert field.quantity_unit is not None
        wanted = (finding_key(field.quantity), finding_key(field.quantity_unit))
        if field.of_lesions is not None:
            findings = [each for each in findings if bool(each.lesion_number) is field.of_lesions]
        measured = (
            each for finding in findings for each in finding.measurements if each.derivation == field.derivation
        )
        yield from _finite(
            each.value for each in measured if (finding_key(each.quantity), finding_key(each.unit)) == wanted
        )


def _findings(model: str, code: str, facts: RankFacts) -> tuple[bool, list[Finding]]:
    """Whether a live model has answered, and its findings of that code, absent ones too."""
    results = [each for each in facts.results if each.mode is Mode.LIVE and model in {"", each.model}]
    found = [finding for each in results for finding in each.findings if finding_key(finding.code) == code]
    return bool(results), found


def _finite(numbers: Iterable[float | None]) -> list[float]:
    return sorted({number for number in numbers if number is not None and isfinite(number)})
