"""The whole story of a study as plain values: what the commands print as JSON and the pages show.

Keys are DICOM keywords in snake case where one exists. Read only; nothing here writes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from node.domain.finding import Code, Finding
from node.domain.time import Instant
from node.errors import Failed
from node.store import (
    artifacts,
    commitments,
    events,
    findings,
    instances,
    outbox,
    outcomes,
    procedure_steps,
    retrievals,
    studies,
)
from node.store.changes import Comparison
from node.store.database import Database
from node.store.instances import HeldInstance
from node.store.outcomes import Outcome
from node.store.procedure_steps import ProcedureStep
from node.store.studies import StudyRow
from node.triage.change_said import with_changes
from node.workflow import history_story, performer
from node.workflow.acknowledged import acknowledgements_told
from node.workflow.changes_told import changes_told, comparisons_told
from node.workflow.deliveries import deliveries
from node.workflow.explained import explanations
from node.workflow.overlay import overlay
from node.workflow.placed import places_told
from node.workflow.priors_told import priors_told
from node.workflow.routes_told import notices_told

Story = dict[str, Any]

#: How many candidates an ambiguous study name is told with.
_CANDIDATES = 5


def worklist_story(db: Database, *, limit: int | None = None, now: Instant | None = None, every: bool = False) -> Story:
    """Studies in reading order, or the first `limit`: {"studies": [...], "total": count, "event_number": newest}.

    Those that a radiologist has reported are left out without `every`. With `now`, each says how long it waits.
    """
    # Read before the list: whoever listens from there on misses nothing.
    number = events.newest_number(db)
    rows = studies.worklist(db, every=every)
    places = _with_acknowledgements(db, rows[:limit], places_told(db, rows[:limit], now))
    told = [
        {"place": number, **_told(db, row, places, outcomes.current(db, row.study_instance_uid))}
        for number, row in enumerate(rows[:limit], start=1)
    ]
    return {"studies": told, "total": len(rows), "event_number": number}


def study_story(db: Database, study_instance_uid: str) -> Story | None:
    """Everything about one study: as in the worklist, and its series, files, history and events."""
    row = studies.study(db, study_instance_uid)
    if row is None:
        return None
    # Read once: another may come between two looks.
    current = outcomes.current(db, study_instance_uid)
    told = _told(db, row, _with_acknowledgements(db, [row], places_told(db, [row])), current)
    for outcome, each in zip(current, told["outcomes"], strict=True):
        each["explanations"] = explanations(db, outcome.id)
    return {
        **told,
        **overlay(db, row),
        "revisions": studies.revisions(db, study_instance_uid),
        "procedure_steps": [_step(step) for step in procedure_steps.of_study(db, study_instance_uid)],
        "series": _series(instances.of_study(db, study_instance_uid)),
        "artifacts": _artifacts(db, current),
        "notices": notices_told(db, study_instance_uid),
        "asked_of_us": performer.told(db, study_instance_uid),
        **history_story.of_patient(db, row.patient, study_instance_uid),
        **priors_told(db, row),
        "events": [
            {
                "at": event.at,
                "room": event.room,
                "about": event.about,
                "subject": event.subject,
                "before": event.before,
                "after": event.after,
                "reason": event.reason,
            }
            for event in events.of_study(db, study_instance_uid)
        ],
    }


def find_study(db: Database, text: str) -> str:
    """Return the Study Instance UID that `text` means: itself, its beginning, or an accession number.

    Raises:
        Failed: no study is meant, or more than one.
    """
    if studies.study(db, text) is not None:
        return text
    meant = [
        row.study_instance_uid
        for row in studies.worklist(db)
        if text and (row.study_instance_uid.startswith(text) or row.order.accession_number == text)
    ]
    if len(meant) == 1:
        return meant[0]
    if not meant:
        fetched = retrievals.of_study(db, text)
        if fetched:
            last = fetched[-1]
            told = f"{last.state.value}{': ' if last.reason else ''}{last.reason}"
            raise Failed(f"nothing of study {text} is here; the fetch from {last.peer} is {told}")
        raise Failed(f"no study {text!r} is held here; `matins worklist` lists them")
    shown = ", ".join(sorted(meant)[:_CANDIDATES]) + (", …" if len(meant) > _CANDIDATES else "")
    raise Failed(f"{text!r} means {len(meant)} studies: {shown}")


def _with_acknowledgements(db: Database, rows: Sequence[StudyRow], places: Mapping[str, Story]) -> Mapping[str, Story]:
    told = acknowledgements_told(db, rows)
    return {uid: {**place, "acknowledgement": told[uid]} for uid, place in places.items()}


def _told(db: Database, row: StudyRow, places: Mapping[str, Story], current: Sequence[Outcome]) -> Story:
    uid = row.study_instance_uid
    tally = instances.tally(db, uid)
    results = outbox.of_study(db, uid)
    committed = commitments.confirmations_of_study(db, uid)
    compared = comparisons_told(db, row)
    return {
        "study_instance_uid": uid,
        "state": row.state.value,
        "reason": row.reason,
        "lane": row.lane.value,
        "score": row.score,
        "reasons": list(row.reasons),
        **places[uid],
        "patient_id": row.patient.patient_id,
        "issuer_of_patient_id": row.patient.issuer,
        "patient_name": row.patient.name,
        "patient_birth_date": row.patient.birth_date,
        "patient_sex": row.patient.sex,
        "patient_age_years": row.order.patient_age_years,
        "study_date": row.order.study_date,
        "study_time": row.order.study_time,
        "study_description": row.order.study_description,
        "study_id": row.order.study_id,
        "accession_number": row.order.accession_number,
        "requested_procedure_priority": row.order.requested_priority,
        "modality": row.modality,
        "received_at": row.first_received.iso,
        "last_received_at": row.last_received.iso,
        "revision": row.revision,
        "prior": row.prior,
        "instances": tally.received,
        "instances_expected": row.expected_count,
        "instances_undescribed": tally.undescribed,
        "findings": [told for outcome in current for told in _findings(db, outcome, compared.get(outcome.id))],
        "changes": changes_told(db, row, list(compared.values())),
        "outcomes": [_outcome(outcome) for outcome in current],
        "read_again": [{**_outcome(each), "findings": _findings(db, each, None)} for each in outcomes.asides(db, uid)],
        "results": [
            {
                "kind": result.kind,
                "sop_class_uid": result.sop_class_uid,
                "sop_instance_uid": result.sop_instance_uid,
                "destination": result.destination,
                "state": result.state.value,
                "reason": result.reason,
                "attempts": result.attempts,
                "sent_at": result.sent_at,
                "committed_at": committed.get(result.id, ""),
                "path": str(db.folder / result.path),
            }
            for result in results
        ],
        "deliveries": deliveries(results),
    }


def _step(step: ProcedureStep) -> Story:
    return {
        "sop_instance_uid": step.sop_instance_uid,
        "performed_procedure_step_status": step.state.value,
        "reason": step.reason_code,
        "source": step.source,
        "created_at": step.created_at,
        "changed_at": step.changed_at,
        "instances_listed": step.listed,
        "instances_here": step.here,
    }


def _outcome(outcome: Outcome) -> Story:
    return {
        "model": outcome.model,
        "mode": outcome.mode.value,
        "state": outcome.state.value,
        "reason": outcome.reason,
        "revision": outcome.revision,
        "run_number": outcome.run_number,
        "model_digest": outcome.model_digest,
        "series_instance_uid": outcome.series_instance_uid,
        "series": list(outcome.series),
        "created_at": outcome.created_at,
        "finished_at": outcome.finished_at,
        "timings": outcome.timings,
        "notes": list(outcome.notes),
    }


def _findings(db: Database, outcome: Outcome, compared: Comparison | None) -> list[Story]:
    """One row a measurement, and one for a finding that has none."""
    found = with_changes(findings.of_outcome(db, outcome.id), () if compared is None else compared.changes)
    return [told for finding in found for told in _finding(outcome, finding)]


def _finding(outcome: Outcome, finding: Finding) -> list[Story]:
    head = {
        "model": outcome.model,
        "mode": outcome.mode.value,
        "code": _code(finding.code),
        "probability": finding.probability,
        "score": finding.score,
        "operating_point": finding.operating_point,
        "present": finding.present,
        "segment_number": finding.segment_number,
        "tracking_uid": finding.tracking_uid,
        "lesion_number": finding.lesion_number or None,
        "laterality": None if finding.laterality is None else _code(finding.laterality),
        "sentence": finding.sentence,
        "uncertainty": finding.uncertainty,
        "key_images": list(finding.key_images),
        "regions": [asdict(region) for region in finding.regions],
    }
    if not finding.measurements:
        return [{**head, "quantity": None, "name": None, "value": None, "unit": None}]
    return [
        {
            **head,
            "quantity": _code(each.quantity),
            "name": each.name,
            "value": each.value,
            "unit": each.unit.value,
        }
        for each in finding.measurements
    ]


def _code(code: Code) -> Story:
    return {"code_value": code.value, "coding_scheme_designator": code.scheme, "code_meaning": code.meaning}


def _artifacts(db: Database, current: Sequence[Outcome]) -> list[Story]:
    return [
        {
            "model": outcome.model,
            "kind": artifact.kind,
            "sop_class_uid": artifact.sop_class_uid,
            "sop_instance_uid": artifact.sop_instance_uid,
            "size": artifact.size,
            "digest": artifact.digest,
            "path": str(db.folder / artifact.path),
        }
        for outcome in current
        for artifact in artifacts.of_outcome(db, outcome.id)
    ]


def _series(held: Sequence[HeldInstance]) -> list[Story]:
    by_series: dict[str, list[HeldInstance]] = {}
    for each in held:
        by_series.setdefault(each.series_instance_uid, []).append(each)
    return [_one_series(uid, members) for uid, members in by_series.items()]


def _one_series(uid: str, members: Sequence[HeldInstance]) -> Story:
    first = next((each.instance for each in members if each.instance is not None), None)
    return {
        "series_instance_uid": uid,
        "modality": first.modality if first else "",
        "series_number": first.series_number if first else None,
        "series_description": first.series_description if first else "",
        "sop_class_uids": sorted({each.sop_class_uid for each in members}),
        "sources": sorted({each.source for each in members}),
        "instances": len(members),
        "readable": sum(each.readable for each in members),
        "rejected": sum(bool(each.rejected) for each in members),
        "freed": sum(bool(each.freed_at) for each in members),
        "undescribable": sorted({each.reason for each in members if each.state == "undescribable"}),
    }
