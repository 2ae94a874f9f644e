"""Performed procedure steps as modalities tell them, and how much of what they list is here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from node.domain.procedure_step import WRONG_ENTRY, StepState, shown_code
from node.domain.time import Instant
from node.store import events
from node.store.database import Database

#: Series Instance UID → the SOP Instance UIDs that the step lists.
Listed = Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcedureStep:
    """One step as the tables have it."""

    sop_instance_uid: str
    state: StepState
    #: Why it was discontinued, as "(value, scheme)"; empty otherwise, or where the modality does not say.
    reason_code: str
    #: Name of the peer.
    source: str
    created_at: str
    changed_at: str
    #: A person has released the study that it holds.
    released: bool
    #: Instances listed, and how many of them are here.
    listed: int
    here: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedSeries:
    """One series of completed steps: how many instances they list, and how many of these are here."""

    series_instance_uid: str
    listed: int
    here: int


def add(
    db: Database, now: Instant, sop_instance_uid: str, studies: Sequence[str], listed: Listed, *, source: str
) -> bool:
    """Keep a step that begins, IN PROGRESS; `False` if there is one with this UID."""
    made = db.execute(
        "INSERT OR IGNORE INTO procedure_step (sop_instance_uid, state, source, created_at, changed_at)"
        " VALUES (?, ?, ?, ?, ?)",
        (sop_instance_uid, StepState.IN_PROGRESS, source, now.iso, now.iso),
    )
    if not made.rowcount:
        return False
    for study in dict.fromkeys(studies):
        db.execute(
            "INSERT INTO procedure_step_study (study_instance_uid, step) VALUES (?, ?)", (study, sop_instance_uid)
        )
        _note(db, now, sop_instance_uid, study, "", StepState.IN_PROGRESS, f"told by {source}")
    _list(db, sop_instance_uid, listed)
    return True


def update(
    db: Database, now: Instant, sop_instance_uid: str, after: StepState, listed: Listed | None, *, reason_code: str = ""
) -> None:
    """Change a step that is IN PROGRESS; `listed` takes the place of what it listed, `None` leaves that."""
    db.execute(
        "UPDATE procedure_step SET state = ?, reason_code = ?, changed_at = ? WHERE sop_instance_uid = ?",
        (after, reason_code, now.iso, sop_instance_uid),
    )
    if listed is not None:
        db.execute("DELETE FROM procedure_step_instance WHERE step = ?", (sop_instance_uid,))
        _list(db, sop_instance_uid, listed)
    if after is not StepState.IN_PROGRESS:
        for study in studies_of(db, sop_instance_uid):
            _note(db, now, sop_instance_uid, study, StepState.IN_PROGRESS, after, reason_code)


def step_state(db: Database, sop_instance_uid: str) -> StepState | None:
    """Where a step stands, if it is known."""
    row = db.row("SELECT state FROM procedure_step WHERE sop_instance_uid = ?", (sop_instance_uid,))
    return StepState(row["state"]) if row else None


def listed_count(db: Database, sop_instance_uid: str) -> int:
    """How many instances a step lists."""
    row = db.row("SELECT count(*) AS number FROM procedure_step_instance WHERE step = ?", (sop_instance_uid,))
    return int(row["number"]) if row else 0


def studies_of(db: Database, sop_instance_uid: str) -> list[str]:
    """The studies that a step belongs to."""
    rows = db.rows(
        "SELECT study_instance_uid FROM procedure_step_study WHERE step = ? ORDER BY study_instance_uid",
        (sop_instance_uid,),
    )
    return [row["study_instance_uid"] for row in rows]


def of_study(db: Database, study_instance_uid: str) -> list[ProcedureStep]:
    """The steps of a study, oldest first."""
    rows = db.rows(
        "SELECT s.*, (SELECT count(*) FROM procedure_step_instance l WHERE l.step = s.sop_instance_uid) AS listed,"
        " (SELECT count(*) FROM procedure_step_instance l WHERE l.step = s.sop_instance_uid"
        " AND EXISTS (SELECT 1 FROM instance i WHERE i.sop_instance_uid = l.sop_instance_uid)) AS here"
        " FROM procedure_step s JOIN procedure_step_study ON step = s.sop_instance_uid"
        " WHERE study_instance_uid = ? ORDER BY s.created_at, s.sop_instance_uid",
        (study_instance_uid,),
    )
    return [
        ProcedureStep(**{**dict(row), "state": StepState(row["state"]), "released": bool(row["released"])})
        for row in rows
    ]


def listed_series(db: Database, study_instance_uid: str) -> list[ListedSeries]:
    """What the completed steps of a study list, by series; an instance counts as here in any version."""
    rows = db.rows(
        "SELECT l.series_instance_uid, count(DISTINCT l.sop_instance_uid) AS listed,"
        " count(DISTINCT CASE WHEN EXISTS (SELECT 1 FROM instance i WHERE i.sop_instance_uid = l.sop_instance_uid)"
        " THEN l.sop_instance_uid END) AS here"
        " FROM procedure_step_study t JOIN procedure_step s ON s.sop_instance_uid = t.step AND s.state = 'COMPLETED'"
        " JOIN procedure_step_instance l ON l.step = t.step"
        " WHERE t.study_instance_uid = ? GROUP BY l.series_instance_uid ORDER BY l.series_instance_uid",
        (study_instance_uid,),
    )
    return [ListedSeries(**dict(row)) for row in rows]


def is_wrong_entry(step: ProcedureStep) -> bool:
    """Whether its study waits for a person: another entry of the worklist was meant, and nobody has decided yet."""
    wrong = step.state is StepState.DISCONTINUED and step.reason_code == shown_code(*WRONG_ENTRY)
    return wrong and not step.released


def release(db: Database, study_instance_uid: str) -> None:
    """A person has decided about a study: what its steps say holds it no longer."""
    db.execute(
        "UPDATE procedure_step SET released = 1 WHERE state = 'DISCONTINUED' AND sop_instance_uid IN"
        " (SELECT step FROM procedure_step_study WHERE study_instance_uid = ?)",
        (study_instance_uid,),
    )


def _list(db: Database, sop_instance_uid: str, listed: Listed) -> None:
    for series, instances in listed.items():
        for instance in instances:
            db.execute(
                "INSERT OR IGNORE INTO procedure_step_instance (step, series_instance_uid, sop_instance_uid)"
                " VALUES (?, ?, ?)",
                (sop_instance_uid, series, instance),
            )


def _note(db: Database, now: Instant, uid: str, study: str, before: str, after: StepState, reason: str) -> None:
    events.record(db, now, "procedure_step", uid, before=before, after=after, reason=reason, study=study)
