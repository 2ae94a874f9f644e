"""Artifacts: the files an outcome owns. Masks, and the datasets we send: built once, kept, never rebuilt."""

from __future__ import annotations

from dataclasses import dataclass

from node.domain.time import Instant
from node.store.database import Database

#: Folders below the data folder.
MASKS, RESULTS = "masks", "results"


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """One durable file of an outcome."""

    id: int
    outcome_id: int
    #: "mask", "saliency", or the KIND of an output of `report/outputs`.
    kind: str
    profile: str
    #: Relative to the data folder.
    path: str
    size: int
    #: SHA-256 of the file.
    digest: str
    sop_instance_uid: str
    sop_class_uid: str
    created_at: str
    #: The series it lies in; empty for what is no object, or was written by a version that did not keep it.
    series_instance_uid: str = ""
    #: When its file was removed (ISO 8601 UTC); empty while it is here.
    freed_at: str = ""
    #: How it was made and how far it is to be trusted, as JSON; empty where nothing is said.
    account: str = ""


def record(
    db: Database,
    now: Instant,
    *,
    outcome_id: int,
    kind: str,
    path: str,
    size: int,
    digest: str,
    profile: str = "",
    sop_instance_uid: str = "",
    sop_class_uid: str = "",
    series_instance_uid: str = "",
    account: str = "",
) -> int:
    """Keep that a file exists; the file is durable already. The same path again changes nothing."""
    db.execute(
        "INSERT INTO artifact (outcome_id, kind, profile, path, size, digest, sop_instance_uid, sop_class_uid,"
        " created_at, series_instance_uid, account) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (outcome_id, kind, profile) DO UPDATE SET"
        " path = excluded.path, size = excluded.size, digest = excluded.digest, account = excluded.account,"
        " freed_at = '' WHERE sop_instance_uid = ''",
        (
            *(outcome_id, kind, profile, path, size, digest, sop_instance_uid, sop_class_uid, now.iso),
            series_instance_uid,
            account,
        ),
    )
    row = db.row(
        "SELECT id FROM artifact WHERE outcome_id = ? AND kind = ? AND profile = ?", (outcome_id, kind, profile)
    )
    assert row is not None
    return int(row["id"])


def hand_over(db: Database, old: int, new: int) -> None:
    """The files that are no objects belong to another outcome from now on, which has found just the same."""
    db.execute("UPDATE artifact SET outcome_id = ? WHERE outcome_id = ? AND sop_instance_uid = ''", (new, old))


def of_outcome(db: Database, outcome_id: int) -> list[Artifact]:
    """Files of one outcome, oldest first."""
    return _artifacts(db, "WHERE outcome_id = ? ORDER BY id", (outcome_id,))


def artifact(db: Database, artifact_id: int) -> Artifact | None:
    """One file."""
    found = _artifacts(db, "WHERE id = ?", (artifact_id,))
    return found[0] if found else None


def _artifacts(db: Database, where: str, values: tuple[int, ...]) -> list[Artifact]:
    return [Artifact(**dict(row)) for row in db.rows(f"SELECT * FROM artifact {where}", values)]
