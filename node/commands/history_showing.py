"""`history`: what is known of one patient, for people or as JSON."""

from __future__ import annotations

from node.commands.history_lines import lines
from node.commands.output import print_json, say
from node.commands.site import opened
from node.config import Settings
from node.domain.patient import Patient
from node.errors import Failed, Misconfigured
from node.store import studies
from node.store.database import Database
from node.workflow import history_story
from node.workflow.story import find_study

_MOST_STUDIES = 100


def show(settings: Settings, study: str, patient_id: str, issuer: str, *, as_json: bool) -> None:
    """Print every fact of the patient of a study, or of (Patient ID, issuer), with source, date and doubt.

    Raises:
        Failed: there is no such study; or the Patient ID stands for nobody in particular.
        Misconfigured: neither or both are named.
    """
    if bool(study) == bool(patient_id):
        raise Misconfigured("matins history", "", "name one patient", "Give a STUDY, or --patient ID --issuer ISSUER")
    with opened(settings) as db:
        uid = find_study(db, study) if study else ""
        patient = _of_study(db, uid) if uid else _named(db, Patient(patient_id=patient_id, issuer=issuer))
        told = history_story.of_patient(db, patient, uid)
    if as_json:
        head = {"patient_id": patient.patient_id, "issuer_of_patient_id": patient.issuer}
        print_json({**head, "study_instance_uid": uid, **told})
        return
    found = list(lines(told))
    for heading, line in found:
        say(f"{heading:11} {line}")
    if not told["history"]:
        say("nothing is known; that is no answer to any question about the patient")


def _of_study(db: Database, uid: str) -> Patient:
    found = studies.study(db, uid)
    if found is None:
        raise Failed(f"the study {uid} has just gone")
    return found.patient


def _named(db: Database, patient: Patient) -> Patient:
    """The patient as the newest study tells them, if there is one here."""
    if not patient.is_identified:
        raise Failed("this Patient ID stands for nobody in particular; name a study")
    held = studies.matching(db, uids=(), accession_number="", patient_id=patient.patient_id, limit=_MOST_STUDIES)
    return next((each.patient for each in held if each.patient.issuer == patient.issuer), patient)
