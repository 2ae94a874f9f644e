"""What the place of a study may rest on, and how a rule's field is looked up in it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from math import isfinite
from typing import Any, TypeAlias

from node.domain.change import Change
from node.domain.finding import Finding
from node.domain.history import FACT_ATTRIBUTES, Fact
from node.domain.model_card import Mode
from node.domain.rule import FIELDS, SENTENCE, Field, Kind, finding_key
from node.triage.clauses import Key, Lookups, Values
from node.triage.compared import changed
from node.triage.told import Topic, told_of

Value: TypeAlias = str | float | bool
#: What `history.any` looks at: what the order and the data set say in their own attributes.
_ANY = frozenset(FACT_ATTRIBUTES) - {"patient_location"}


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
    #: One of `DAYS`, by the same clock.
    day_of_week: str = ""
    modalities: tuple[str, ...] = ()
    body_parts: tuple[str, ...] = ()
    study_description: str = ""
    patient_age_years: float | None = None
    patient_sex: str = ""
    #: Days since the patient's last study of a modality of this one.
    prior_days: float | None = None
    #: Requested Procedure Priority (0040,1003).
    requested_priority: str = ""
    history: tuple[Fact, ...] = ()
    results: tuple[ModelResult, ...] = ()
    #: What has changed since earlier studies, by models that are live.
    changes: tuple[Change, ...] = ()

    def __post_init__(self) -> None:
        if self.arrived_at.utcoffset() is None:
            raise ValueError("the time of arrival must be aware")


class Reading(Lookups):
    """The reading of one study's facts."""

    __slots__ = ("facts",)

    def __init__(self, facts: RankFacts) -> None:
        super().__init__()
        self.facts = facts

    def look_up(self, key: Key) -> Values:
        """Every value of what a comparison looks up; none where it is not known."""
        found = values(key, self.facts)
        return tuple(found) if not isinstance(found, Topic) else found


def values(key: Key, facts: RankFacts) -> Iterable[Any]:
    """Every value of what a comparison looks up; none where it is not known. The order of the facts is no matter.

    Of history they are `Told`; a change that cannot be compared is a `NotComparable`; all else is plain.
    """
    name, model, code, quantity = key
    if name == SENTENCE:
        _, found = _findings(model, code, facts)
        return dict.fromkeys(each.sentence for each in found if each.sentence)
    field = FIELDS[name]
    if field.is_fact:
        return told_of(_of_topic(name.removeprefix("history."), facts), facts.arrived_at)
    if field.is_change:
        return changed(name, model, code, quantity, _live_changes(facts))
    if field.is_finding:
        return _found(field, model, code, facts)
    return _plain(name, facts)


def _plain(name: str, facts: RankFacts) -> list[Value]:
    found: Iterable[Value | None]
    match name:
        case "modality":
            found = sorted(set(facts.modalities))
        case "body_part":
            found = sorted(set(facts.body_parts))
        case "patient_location":
            found = [each.fact.value for each in told_of(_of_topic(name, facts), facts.arrived_at) if each.stands]
        case _:
            found = [getattr(facts, name)]
    return [value for value in found if value is not None and (not isinstance(value, str) or value.strip())]


def _of_topic(topic: str, facts: RankFacts) -> list[Fact]:
    if topic == "any":
        return [fact for fact in facts.history if fact.code in _ANY]
    return [fact for fact in facts.history if fact.code == topic]


def _live_changes(facts: RankFacts) -> list[Change]:
    """Changes, but for those of a model that is known to be in shadow."""
    silent = {each.model for each in facts.results if each.mode is not Mode.LIVE}
    return [each for each in facts.changes if each.model not in silent]


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
    """Whether a live model has answered, and its findings of that code, absent ones too.

    Where no model is named, one that says nothing of the code has not: it looked for something else.
    """
    results = [each for each in facts.results if each.mode is Mode.LIVE and model in {"", each.model}]
    found = [finding for each in results for finding in each.findings if finding_key(finding.code) == code]
    return bool(found) or (bool(model) and bool(results)), found


def _finite(numbers: Iterable[float | None]) -> list[float]:
    return sorted({number for number in numbers if number is not None and isfinite(number)})
