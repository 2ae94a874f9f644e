"""What a rule asks: comparisons, and how they are joined."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

from node.domain.rule.vocabulary import ORDER_OPERATORS, Operator


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One field against one value."""

    field: str
    operator: Operator
    value: str | float | bool | tuple[str, ...]
    #: For a `finding.…` or `change.…`: the model that says it; empty for any live model.
    model: str = ""
    #: For a `finding.…` or `change.…`: what was found, as scheme:value ("SCT:12738006").
    code: str = ""
    #: For a `change.…`: which quantity (`domain/measures.Quantity`); empty for any.
    quantity: str = ""
    #: For `history.observation`: which observations, as in `coded`; empty for all.
    codes: tuple[str, ...] = ()
    #: For a number of `history.observation`: its unit.
    unit: str = ""
    #: For `history.…`: the age that a fact may have at most, or must exceed, when the study arrives.
    within_years: float | None = None
    older_than_years: float | None = None
    #: For `history.…`: whether what has ended counts.
    including_ended: bool = False

    @property
    def is_numeric(self) -> bool:
        """Whether it puts two numbers side by side."""
        is_number = isinstance(self.value, float) and not isinstance(self.value, bool)
        return self.operator in ORDER_OPERATORS or (self.operator is Operator.IS and is_number)


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


def denied(clause: Clause) -> Iterator[Comparison]:
    """Every comparison that stands within a `not`."""
    match clause:
        case Comparison():
            return
        case Not():
            yield from comparisons(clause.clause)
        case AllOf() | AnyOf():
            for part in clause.clauses:
                yield from denied(part)
