"""What the node saw of its own work: reported studies and their waits week by week, arrivals, and what models took."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from node.domain.priority import Lane
from node.domain.time import Instant
from node.store.database import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedStudy:
    """A study whose report is final."""

    study_instance_uid: str
    listed_at: datetime
    reported_at: datetime
    lane: Lane
    #: Whether a live model found something; `None` where none gave a result.
    found: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ArrivedStudy:
    """A study that a radiologist was to read."""

    study_instance_uid: str
    arrived_at: datetime
    modality: str
    #: Minutes from being taken up to the final report, where somebody told of both.
    reading_min: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelAnswer:
    """What one model made of one study, once it was through with it."""

    model: str
    modality: str
    #: Minutes from the study's closing to the answer; `None` where it failed.
    minutes: float | None
    found: bool


#: Of a study, whether any live model has a result, and whether any of these found something.
_FOUND = (
    "(SELECT max(EXISTS (SELECT 1 FROM finding f WHERE f.outcome_id = o.id AND json_extract(f.body, '$.present') = 1))"
    " FROM outcome o WHERE o.study_instance_uid = s.study_instance_uid AND o.mode = 'live' AND o.state = 'result')"
)


def reported(db: Database, since: str, before: str) -> list[ReportedStudy]:
    """Studies whose report was told to be final in that time, both ISO 8601 UTC; priors are none of them.

    One is left out that was reported before it stood in the list: nobody waited for it here.
    """
    rows = db.rows(
        f"SELECT s.study_instance_uid, r.closed_at, s.report_told_at, s.lane, {_FOUND} AS found"
        " FROM study s JOIN revision r ON r.study_instance_uid = s.study_instance_uid AND r.number = 1"
        " WHERE s.report_state = 'final' AND s.report_told_at >= ? AND s.report_told_at < ? AND s.prior = ''"
        " AND r.closed_at != '' AND r.closed_at < s.report_told_at ORDER BY r.closed_at",
        (since, before),
    )
    return [
        ReportedStudy(
            study_instance_uid=row["study_instance_uid"],
            listed_at=datetime.fromisoformat(row["closed_at"]),
            reported_at=datetime.fromisoformat(row["report_told_at"]),
            lane=Lane(row["lane"]),
            found=None if row["found"] is None else bool(row["found"]),
        )
        for row in rows
    ]


def arrived(db: Database, since: str) -> list[ArrivedStudy]:
    """Studies that have come since then, ISO 8601 UTC, oldest first; priors are none of them."""
    rows = db.rows(
        "SELECT s.study_instance_uid, s.first_wall, s.modality, s.report_told_at, s.report_state,"
        " (SELECT max(e.at) FROM event e WHERE e.study_instance_uid = s.study_instance_uid"
        "  AND e.about = 'report_state' AND e.after = 'being read') AS begun"
        " FROM study s WHERE s.first_wall >= ? AND s.prior = '' ORDER BY s.first_wall",
        (since,),
    )
    return [
        ArrivedStudy(
            study_instance_uid=row["study_instance_uid"],
            arrived_at=datetime.fromisoformat(row["first_wall"]),
            modality=row["modality"],
            reading_min=_minutes(row["begun"], row["report_told_at"]) if row["report_state"] == "final" else None,
        )
        for row in rows
    ]


def answers(db: Database, since: str) -> list[ModelAnswer]:
    """What live and shadow models made of the studies that have come since then, by model."""
    rows = db.rows(
        "SELECT o.model, o.state, s.modality, r.closed_at, o.finished_at, EXISTS (SELECT 1 FROM finding f"
        " WHERE f.outcome_id = o.id AND json_extract(f.body, '$.present') = 1) AS found"
        " FROM outcome o JOIN study s ON s.study_instance_uid = o.study_instance_uid"
        " JOIN revision r ON r.study_instance_uid = o.study_instance_uid AND r.number = o.revision"
        " WHERE s.first_wall >= ? AND s.prior = '' AND o.aside = 0"
        " AND o.state IN ('result', 'failed') ORDER BY o.model, o.id",
        (since,),
    )
    return [
        ModelAnswer(
            model=row["model"],
            modality=row["modality"],
            minutes=_minutes(row["closed_at"], row["finished_at"]) if row["state"] == "result" else None,
            found=bool(row["found"]),
        )
        for row in rows
    ]


def record_week(db: Database, now: Instant, week: str, studies: int, body: dict[str, Any]) -> None:
    """Keep the figures of a week that is over; what is kept once stays as it is."""
    db.execute(
        "INSERT INTO impact_week (week, studies, body, recorded_at) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
        (week, studies, json.dumps(body), now.iso),
    )


def weeks(db: Database) -> dict[str, dict[str, Any]]:
    """The figures of every week that is kept, oldest first."""
    rows = db.rows("SELECT week, body FROM impact_week ORDER BY week")
    return {row["week"]: json.loads(row["body"]) for row in rows}


def _minutes(begin: str | None, end: str | None) -> float | None:
    """Minutes between two moments; a model that was through before the study was closed took none."""
    if not begin or not end:
        return 0.0 if end and begin == "" else None
    return max(0.0, (datetime.fromisoformat(end) - datetime.fromisoformat(begin)).total_seconds() / 60)
