"""Comparisons of outcomes with those of priors, as they were made."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import TypeAdapter

from node.domain.alignment import Alignment
from node.domain.change import Change
from node.domain.model_card import Mode
from node.domain.time import Instant
from node.store import events
from node.store.database import Database

_CHANGES = TypeAdapter(tuple[Change, ...])
_ALIGNMENT: TypeAdapter[Alignment | None] = TypeAdapter(Alignment | None)
#: Both sides are results that nothing has superseded or withdrawn.
_STANDING = (
    "SELECT c.*, o.mode, o.study_instance_uid, p.study_instance_uid AS prior_study_instance_uid FROM comparison c"
    " JOIN outcome o ON o.id = c.outcome_id JOIN outcome p ON p.id = c.prior_outcome_id"
    " WHERE o.state = 'result' AND p.state = 'result'"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One outcome against one of a prior."""

    outcome_id: int
    prior_outcome_id: int
    study_instance_uid: str
    prior_study_instance_uid: str
    #: Of the model in the current study.
    mode: Mode
    #: ISO 8601 UTC.
    made_at: str
    changes: tuple[Change, ...]
    #: How the images were laid on each other, where they were.
    alignment: Alignment | None
    duration_s: float


def record(
    db: Database,
    now: Instant,
    *,
    outcome_id: int,
    prior_outcome_id: int,
    study: str,
    changes: Sequence[Change],
    alignment: Alignment | None,
    duration_s: float,
) -> None:
    """Keep a comparison in place of whatever the outcome was compared with before, in the caller's transaction."""
    db.execute("DELETE FROM comparison WHERE outcome_id = ?", (outcome_id,))
    db.execute(
        "INSERT INTO comparison (outcome_id, prior_outcome_id, made_at, changes, alignment, duration_s)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        (
            *(outcome_id, prior_outcome_id, now.iso, _CHANGES.dump_json(tuple(changes)).decode()),
            *(_ALIGNMENT.dump_json(alignment).decode(), duration_s),
        ),
    )
    told = ", ".join(sorted({each.verdict.value for each in changes})) or "nothing to compare"
    events.record(db, now, "comparison", str(outcome_id), after=told, study=study)


def last_of(db: Database, outcome_id: int) -> tuple[Change, ...]:
    """What an outcome was last found to show changed, whether or not that stands; nothing where it was not compared."""
    row = db.row("SELECT changes FROM comparison WHERE outcome_id = ?", (outcome_id,))
    return () if row is None else _CHANGES.validate_json(row["changes"])


def hand_over(db: Database, old: int, new: int) -> None:
    """What was compared of one outcome, or with it, is of another from now on, which has found just the same."""
    db.execute("UPDATE comparison SET outcome_id = ? WHERE outcome_id = ?", (new, old))
    db.execute("UPDATE comparison SET prior_outcome_id = ? WHERE prior_outcome_id = ?", (new, old))


def standing(db: Database, uids: Sequence[str]) -> list[Comparison]:
    """Comparisons of these studies' results of which both sides still are results, oldest first."""
    rows = db.rows(
        f"{_STANDING} AND o.study_instance_uid IN (SELECT value FROM json_each(?)) ORDER BY c.id",
        (json.dumps(list(uids)),),
    )
    return [_comparison(row) for row in rows]


def compared_with(db: Database, study_instance_uid: str) -> list[str]:
    """UIDs of the studies of which a result was compared with one of this study, whether or not that stands."""
    rows = db.rows(
        "SELECT DISTINCT o.study_instance_uid FROM comparison c JOIN outcome o ON o.id = c.outcome_id"
        " JOIN outcome p ON p.id = c.prior_outcome_id WHERE p.study_instance_uid = ? ORDER BY 1",
        (study_instance_uid,),
    )
    return [row["study_instance_uid"] for row in rows]


def _comparison(row: sqlite3.Row) -> Comparison:
    return Comparison(
        outcome_id=row["outcome_id"],
        prior_outcome_id=row["prior_outcome_id"],
        study_instance_uid=row["study_instance_uid"],
        prior_study_instance_uid=row["prior_study_instance_uid"],
        mode=Mode(row["mode"]),
        made_at=row["made_at"],
        changes=_CHANGES.validate_json(row["changes"]),
        alignment=_ALIGNMENT.validate_json(row["alignment"]),
        duration_s=row["duration_s"],
    )
