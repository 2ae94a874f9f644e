"""Which waiting studies may be read together with one: those of the same model, in the same mode and lane."""

from __future__ import annotations

from node.domain.priority import Lane
from node.domain.time import Instant
from node.domain.work import WorkKind
from node.store.database import Database
from node.store.work_items import WorkItem


def company_of(db: Database, now: Instant, item: WorkItem, lane: Lane, *, limit: int) -> list[tuple[str, str]]:
    """Return (outcome, study) of up to `limit` that wait as the claimed `item` did, of one image each, by rank."""
    rows = db.rows(
        "SELECT w.subject, w.study_instance_uid FROM work_item w JOIN study s USING (study_instance_uid)"
        " JOIN outcome o ON o.id = CAST(w.subject AS INTEGER) JOIN outcome first ON first.id = ?"
        " WHERE w.kind = ? AND w.state = 'ready' AND (w.boot_id != ? OR w.not_before_boot_s <= ?)"
        " AND w.hours = ? AND s.lane_order = ?"
        " AND o.model = first.model AND o.mode = first.mode"
        " AND o.model_digest = first.model_digest AND o.card_digest = first.card_digest"
        " AND (SELECT count(*) FROM outcome_input i WHERE i.outcome_id = o.id) = 1"
        " ORDER BY s.sort_key DESC, w.id LIMIT ?",
        (int(item.subject), WorkKind.INFER, now.boot_id, now.boottime_s, item.hours, lane.order, limit),
    )
    return [(row["subject"], row["study_instance_uid"]) for row in rows]
