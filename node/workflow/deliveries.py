"""How far the results of a study have come at each destination, in one word and a sentence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from node.domain.work import ResultState
from node.store.outbox import OutboxRow

#: Begins the reason of a row whose place another kind has taken (`workflow.fallback`).
REPLACED = "replaced by "
_ARRIVED = frozenset({ResultState.SENT, ResultState.COMMITTED})


def deliveries(rows: Sequence[OutboxRow]) -> list[dict[str, Any]]:
    """One entry a destination: {"destination", "state", "reason"}; results that were stopped here do not count."""
    told = []
    for destination in sorted({row.destination for row in rows}):
        there = [row for row in rows if row.destination == destination]
        counted = [
            row for row in there if row.state not in (ResultState.SUPERSEDED, ResultState.WITHDRAWN) or is_replaced(row)
        ]
        if counted:
            told.append({"destination": destination, "state": _state(counted), "reason": _reason(counted)})
    return told


def is_replaced(row: OutboxRow) -> bool:
    """Whether another kind has taken the place of a row."""
    return row.state is ResultState.SUPERSEDED and row.reason.startswith(REPLACED)


def _state(rows: Sequence[OutboxRow]) -> str:
    states = {row.state for row in rows}
    if ResultState.QUEUED in states:
        return "queued"
    if ResultState.HELD in states:
        return "held"
    if not states & _ARRIVED:
        return "dead"
    if states - _ARRIVED:
        return "sent in part"
    return "committed" if states == {ResultState.COMMITTED} else "sent"


def _reason(rows: Sequence[OutboxRow]) -> str:
    said = []
    for row in rows:
        if row.state is ResultState.SUPERSEDED:
            said.append(f"{row.reason.removeprefix(REPLACED).partition(':')[0]} in place of {row.kind}")
        elif row.state not in _ARRIVED:
            said.append(f"{row.kind} is {row.state.value}")
    return "; ".join(dict.fromkeys(said))
