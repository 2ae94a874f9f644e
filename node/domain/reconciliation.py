"""Whether a study is filed at an archive as it came to us, and what a result has to say so that it is filed with it.

Patients are merged and corrected in archives after a study was received: the archive's values are right where nothing
says that they are of somebody else. A wrong patient is the one unforgivable error.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from node.domain.patient import Patient, is_nobody, same_name

_DATE = re.compile(r"[0-9]{8}")
_SEXES = frozenset("MFO")
#: Accession Number (0008,0050) is an SH, Patient ID (0010,0020) an LO (PS3.5 §6.2): characters.
_LONGEST_SH, _LONGEST_LO = 16, 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Filed:
    """As whom and what a study is filed; absent text is ""."""

    patient: Patient = field(default_factory=Patient)
    accession_number: str = ""


class Verdict(StrEnum):
    """What is to be done with the results of a study."""

    #: They may go as they are.
    AGREES = "agrees"
    #: They have to bear the archive's values.
    CORRECT = "correct"
    #: A person has to decide.
    CONTRADICTS = "contradicts"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """A verdict, the archive's values by keyword where results have to bear them, and why, without any value."""

    verdict: Verdict
    corrections: Mapping[str, str] = field(default_factory=dict)
    reason: str = ""


def reconcile(ours: Filed, theirs: Sequence[Filed]) -> Decision:
    """Decide whether a study is filed as it came (one answer of the archive, or several that contradict each other).

    What one side does not say is no difference, but for a Patient ID that we do not have. Another ID or issuer is a
    merge or a correction where name, birth date and sex agree, or where ours is a patient whom nobody knew; changed
    demographics are a correction where ID and issuer agree. Another name *and* another birth date are another person.
    """
    if len(theirs) != 1:
        return _contradiction("files the study more than once, under different values")
    found = _believed(theirs[0])
    differing = _differences(ours, found)
    if not differing:
        return Decision(verdict=Verdict.AGREES)
    told = _listed(differing)
    if reason := _contradicts(ours.patient, found.patient, differing):
        return _contradiction(f"files the study under another {told}: {reason}")
    return Decision(
        verdict=Verdict.CORRECT,
        corrections=_corrections(ours, found, differing),
        reason=f"files the study under another {told}",
    )


def corrected(patient: Patient, corrections: Mapping[str, str]) -> Patient:
    """Whom a result names that bears these corrections."""
    fields = {name: corrections[keyword] for keyword, name in _PATIENT_FIELDS.items() if keyword in corrections}
    return replace(patient, **fields)


def beyond(named: Patient, said: Patient, filed: Filed) -> str:
    """What an object says beyond whom it has to name, and otherwise than the archive does; empty if nothing."""
    found = _believed(filed).patient
    pairs = (
        (_ISSUER, named.issuer, said.issuer, found.issuer),
        (_BIRTH_DATE, named.birth_date, said.birth_date, found.birth_date),
        (_SEX, named.sex, said.sex, found.sex),
    )
    told = [label for label, known, first, second in pairs if not known and first and second and first != second]
    if not named.name and same_name(said.name, found.name) is False:
        told.append(_NAME)
    return " and ".join(told)


_PATIENT_FIELDS = {
    "PatientID": "patient_id",
    "IssuerOfPatientID": "issuer",
    "PatientName": "name",
    "PatientBirthDate": "birth_date",
    "PatientSex": "sex",
}
_ID, _ISSUER, _NAME, _BIRTH_DATE, _SEX, _ACCESSION = (
    "Patient ID",
    "Issuer of Patient ID",
    "name",
    "birth date",
    "sex",
    "Accession Number",
)
_KEYWORDS = {
    _ID: "PatientID",
    _ISSUER: "IssuerOfPatientID",
    _NAME: "PatientName",
    _BIRTH_DATE: "PatientBirthDate",
    _SEX: "PatientSex",
    _ACCESSION: "AccessionNumber",
}


def _believed(found: Filed) -> Filed:
    """The values of an archive that may stand in an object; others count as not told."""
    patient = found.patient
    return Filed(
        patient=Patient(
            patient_id=patient.patient_id if len(patient.patient_id) <= _LONGEST_LO else "",
            issuer=patient.issuer if len(patient.issuer) <= _LONGEST_LO and "\\" not in patient.issuer else "",
            name=patient.name if "\\" not in patient.name else "",
            birth_date=patient.birth_date if _DATE.fullmatch(patient.birth_date) else "",
            sex=patient.sex if patient.sex in _SEXES else "",
        ),
        accession_number=found.accession_number
        if len(found.accession_number) <= _LONGEST_SH and "\\" not in found.accession_number
        else "",
    )


def _differences(ours: Filed, theirs: Filed) -> list[str]:
    one, other = ours.patient, theirs.patient
    pairs = (
        (_ISSUER, one.issuer, other.issuer),
        (_BIRTH_DATE, one.birth_date, other.birth_date),
        (_SEX, one.sex, other.sex),
        (_ACCESSION, ours.accession_number, theirs.accession_number),
    )
    found = {label for label, first, second in pairs if first and second and first != second}
    if other.patient_id and one.patient_id != other.patient_id:
        found.add(_ID)
    # Nobody's name is replaced by somebody's; an absent one stays absent.
    if same_name(one.name, other.name) is False or (one.name and is_nobody(one.name) and not is_nobody(other.name)):
        found.add(_NAME)
    return [label for label in _KEYWORDS if label in found]


def _contradicts(ours: Patient, theirs: Patient, differing: Sequence[str]) -> str:
    """Why the archive's patient may be another person, and what to do; empty if nothing says so."""
    remedy = "See which is right, and correct it there or send the study again"
    if _ID in differing and not theirs.is_identified:
        return f"its ID stands for nobody. {remedy}"
    renamed = same_name(ours.name, theirs.name) is False
    reborn = _BIRTH_DATE in differing
    if renamed and reborn:
        return f"name and birth date are those of another person. {remedy}"
    if not {_ID, _ISSUER} & set(differing):
        return ""
    if not ours.is_identified:
        # Whom nobody knew may have had any birth date; but somebody's name is not another's.
        return f"nothing says that it is the same person. {remedy}" if renamed else ""
    if renamed or reborn or _SEX in differing:
        return f"nothing says that it is the same person. {remedy}"
    if same_name(ours.name, theirs.name) is None and not is_nobody(ours.name):
        return f"it does not say who that is. {remedy}"
    return ""


def _corrections(ours: Filed, theirs: Filed, differing: Sequence[str]) -> dict[str, str]:
    one, other = ours.patient, theirs.patient
    values = {
        _ID: other.patient_id,
        _ISSUER: other.issuer,
        _NAME: other.name,
        _BIRTH_DATE: other.birth_date,
        _SEX: other.sex,
        _ACCESSION: theirs.accession_number,
    }
    found = {_KEYWORDS[label]: values[label] for label in differing}
    if _ID in differing and one.issuer != other.issuer:
        # An ID without an issuer is the archive's own; ours would name another domain's patient.
        found["IssuerOfPatientID"] = other.issuer
    return found


def _contradiction(reason: str) -> Decision:
    return Decision(verdict=Verdict.CONTRADICTS, reason=reason)


def _listed(labels: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(labels[:-1]), labels[-1])))
