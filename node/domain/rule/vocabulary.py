"""The closed, typed vocabulary of rules: each word, what it holds, where it is read, and how it is compared."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from node.domain.change import Verdict
from node.domain.finding import MILLILITRE, MILLIMETRE, VOLUME, Code
from node.domain.history import FACT_ATTRIBUTES, TOLD_TOPICS
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

#: Placeholder in `because` for the texts in which `has` or `has_any` found a phrase.
MENTION = "mention"
#: Placeholder in `because` for the sentences on the findings that a rule asks for.
SENTENCE = "sentence"
#: The name under which the order's own priority stands among the reasons; no rule may bear it.
ORDER = "requested-priority"
#: The one topic of history that holds numbers.
OBSERVATION = "history.observation"


class Kind(StrEnum):
    """What a field of the vocabulary holds."""

    TEXT = "text"
    NUMBER = "number"
    BOOLEAN = "true or false"
    #: Something of the patient's history: a text, a code, a date, and whether it stands; an observation has a number.
    FACT = "a fact"


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
    #: Bears one of a list of codes, "I10:I26.9"; `I10:I26*` stands for all that begin so.
    CODED = "coded"
    BELOW = "<"
    AT_MOST = "<="
    ABOVE = ">"
    AT_LEAST = ">="
    #: Whether there is any value at all.
    KNOWN = "known"


_TEXT_OPERATORS = frozenset({Operator.IS, Operator.ONE_OF, Operator.HAS, Operator.HAS_ANY, Operator.MATCHES})
#: Operators that put two numbers side by side; `is` does, too, where its value is a number.
ORDER_OPERATORS = frozenset({Operator.BELOW, Operator.AT_MOST, Operator.ABOVE, Operator.AT_LEAST})
#: Operators that make sense for each kind; `known` goes with every field that may be missing.
OPERATORS: dict[Kind, frozenset[Operator]] = {
    Kind.TEXT: _TEXT_OPERATORS,
    Kind.NUMBER: ORDER_OPERATORS | {Operator.IS},
    Kind.BOOLEAN: frozenset({Operator.IS}),
    Kind.FACT: _TEXT_OPERATORS | {Operator.CODED},
}
#: Operators that look for mentions.
MENTION_OPERATORS = frozenset({Operator.HAS, Operator.HAS_ANY})
#: Operators whose value is a list.
LIST_OPERATORS = frozenset({Operator.ONE_OF, Operator.HAS_ANY, Operator.CODED})


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
    def is_change(self) -> bool:
        """Whether the comparison with a prior says it."""
        return self.name.startswith("change.")

    @property
    def is_finding(self) -> bool:
        """Whether a model says it, now or against a prior: such a field needs `code`, and may never lower a study."""
        return self.name.startswith("finding.") or self.is_change

    @property
    def is_fact(self) -> bool:
        """Whether it is of the patient's history."""
        return self.kind is Kind.FACT

    @property
    def operators(self) -> frozenset[Operator]:
        """The operators that go with it."""
        fitting = OPERATORS[self.kind]
        if self.name == OBSERVATION:
            fitting |= ORDER_OPERATORS
        # "known" would let a rule count the absence of a model's answer, and so lower a study when it comes.
        return fitting | {Operator.KNOWN} if self.nullable and not self.is_finding else fitting


def _text(name: str, meaning: str, source: str, choices: str = "") -> Field:
    return Field(name=name, kind=Kind.TEXT, meaning=meaning, source=source, choices=frozenset(choices.split()))


_RESULT = "a live model's result"
_COMPARED = "a live model's results, now and in a prior"
#: The days as `day_of_week` names them, Monday first.
DAYS = ("MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY", "SATURDAY", "SUNDAY")


def _number(
    name: str, meaning: str, source: str, unit: str = "", low: float = 0.0, high: float = float("inf")
) -> Field:
    return Field(name=name, kind=Kind.NUMBER, meaning=meaning, source=source, unit=unit, low=low, high=high)


def _size(name: str, meaning: str, unit: str, quantity: Code, quantity_unit: Code) -> Field:
    made = _number(name, meaning, _RESULT, unit)
    return replace(made, quantity=quantity, quantity_unit=quantity_unit)


_STUDY = (
    _text("modality", "modalities in the study", "Modality (0008,0060)"),
    _text("body_part", "body parts", "Body Part Examined (0018,0015)"),
    _text("study_description", "study description", "Study Description (0008,1030)"),
    _text("patient_sex", "sex", "Patient's Sex (0010,0040)", "M F O"),
    _number("patient_age_years", "age", "Patient's Age (0010,1010)", "years", high=150.0),
    _text(
        "requested_priority",
        "priority of the order",
        "Requested Procedure Priority (0040,1003)",
        "STAT HIGH ROUTINE MEDIUM LOW",
    ),
    _number(
        "prior_days",
        "days since the last study of the same modality",
        "the patient's studies that are here, fetched as priors or not",
        "days",
        low=1.0,
    ),
    _text("patient_location", "where the patient is", FACT_ATTRIBUTES["patient_location"]),
    replace(
        _number("hour_of_day", "hour of arrival", "local time at which the first instance arrived", "h", high=23.0),
        nullable=False,
    ),
    _text("day_of_week", "day of arrival", "local day on which the first instance arrived", " ".join(DAYS)),
)


def _fact(code: str, meaning: str, source: str) -> Field:
    return Field(name=f"history.{code}", kind=Kind.FACT, meaning=meaning, source=source)


_HISTORY = (
    _fact("any", "history", "any of the data set's attributes of history.…"),
    *(
        _fact(code, code.replace("_", " "), attribute)
        for code, attribute in FACT_ATTRIBUTES.items()
        if code != "patient_location"
    ),
    *(_fact(code, code, source) for code, source in TOLD_TOPICS.items()),
)
_FINDINGS = (
    Field(name="finding.present", kind=Kind.BOOLEAN, meaning="whether it was found", source=_RESULT),
    _number("finding.probability", "probability of the finding", _RESULT, high=1.0),
    replace(_size("finding.volume_ml", "measured volume", "mL", VOLUME, MILLILITRE), of_lesions=False),
    replace(_size("finding.lesion_volume_ml", "volume of a lesion", "mL", VOLUME, MILLILITRE), of_lesions=True),
    _size("finding.diameter_mm", "longest diameter", "mm", DIAMETER, MILLIMETRE),
    _size("finding.long_axis_mm", "long axis in the plane", "mm", LONG_AXIS, MILLIMETRE),
    _size("finding.short_axis_mm", "short axis in the plane", "mm", SHORT_AXIS, MILLIMETRE),
    _size("finding.lesion_count", "number of lesions", "", LESION_COUNT, NO_UNITS),
    replace(
        _size("finding.mean_hu", "mean attenuation", "HU", ATTENUATION, HOUNSFIELD),
        low=float("-inf"),
        derivation=MEAN,
    ),
)
_CHANGES = (
    Field(
        name="change.verdict",
        kind=Kind.TEXT,
        meaning="change since a prior",
        source=_COMPARED,
        choices=frozenset(each.upper() for each in Verdict if each is not Verdict.NOT_COMPARABLE),
    ),
    _number("change.ratio", "size now by size before", _COMPARED),
    _number("change.doubling_days", "time in which it doubles, endless where it does not grow", _COMPARED, "days"),
    _number("change.before", "size before", _COMPARED),
    _number("change.after", "size now", _COMPARED),
    _number("change.days", "days since the prior", _COMPARED, "days"),
)
#: Every field that a rule may name.
FIELDS: dict[str, Field] = {field.name: field for field in (*_STUDY, *_HISTORY, *_FINDINGS, *_CHANGES)}
