"""What reports and segmentations that were read back show, of studies that no model of ours need have read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import TypeAdapter

from node.domain.prior_document import PriorFinding
from node.store.database import Database

_FINDING = TypeAdapter(PriorFinding)


@dataclass(frozen=True, slots=True, kw_only=True)
class PriorFindingRow:
    """One finding and the object that shows it."""

    study_instance_uid: str
    #: Of the report or segmentation.
    sop_instance_uid: str
    found: PriorFinding
    #: Made by equipment of ours; a model's digest stands in `found`, where the object tells it.
    ours: bool
    made_by: str
    #: How far the report stands, as `PriorDocument.standing`; empty for a segmentation.
    completion: str
    verification: str


def record(db: Database, sop_instance_uid: str, study_instance_uid: str, found: Sequence[PriorFinding]) -> None:
    """Keep the findings of an object, whose row is there, in their order."""
    for ordinal, each in enumerate(found):
        db.execute(
            "INSERT INTO prior_finding (sop_instance_uid, study_instance_uid, ordinal, body) VALUES (?, ?, ?, ?)",
            (sop_instance_uid, study_instance_uid, ordinal, _FINDING.dump_json(each).decode()),
        )


def of_studies(db: Database, uids: Sequence[str]) -> list[PriorFindingRow]:
    """The findings of these studies, object by object; those of one that is not believed are not kept."""
    rows = db.rows(
        "SELECT f.*, d.ours, d.made_by, d.completion, d.verification FROM prior_finding f"
        " JOIN prior_document d USING (sop_instance_uid)"
        " WHERE f.study_instance_uid IN (SELECT value FROM json_each(?)) ORDER BY f.sop_instance_uid, f.ordinal",
        (json.dumps(list(uids)),),
    )
    return [
        PriorFindingRow(
            study_instance_uid=row["study_instance_uid"],
            sop_instance_uid=row["sop_instance_uid"],
            found=_FINDING.validate_json(row["body"]),
            ours=bool(row["ours"]),
            made_by=row["made_by"],
            completion=row["completion"],
            verification=row["verification"],
        )
        for row in rows
    ]
