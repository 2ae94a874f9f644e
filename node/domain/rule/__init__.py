"""A rule: what it notices, in a closed and typed vocabulary, and what that is worth in the worklist."""

from __future__ import annotations

from node.domain.rule.clause import AllOf, AnyOf, Clause, Comparison, Not, comparisons, denied
from node.domain.rule.definition import Cap, Example, Missing, Rule, Said, Weight, finding_key, reads_findings
from node.domain.rule.vocabulary import (
    DAYS,
    FIELDS,
    LIST_OPERATORS,
    MENTION,
    MENTION_OPERATORS,
    OBSERVATION,
    OPERATORS,
    ORDER,
    ORDER_OPERATORS,
    SENTENCE,
    Field,
    Kind,
    Operator,
)

__all__ = [
    "DAYS",
    "FIELDS",
    "LIST_OPERATORS",
    "MENTION",
    "MENTION_OPERATORS",
    "OBSERVATION",
    "OPERATORS",
    "ORDER",
    "ORDER_OPERATORS",
    "SENTENCE",
    "AllOf",
    "AnyOf",
    "Cap",
    "Clause",
    "Comparison",
    "Example",
    "Field",
    "Kind",
    "Missing",
    "Not",
    "Operator",
    "Rule",
    "Said",
    "Weight",
    "comparisons",
    "denied",
    "finding_key",
    "reads_findings",
]
