"""Patient history: facts, each with a source and a date. Unknown is not no."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One thing that is known about a patient."""

    #: What it is about: one of `FACT_CODES`.
    code: str
    #: Coding scheme of `code`: "MATINS" for the closed vocabulary below.
    scheme: str = "MATINS"
    value: str
    unit: str = ""
    #: Where it was read: "dataset", a table, a peer.
    source: str
    #: ISO date or date-time of the observation, or empty.
    observed_at: str = ""


#: The closed vocabulary of facts read from a data set, and the attribute each comes from.
FACT_ATTRIBUTES = {
    "admitting_diagnosis": "AdmittingDiagnosesDescription",
    "additional_history": "AdditionalPatientHistory",
    "medical_alert": "MedicalAlerts",
    "allergy": "Allergies",
    "pregnancy_status": "PregnancyStatus",
    "smoking_status": "SmokingStatus",
    "reason_for_request": "ReasonForTheRequestedProcedure",
    "patient_location": "CurrentPatientLocation",
}
FACT_CODES = frozenset(FACT_ATTRIBUTES)
