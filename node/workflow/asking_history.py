"""Which FHIR servers are asked for the history of a study's patient, when, and when again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from node.config import FhirServer
from node.domain.inquiry import SETTLED, Inquiry, InquiryState
from node.domain.patient import Patient
from node.domain.study import StudyState
from node.domain.time import Instant
from node.domain.work import WorkKind
from node.store import events, identities, inquiries, studies, work_items
from node.store.database import Database
from node.store.studies import StudyRow
from node.workflow.policy import Policy

#: Resources that are about one study, and no other of the patient's.
OF_A_STUDY = frozenset({"ServiceRequest", "DiagnosticReport"})
#: What failed is asked again after this, where the cache would keep it longer.
_FAILED_AGAIN_S = 900.0
#: Studies that are asked for anew at once; the others come with the next look.
_MOST_AT_ONCE = 100


def subject_prefix(server: str) -> str:
    """How the subjects of the work items of all questions to a server begin."""
    return f"{server}/"


def ask_for_history(db: Database, now: Instant, policy: Policy, study_instance_uid: str) -> None:
    """Have every FHIR server asked that knows the patient's issuer, in the transaction that closes the study.

    Where one is not asked, this and why is kept. Nothing is asked for a study that is held, or that is a prior.
    """
    study = studies.study(db, study_instance_uid) if policy.settings.fhir else None
    if study is None or study.state is StudyState.HELD or study.prior:
        return
    for server in policy.settings.fhir:
        reason = why_not(server, study.patient)
        if reason:
            record_not_asked(db, now, server, study, reason)
        else:
            subject = subject_prefix(server.name) + study_instance_uid
            work_items.renew(db, now, WorkKind.HISTORY, subject, study_instance_uid)


def why_not(server: FhirServer, patient: Patient) -> str:
    """Say why a server is not asked for a patient; empty if it is."""
    if not patient.is_identified:
        return "the patient is not identified"
    if not patient.issuer:
        return "nobody is known to have issued the Patient ID"
    if patient.issuer not in server.identifiers:
        return "it has no system for the issuer of the Patient ID (identifiers)"
    return ""


def record_not_asked(db: Database, now: Instant, server: FhirServer, study: StudyRow, reason: str) -> None:
    """Keep that a server is not asked for a study."""
    uid, patient = study.study_instance_uid, study.patient
    known = inquiries.of_study(db, patient, uid)
    told = Inquiry(
        server=server.name,
        resource="",
        patient_id=patient.patient_id,
        issuer=patient.issuer,
        study_instance_uid=uid,
        state=InquiryState.NOT_ASKED,
        reason=reason,
        asked=now,
    )
    inquiries.record(db, told)
    if not any((each.server, each.resource, each.reason) == (server.name, "", reason) for each in known):
        events.record(db, now, "history", f"fhir {server.name}", after=told.state, reason=reason, study=uid)


def meant_by(db: Database, study: StudyRow) -> Patient:
    """The patient of a study under the Patient ID by which they are known today."""
    return replace(study.patient, patient_id=identities.survivor(db, study.patient))


def due(db: Database, now: Instant, server: FhirServer, study: StudyRow) -> list[tuple[str, Inquiry | None]]:
    """Resources to ask for now, each with what came of asking before."""
    known = inquiries.of_study(db, meant_by(db, study), study.study_instance_uid)
    asked = {each.resource: each for each in known if each.server == server.name}
    return [
        (each, asked.get(each))
        for each in _resources(server, study.order.accession_number)
        if not _is_fresh(asked.get(each), now, server)
    ]


def ask_again(db: Database, now: Instant, server: FhirServer) -> int:
    """Have a server asked for studies of which nothing is known any more, or was never asked; return how many.

    So are those whose patient goes by another Patient ID than when they closed. Opens its own transaction.
    """
    if not server.again_within_days:
        return 0
    unread = inquiries.unread_studies(db, now, server.identifiers, server.again_within_days)
    if not unread:
        return 0
    asked: dict[tuple[str, str, str], dict[str, Inquiry]] = {}
    for each in inquiries.of_server(db, server.name):
        asked.setdefault((each.patient_id, each.issuer, each.study_instance_uid), {})[each.resource] = each
    merged = {(each.issuer, each.patient_id) for each in identities.moves(db)}
    wanted: list[str] = []
    for one in unread:
        patient = one.patient
        if (patient.issuer, patient.patient_id) in merged:
            patient = replace(patient, patient_id=identities.survivor(db, patient))
        key = (patient.patient_id, patient.issuer)
        known = asked.get((*key, ""), {}) | asked.get((*key, one.study_instance_uid), {})
        if _is_due(server, one.accession_number, known, now):
            wanted.append(one.study_instance_uid)
    with db.transaction():
        for uid in wanted[:_MOST_AT_ONCE]:
            work_items.renew(db, now, WorkKind.HISTORY, subject_prefix(server.name) + uid, uid)
    return len(wanted[:_MOST_AT_ONCE])


def _is_due(server: FhirServer, accession_number: str, known: Mapping[str, Inquiry], now: Instant) -> bool:
    for resource in _resources(server, accession_number):
        row = known.get(resource)
        if row is not None and row.state is InquiryState.FAILED and row.age_s(now) < _FAILED_AGAIN_S:
            continue
        if not _is_fresh(row, now, server):
            return True
    return False


def _resources(server: FhirServer, accession_number: str) -> list[str]:
    """What is asked of a server; an order only by a number that stands for one."""
    by_order = bool(server.accession_system) and Patient(patient_id=accession_number).is_identified
    return [each for each in server.resources if by_order or each != "ServiceRequest"]


def _is_fresh(row: Inquiry | None, now: Instant, server: FhirServer) -> bool:
    return row is not None and row.state in SETTLED and row.age_s(now) < 60.0 * server.cache_minutes
