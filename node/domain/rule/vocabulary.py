"""A rule: what it notices, in a closed and typed vocabulary, and what that is worth in the worklist."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TypeAlias

from node.domain.finding import MILLILITRE, MILLIMETRE, VOLUME, Code
from node.domain.history import FACT_ATTRIBUTES
from node.domain.measures import (
    ATTENUATION,
    DIAMETER,
    HOUNSFIELD,
    LESION_COUNT,
    LONG_AXIS,
    MEAN,
    NO_UNITS,
    SHORT_AXIS,
)
from node.domain.priority import Lane

#: Placeholder in `because` for the texts in which `has` or `has_any` found a phrase.
MENTION = "mention"
#: Placeholder in `because` for the sentences on the findings that a rule asks for.
SENTENCE = "sentence"
#: The name under which the order's own priority stands among the reasons; no rule may bear it.
ORDER = "requested-priority"


class Kind(StrEnum):
    """What a field of the vocabulary holds."""

    TEXT = "text"
    NUMBER = "number"
    BOOLEAN = "true or false"


class Operator(StrEnum):
    """How a field is compared. A field with several values satisfies a comparison when one of them does."""

    #: The same text (without case), number or truth.
    IS = "is"
    #: The same text (without case) as one of a list.
    ONE_OF = "one_of"
    #: Mentions a phrase: whole words, without case; `metasta*` lets the last word go on. A mention that is
    #: denied in so many English words ("no known metastases") is none.
    HAS = "has"
    #: Mentions one of a list of phrases.
    HAS_ANY = "has_any"
    #: A regular expression is found, without case; denials are not looked at.
    MATCHES = "matches"
    BELOW = "<"
    AT_MOST = "<="
    ABOVE = ">"
    AT_LEAST = ">="
    #: Whether there is any value at all.
    KNOWN = "known"


_TEXT_OPERATORS = frozenset({Operator.IS, Operator.ONE_OF, Operator.HAS, Operator.HAS_ANY, Operator.MATCHES})
_NUMBER_OPERATORS = frozenset({Operator.IS, Operator.BELOW, Operator.AT_MOST, Operator.ABOVE, Operator.AT_LEAST})
#: Operators that make sense for each kind; `known` goes with every field that may be missing.
OPERATORS: dict[Kind, frozenset[Operator]] = {
    Kind.TEXT: _TEXT_OPERATORS,
    Kind.NUMBER: _NUMBER_OPERATORS,
    Kind.BOOLEAN: frozenset({Operator.IS}),
}
#: Operators that look for mentions.
MENTION_OPERATORS = frozenset({Operator.HAS, Operator.HAS_ANY})
#: Operators whose value is a list.
LIST_OPERATORS = frozenset({Operator.ONE_OF, Operator.HAS_ANY})


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One word of the vocabulary."""

    name: str
    kind: Kind
    meaning: str
    #: DICOM attribute, or part of Matins, that it is read from.
    source: str
    unit: str = ""
    #: May it be missing? Then a comparison with it may be unknown.
    nullable: bool = True
    #: Values a number can have at all.
    low: float = float("-inf")
    high: float = float("inf")
    #: Values a text can have at all; empty for free text.
    choices: frozenset[str] = frozenset()
    #: For a measured `finding.…`: the quantity and its unit.
    quantity: Code | None = None
    quantity_unit: Code | None = None
    #: What the number is of many values, where it is one of several.
    derivation: Code | None = None
    #: Of whole segments alone, or of single lesions alone; `None`: of both.
    of_lesions: bool | None = None

    @property
    def is_finding(self) -> bool:
        """Whether a model says it: such a field needs `code`, and may never lower a study."""
        return self.name.startswith("finding.")


def _text(name: str, meaning: str, source: str, choices: str = "") -> Field:
    return Field(name=name, kind=Kind.TEXT, meaning=meaning, source=source, choices=frozenset(choices.split()))


_RESULT = "a live model's result"


def _size(name: str, meaning: str, unit: str, quantity: Code, quantity_unit: Code) -> Field:
    return Field(
        name=name,
        kind=Kind.NUMBER,
        meaning=meaning,
        source=_RESULT,
        unit=unit,
        low=0.0,
        quantity=quantity,
        quantity_unit=quantity_unit,
    )


_FIELDS = (
    _text("modality", "modalities in the study", "Modality (0008,0060)"),
    _text("body_part", "body parts", "Body Part Examined (0018,0015)"),
    _text("study_description", "study description", "Study Description (0008,1030)"),
    _text("patient_sex", "sex", "Patient's Sex (0010,0040)", "M F O"),
    _text(
        "requested_priority",
        "priority of the order",
        "Requested Procedure Priority (0040,1003)",
        "STAT HIGH ROUTINE MEDIUM LOW",
    ),
    _text("patient_location", "where the patient is", FACT_ATTRIBUTES["patient_location"]),
    _text("history.any", "history", "any of the attributes of history.…"),
    *(
        _text(f"history.{code}", code.replace("_", " "), attribute)
        for code, attribute in FACT_ATTRIBUTES.items()
        if code != "patient_location"
    ),
    Field(
        name="patient_age_years",
        kind=Kind.NUMBER,
        meaning="age",
        source="Patient's Age (0010,1010)",
        unit="years",
        low=0.0,
        high=150.0,
    ),
    Field(
        name="hour_of_day",
        kind=Kind.NUMBER,
        meaning="hour of arrival",
        source="local time at which the first instance arrived",
        unit="h",
        nullable=False,
        low=0.0,
        high=23.0,
    ),
    Field(name="finding.present", kind=Kind.BOOLEAN, meaning="whether it was found", source=_RESULT),
    Field(
        name="finding.probability",
        kind=Kind.NUMBER,
        meaning="probability of the finding",
        source=_RESULT,
        low=0.0,
        high=1.0,
    ),
    Field(
        name="finding.volume_ml",
        kind=Kind.NUMBER,
        meaning="measured volume",
        source=_RESULT,
        unit="mL",
        low=0.0,
        quantity=VOLUME,
        quantity_unit=MILLILITRE,
        of_lesions=False,
    ),
    replace(_size("finding.lesion_volume_ml", "volume of a lesion", "mL", VOLUME, MILLILITRE), of_lesions=True),
    _size("finding.diameter_mm", "longest diameter", "mm", DIAMETER, MILLIMETRE),
    _size("finding.long_axis_mm", "long axis in the plane", "mm", LONG_AXIS, MILLIMETRE),
    _size("finding.short_axis_mm", "short axis in the plane", "mm", SHORT_AXIS, MILLIMETRE),
    _size("finding.lesion_count", "number of lesions", "", LESION_COUNT, NO_UNITS),
    Field(
        name="finding.mean_hu",
        kind=Kind.NUMBER,
        meaning="mean attenuation",
        source=_RESULT,
        unit="HU",
        quantity=ATTENUATION,
        quantity_unit=HOUNSFIELD,
        derivation=MEAN,
    ),
)
#: Every field that a rule may name.
FIELDS: dict[str, Field] = {field.name: field for field in _FIELDS}


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One field against one value."""

    field: str
    operator: Operator
    value: str | float | bool | tuple[str, ...]
    #: For a `finding.…`: the model that says it; empty for any live model.
    model: str = ""
    #: For a `finding.…`: what was found, as scheme:value ("SCT:12738006").
    code: str = ""


@dataclass(frozen=True, slots=True)
class AllOf:
    """Every clause holds."""

    clauses: tuple[Clause, ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """At least one clause holds."""

    clauses: tuple[Clause, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """The clause is known not to hold; what is unknown stays unknown."""

    clause: Clause


Clause: TypeAlias = Comparison | AllOf | AnyOf | Not


class Missing(StrEnum):
    """What a rule does when what is missing leaves it undecided; never is it silently taken as "no"."""

    #: No points; the rule is listed as not answered.
    SKIP = "skip"
    #: No points; the reader sees what is not known.
    FLAG = "flag"
    #: Points of their own, with what is not known.
    POINTS = "points"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """`rules/<id>.toml` as values."""

    #: The file's name without `.toml`: what it notices.
    id: str
    title: str
    #: The sentence shown to the reader; `{field}` is filled with the value found, `{mention}` with the
    #: texts in which `has` or `has_any` found a phrase, `{sentence}` with what is said of the findings it asks for.
    because: str
    when: Clause
    #: What it adds to the score; never negative.
    points: float = 0.0
    #: The lane a study is raised to; never one it is lowered to.
    lane: Lane | None = None
    when_missing: Missing = Missing.SKIP
    #: For `Missing.POINTS`.
    points_when_missing: float = 0.0
    #: Where the medical claim comes from.
    source: str
    version: str


def comparisons(clause: Clause) -> Iterator[Comparison]:
    """Every comparison in `clause`, in the order written."""
    match clause:
        case Comparison():
            yield clause
        case Not():
            yield from comparisons(clause.clause)
        case AllOf() | AnyOf():
            for part in clause.clauses:
                yield from comparisons(part)


def reads_findings(rule: Rule) -> bool:
    """Whether a model has a say in `rule`."""
    return any(FIELDS[comparison.field].is_finding for comparison in comparisons(rule.when))


def finding_key(code: Code) -> str:
    """How a rule writes `code`: "SCT:12738006"."""
    return f"{code.scheme}:{code.value}"
