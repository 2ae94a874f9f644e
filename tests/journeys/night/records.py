"""A FHIR server that knows the patients of a made-up night, each for themselves."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tests.journeys.night.plan import HERE, Night, Person, Teller, Told
from tests.retrieve.records import ICD, LOINC, SYSTEM, UCUM, Raw, Records, Resource, coded_status, concept

_ATC = "http://www.whocc.no/atc"
KINDS = ("Condition", "MedicationStatement", "Observation")
_SEX = {"M": "male", "F": "female", "O": "other"}


def records_of(night: Night) -> Records:
    """The server, not yet started; every patient of the own hospital, one record each."""
    made = Records()
    people = {id(each.person): each.person for each in night.studies if each.person.id and each.person.issuer == HERE}
    held: dict[tuple[str, str], list[Resource]] = {}
    for person in people.values():
        for number, told in enumerate(each for each in person.told if each.by is Teller.FHIR):
            resource = _resource(person, number, told)
            held.setdefault((resource["resourceType"], person.id), []).append(resource)
    known = {each.id: _patient(each) for each in people.values()}

    def patient(path: str) -> Raw:
        asked = dict(parse_qsl(urlsplit(path).query)).get("identifier", "")
        system, _, number = asked.partition("|")
        return _bundle([known[number]] if system == SYSTEM and number in known else [])

    def searched(path: str) -> Raw:
        parts = urlsplit(path)
        asked = dict(parse_qsl(parts.query)).get("patient", "").removeprefix("Patient/")
        return _bundle(held.get((parts.path.rsplit("/", 1)[1], asked.removeprefix("key-")), []))

    made.wrong = {"Patient": patient, **dict.fromkeys(KINDS, searched)}
    return made


def numbers_asked(records: Records) -> list[str]:
    """Patient IDs that were searched for, in order."""
    keys = [dict(keys) for _, path, keys, _ in records.asked if path.endswith("/Patient")]
    return [each.get("identifier", "").partition("|")[2] for each in keys]


def _patient(person: Person) -> Resource:
    born = person.fhir_birth_date or f"{person.birth_date[:4]}-{person.birth_date[4:6]}-{person.birth_date[6:]}"
    return {
        "resourceType": "Patient",
        "id": f"key-{person.id}",
        "identifier": [{"system": SYSTEM, "value": person.id}],
        "birthDate": born,
        "gender": _SEX[person.sex],
    }


def _resource(person: Person, number: int, told: Told) -> Resource:
    subject = {"reference": f"Patient/key-{person.id}"}
    scheme, _, code = told.coded.partition(":")
    made: dict[str, Any] = {"id": f"r-{person.id}-{number}", "subject": subject}
    match told.code:
        case "problem":
            made |= {
                "resourceType": "Condition",
                "clinicalStatus": coded_status("condition-clinical", "active"),
                "verificationStatus": coded_status("condition-ver-status", "confirmed"),
                "code": concept(ICD, code, told.value),
                "onsetDateTime": told.observed_at,
            }
        case "medication":
            made |= {
                "resourceType": "MedicationStatement",
                "status": "active",
                "medicationCodeableConcept": concept(_ATC, code, told.value),
                "effectivePeriod": {"start": told.observed_at},
            }
        case _:
            assert scheme == "LN"
            made |= {
                "resourceType": "Observation",
                "status": "final",
                "code": concept(LOINC, code, code),
                "effectiveDateTime": f"{told.observed_at}T10:00:00Z",
                "valueQuantity": {"value": float(told.value), "unit": told.unit, "system": UCUM, "code": told.unit},
            }
    return made


def _bundle(resources: list[Resource]) -> Raw:
    entries = [{"resource": each, "search": {"mode": "match"}} for each in resources]
    return 200, {}, json.dumps({"resourceType": "Bundle", "type": "searchset", "entry": entries}).encode()
