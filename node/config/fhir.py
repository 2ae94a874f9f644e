"""[[fhir]]: FHIR R4 servers that are asked for a patient's history."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import Field, model_validator

from node.config.peer import WebAddress
from node.config.retrieve import Hours
from node.config.security import OptionalFile
from node.config.values import Seconds, Section

#: Resources that history is read from.
FhirResource = Literal[
    "Condition",
    "MedicationStatement",
    "MedicationRequest",
    "Observation",
    "AllergyIntolerance",
    "Procedure",
    "ServiceRequest",
    "DiagnosticReport",
]
_ALL: tuple[FhirResource, ...] = get_args(FhirResource)
#: Codes of http://terminology.hl7.org/CodeSystem/observation-category.
ObservationCategory = Literal[
    "laboratory", "vital-signs", "social-history", "survey", "exam", "procedure", "imaging", "therapy", "activity"
]


class FhirServer(Section):
    """[[fhir]]: a FHIR R4 server that is asked for a patient's history."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    base: Annotated[WebAddress, Field(min_length=1)]
    #: Holds the bearer token (RFC 6750) that we show there; read anew for each question.
    token_file: OptionalFile = None
    #: Issuer of Patient ID → system (URI) of its identifiers there. Patients of another issuer are not asked for.
    identifiers: dict[str, str]
    #: System (URI) of accession numbers there; without one, orders and reports are not asked for by them.
    accession_system: str = ""
    resources: Annotated[tuple[FhirResource, ...], Field(strict=False, min_length=1)] = _ALL
    observation_categories: Annotated[tuple[ObservationCategory, ...], Field(strict=False, min_length=1)] = (
        "laboratory",
        "vital-signs",
        "social-history",
    )
    #: Observations not older than this, days.
    observations_within_days: Annotated[int, Field(ge=1, le=36_525)] = 365
    #: "post": searches travel in the body (POST _search), so that no log of a proxy has the Patient ID.
    search_by: Literal["get", "post"] = "get"
    connect_s: Seconds = 10.0
    #: For each answer.
    answer_s: Seconds = 30.0
    #: For everything that is asked of one patient.
    limit_s: Seconds = 90.0
    #: Resources a page, pages a resource, and bytes of all answers together.
    page_size: Annotated[int, Field(ge=1, le=1000)] = 100
    most_pages: Annotated[int, Field(ge=1, le=1000)] = 20
    most_bytes: Annotated[int, Field(ge=1 << 16, le=32 << 20)] = 16 << 20
    #: What is known is asked again after this, as long as a study of the patient is not read, minutes.
    cache_minutes: Annotated[float, Field(gt=0)] = 240.0
    #: ... and the study came not longer ago than this, days.
    again_within_days: Annotated[int, Field(ge=0, le=365)] = 7
    #: Local time of the day in which it is asked; empty for the whole day.
    between: Hours = ""

    @model_validator(mode="after")
    def _identifiers_name_one_issuer_each(self) -> FhirServer:
        if not self.identifiers:
            raise ValueError('identifiers names the system of each issuer: { "HOSPITAL-A" = "urn:oid:1.2.3" }')
        for issuer, system in self.identifiers.items():
            if not issuer.strip():
                raise ValueError(
                    "a Patient ID without issuer may be anybody's: give the peer an `issuer`, and name it here"
                )
            _check_system(system)
        systems = list(self.identifiers.values())
        twice = sorted({each for each in systems if systems.count(each) > 1})
        if twice:
            raise ValueError(f"two issuers share the system {twice[0]}: their numbers would be taken for one")
        if self.accession_system:
            _check_system(self.accession_system)
        return self


def _check_system(system: str) -> None:
    if ":" not in system or not system.isprintable() or any(mark in system for mark in " |,$\\"):
        raise ValueError(f"a system is a URI, as urn:oid:1.2.3 or https://hospital.example/patients, not {system!r}")


def with_token_from(servers: tuple[FhirServer, ...], base: Path) -> tuple[FhirServer, ...]:
    """Return the servers with relative token files taken from `base`."""
    return tuple(
        each.model_copy(update={"token_file": base / each.token_file}) if each.token_file else each for each in servers
    )
