"""What is known of a patient and from whom, what may be of another one, and who was asked: as plain values."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any

from node.domain.history import Fact
from node.domain.inquiry import Inquiry
from node.domain.patient import Patient
from node.domain.work import WorkKind
from node.store import history, identities, inquiries, work_items
from node.store.database import Database

Story = dict[str, Any]


def of_patient(db: Database, patient: Patient, study_instance_uid: str) -> Story:
    """The three together, as part of a study's story; without a study, what is told of the patient alone."""
    return {
        "history": known(db, patient, study_instance_uid),
        "history_candidates": candidates(db, patient, study_instance_uid),
        "history_asked": asked(db, patient, study_instance_uid),
    }


def known(db: Database, patient: Patient, study_instance_uid: str) -> list[Story]:
    """Every fact that counts for a study, or, without one, for the patient."""
    return [_fact(fact) for fact in history.facts(db, patient, study=study_instance_uid)]


def candidates(db: Database, patient: Patient, study_instance_uid: str) -> list[Story]:
    """Facts that may be another person's and do not count, each with the doubt."""
    found = history.candidates(db, patient, study=study_instance_uid)
    return [{**_fact(fact), "doubt": doubt} for fact, doubt in found]


def asked(db: Database, patient: Patient, study_instance_uid: str) -> list[Story]:
    """Which FHIR servers were asked for what, with what result; a question that waits has the state "waiting"."""
    meant = replace(patient, patient_id=identities.survivor(db, patient))
    rows = {
        (each.server, each.resource): each
        for one in (patient, meant)
        for each in inquiries.of_study(db, one, study_instance_uid)
    }
    reached = {each.server for each in rows.values() if each.resource}
    shown = [each for each in rows.values() if each.resource or each.server not in reached]
    waiting = sorted(
        subject.partition("/")[0]
        for subject in work_items.unfinished_subjects(db, study_instance_uid, WorkKind.HISTORY)
    )
    nothing = {"resource": "", "state": "waiting", "facts": 0, "reason": "", "asked_at": ""}
    told = [{"server": server, **nothing} for server in waiting]
    return [*(_inquiry(each) for each in shown), *told]


def newest_of_servers(db: Database, names: Collection[str]) -> list[Story]:
    """The newest question to each of these FHIR servers and what came of it; it names no patient."""
    return [_inquiry(each) for each in inquiries.newest_of_servers(db) if each.server in names]


def _fact(fact: Fact) -> Story:
    return {
        "code": fact.code,
        "value": fact.value,
        "unit": fact.unit,
        "coded": fact.coded,
        "standing": fact.standing.value,
        "source": fact.source,
        "observed_at": fact.observed_at,
        "ended_at": fact.ended_at,
    }


def _inquiry(row: Inquiry) -> Story:
    return {
        "server": row.server,
        "resource": row.resource,
        "state": row.state.value,
        "facts": row.facts,
        "reason": row.reason,
        "asked_at": row.asked.iso,
    }
