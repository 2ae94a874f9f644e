"""Capabilities: what each destination was last seen to take. What it refuses is asked again after a while."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

from node.domain.time import Instant
from node.store.database import Database

#: What is older is not relied on: the next object is offered again, so that a change there is seen within this time.
KNOWN_FOR_H = 6.0
#: What is confirmed more often than this is not written again.
_FRESH_FOR_H = 1.0
#: In place of a transfer syntax: the answer was about the SOP Class as such.
ANY_SYNTAX = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Capability:
    """Whether a destination takes a SOP Class in a transfer syntax."""

    sop_class_uid: str
    #: `ANY_SYNTAX` where it was said of the class itself, by the answer to an object.
    transfer_syntax_uid: str
    accepted: bool
    #: Why not.
    reason: str = ""
    #: ISO 8601 UTC; set when it is kept.
    learnt_at: str = ""


def record(db: Database, now: Instant, destination: str, learnt: Iterable[Capability]) -> None:
    """Keep what an association or an answer has shown; opens its own transaction where anything is new."""
    known = {(each.sop_class_uid, each.transfer_syntax_uid): each for each in of_destination(db, destination)}
    since = _before(now, _FRESH_FOR_H)
    new = [
        each
        for each in learnt
        if (old := known.get((each.sop_class_uid, each.transfer_syntax_uid))) is None
        or (old.accepted, old.reason) != (each.accepted, each.reason)
        or old.learnt_at < since
    ]
    if not new:
        return
    with db.transaction():
        for each in new:
            db.execute(
                "INSERT INTO capability (destination, sop_class_uid, transfer_syntax_uid, accepted, reason, learnt_at)"
                " VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (destination, sop_class_uid, transfer_syntax_uid) DO UPDATE"
                " SET accepted = excluded.accepted, reason = excluded.reason, learnt_at = excluded.learnt_at",
                (destination, each.sop_class_uid, each.transfer_syntax_uid, each.accepted, each.reason, now.iso),
            )


def of_destination(db: Database, destination: str) -> list[Capability]:
    """All that is known of one destination, however old."""
    rows = db.rows(
        "SELECT sop_class_uid, transfer_syntax_uid, accepted, reason, learnt_at FROM capability WHERE destination = ?"
        " ORDER BY sop_class_uid, transfer_syntax_uid",
        (destination,),
    )
    return [Capability(**{**dict(row), "accepted": bool(row["accepted"])}) for row in rows]


def known_refusal(db: Database, now: Instant, destination: str, sop_class_uid: str) -> str:
    """Why a destination is known not to take a SOP Class; empty where it takes it, or nothing recent is known."""
    since = _before(now, KNOWN_FOR_H)
    known = [
        each
        for each in of_destination(db, destination)
        if each.sop_class_uid == sop_class_uid and each.learnt_at >= since
    ]
    of_class = [each for each in known if each.transfer_syntax_uid == ANY_SYNTAX and not each.accepted]
    if not known or (any(each.accepted for each in known) and not of_class):
        return ""
    told = of_class or known
    return f"{told[0].reason} (known since {told[0].learnt_at[:16].replace('T', ' ')} UTC)"


def _before(now: Instant, hours: float) -> str:
    return Instant(now.wall - timedelta(hours=hours), now.boottime_s, now.boot_id).iso
