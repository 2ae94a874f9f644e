"""What may be freed and what was: rows stay for history, files go once their rows say so."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from node.domain.time import Instant
from node.store import events
from node.store.database import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptFile:
    """A file of a study that is still here."""

    #: Row id of the instance; `None` for the file of a result, a mask …
    instance_id: int | None
    #: Relative to the data folder.
    path: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Freed:
    """An instance whose file was freed."""

    instance_id: int
    freed_at: str
    #: SHA-256 of its data set.
    digest: str


def aged(db: Database, before: str) -> list[str]:
    """Studies of which files are here and nothing has come since `before` (ISO 8601 UTC), oldest first."""
    rows = db.rows(
        "SELECT study_instance_uid FROM study s WHERE last_wall < ? AND EXISTS (SELECT 1 FROM instance i"
        " WHERE i.study_instance_uid = s.study_instance_uid AND i.freed_at = '') ORDER BY last_wall",
        (before,),
    )
    return [row["study_instance_uid"] for row in rows]


def latest_activity(db: Database, study_instance_uid: str) -> str:
    """When anything of a study last came, was made, was sent, kept or looked at (ISO 8601 UTC)."""
    row = db.row(
        "SELECT max(at) AS at FROM (SELECT last_wall AS at FROM study WHERE study_instance_uid = ?1"
        " UNION ALL SELECT max(received_at) FROM instance WHERE study_instance_uid = ?1"
        " UNION ALL SELECT max(finished_at) FROM outcome WHERE study_instance_uid = ?1"
        " UNION ALL SELECT max(max(sent_at, committed_at)) FROM outbox WHERE study_instance_uid = ?1"
        " UNION ALL SELECT looked_at FROM retention WHERE study_instance_uid = ?1)",
        (study_instance_uid,),
    )
    return str(row["at"] or "") if row else ""


def work_under_way(db: Database, study_instance_uid: str) -> list[str]:
    """Kinds of work that a study still waits for, or that a person may have tried again out of its files.

    The question who else holds it is none.
    """
    rows = db.rows(
        "SELECT DISTINCT kind FROM work_item WHERE study_instance_uid = ? AND kind != 'archived'"
        " AND (state IN ('ready', 'claimed') OR (state = 'parked' AND kind IN ('report', 'reject'))) ORDER BY kind",
        (study_instance_uid,),
    )
    return [row["kind"] for row in rows]


def of_two_contents(db: Database, study_instance_uid: str) -> int:
    """How many SOP Instance UIDs of a study are here with more than one content: an archive holds but one."""
    row = db.row(
        "SELECT count(*) AS number FROM (SELECT 1 FROM instance WHERE study_instance_uid = ? AND freed_at = ''"
        " GROUP BY sop_instance_uid HAVING count(DISTINCT content_digest) > 1)",
        (study_instance_uid,),
    )
    return int(row["number"]) if row else 0


def unarchived(db: Database, study_instance_uid: str, since: str) -> int:
    """How many instances no archive has listed since then; not ours nor rejected ones, which it may have hidden."""
    row = db.row(
        "SELECT count(*) AS number FROM instance WHERE study_instance_uid = ? AND freed_at = '' AND ours = 0"
        " AND rejected = '' AND archived_at < ? AND id NOT IN (SELECT note FROM rejection)",
        (study_instance_uid, since),
    )
    return int(row["number"]) if row else 0


def record_archived(db: Database, now: Instant, study_instance_uid: str, sop_instance_uids: Sequence[str]) -> None:
    """Keep that an archive lists these instances of a study now."""
    db.execute(
        "UPDATE instance SET archived_at = ? WHERE study_instance_uid = ?"
        " AND sop_instance_uid IN (SELECT value FROM json_each(?))",
        (now.iso, study_instance_uid, json.dumps(list(sop_instance_uids))),
    )


def last_question(db: Database, study_instance_uid: str) -> tuple[str, int]:
    """When archives were last asked whether they hold a study (empty: never), and how often they were."""
    row = db.row("SELECT asked_at, questions FROM retention WHERE study_instance_uid = ?", (study_instance_uid,))
    return (row["asked_at"], row["questions"]) if row else ("", 0)


def record_question(db: Database, now: Instant, study_instance_uid: str) -> None:
    """Archives are asked whether they hold a study."""
    db.execute(
        "INSERT INTO retention (study_instance_uid, asked_at, questions) VALUES (?, ?, 1) ON CONFLICT DO UPDATE SET"
        " asked_at = excluded.asked_at, questions = questions + 1",
        (study_instance_uid, now.iso),
    )


def looked_at(db: Database, study_instance_uid: str) -> str:
    """When somebody last looked at a study, as far as that was kept (ISO 8601 UTC)."""
    row = db.row("SELECT looked_at FROM retention WHERE study_instance_uid = ?", (study_instance_uid,))
    return str(row["looked_at"]) if row else ""


def record_look(db: Database, now: Instant, study_instance_uid: str) -> None:
    """Somebody looks at a study."""
    db.execute(
        "INSERT INTO retention (study_instance_uid, looked_at) VALUES (?, ?)"
        " ON CONFLICT DO UPDATE SET looked_at = excluded.looked_at",
        (study_instance_uid, now.iso),
    )


def kept_files(db: Database, study_instance_uid: str) -> list[KeptFile]:
    """Every file of a study that is here: of its instances in all versions, of results, masks and the like."""
    rows = db.rows(
        "SELECT id AS instance_id, path, size FROM instance WHERE study_instance_uid = ? AND freed_at = ''"
        " UNION ALL SELECT NULL, a.path, a.size FROM artifact a JOIN outcome o ON o.id = a.outcome_id"
        " WHERE o.study_instance_uid = ? AND a.freed_at = ''",
        (study_instance_uid, study_instance_uid),
    )
    return [KeptFile(**dict(row)) for row in rows]


def record_freed(
    db: Database,
    now: Instant,
    study_instance_uid: str,
    files: Sequence[KeptFile],
    identities: Mapping[str, str],
    digests: Mapping[str, str],
    reason: str,
) -> None:
    """The files of a study are freed, in the caller's transaction: their rows say so before they are removed.

    identities: of the very file under each path, which alone may be removed; a path without one has no file.
    digests: SHA-256 of each instance's data set, by path.
    """
    for each in files:
        if each.instance_id is None:
            db.execute("UPDATE artifact SET freed_at = ? WHERE path = ?", (now.iso, each.path))
        else:
            db.execute(
                "UPDATE instance SET freed_at = ?, freed_digest = ? WHERE id = ?",
                (now.iso, digests.get(each.path, ""), each.instance_id),
            )
    db.execute_each(
        "INSERT OR REPLACE INTO freeing (path, identity) VALUES (?, ?)",
        [(each.path, identities[each.path]) for each in files if each.path in identities],
    )
    events.record(db, now, "retention", study_instance_uid, after="freed", reason=reason, study=study_instance_uid)


def to_be_removed(db: Database, *, limit: int) -> dict[str, str]:
    """Path → identity of up to `limit` files whose rows say that they are freed."""
    rows = db.rows("SELECT path, identity FROM freeing LIMIT ?", (limit,))
    return {row["path"]: row["identity"] for row in rows}


def record_removed(db: Database, paths: Sequence[str]) -> None:
    """These files are gone for good; opens its own transaction."""
    with db.transaction():
        db.execute("DELETE FROM freeing WHERE path IN (SELECT value FROM json_each(?))", (json.dumps(list(paths)),))


def freed_of(db: Database, uids: Sequence[str]) -> dict[tuple[str, str], Freed]:
    """The freed versions of these SOP Instance UIDs, by UID and digest."""
    rows = db.rows(
        "SELECT id, sop_instance_uid, digest, freed_at, freed_digest FROM instance"
        " WHERE freed_at != '' AND sop_instance_uid IN (SELECT value FROM json_each(?))",
        (json.dumps(list(uids)),),
    )
    return {
        (row["sop_instance_uid"], row["digest"]): Freed(
            instance_id=row["id"], freed_at=row["freed_at"], digest=row["freed_digest"]
        )
        for row in rows
    }


def restore(db: Database, now: Instant, instance_id: int, path: str) -> None:
    """The bytes of a freed instance have come again, and are kept as if somebody had looked at the study now."""
    rows = db.rows(
        "UPDATE instance SET path = ?, freed_at = '', freed_digest = '', archived_at = '' WHERE id = ?"
        " RETURNING sop_instance_uid, study_instance_uid",
        (path, instance_id),
    )
    for row in rows:
        uid, study = row["sop_instance_uid"], row["study_instance_uid"]
        record_look(db, now, study)
        reason = "it came again after it was freed"
        events.record(db, now, "instance", uid, after="restored", reason=reason, study=study)


def freed_counts(db: Database) -> dict[str, int]:
    """How many studies have freed instances, how many these are, and of how many bytes."""
    row = db.row(
        "SELECT count(DISTINCT study_instance_uid) AS studies, count(*) AS instances,"
        " coalesce(sum(size), 0) AS freed_bytes FROM instance WHERE freed_at != ''"
    )
    return dict(row) if row else {}
