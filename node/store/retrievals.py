"""Retrievals: which studies we asked which archive for, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter

from node.domain.retrieval import EVERYTHING, OPEN_RETRIEVALS, RETRIEVAL_MOVES, Purpose, RetrievalState, Wanted
from node.domain.time import Instant
from node.domain.work import WorkHours, WorkKind
from node.store import events, work_items
from node.store.database import Database

_WANTED = TypeAdapter(Wanted)
_OPEN = ", ".join(f"'{state}'" for state in OPEN_RETRIEVALS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Retrieval:
    """One study asked of one archive."""

    id: int
    study_instance_uid: str
    #: Name of the archive.
    peer: str
    purpose: Purpose
    #: Of a prior: the study that it is a prior of.
    wanted_for: str
    state: RetrievalState
    reason: str
    #: ISO 8601 UTC; the last two are empty until then.
    requested_at: str
    started_at: str
    finished_at: str
    #: Instances that the archive says it holds of the study, once it has said so.
    expected: int | None
    #: Of these, how many are here, and how many the archive said it could not send.
    held: int
    failed: int
    #: How much of the study is asked for.
    wanted: Wanted = EVERYTHING

    @property
    def is_open(self) -> bool:
        """Whether it is not over."""
        return self.state in OPEN_RETRIEVALS


def subject_prefix(peer: str) -> str:
    """Return how the subjects of the work items of all retrievals from an archive begin."""
    return f"{peer}/"


def subject_of(retrieval: Retrieval) -> str:
    """Return the subject of the work item of a retrieval."""
    return f"{subject_prefix(retrieval.peer)}{retrieval.id}"


def id_of(subject: str) -> int:
    """Return the id of the retrieval that a work item is about."""
    return int(subject.rpartition("/")[2])


def record(
    db: Database,
    now: Instant,
    study_instance_uid: str,
    peer: str,
    purpose: Purpose,
    *,
    wanted_for: str = "",
    wanted: Wanted = EVERYTHING,
) -> Retrieval:
    """Ask for a study, inside the caller's transaction: a retrieval and its work item.

    One that is already under way is returned instead; where a person asks for what was to be a prior, it is theirs, and
    where a prior is wanted that was to fill up the past, it is a prior.
    """
    held = db.row(
        f"SELECT id, purpose FROM retrieval WHERE study_instance_uid = ? AND peer = ? AND state IN ({_OPEN})",
        (study_instance_uid, peer),
    )
    if held is not None:
        both = _certain(db, held["id"]).wanted.and_also(wanted)
        db.execute("UPDATE retrieval SET wanted = ? WHERE id = ?", (_written(both), held["id"]))
        if purpose is not Purpose.BACKFILL:
            work_items.put_off(db, WorkKind.FETCH, f"{subject_prefix(peer)}{held['id']}", WorkHours.ANY)
        if Purpose(held["purpose"]).yields_to(purpose):
            whose = "wanted_for = coalesce(nullif(wanted_for, ''), ?)"
            db.execute(f"UPDATE retrieval SET purpose = ?, {whose} WHERE id = ?", (purpose, wanted_for, held["id"]))
            text = "a person asked for it" if purpose is Purpose.ASKED else f"wanted for {wanted_for}"
            events.record(db, now, "retrieval", held["id"], after=purpose, reason=text, study=study_instance_uid)
        return _certain(db, held["id"])
    made = db.execute(
        "INSERT INTO retrieval (study_instance_uid, peer, purpose, wanted_for, wanted, requested_at)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        (study_instance_uid, peer, purpose, wanted_for, _written(wanted), now.iso),
    )
    assert made.lastrowid is not None
    reason = f"{purpose} from {peer}" + (f", for {wanted_for}" if wanted_for else "")
    study, after = study_instance_uid, RetrievalState.REQUESTED
    events.record(db, now, "retrieval", made.lastrowid, after=after, reason=reason, study=study)
    work_items.add(db, now, WorkKind.FETCH, f"{subject_prefix(peer)}{made.lastrowid}", study_instance_uid)
    return _certain(db, made.lastrowid)


def move(db: Database, now: Instant, retrieval_id: int, after: RetrievalState, reason: str = "") -> bool:
    """Move a retrieval on, inside the caller's transaction; `False` if it may not go there from where it is."""
    before = retrieval(db, retrieval_id)
    if before is None or after not in RETRIEVAL_MOVES[before.state]:
        return False
    over = after not in OPEN_RETRIEVALS
    started = before.started_at or (now.iso if after is RetrievalState.RETRIEVING else "")
    db.execute(
        "UPDATE retrieval SET state = ?, reason = ?, started_at = ?, finished_at = ? WHERE id = ?",
        (after, reason, started, now.iso if over else "", retrieval_id),
    )
    if (before.state, before.reason) != (after, reason):
        study = before.study_instance_uid
        events.record(db, now, "retrieval", retrieval_id, before=before.state, after=after, reason=reason, study=study)
    return True


def record_progress(
    db: Database, retrieval_id: int, *, expected: int | None = None, held: int | None = None, failed: int | None = None
) -> None:
    """Keep how far a retrieval has come; what is `None` stays as it was."""
    db.execute(
        "UPDATE retrieval SET expected = coalesce(?, expected), held = coalesce(?, held),"
        " failed = coalesce(?, failed) WHERE id = ?",
        (expected, held, failed, retrieval_id),
    )


def retrieval(db: Database, retrieval_id: int) -> Retrieval | None:
    """One retrieval, if there is one of this id."""
    found = _retrievals(db, "WHERE id = ?", (retrieval_id,))
    return found[0] if found else None


def of_study(db: Database, study_instance_uid: str) -> list[Retrieval]:
    """Every retrieval of a study, oldest first."""
    return _retrievals(db, "WHERE study_instance_uid = ? ORDER BY id", (study_instance_uid,))


def wanted_for(db: Database, study_instance_uid: str) -> list[Retrieval]:
    """The priors that were asked for because this study came, oldest request first."""
    return _retrievals(db, "WHERE wanted_for = ? ORDER BY id", (study_instance_uid,))


def unfinished(db: Database) -> list[Retrieval]:
    """All retrievals that are not over, oldest first."""
    return _retrievals(db, f"WHERE state IN ({_OPEN}) ORDER BY id", ())


def asked(db: Database, study_instance_uid: str) -> bool:
    """Whether a person asked for this study by hand: its results are then sent and ranked as usual."""
    return _exists(db, "study_instance_uid = ? AND purpose = 'asked'", study_instance_uid)


def is_prior(db: Database, study_instance_uid: str) -> bool:
    """Whether this study was retrieved as a prior of another one, and no person asked for it."""
    prior = _exists(db, "study_instance_uid = ? AND purpose != 'asked' AND started_at != ''", study_instance_uid)
    return prior and not asked(db, study_instance_uid)


def is_of_part(db: Database, study_instance_uid: str) -> bool:
    """Whether no more than a part of this study was ever asked for: what an archive counts will not all come."""
    part = _exists(db, "study_instance_uid = ? AND wanted != ''", study_instance_uid)
    return part and not _exists(db, "study_instance_uid = ? AND wanted = ''", study_instance_uid)


def is_open(db: Database, study_instance_uid: str, peer: str) -> bool:
    """Whether that peer is sending us this study because we asked: a retrieval has begun and is not over.

    Tells objects of our own C-MOVE apart where the archive leaves out the Move Originator (0000,1030).
    """
    where = f"study_instance_uid = ? AND peer = ? AND started_at != '' AND state IN ({_OPEN})"
    return _exists(db, where, study_instance_uid, peer)


def begun(db: Database) -> frozenset[tuple[str, str]]:
    """All (study, peer) for which `is_open` holds: for whoever indexes many objects at once."""
    rows = db.rows(f"SELECT study_instance_uid, peer FROM retrieval WHERE started_at != '' AND state IN ({_OPEN})")
    return frozenset((row["study_instance_uid"], row["peer"]) for row in rows)


def held_instances(db: Database, study_instance_uid: str) -> frozenset[str]:
    """SOP Instance UIDs of a study that need not be fetched: those that are here, and those that were made here."""
    rows = db.rows(
        "SELECT sop_instance_uid FROM instance WHERE study_instance_uid = ? AND freed_at = ''"
        " UNION SELECT a.sop_instance_uid FROM artifact a JOIN outcome o ON o.id = a.outcome_id"
        " WHERE o.study_instance_uid = ? AND a.sop_instance_uid != ''",
        (study_instance_uid, study_instance_uid),
    )
    return frozenset(row["sop_instance_uid"] for row in rows)


def _exists(db: Database, where: str, *values: str) -> bool:
    return db.row(f"SELECT 1 FROM retrieval WHERE {where} LIMIT 1", values) is not None


def _certain(db: Database, retrieval_id: int) -> Retrieval:
    found = retrieval(db, retrieval_id)
    assert found is not None
    return found


def _retrievals(db: Database, where: str, values: tuple[str | int, ...]) -> list[Retrieval]:
    return [_read(dict(row)) for row in db.rows(f"SELECT * FROM retrieval {where}", values)]


def _read(row: dict[str, Any]) -> Retrieval:
    state, purpose = RetrievalState(row.pop("state")), Purpose(row.pop("purpose"))
    wanted = row.pop("wanted")
    read = _WANTED.validate_json(wanted) if wanted else EVERYTHING
    return Retrieval(**row, state=state, purpose=purpose, wanted=read)


def _written(wanted: Wanted) -> str:
    return "" if wanted == EVERYTHING else _WANTED.dump_json(wanted).decode()
