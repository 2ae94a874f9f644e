"""Old rows on which nothing rests any more are removed, a few at a time."""

from __future__ import annotations

import json
from dataclasses import dataclass

from node.store.database import Database


@dataclass(frozen=True, slots=True)
class _Kind:
    """Rows `t` of a table: by which column they are old, of which there is an index, and when nothing rests on one."""

    table: str
    age: str
    free: str


#: Facts that were superseded: one that another old one names goes after that one.
_FACTS = _Kind(
    "history",
    "superseded_at",
    "t.superseded_by IS NOT NULL"
    " AND NOT EXISTS (SELECT 1 FROM history older WHERE older.superseded_by = t.id AND older.id != t.id)",
)
#: Notices before one that its receiver has acknowledged: what it knows is in that one.
_NOTICES = _Kind(
    "notice",
    "told_at",
    "t.state NOT IN ('queued', 'sent') AND EXISTS (SELECT 1 FROM notice newer WHERE newer.route = t.route"
    " AND newer.study_instance_uid = t.study_instance_uid AND newer.version > t.version"
    " AND newer.state = 'acknowledged')",
)
#: Questions to servers: whoever still waits is asked for anew.
_QUESTIONS = _Kind("history_inquiry", "asked_wall", "1")
#: Work that others asked of us and that is over; a step of our own list is claimed once as long as it is there.
_PERFORMANCES = _Kind(
    "performance",
    "ended_at",
    "t.ended_at != '' AND (t.manager != '' OR NOT EXISTS (SELECT 1 FROM ups u WHERE u.sop_instance_uid = t.ups))",
)
#: Orders of which no study has come, under whatever patient, nor is expected; facts are told by the number of theirs.
#: The plus: an expression's index serves a value without affinity.
_ORDERS = _Kind(
    "told_order",
    "recorded_at",
    "NOT EXISTS (SELECT 1 FROM study s WHERE s.study_instance_uid = t.study_instance_uid)"
    " AND NOT EXISTS (SELECT 1 FROM expected_study e WHERE e.study_instance_uid = t.study_instance_uid)"
    " AND (t.accession_number = '' OR ("
    "NOT EXISTS (SELECT 1 FROM study s WHERE json_extract(s.\"order\", '$.accession_number') = +t.accession_number)"
    " AND NOT EXISTS (SELECT 1 FROM expected_study e WHERE e.accession_number = t.accession_number)))"
    " AND NOT EXISTS (SELECT 1 FROM history h WHERE h.patient_id = t.patient_id AND h.issuer = t.issuer"
    " AND h.superseded_by IS NULL AND (h.origin GLOB '* order ' || t.id OR h.origin GLOB '* report ' || t.id))",
)
#: How recent the word of a source on a patient is, where nothing is known of the patient that a late one could undo.
_TELLINGS = _Kind(
    "telling",
    "told_at",
    "NOT EXISTS (SELECT 1 FROM study s WHERE s.patient_id = t.patient_id AND s.issuer = t.issuer)"
    " AND NOT EXISTS (SELECT 1 FROM history h WHERE h.patient_id = t.patient_id AND h.issuer = t.issuer"
    " AND h.superseded_by IS NULL)"
    " AND NOT EXISTS (SELECT 1 FROM identity_told i WHERE i.issuer = t.issuer AND i.patient_id = t.patient_id)"
    " AND NOT EXISTS (SELECT 1 FROM identity_former i WHERE i.issuer = t.issuer AND i.patient_id = t.patient_id)"
    " AND NOT EXISTS (SELECT 1 FROM identity_move m WHERE m.issuer = t.issuer AND m.patient_id = t.patient_id)"
    " AND NOT EXISTS (SELECT 1 FROM identity_move m WHERE m.issuer = t.issuer AND m.survivor_id = t.patient_id)",
)
_KINDS = (_FACTS, _NOTICES, _QUESTIONS, _PERFORMANCES, _ORDERS, _TELLINGS)


def forget(db: Database, before: str, *, limit: int) -> int:
    """Remove at most `limit` rows of each kind of before then (ISO 8601 UTC); return how many. Own transactions."""
    gone = 0
    for kind in _KINDS:
        is_old = f"t.{kind.age} < ? AND {kind.free}"
        # Looked for while others may write: of many old rows most may be rested on.
        found = db.rows(
            f"SELECT t.rowid AS id FROM {kind.table} t WHERE {is_old} ORDER BY t.{kind.age} LIMIT ?", (before, limit)
        )
        if not found:
            continue
        with db.transaction():
            gone += db.execute(
                f"DELETE FROM {kind.table} AS t WHERE t.rowid IN (SELECT value FROM json_each(?)) AND {is_old}",
                (json.dumps([row["id"] for row in found]), before),
            ).rowcount
    return gone
