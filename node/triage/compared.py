"""What has changed since a prior, as a rule looks at it; what cannot be compared is unknown, with its reason."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import inf, isfinite

from node.domain.change import Change, Verdict
from node.domain.measures import TERMS, Quantity
from node.domain.rule import finding_key

_NO_GROWTH = frozenset({Verdict.STABLE, Verdict.SHRUNK, Verdict.RESOLVED})


@dataclass(frozen=True, slots=True)
class NotComparable:
    """A value that there would be, were the two studies comparable."""

    reason: str


def changed(
    name: str, model: str, code: str, quantity: str, changes: Sequence[Change]
) -> Iterator[str | float | NotComparable]:
    """Every value of one `change.…` field, sorted, each once."""
    found = {
        _value(name, each)
        for each in changes
        if model in {"", each.model} and finding_key(each.code) == code and _is_of(each, quantity)
    }
    yield from sorted((each for each in found if each is not None), key=repr)


def _is_of(change: Change, quantity: str) -> bool:
    if not quantity:
        return True
    term = TERMS[Quantity(quantity)]
    return finding_key(term.code) == finding_key(change.quantity) and term.unit.value == change.unit.value


def _value(name: str, change: Change) -> str | float | NotComparable | None:
    if change.verdict is Verdict.NOT_COMPARABLE:
        return NotComparable(change.reason)
    if name == "change.verdict":
        return change.verdict.upper()
    if name == "change.doubling_days" and (change.verdict in _NO_GROWTH or (change.doubling_days or 0.0) < 0):
        # What shrinks halves: its negative doubling time must not pass for a short one.
        return inf
    found = getattr(change, name.removeprefix("change."))
    return float(found) if found is not None and isfinite(found) else None
