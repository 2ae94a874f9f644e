"""What became of each study that an archive told of when the priors of another were looked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from node.domain.time import Instant
from node.store.database import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class PriorCandidate:
    """One of them."""

    study_instance_uid: str
    archive: str
    #: YYYYMMDD, and modalities with a comma between, as the archive tells them.
    study_date: str
    modalities: str
    #: One of `triage.priors.Standing`, as text.
    standing: str
    #: Name of the selector that takes it; empty where none does.
    selector: str
    reason: str


def record(db: Database, now: Instant, study_instance_uid: str, found: Sequence[PriorCandidate]) -> None:
    """Keep what a look came to in place of the one before, in this order."""
    db.execute("DELETE FROM prior_candidate WHERE study_instance_uid = ?", (study_instance_uid,))
    for ordinal, each in enumerate(found):
        db.execute(
            "INSERT INTO prior_candidate (study_instance_uid, candidate_uid, ordinal, archive, study_date, modalities,"
            " standing, selector, reason, looked_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *(study_instance_uid, each.study_instance_uid, ordinal, each.archive, each.study_date),
                *(each.modalities, each.standing, each.selector, each.reason, now.iso),
            ),
        )


def of_study(db: Database, study_instance_uid: str) -> list[PriorCandidate]:
    """What the last look for the priors of a study came to, the newest candidate first."""
    rows = db.rows(
        "SELECT candidate_uid AS study_instance_uid, archive, study_date, modalities, standing, selector, reason"
        " FROM prior_candidate WHERE study_instance_uid = ? ORDER BY ordinal",
        (study_instance_uid,),
    )
    return [PriorCandidate(**dict(row)) for row in rows]
