"""Findings of outcomes."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import TypeAdapter

from node.domain.finding import Finding
from node.store.database import Database

_FINDING = TypeAdapter(Finding)


def record(db: Database, outcome_id: int, findings: Sequence[Finding]) -> None:
    """Keep what a model noticed, in its order; a retry of the same outcome replaces them."""
    db.execute("DELETE FROM finding WHERE outcome_id = ?", (outcome_id,))
    for ordinal, finding in enumerate(findings):
        db.execute(
            "INSERT INTO finding (outcome_id, ordinal, body) VALUES (?, ?, ?)",
            (outcome_id, ordinal, _FINDING.dump_json(finding).decode()),
        )


def of_outcome(db: Database, outcome_id: int) -> list[Finding]:
    """The findings of one outcome, in their order."""
    rows = db.rows("SELECT body FROM finding WHERE outcome_id = ? ORDER BY ordinal", (outcome_id,))
    return [_FINDING.validate_json(row["body"]) for row in rows]
