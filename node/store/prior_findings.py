"""What reports and segmentations that were read back show, of studies that no model of ours need have read."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from pydantic import TypeAdapter

from node.domain.finding import VOLUME, Measurement
from node.domain.prior_document import DocumentKind, PriorFinding
from node.store.database import Database

_FINDING = TypeAdapter(PriorFinding)


@dataclass(frozen=True, slots=True, kw_only=True)
class PriorFindingRow:
    """One finding and the object that shows it."""

    study_instance_uid: str
    #: Of the report or segmentation.
    sop_instance_uid: str
    kind: DocumentKind
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
    """The findings of these studies, object by object; those of one that is not believed are not kept.

    The volume of a segment is told once: not of the segmentation where a report tells one, whichever came first.
    """
    rows = db.rows(
        "SELECT f.*, d.kind, d.ours, d.made_by, d.completion, d.verification FROM prior_finding f"
        " JOIN prior_document d USING (sop_instance_uid)"
        " WHERE f.study_instance_uid IN (SELECT value FROM json_each(?)) ORDER BY f.sop_instance_uid, f.ordinal",
        (json.dumps(list(uids)),),
    )
    found = [
        PriorFindingRow(
            study_instance_uid=row["study_instance_uid"],
            sop_instance_uid=row["sop_instance_uid"],
            kind=DocumentKind(row["kind"]),
            found=_FINDING.validate_json(row["body"]),
            ours=bool(row["ours"]),
            made_by=row["made_by"],
            completion=row["completion"],
            verification=row["verification"],
        )
        for row in rows
    ]
    told = {
        name
        for row in found
        if row.kind is DocumentKind.REPORT and any(_is_volume(each) for each in row.found.finding.measurements)
        for name in _names(row.found)
    }
    return [_without_volume(row) if _is_counted_twice(row, told) else row for row in found]


def _is_counted_twice(row: PriorFindingRow, told: set[tuple[str, int]]) -> bool:
    return row.kind is DocumentKind.SEGMENTATION and not told.isdisjoint(_names(row.found))


def _without_volume(row: PriorFindingRow) -> PriorFindingRow:
    finding = row.found.finding
    left = tuple(each for each in finding.measurements if not _is_volume(each))
    return replace(row, found=replace(row.found, finding=replace(finding, measurements=left)))


def _names(found: PriorFinding) -> Iterator[tuple[str, int]]:
    """By what two findings are of one segment: its place in its segmentation, or its tracking UID."""
    finding = found.finding
    if found.segmentation_uid and finding.segment_number is not None:
        yield found.segmentation_uid, finding.segment_number
    if finding.tracking_uid:
        yield finding.tracking_uid, 0


def _is_volume(each: Measurement) -> bool:
    quantity = each.quantity
    return (quantity.scheme, quantity.value) == (VOLUME.scheme, VOLUME.value) and each.derivation is None
