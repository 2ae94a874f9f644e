"""A rule as its file says it: what it notices, what that is worth, and cases that it is tried on."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from node.domain.change import Change
from node.domain.finding import Code, Finding
from node.domain.history import Fact
from node.domain.priority import Lane
from node.domain.rule.clause import Clause, comparisons
from node.domain.rule.vocabulary import FIELDS

_FORBID = {"extra": "forbid"}


class Missing(StrEnum):
    """What a rule does when what is missing leaves it undecided; never is it silently taken as "no"."""

    #: No points; the rule is listed as not answered.
    SKIP = "skip"
    #: No points; the reader sees what is not known.
    FLAG = "flag"
    #: Points of their own, with what is not known.
    POINTS = "points"


class Said(StrEnum):
    """What a rule says to one study."""

    FIRES = "fires"
    NOT = "not"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Weight:
    """Points that a calibrated probability adds: `points` times the highest that a live model gives."""

    __pydantic_config__ = _FORBID

    points: float
    code: str
    model: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cap:
    """The most that all rules of one group add together."""

    __pydantic_config__ = _FORBID

    group: str
    points: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A case to try a rule on, and what it has to say; what is not given is not known."""

    title: str
    says: Said
    #: Fields of the study, by the names of `RankFacts`.
    study: tuple[tuple[str, str | float | tuple[str, ...]], ...] = ()
    history: tuple[Fact, ...] = ()
    #: (model, findings) of live models.
    results: tuple[tuple[str, tuple[Finding, ...]], ...] = ()
    changes: tuple[Change, ...] = ()


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
    #: What the probability of a finding adds to `points`, where the rule fires.
    weight: Weight | None = None
    cap: Cap | None = None
    #: The lane a study is raised to; never one it is lowered to.
    lane: Lane | None = None
    #: Puts the study at the end of the routine lane, unless its order is STAT.
    veto: bool = False
    when_missing: Missing = Missing.SKIP
    #: For `Missing.POINTS`.
    points_when_missing: float = 0.0
    #: Where the medical claim comes from.
    source: str
    version: str
    #: Codes that it needs a model for, of which this node has none: then it is not asked.
    dormant: tuple[str, ...] = ()
    examples: tuple[Example, ...] = ()

    @property
    def highest_points(self) -> float:
        """The most points that it gives by itself."""
        weighted = self.weight.points if self.weight is not None else 0.0
        return max(self.points + weighted, self.points_when_missing)


def reads_findings(rule: Rule) -> bool:
    """Whether a model has a say in `rule`, by what it finds or by how that has changed."""
    return rule.weight is not None or any(FIELDS[each.field].is_finding for each in comparisons(rule.when))


def finding_key(code: Code) -> str:
    """How a rule writes `code`: "SCT:12738006"."""
    return f"{code.scheme}:{code.value}"
