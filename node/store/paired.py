"""Studies that two models have both read: one in its place, and one beside it."""

from __future__ import annotations

from dataclasses import dataclass

from node.store.database import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Results of both on the same images of one study."""

    study_instance_uid: str
    #: Whom the study is of; studies of one patient are not independent of each other.
    patient: str
    #: Outcome of the model in its place, and of the one beside it.
    outcome: int
    beside: int


def pairs(db: Database, model: str, beside: str, *, model_digest: str, beside_digest: str) -> list[Pair]:
    """Results of these very versions on the same content, of each study the latest, oldest study first."""
    rows = db.rows(
        "SELECT a.study_instance_uid, max(a.id) AS outcome, max(b.id) AS beside,"
        " s.patient_id || char(31) || s.issuer AS patient"
        " FROM outcome a JOIN outcome b ON b.study_instance_uid = a.study_instance_uid"
        " AND b.series_instance_uid = a.series_instance_uid AND b.content_digest = a.content_digest"
        " JOIN study s ON s.study_instance_uid = a.study_instance_uid"
        " WHERE a.model = ? AND b.model = ? AND a.model_digest = ? AND b.model_digest = ?"
        " AND a.state = 'result' AND b.state = 'result' AND a.aside = 0 AND b.aside = 0"
        " GROUP BY a.study_instance_uid ORDER BY min(a.id)",
        (model, beside, model_digest, beside_digest),
    )
    return [Pair(**dict(row)) for row in rows]


def states(db: Database, model: str, beside: str) -> dict[tuple[str, str], int]:
    """(state of one, state of the other) → studies, of what stands; "" where one was not meant to look at the study."""
    rows = db.rows(
        "SELECT coalesce(max(CASE WHEN model = ? THEN state END), '') AS one,"
        " coalesce(max(CASE WHEN model = ? THEN state END), '') AS other FROM outcome"
        " WHERE model IN (?, ?) AND state != 'superseded' AND aside = 0 GROUP BY study_instance_uid",
        (model, beside, model, beside),
    )
    found: dict[tuple[str, str], int] = {}
    for row in rows:
        key = (str(row["one"]), str(row["other"]))
        found[key] = found.get(key, 0) + 1
    return found
