"""Who watches Unified Procedure Steps, and what each is still to be told, in order (PS3.4 §CC.2.3, §CC.2.4)."""

from __future__ import annotations

import json
from dataclasses import dataclass

from node.domain.dicom_json import Attributes
from node.domain.time import Instant
from node.domain.ups import Report
from node.store.database import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class GlobalSubscription:
    """A peer that watches all steps, or those that match, also when they are made later."""

    #: Name of the peer.
    subscriber: str
    #: Matching keys; empty for all.
    keys: Attributes
    #: Whether a final step stays until the peer has unsubscribed.
    locked: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class UpsNotice:
    """One N-EVENT-REPORT that is to be sent."""

    id: int
    subscriber: str
    #: SOP Instance UID of the step.
    ups: str
    type: Report
    #: Event Information.
    content: Attributes
    attempts: int


def subscribe(db: Database, uid: str, subscriber: str, *, locked: bool) -> None:
    """Have a peer watch one step; what it said before of this step is replaced."""
    db.execute(
        "INSERT INTO ups_subscription (ups, subscriber, locked) VALUES (?, ?, ?)"
        " ON CONFLICT DO UPDATE SET locked = excluded.locked",
        (uid, subscriber, locked),
    )


def unsubscribe(db: Database, uid: str, subscriber: str) -> None:
    """Have a peer no longer watch one step; its lock is gone."""
    db.execute("DELETE FROM ups_subscription WHERE ups = ? AND subscriber = ?", (uid, subscriber))


def unsubscribe_all(db: Database, subscriber: str) -> None:
    """Have a peer watch nothing any more; all its locks are gone."""
    db.execute("DELETE FROM ups_subscription WHERE subscriber = ?", (subscriber,))
    suspend(db, subscriber)


def subscribe_globally(db: Database, subscriber: str, keys: Attributes, *, locked: bool) -> None:
    """Have a peer watch every step that will be made and matches; what stands already is the caller's."""
    db.execute(
        "INSERT INTO ups_global_subscription (subscriber, keys, locked) VALUES (?, ?, ?)"
        " ON CONFLICT DO UPDATE SET locked = excluded.locked",
        (subscriber, json.dumps(keys, sort_keys=True), locked),
    )


def count_global(db: Database, subscriber: str, keys: Attributes) -> int:
    """How many global subscriptions a peer has with other keys than these."""
    row = db.row(
        "SELECT count(*) AS number FROM ups_global_subscription WHERE subscriber = ? AND keys != ?",
        (subscriber, json.dumps(keys, sort_keys=True)),
    )
    return int(row["number"]) if row else 0


def suspend(db: Database, subscriber: str) -> None:
    """Have a peer watch no step that will be made; what it watches already stays."""
    db.execute("DELETE FROM ups_global_subscription WHERE subscriber = ?", (subscriber,))


def global_subscriptions(db: Database, subscriber: str = "") -> list[GlobalSubscription]:
    """Who watches steps that will be made; of one peer, or all."""
    rows = db.rows(
        "SELECT * FROM ups_global_subscription WHERE subscriber = ? OR ? = '' ORDER BY subscriber, keys",
        (subscriber, subscriber),
    )
    return [
        GlobalSubscription(subscriber=row["subscriber"], keys=json.loads(row["keys"]), locked=bool(row["locked"]))
        for row in rows
    ]


def subscriptions(db: Database, uid: str) -> dict[str, bool]:
    """Who watches a step, and whether with a lock."""
    rows = db.rows("SELECT subscriber, locked FROM ups_subscription WHERE ups = ? ORDER BY subscriber", (uid,))
    return {row["subscriber"]: bool(row["locked"]) for row in rows}


def tell(db: Database, now: Instant, uid: str, kind: Report, content: Attributes, subscriber: str) -> None:
    """Queue one report, behind those that the peer is still to be sent; inside the caller's transaction."""
    db.execute(
        "INSERT INTO ups_event (subscriber, ups, type, content, created_at) VALUES (?, ?, ?, ?, ?)",
        (subscriber, uid, kind, json.dumps(content), now.iso),
    )


def waiting(db: Database) -> set[str]:
    """Names of the peers that are to be told something."""
    return {row["subscriber"] for row in db.rows("SELECT DISTINCT subscriber FROM ups_event")}


def next_notices(db: Database, subscriber: str, *, limit: int) -> list[UpsNotice]:
    """What a peer is to be told next, oldest first."""
    rows = db.rows("SELECT * FROM ups_event WHERE subscriber = ? ORDER BY id LIMIT ?", (subscriber, limit))
    return [
        UpsNotice(
            id=row["id"],
            subscriber=row["subscriber"],
            ups=row["ups"],
            type=Report(row["type"]),
            content=json.loads(row["content"]),
            attempts=row["attempts"],
        )
        for row in rows
    ]


def settle(db: Database, notice: UpsNotice) -> None:
    """A report was answered, or nobody can be told: it is done with."""
    db.execute("DELETE FROM ups_event WHERE id = ?", (notice.id,))


def count_attempt(db: Database, notice: UpsNotice) -> None:
    """A report was refused in a way that may pass."""
    db.execute("UPDATE ups_event SET attempts = attempts + 1 WHERE id = ?", (notice.id,))


def forget(db: Database, known: frozenset[str], before_iso: str) -> int:
    """Forget what peers are owed that are configured no longer, and reports older than that; return how many."""
    names = json.dumps(sorted(known))
    stranger = "subscriber NOT IN (SELECT value FROM json_each(?))"
    db.execute(f"DELETE FROM ups_subscription WHERE {stranger}", (names,))
    db.execute(f"DELETE FROM ups_global_subscription WHERE {stranger}", (names,))
    gone = db.execute(f"DELETE FROM ups_event WHERE {stranger} OR created_at < ?", (names, before_iso))
    return gone.rowcount
