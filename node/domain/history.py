"""Patient history: facts, each with a source and a date. Unknown is not no."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Standing(StrEnum):
    """What a fact says of what it is about. Where there is no fact at all, nothing is known."""

    #: It is so.
    YES = "yes"
    #: A source says that it is not: an allergy refuted, a medication never taken, "no known allergies".
    NO = "no"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One thing that is known about a patient."""

    #: What it is about: one of `TOPICS`.
    code: str
    #: Coding scheme of `code`: "MATINS" for the closed vocabulary below.
    scheme: str = "MATINS"
    #: In words; of an observation with a number, the number.
    value: str
    unit: str = ""
    #: Where it was read: "dataset", or what `[[fhir]]`, `[receive.hl7]`, an import calls itself.
    source: str
    #: ISO date or date-time of the observation (of a problem: its onset), as exact as it is told (a year, a month), or
    #: empty.
    observed_at: str = ""
    #: What it is, by code: scheme:value, as "SCT:372571002", "I10:I26.9", "LN:48065-7"; empty where it has none.
    coded: str = ""
    standing: Standing = Standing.YES
    #: ISO date or date-time at which it ended: a problem resolved, a medication stopped; empty while it lasts.
    ended_at: str = ""

    @property
    def number(self) -> float | None:
        """The value as a number, or `None`."""
        try:
            return float(self.value)
        except ValueError:
            return None


#: Facts read from a data set, and the attribute each comes from.
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
#: Facts that other systems tell.
TOLD_TOPICS = {
    "problem": "a diagnosis or problem: FHIR Condition, HL7 v2 DG1, PRB",
    "medication": "what the patient takes: FHIR MedicationStatement, HL7 v2 RXE",
    "observation": "a laboratory value or vital sign: FHIR Observation, HL7 v2 OBX",
    "procedure": "what was done: FHIR Procedure, HL7 v2 PR1",
    "service": "who asks: the referring service or specialty, FHIR ServiceRequest, HL7 v2 PV1-10",
    "report": "impression of an earlier report: HL7 v2 ORU, a Structured Report",
}
#: Topics of which a source tells what it has: what it does not name may be so all the same. Of the others a text says
#: by itself what it says: a request that names no headache asks for none.
LISTED_TOPICS = frozenset({*TOLD_TOPICS, "allergy", "medical_alert"}) - {"service"}
#: The closed vocabulary.
TOPICS = frozenset({*FACT_ATTRIBUTES, *TOLD_TOPICS})
