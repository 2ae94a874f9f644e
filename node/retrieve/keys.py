"""What a query asks for, checked before any network: no empty key, no wildcard, no placeholder, one study's worth."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

from node.domain.patient import Patient
from node.domain.uid import is_usable_uid
from node.errors import Failed
from node.retrieve.found import FoundStudy

#: `*` and `?` are wildcards (PS3.4 §C.2.2.2.4), `\` makes a list of values.
_MARKS = "*?\\"
#: Lengths by value representation, characters (PS3.5 §6.2).
_LONGEST_SH, _LONGEST_LO = 16, 64
_MODALITY = re.compile(r"[A-Z0-9_]{1,16}")


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyKeys:
    """Matching keys of a query for studies: UID, accession number, patient or first date, and what narrows it.

    Making one checks it. Raises:
        Failed: with what is wrong, where a key is missing, empty, too long, or would match more than itself.
    """

    study_instance_uid: str = ""
    accession_number: str = ""
    patient_id: str = ""
    #: Of the Patient ID; compared with the answers, never sent: many archives match it with nothing.
    issuer: str = ""
    #: Study dates, YYYYMMDD, both inclusive; `until` only with `since`.
    since: str = ""
    until: str = ""
    modality: str = ""

    def __post_init__(self) -> None:
        given = sum(bool(each) for each in (self.study_instance_uid, self.accession_number, self.patient_id))
        if given > 1 or not (given or self.since):
            raise Failed("ask for one thing: a study UID, an accession number, a patient, or a first date")
        if self.study_instance_uid and not is_usable_uid(self.study_instance_uid):
            raise Failed("the Study Instance UID is no whole UID")
        if self.accession_number:
            _check_text("accession number", self.accession_number, _LONGEST_SH)
        if self.patient_id:
            _check_text("Patient ID", self.patient_id, _LONGEST_LO)
            if not Patient(patient_id=self.patient_id).is_identified:
                raise Failed("the Patient ID stands for nobody in particular")
        _check_dates(self.since, self.until)
        if self.modality and not _MODALITY.fullmatch(self.modality):
            raise Failed("a modality is a short code in capitals, as MR")

    def disbelief(self, found: FoundStudy) -> str:
        """Say why an answer is not to what was asked; empty if it is."""
        if self.study_instance_uid and found.study_instance_uid != self.study_instance_uid:
            return "another study"
        if self.accession_number and found.accession_number != self.accession_number:
            return "another accession number"
        if self.patient_id and found.patient.patient_id != self.patient_id:
            return "another patient"
        if self.since and not self.since <= found.study_date <= (self.until or "99999999"):
            return "another date"
        if self.modality and self.modality not in found.modalities:
            return "another modality, or none told"
        return ""


def _check_text(what: str, text: str, longest: int) -> None:
    """Refuse a key that an archive could take for more than this one value."""
    if text != text.strip() or not text.isprintable():
        raise Failed(f"the {what} has spaces at its ends or characters that cannot be printed")
    if any(mark in text for mark in _MARKS):
        raise Failed(f"the {what} contains *, ? or \\, which an archive takes for a pattern")
    if not any(map(str.isalnum, text)):
        raise Failed(f"the {what} has neither letter nor digit: it stands for nothing in particular")
    if len(text) > longest:
        raise Failed(f"the {what} is longer than {longest} characters")


def _check_dates(since: str, until: str) -> None:
    for text in (since, until):
        if text and not _is_date(text):
            raise Failed("a date is YYYYMMDD")
    if until and not since:
        raise Failed("a last date needs a first one")
    if since and until and until < since:
        raise Failed("the last date is before the first")


def _is_date(text: str) -> bool:
    if not (len(text) == 8 and text.isascii() and text.isdigit()):
        return False
    try:
        datetime.strptime(text, "%Y%m%d")  # noqa: DTZ007  a calendar day, of no time zone
    except ValueError:
        return False
    return True
