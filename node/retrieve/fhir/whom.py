"""Whom a FHIR server means by an identifier (Patient): exactly one, who bears it, or nobody."""

from __future__ import annotations

import re
from dataclasses import dataclass

from node.domain.inquiry import InquiryState
from node.domain.patient import Patient
from node.errors import Failed
from node.retrieve.fhir.bundle import search
from node.retrieve.fhir.elements import Json, date_time, identifiers, records, text
from node.retrieve.fhir.exchange import HistoryQuery
from node.retrieve.fhir.rest import Rest

_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")
#: administrative-gender → Patient's Sex (0010,0040); "unknown" tells none.
_SEX = {"male": "M", "female": "F", "other": "O"}
_LONGEST_IDENTIFIER = 64
#: They part the values of a search parameter (FHIR R4, §3.1.1.4.0), and are written with a backslash.
_PARTS = re.compile(r"([\\,|$])")


@dataclass(frozen=True, slots=True, kw_only=True)
class Meant:
    """The one patient who bears the identifier, or why there is none."""

    #: As the server calls them.
    id: str = ""
    #: YYYYMMDD, or what of it is told where it contradicts the study; and M, F, O.
    birth_date: str = ""
    sex: str = ""
    state: InquiryState = InquiryState.ANSWERED
    reason: str = ""


def token(system: str, value: str) -> str:
    """A token search value, system and value.

    Raises:
        Failed: it could mean more than this one value, or nobody in particular.
    """
    if not system or not value or value != value.strip() or not value.isprintable() or len(value) > _LONGEST_IDENTIFIER:
        raise Failed("the identifier is empty, too long, or has characters that cannot be printed")
    if not Patient(patient_id=value).is_identified:
        raise Failed("the identifier stands for nobody in particular")
    return f"{system}|" + _PARTS.sub(r"\\\1", value)


def meant(rest: Rest, query: HistoryQuery) -> Meant:
    """Ask who bears the identifier.

    Raises:
        Failed, Transient: as `search`.
    """
    keys = (("identifier", token(query.system, query.patient_id)), ("_count", "10"))
    found = search(rest, query.base, "Patient", keys, post=query.post, etag="", most_pages=1)
    bearers = {text(each.get("id")): each for each in found.matches}
    if not bearers:
        return Meant(state=InquiryState.NOBODY, reason="knows no patient of this identifier")
    if len(bearers) > 1 or found.cut_off:
        return Meant(state=InquiryState.DOUBTFUL, reason="knows several patients of one identifier; none is believed")
    return _checked(next(iter(bearers.values())), query)


def _checked(patient: Json, query: HistoryQuery) -> Meant:
    """Look whether it is who was asked for."""
    key = text(patient.get("id"))
    if not _ID.fullmatch(key):
        return Meant(state=InquiryState.DOUBTFUL, reason="answers with a patient without a sound id")
    if (query.system, query.patient_id) not in identifiers(patient.get("identifier")):
        return Meant(state=InquiryState.DOUBTFUL, reason="answers with a patient who does not bear the identifier")
    if patient.get("active") is False or any(
        each.get("type") == "replaced-by" for each in records(patient.get("link"))
    ):
        return Meant(state=InquiryState.DOUBTFUL, reason="answers with a record that is not in use any more")
    birth_date = _birth_date(date_time(patient.get("birthDate")), query.birth_date)
    sex = _SEX.get(str(patient.get("gender")), "")
    return Meant(id=key, birth_date=birth_date, sex=sex)


def _birth_date(told: str, known: str) -> str:
    """A birthDate as YYYYMMDD. A part of a date agrees with one that begins so, and counts as that date."""
    plain = told.replace("-", "")
    return known if plain and known.startswith(plain) else plain
