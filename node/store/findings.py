"""Findings of outcomes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TypeAlias

from pydantic import TypeAdapter

from node.domain.finding import Finding
from node.store.database import Database

#: Model, mode, findings.
Result: TypeAlias = tuple[str, str, list[Finding]]

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


def results_of(db: Database, uids: Sequence[str], *, ever: bool = False) -> dict[str, dict[int, Result]]:
    """Study → outcome → (model, mode, findings) of every result; `ever`: of those too that were superseded since."""
    rows = db.rows(
        "SELECT o.study_instance_uid, o.id, o.model, o.mode, f.body FROM json_each(?) asked"
        " CROSS JOIN outcome o ON o.study_instance_uid = asked.value LEFT JOIN finding f ON f.outcome_id = o.id"
        " WHERE (? OR o.state = 'result') AND o.aside IS NOT 1 ORDER BY o.model, o.id, f.ordinal",
        (json.dumps(list(uids)), ever),
    )
    found: dict[str, dict[int, Result]] = {uid: {} for uid in uids}
    for row in rows:
        _, _, bodies = found[row["study_instance_uid"]].setdefault(row["id"], (row["model"], row["mode"], []))
        if row["body"] is not None:
            bodies.append(_FINDING.validate_json(row["body"]))
    return found
