"""Outcomes: what became of each model on each revision. Silence is never a negative."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from node.domain.model_card import Mode
from node.domain.time import Instant
from node.domain.work import OUTCOME_MOVES, OutcomeState
from node.store import events
from node.store.database import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One model on one revision of one study."""

    id: int
    study_instance_uid: str
    revision: int
    #: 1 for the first run; a forced run adds one, a retry keeps it.
    run_number: int
    model: str
    mode: Mode
    model_digest: str
    card_digest: str
    #: The series that is read; empty where none suits.
    series_instance_uid: str
    #: Over the content of the input instances.
    content_digest: str
    state: OutcomeState
    reason: str
    #: [{series_instance_uid, suits, reason}]: what was thought of each series.
    series: tuple[dict[str, object], ...]
    created_at: str
    #: ISO 8601 UTC; empty until final. Dates and times in the results come from here.
    finished_at: str
    timings: dict[str, float]
    #: Sentences on how it was computed, where that was not the plain way.
    notes: tuple[str, ...] = ()
    #: It stands beside the outcomes of its study, to be compared with: nobody is told of it, and it supersedes nothing.
    aside: bool = False

    @property
    def roles(self) -> dict[str, str]:
        """Series Instance UID → role, where the model reads several series together."""
        return {str(each["series_instance_uid"]): str(each["role"]) for each in self.series if each.get("role")}


def add(
    db: Database,
    now: Instant,
    *,
    study: str,
    revision: int,
    run_number: int,
    model: str,
    mode: Mode,
    model_digest: str,
    card_digest: str,
    series_instance_uid: str,
    content_digest: str,
    series: Sequence[Mapping[str, object]],
    state: OutcomeState,
    reason: str = "",
    inputs: Sequence[int] = (),
) -> int:
    """Write a new outcome with the exact instances it rests on; return its id."""
    finished = now.iso if state is not OutcomeState.PENDING else ""
    made = db.execute(
        "INSERT INTO outcome (study_instance_uid, revision, run_number, model, mode, model_digest, card_digest,"
        " series_instance_uid, content_digest, state, reason, series, created_at, finished_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            *(study, revision, run_number, model, mode, model_digest, card_digest, series_instance_uid),
            *(content_digest, state, reason, json.dumps([dict(each) for each in series]), now.iso, finished),
        ),
    )
    outcome_id = made.lastrowid
    assert outcome_id is not None
    _record_inputs(db, outcome_id, inputs)
    events.record(db, now, "outcome", f"{model}:{outcome_id}", after=state, reason=reason, study=study)
    return outcome_id


def move(
    db: Database,
    now: Instant,
    outcome_id: int,
    after: OutcomeState,
    reason: str = "",
    *,
    timings: Mapping[str, float] | None = None,
    notes: Sequence[str] | None = None,
) -> bool:
    """Move an outcome, if the move is legal (`domain.work.OUTCOME_MOVES`); `False` if it is not."""
    row = db.row("SELECT state, model, study_instance_uid FROM outcome WHERE id = ?", (outcome_id,))
    if row is None or after not in OUTCOME_MOVES[OutcomeState(row["state"])]:
        return False
    final = after in (OutcomeState.RESULT, OutcomeState.NOT_APPLICABLE, OutcomeState.FAILED, OutcomeState.INCOMPLETE)
    db.execute(
        "UPDATE outcome SET state = ?, reason = ?, finished_at = CASE WHEN ? THEN ? ELSE finished_at END,"
        " timings = coalesce(?, timings), notes = coalesce(?, notes) WHERE id = ?",
        (
            *(after, reason, final, now.iso),
            json.dumps(dict(timings)) if timings is not None else None,
            json.dumps(list(notes)) if notes is not None else None,
            outcome_id,
        ),
    )
    subject, study = f"{row['model']}:{outcome_id}", row["study_instance_uid"]
    events.record(db, now, "outcome", subject, before=row["state"], after=after, reason=reason, study=study)
    return True


def outcome(db: Database, outcome_id: int) -> Outcome | None:
    """One outcome, if there is one."""
    found = _outcomes(db, "WHERE id = ?", (outcome_id,))
    return found[0] if found else None


def current(db: Database, study_instance_uid: str) -> list[Outcome]:
    """Outcomes of a study that nothing has superseded, by model name; what stands aside is none of them."""
    where = "WHERE study_instance_uid = ? AND state != 'superseded' AND aside = 0 ORDER BY model"
    return _outcomes(db, where, (study_instance_uid,))


def asides(db: Database, study_instance_uid: str) -> list[Outcome]:
    """What stands beside the outcomes of a study and nothing has superseded, oldest first."""
    where = "WHERE study_instance_uid = ? AND state != 'superseded' AND aside = 1 ORDER BY id"
    return _outcomes(db, where, (study_instance_uid,))


def lay_aside(db: Database, study_instance_uid: str, model: str) -> None:
    """Let the newest outcome of a model stand beside those of its study; before it has begun."""
    db.execute(
        "UPDATE outcome SET aside = 1 WHERE state = 'pending' AND id ="
        " (SELECT max(id) FROM outcome WHERE study_instance_uid = ? AND model = ?)",
        (study_instance_uid, model),
    )


def next_run_number(
    db: Database,
    study_instance_uid: str,
    *,
    revision: int,
    model: str,
    model_digest: str,
    card_digest: str,
    content_digest: str,
) -> int:
    """The run number that a new outcome on this very content gets: 1, or one more than the last.

    A number is never used twice for the same content and model, so derived UIDs never meet; nor in one revision.
    """
    row = db.row(
        "SELECT max(run_number) AS number FROM outcome WHERE study_instance_uid = ? AND model = ?"
        " AND (revision = ? OR (model_digest = ? AND card_digest = ? AND content_digest = ?))",
        (study_instance_uid, model, revision, model_digest, card_digest, content_digest),
    )
    return 1 + int(row["number"] or 0) if row else 1


def keep(db: Database, outcome_id: int, inputs: Sequence[int], series: Sequence[Mapping[str, object]]) -> None:
    """The outcome stands although instances came: refresh what it rests on and what was thought of each series."""
    db.execute("UPDATE outcome SET series = ? WHERE id = ?", (json.dumps([dict(each) for each in series]), outcome_id))
    db.execute("DELETE FROM outcome_input WHERE outcome_id = ?", (outcome_id,))
    _record_inputs(db, outcome_id, inputs)


def inputs(db: Database, outcome_id: int) -> list[int]:
    """Row ids of the instances an outcome rests on."""
    rows = db.rows("SELECT instance_id FROM outcome_input WHERE outcome_id = ? ORDER BY instance_id", (outcome_id,))
    return [row["instance_id"] for row in rows]


def sources(db: Database, outcome_id: int) -> list[str]:
    """Names of the peers that sent the inputs of an outcome."""
    rows = db.rows(
        "SELECT DISTINCT source FROM outcome_input JOIN instance ON instance.id = instance_id"
        " WHERE outcome_id = ? ORDER BY source",
        (outcome_id,),
    )
    return [row["source"] for row in rows]


def resting_on(db: Database, instance_ids: Sequence[int]) -> list[Outcome]:
    """Every outcome, superseded ones too, that rests on any of these instances."""
    return _outcomes(
        db,
        "WHERE id IN (SELECT outcome_id FROM outcome_input WHERE instance_id IN (SELECT value FROM json_each(?)))"
        " ORDER BY id",
        (json.dumps(list(instance_ids)),),
    )


def of_study(db: Database, study_instance_uid: str) -> list[Outcome]:
    """Every outcome of a study, superseded ones and those aside too, oldest first."""
    return _outcomes(db, "WHERE study_instance_uid = ? ORDER BY id", (study_instance_uid,))


def studies_of_model(db: Database, model: str) -> list[str]:
    """Studies that a model of this name was meant to read, oldest first."""
    rows = db.rows(
        "SELECT study_instance_uid FROM outcome WHERE model = ? GROUP BY study_instance_uid ORDER BY min(id)", (model,)
    )
    return [row["study_instance_uid"] for row in rows]


def _record_inputs(db: Database, outcome_id: int, inputs: Sequence[int]) -> None:
    for instance_id in inputs:
        db.execute("INSERT INTO outcome_input (outcome_id, instance_id) VALUES (?, ?)", (outcome_id, instance_id))


def _outcomes(db: Database, where: str, values: tuple[str | int, ...]) -> list[Outcome]:
    return [_outcome(row) for row in db.rows(f"SELECT * FROM outcome {where}", values)]


def _outcome(row: sqlite3.Row) -> Outcome:
    values = dict(row)
    values["mode"] = Mode(values["mode"])
    values["state"] = OutcomeState(values["state"])
    values["series"] = tuple(json.loads(values["series"]))
    values["timings"] = json.loads(values["timings"])
    values["notes"] = tuple(json.loads(values["notes"]))
    values["aside"] = bool(values["aside"])
    return Outcome(**values)
