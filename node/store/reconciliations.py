"""As whom destinations file studies, as they were asked; and results that were rebuilt with a destination's values."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from pydantic import TypeAdapter

from node.domain.patient import Patient
from node.domain.reconciliation import Filed, corrected
from node.domain.time import Instant
from node.store import events
from node.store.database import Database

_FILED = TypeAdapter(Filed)
_ANSWERS = TypeAdapter(tuple[Filed, ...])


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciliation:
    """What a destination answered about one study."""

    #: The revision of the study then, and as whom we had it.
    revision: int
    ours: Filed
    #: Its answers: none if it did not have the study.
    filed: tuple[Filed, ...]
    asked: Instant


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
    """Values of a destination that a result bears in place of its sources'."""

    #: As whom we had the study when it was rebuilt.
    ours: Filed
    #: Keyword → value.
    values: Mapping[str, str]
    #: Name of the destination.
    corrected_by: str


def record(
    db: Database, now: Instant, study: str, destination: str, *, revision: int, ours: Filed, filed: Sequence[Filed]
) -> None:
    """Keep what a destination answered, in place of what it answered before."""
    db.execute(
        "INSERT INTO reconciliation (study_instance_uid, destination, revision, ours, filed, asked_at, asked_boot_s,"
        " boot_id) VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET revision = excluded.revision,"
        " ours = excluded.ours, filed = excluded.filed, questions = questions + 1, asked_at = excluded.asked_at,"
        " asked_boot_s = excluded.asked_boot_s, boot_id = excluded.boot_id",
        (
            *(study, destination, revision, _FILED.dump_json(ours).decode()),
            *(_ANSWERS.dump_json(tuple(filed)).decode(), now.iso, now.boottime_s, now.boot_id),
        ),
    )


def found(db: Database, study: str, destination: str) -> Reconciliation | None:
    """What a destination last answered about a study, if it was asked."""
    row = db.row("SELECT * FROM reconciliation WHERE study_instance_uid = ? AND destination = ?", (study, destination))
    if row is None:
        return None
    return Reconciliation(
        revision=row["revision"],
        ours=_FILED.validate_json(row["ours"]),
        filed=_ANSWERS.validate_json(row["filed"]),
        asked=Instant(datetime.fromisoformat(row["asked_at"]), row["asked_boot_s"], row["boot_id"]),
    )


def record_corrected(db: Database, now: Instant, artifact_id: int, correction: Correction, *, study: str) -> None:
    """Keep which values a rebuilt result bears; the same again changes nothing."""
    made = db.execute(
        "INSERT OR IGNORE INTO corrected_artifact (artifact_id, ours, corrections, corrected_by) VALUES (?, ?, ?, ?)",
        (
            *(artifact_id, _FILED.dump_json(correction.ours).decode()),
            *(json.dumps(dict(correction.values), sort_keys=True), correction.corrected_by),
        ),
    )
    if made.rowcount:
        reason = f"bears {', '.join(sorted(correction.values))} as {correction.corrected_by} has it"
        events.record(db, now, "artifact", artifact_id, after="rebuilt", reason=reason, study=study)


def correction_of(db: Database, artifact_id: int) -> Correction | None:
    """Which values of a destination a result bears, if it was rebuilt."""
    row = db.row("SELECT * FROM corrected_artifact WHERE artifact_id = ?", (artifact_id,))
    if row is None:
        return None
    return Correction(
        ours=_FILED.validate_json(row["ours"]),
        values=json.loads(row["corrections"]),
        corrected_by=row["corrected_by"],
    )


def named_patient(db: Database, artifact_id: int, ours: Patient) -> Patient:
    """Whom a result has to name where the study is `ours`: that patient, or as a destination has it corrected.

    A correction counts only as long as the study is of the patient of whom it was made.
    """
    correction = correction_of(db, artifact_id)
    if correction is None or correction.ours.patient != ours:
        return ours
    return corrected(ours, correction.values)
