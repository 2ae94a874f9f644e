"""Letters to every kind of route, with a patient who must not be in them unless the site says so."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from node.config import Route
from node.deliver.routes import Letter
from node.domain.finding import Code
from node.domain.notice import Flag, FlaggedFinding, control_id, filler_number, said
from node.domain.patient import Patient
from node.domain.priority import Lane

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
STUDY = "1.2.840.99.7"
#: Each is found nowhere but in what it is a value of.
CANARIES = {
    "patient_id": "CANARYID7",
    "issuer_of_patient_id": "CANARYISSUER",
    "patient_name": "CANARYNAME",
    "patient_birth_date": "19440107",
    "accession_number": "CANARYACC9",
    "study_instance_uid": STUDY,
    "study_date": "19990909",
    "study_description": "CANARYDESCRIPTION",
    "reasons": "CANARYREASON",
}
FLAG = Flag(
    study_instance_uid=STUDY,
    patient=Patient(
        patient_id=CANARIES["patient_id"],
        issuer=CANARIES["issuer_of_patient_id"],
        name=f"{CANARIES['patient_name']}^Given^Middle^Dr^Jr",
        birth_date=CANARIES["patient_birth_date"],
        sex="F",
    ),
    accession_number=CANARIES["accession_number"],
    study_date=CANARIES["study_date"],
    study_time="121314.5",
    study_description=CANARIES["study_description"],
    modality="CT",
    lane=Lane.STAT,
    score=87.5,
    reasons=("CANARYREASON of the patient",),
    findings=(
        FlaggedFinding(
            model="bleed",
            code=Code("50960005", "SCT", "Hemorrhage"),
            probability=0.875,
            present=True,
            laterality="Left",
            count=2,
            sentence="CANARYREASON: blood",
        ),
    ),
    failures=(("stroke", "CANARYREASON: no series suits"),),
)


def routes(folder: Path) -> dict[str, Route]:
    """A route of every kind, with the files that it names."""
    secret = folder / "hook.secret"
    secret.write_text("0123456789abcdef\n")
    secret.chmod(0o600)
    made = {
        "hl7": {"host": "127.0.0.1", "port": 2575, "interface": "worklist"},
        "webhook": {"url": "http://127.0.0.1:1/hook", "secret_file": str(secret)},
        "email": {"host": "127.0.0.1", "port": 25, "from_address": "a@example.org", "to": ["b@example.org"]},
        "ups": {"host": "127.0.0.1", "port": 104, "ae_title": "MANAGER"},
    }
    return {kind: Route.model_validate({"name": "R", "kind": kind, **keys}) for kind, keys in made.items()}


def letter(route: Route, flag: Flag = FLAG, *, version: int = 1, **changes: object) -> Letter:
    """What a route may say of a study."""
    made = Letter(
        flag=said(flag, route.says),
        control_id=control_id(STUDY, route.name, version, AT.isoformat()),
        filler_number=filler_number(STUDY, route.name),
        version=version,
        at=AT,
        because="lane ROUTINE → STAT",
    )
    return replace(made, **changes)  # type: ignore[arg-type]
