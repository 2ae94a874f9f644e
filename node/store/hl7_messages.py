"""HL7 v2 messages: kept before they are acknowledged, and acted upon once, in the order in which they came."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from enum import StrEnum

from node.domain.time import Instant
from node.store import events
from node.store.database import Database


class MessageState(StrEnum):
    """What became of a message."""

    #: Acknowledged, and still to be acted upon.
    RECEIVED = "received"
    #: Acted upon.
    APPLIED = "applied"
    #: Understood, and nothing of it is for us: the reason says why.
    UNUSED = "unused"
    #: It asks for what must not be done: a merge across issuers, one that runs in a circle.
    REFUSED = "refused"
    #: It could not be understood, or not taken; its sender was told.
    NOT_UNDERSTOOD = "not understood"
    #: Acting upon it failed three times over a fault of ours.
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldMessage:
    """One message as the table has it."""

    id: int
    sender: str
    control_id: str
    #: As "ADT^A08"; empty where it could not be read.
    kind: str
    state: MessageState
    #: Names no patient.
    reason: str
    content: bytes
    attempts: int
    received_at: str


def find(db: Database, sender: str, control_id: str, digest: str) -> HeldMessage | None:
    """The message of this sender, with this MSH-10 and content, if it has come before."""
    found = _messages(db, "sender = ? AND control_id = ? AND digest = ?", (sender, control_id, digest))
    return found[0] if found else None


def keep(
    db: Database, now: Instant, *, sender: str, control_id: str, digest: str, kind: str, content: bytes,
    state: MessageState, reason: str = "",
) -> None:  # fmt: skip
    """Keep a message; one that came to nothing and comes again is looked at anew. In the caller's transaction."""
    other = db.row("SELECT 1 FROM hl7_message WHERE sender = ? AND control_id = ? AND digest != ?",
                   (sender, control_id, digest))  # fmt: skip
    db.execute(
        "INSERT INTO hl7_message (sender, control_id, digest, kind, state, reason, content, received_at, changed_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET kind = excluded.kind, state = excluded.state,"
        " reason = excluded.reason, content = excluded.content, attempts = 0, changed_at = excluded.changed_at",
        (sender, control_id, digest, kind, state, reason, content, now.iso, now.iso),
    )
    if other is not None:
        text = "a control ID that was used before, for another message: both are taken"
        events.record(db, now, "hl7", sender, after="repeated", reason=text)
    if state is not MessageState.RECEIVED:
        events.record(db, now, "hl7", sender, after=state, reason=reason)


def next_waiting(db: Database) -> HeldMessage | None:
    """The oldest message that is still to be acted upon."""
    found = _messages(db, "state = 'received' ORDER BY id LIMIT 1", ())
    return found[0] if found else None


def count_attempt(db: Database, message_id: int, *, back: bool = False) -> None:
    """Note, before it begins, that a message is acted upon; `back`: that this came to nothing over a passing fault."""
    db.execute("UPDATE hl7_message SET attempts = attempts + ? WHERE id = ?", (-1 if back else 1, message_id))


def move(db: Database, now: Instant, message: HeldMessage, after: MessageState, reason: str = "") -> None:
    """Say what became of a message, in the transaction that made it so; what a person should see is an event."""
    db.execute(
        "UPDATE hl7_message SET state = ?, reason = ?, changed_at = ? WHERE id = ?",
        (after, reason, now.iso, message.id),
    )
    if after in (MessageState.REFUSED, MessageState.FAILED):
        events.record(
            db, now, "hl7", message.sender, before=message.state, after=after, reason=f"{message.kind}: {reason}"
        )


def tally(db: Database) -> dict[str, int]:
    """How many messages are kept, by state."""
    rows = db.rows("SELECT state, count(*) AS number FROM hl7_message GROUP BY state ORDER BY state")
    return {row["state"]: int(row["number"]) for row in rows}


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """Messages of one sender that were not acted upon and should have been, for one reason."""

    sender: str
    kind: str
    state: MessageState
    reason: str
    number: int


def troubles(db: Database, *, since: str = "", limit: int = 5) -> list[Trouble]:
    """What was not acted upon and should have been, of what came since then (ISO 8601 UTC), the latest first."""
    rows = db.rows(
        "SELECT sender, kind, state, reason, count(*) AS number FROM hl7_message"
        " WHERE state IN ('refused', 'failed', 'not understood') AND received_at >= ?"
        " GROUP BY 1, 2, 3, 4 ORDER BY max(id) DESC LIMIT ?",
        (since, limit),
    )
    return [Trouble(**{**dict(row), "state": MessageState(row["state"])}) for row in rows]


def forget(db: Database, before: str, *, limit: int) -> int:
    """Remove at most so many messages that came before then (ISO 8601 UTC) and wait for nothing; return how many."""
    gone = db.execute(
        "DELETE FROM hl7_message WHERE id IN (SELECT id FROM hl7_message WHERE received_at < ? AND state != 'received'"
        " ORDER BY received_at LIMIT ?)",
        (before, limit),
    )
    return gone.rowcount


def _messages(db: Database, where: str, values: tuple[str, ...]) -> list[HeldMessage]:
    columns = "id, sender, control_id, kind, state, reason, content, attempts, received_at"
    return [_message(row) for row in db.rows(f"SELECT {columns} FROM hl7_message WHERE {where}", values)]


def _message(row: sqlite3.Row) -> HeldMessage:
    return HeldMessage(**{**dict(row), "state": MessageState(row["state"])})
