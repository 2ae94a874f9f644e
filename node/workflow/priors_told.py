"""The priors of a study as plain values: what archives told of, and what reports and segmentations say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from node.domain.finding import Code
from node.domain.prior_document import PriorFinding
from node.store import prior_candidates, prior_documents, prior_findings
from node.store.database import Database
from node.store.prior_documents import DocumentRow
from node.store.studies import StudyRow
from node.workflow.earlier import earlier

Story = dict[str, Any]


def priors_told(db: Database, study: StudyRow) -> Story:
    """What is told of priors beside the rest of a study's story; its own documents are among them."""
    return {
        "prior_candidates": _candidates(db, study.study_instance_uid),
        "prior_documents": _documents(db, [study, *earlier(db, study)]),
    }


def _candidates(db: Database, study_instance_uid: str) -> list[Story]:
    return [
        {
            "study_instance_uid": each.study_instance_uid,
            "archive": each.archive,
            "study_date": each.study_date,
            "modalities_in_study": [part for part in each.modalities.split(", ") if part],
            "standing": each.standing,
            "selector": each.selector,
            "reason": each.reason,
        }
        for each in prior_candidates.of_study(db, study_instance_uid)
    ]


def _documents(db: Database, rows: Sequence[StudyRow]) -> list[Story]:
    """What stands beside the images of these studies, in their order: the study itself, then the latest prior."""
    dates = {row.study_instance_uid: row.order.study_date for row in rows}
    found = prior_documents.of_studies(db, list(dates))
    shown: dict[str, list[PriorFinding]] = {}
    for each in prior_findings.of_studies(db, list(dates)):
        shown.setdefault(each.sop_instance_uid, []).append(each.found)
    places = list(dates)
    found.sort(key=lambda each: (places.index(each.study_instance_uid), each.sop_instance_uid))
    return [_document(each, dates[each.study_instance_uid], shown.get(each.sop_instance_uid, [])) for each in found]


def _document(row: DocumentRow, study_date: str, shown: Sequence[PriorFinding]) -> Story:
    document = row.document
    return {
        "study_instance_uid": row.study_instance_uid,
        "study_date": study_date,
        "sop_instance_uid": row.sop_instance_uid,
        "kind": row.kind.value,
        "title": document.title,
        "standing": document.standing,
        "completion_flag": document.completion,
        "verification_flag": document.verification,
        "by_device": document.by_device,
        "ours": row.ours,
        "made_by": document.made_by,
        "state": row.state.value,
        "reason": row.reason,
        "facts": row.facts,
        "passages": [{"heading": each.heading, "text": each.text} for each in document.passages],
        "findings": [_finding(each) for each in shown],
        "read_at": row.read_at,
    }


def _finding(each: PriorFinding) -> Story:
    found = each.finding
    return {
        "code": _code(found.code),
        "site": _code(found.site),
        "laterality": _code(found.laterality),
        "present": found.present,
        "measurements": [
            {"quantity": _code(one.quantity), "value": one.value, "unit": one.unit.value, "name": one.name}
            for one in found.measurements
        ],
        "tracking_identifier": found.tracking_identifier,
        "tracking_uid": found.tracking_uid,
        "segmentation_sop_instance_uid": each.segmentation_uid,
        "segment_number": found.segment_number,
        "algorithm": each.algorithm,
        "model_digest": each.model_digest,
    }


def _code(code: Code | None) -> Story | None:
    if code is None:
        return None
    return {"code_value": code.value, "coding_scheme_designator": code.scheme, "code_meaning": code.meaning}
