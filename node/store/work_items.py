"""Work items: claimed in one statement, leased, counted before they start, never deleted on taking."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from node.domain.priority import Lane
from node.domain.time import Instant
from node.domain.work import WORK_MOVES, WorkHours, WorkKind, WorkState
from node.store import events
from node.store.database import Database, Value

#: Deaths after which an item is parked.
MAXIMUM_ATTEMPTS = 3
#: First wait after a passing fault, seconds; doubles up to the maximum.
_BACKOFF_S = 1.0
_BACKOFF_MAXIMUM_S = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkItem:
    """One durable piece of work, as claimed."""

    id: int
    kind: WorkKind
    #: What it is about: an instance id, an outcome id, a study.
    subject: str
    study_instance_uid: str
    #: This attempt's number, 1 for the first.
    attempts: int
    owner: str
    hours: WorkHours = WorkHours.ANY


def add(db: Database, now: Instant, kind: WorkKind, subject: str | int, study: str) -> None:
    """Make one item ready, unless there is one of this kind and subject already."""
    made = db.execute(
        "INSERT OR IGNORE INTO work_item (kind, subject, study_instance_uid, created_at, changed_at)"
        " VALUES (?, ?, ?, ?, ?)",
        (kind, str(subject), study, now.iso, now.iso),
    )
    if made.rowcount:
        events.record(db, now, "work_item", f"{kind}:{subject}", after=WorkState.READY, study=study)


def renew(db: Database, now: Instant, kind: WorkKind, subject: str | int, study: str) -> None:
    """Make one item ready, though it was finished, parked or cancelled before: what it is about is new."""
    moved = db.execute(
        "UPDATE work_item SET state = 'ready', reason = '', attempts = 0, passing_faults = 0, owner = '',"
        " not_before_boot_s = 0, hours = 0, changed_at = ?"
        " WHERE kind = ? AND subject = ? AND state NOT IN ('ready', 'claimed')",
        (now.iso, kind, str(subject)),
    )
    if moved.rowcount:
        events.record(db, now, "work_item", f"{kind}:{subject}", after=WorkState.READY, study=study)
    else:
        put_off(db, kind, subject, WorkHours.ANY)
        add(db, now, kind, subject, study)


def put_off(db: Database, kind: WorkKind, subject: str | int, hours: WorkHours) -> None:
    """Say when an item may be claimed, in the caller's transaction; one that waited for the night need not any more."""
    wakes = "not_before_boot_s = not_before_boot_s * (hours != 1 OR ? = 1)"
    values = (hours, hours, kind, str(subject))
    db.execute(f"UPDATE work_item SET {wakes}, hours = ? WHERE kind = ? AND subject = ?", values)


def add_each(db: Database, kind: WorkKind, wanted: Sequence[tuple[Instant, int, str]]) -> None:
    """Make items of new subjects ready: (now, subject, study) each. No event tells of them: their subjects' does."""
    db.execute_each(
        "INSERT INTO work_item (kind, subject, study_instance_uid, created_at, changed_at) VALUES (?, ?, ?, ?, ?)",
        [(kind, str(subject), study, now.iso, now.iso) for now, subject, study in wanted],
    )


def claim(
    db: Database,
    now: Instant,
    kind: WorkKind,
    owner: str,
    lease_s: float,
    *,
    limit: int = 1,
    study: str = "",
    subject: str = "",
    subject_prefix: str = "",
    above: Lane | None = None,
    awaited: bool = False,
    by_night: bool = True,
    routine: bool = True,
) -> list[WorkItem]:
    """Take up to `limit` ready items, most urgent first, in one statement; opens its own transaction.

    Each attempt is counted here, before the work starts, so that an item that kills its worker is known.
    Items about studies of which nothing is here yet (they are being fetched) come first. With `above`, only items of
    studies in a more urgent lane are taken, with `awaited` only what somebody waits for: no work for spare time.
    Without `by_night` work for the night stays, and without `routine` what the lane ROUTINE waits for, unless a person
    has asked for the study.
    """
    narrowed = " AND w.study_instance_uid = ?" if study else ""
    narrowed += " AND w.subject = ?" if subject else ""
    narrowed += " AND substr(w.subject, 1, ?) = ?" if subject_prefix else ""
    narrowed += " AND s.lane_order < ?" if above else ""
    narrowed += " AND w.hours = 0" if awaited else "" if by_night else " AND w.hours != 1"
    narrowed += "" if routine else _NOT_ROUTINE
    values: tuple[Value, ...] = (
        *(now.boot_id, now.boottime_s + lease_s, owner, now.iso),
        *(kind, now.boot_id, now.boottime_s),
        *((study,) if study else ()),
        *((subject,) if subject else ()),
        *((len(subject_prefix), subject_prefix) if subject_prefix else ()),
        *((above.order,) if above else ()),
        limit,
    )
    with db.transaction():
        rows = db.rows(
            "UPDATE work_item SET state = 'claimed', attempts = attempts + 1, boot_id = ?, lease_boot_s = ?,"
            " owner = ?, changed_at = ?, reason = '' WHERE id IN ("
            " SELECT w.id FROM work_item w LEFT JOIN study s USING (study_instance_uid)"
            " WHERE w.kind = ? AND w.state = 'ready' AND (w.boot_id != ? OR w.not_before_boot_s <= ?)"
            f"{narrowed} ORDER BY w.hours > 0, s.lane_order, s.sort_key DESC, w.id LIMIT ?)"
            " RETURNING id, kind, subject, study_instance_uid, attempts, owner, hours",
            values,
        )
        items = [WorkItem(**{**dict(row), "kind": kind, "hours": WorkHours(row["hours"])}) for row in rows]
        for item in sorted(items, key=lambda item: item.id):
            _note(db, now, item, WorkState.READY, WorkState.CLAIMED, f"attempt {item.attempts} by {owner}")
    return sorted(items, key=lambda item: item.id)


_NOT_ROUTINE = (
    f" AND (w.hours != 0 OR s.lane_order < {Lane.ROUTINE.order} OR s.asked = 1 OR EXISTS (SELECT 1 FROM retrieval r"
    " WHERE r.study_instance_uid = w.study_instance_uid AND r.purpose = 'asked'))"
)


def heartbeat(db: Database, now: Instant, item: WorkItem, lease_s: float) -> bool:
    """Lengthen the lease; `False` if the item is no longer ours."""
    with db.transaction():
        moved = db.execute(
            "UPDATE work_item SET lease_boot_s = ? WHERE id = ? AND state = 'claimed' AND owner = ? AND attempts = ?",
            (now.boottime_s + lease_s, item.id, item.owner, item.attempts),
        )
    return moved.rowcount == 1


def finish(db: Database, now: Instant, item: WorkItem, reason: str = "") -> bool:
    """Finish the item inside the caller's transaction; `False` if it was taken from us meanwhile.

    On `False` the caller must write nothing: somebody else does this work now.
    """
    return _move(db, now, item, WorkState.FINISHED, reason)


def give_back(
    db: Database, now: Instant, item: WorkItem, reason: str, *, wait_s: float | None = None, fault: bool = True
) -> bool:
    """Return the item after a passing fault; it waits longer each time and the attempt does not count.

    With `wait_s=0` (an orderly stop) it is ready at once. Without `fault` it only made room and is counted nowhere.
    `False` if it was taken from us meanwhile.
    """
    row = db.row("SELECT passing_faults FROM work_item WHERE id = ?", (item.id,))
    if wait_s is None:
        faults = row["passing_faults"] if row else 0
        wait_s = min(_BACKOFF_MAXIMUM_S, _BACKOFF_S * 2.0 ** min(faults, 12)) * random.uniform(0.8, 1.2)
    if not _move(db, now, item, WorkState.READY, reason, not_before_boot_s=now.boottime_s + wait_s):
        return False
    db.execute(
        "UPDATE work_item SET attempts = attempts - 1, passing_faults = passing_faults + ? WHERE id = ?",
        (int(fault), item.id),
    )
    return True


def give_up_or_retry(db: Database, now: Instant, item: WorkItem, reason: str) -> WorkState | None:
    """After a death: ready again with a wait, or parked once `MAXIMUM_ATTEMPTS` is reached.

    `None` if the item was taken from us meanwhile: what hangs on it is for whoever has it now.
    """
    if item.attempts >= MAXIMUM_ATTEMPTS:
        return WorkState.PARKED if _move(db, now, item, WorkState.PARKED, reason) else None
    wait_s = _BACKOFF_S * item.attempts
    again = _move(db, now, item, WorkState.READY, reason, not_before_boot_s=now.boottime_s + wait_s)
    return WorkState.READY if again else None


def park(db: Database, now: Instant, item: WorkItem, reason: str) -> bool:
    """Give the item up, for a person to retry; `False` if it was taken from us meanwhile."""
    return _move(db, now, item, WorkState.PARKED, reason)


def passing_faults(db: Database, item: WorkItem) -> int:
    """How often the item was given back without its own fault."""
    row = db.row("SELECT passing_faults FROM work_item WHERE id = ?", (item.id,))
    return int(row["passing_faults"]) if row else 0


def state(db: Database, kind: WorkKind, subject: str | int) -> WorkState | None:
    """Where the item of this kind and subject stands, if there is one."""
    row = db.row("SELECT state FROM work_item WHERE kind = ? AND subject = ?", (kind, str(subject)))
    return WorkState(row["state"]) if row else None


def unfinished(db: Database, study: str, kind: WorkKind) -> int:
    """How many items of a kind a study still waits for."""
    return len(unfinished_subjects(db, study, kind))


def unfinished_subjects(db: Database, study: str, kind: WorkKind) -> frozenset[str]:
    """Subjects of the items of a kind that a study still waits for."""
    rows = db.rows(
        "SELECT subject FROM work_item WHERE study_instance_uid = ? AND kind = ? AND state IN ('ready', 'claimed')",
        (study, kind),
    )
    return frozenset(row["subject"] for row in rows)


def open_subjects(db: Database, kind: WorkKind, *, limit: int) -> list[str]:
    """Subjects of up to `limit` items of a kind that are not done, oldest first."""
    rows = db.rows(
        "SELECT subject FROM work_item WHERE kind = ? AND state IN ('ready', 'claimed') ORDER BY id LIMIT ?",
        (kind, limit),
    )
    return [row["subject"] for row in rows]


def expired(db: Database, now: Instant) -> list[WorkItem]:
    """Claimed items whose lease has run out, or is of an earlier boot."""
    rows = db.rows(
        "SELECT id, kind, subject, study_instance_uid, attempts, owner FROM work_item"
        " WHERE state = 'claimed' AND (boot_id != ? OR lease_boot_s < ?)",
        (now.boot_id, now.boottime_s),
    )
    return [WorkItem(**{**dict(row), "kind": WorkKind(row["kind"])}) for row in rows]


def owned(db: Database, owner_prefix: str, kinds: tuple[WorkKind, ...]) -> list[WorkItem]:
    """Claimed items of these kinds whose owner starts so: what a killed predecessor left behind."""
    marks = ", ".join("?" for _ in kinds)
    rows = db.rows(
        "SELECT id, kind, subject, study_instance_uid, attempts, owner FROM work_item"
        f" WHERE state = 'claimed' AND owner LIKE ? AND kind IN ({marks})",
        (owner_prefix + "%", *kinds),
    )
    return [WorkItem(**{**dict(row), "kind": WorkKind(row["kind"])}) for row in rows]


def cancel(db: Database, now: Instant, kind: WorkKind, subject: str | int, reason: str) -> None:
    """Cancel what has not finished; a worker that holds it finds out when it wants to finish."""
    _set(db, now, kind, subject, WorkState.CANCELLED, reason)


def retry(db: Database, now: Instant, kind: WorkKind, subject: str | int, reason: str) -> bool:
    """Make a parked item ready again with a fresh count; `False` if it was not parked."""
    row = db.row("SELECT state FROM work_item WHERE kind = ? AND subject = ?", (kind, str(subject)))
    if row is None or row["state"] != WorkState.PARKED:
        return False
    db.execute(
        "UPDATE work_item SET attempts = 0, not_before_boot_s = 0 WHERE kind = ? AND subject = ?", (kind, str(subject))
    )
    _set(db, now, kind, subject, WorkState.READY, reason)
    return True


def _move(
    db: Database, now: Instant, item: WorkItem, after: WorkState, reason: str, *, not_before_boot_s: float = 0.0
) -> bool:
    moved = db.execute(
        "UPDATE work_item SET state = ?, reason = ?, not_before_boot_s = ?, boot_id = ?, changed_at = ?"
        " WHERE id = ? AND state = 'claimed' AND owner = ? AND attempts = ?",
        (after, reason, not_before_boot_s, now.boot_id, now.iso, item.id, item.owner, item.attempts),
    )
    if moved.rowcount == 1:
        _note(db, now, item, WorkState.CLAIMED, after, reason)
    return moved.rowcount == 1


def _set(db: Database, now: Instant, kind: WorkKind, subject: str | int, after: WorkState, reason: str) -> None:
    row = db.row("SELECT state, study_instance_uid FROM work_item WHERE kind = ? AND subject = ?", (kind, str(subject)))
    if row is None or after not in WORK_MOVES[WorkState(row["state"])]:
        return
    db.execute(
        "UPDATE work_item SET state = ?, reason = ?, changed_at = ? WHERE kind = ? AND subject = ?",
        (after, reason, now.iso, kind, str(subject)),
    )
    study = row["study_instance_uid"]
    subject_name = f"{kind}:{subject}"
    events.record(db, now, "work_item", subject_name, before=row["state"], after=after, reason=reason, study=study)


def _note(db: Database, now: Instant, item: WorkItem, before: WorkState, after: WorkState, reason: str) -> None:
    if item.kind is WorkKind.DESCRIBE and after is not WorkState.PARKED:
        # Three events an instance would drown everything else.
        return
    subject = f"{item.kind}:{item.subject}"
    study = item.study_instance_uid
    events.record(db, now, "work_item", subject, before=before, after=after, reason=reason, study=study)
