"""What another system tells: of a patient, of who is whom, of orders and reports; the terms are those of our tables."""

from __future__ import annotations

from dataclasses import dataclass

from node.domain.history import Fact
from node.domain.patient import Patient
from node.domain.report_state import ReportState


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldFacts:
    """Facts about one matter, and whether they are all that there are."""

    #: The matter: "allergies", "diagnoses", "procedures", "visit" or "observations".
    matter: str
    facts: tuple[Fact, ...] = ()
    #: They take the place of what was told of the matter before; else they are added to it.
    whole: bool = True
    #: Codes (`coded`) of facts that are taken back.
    withdrawn: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """One identifier is another one's patient from now on, or (a separation) is so no longer. Of one issuer."""

    patient: Patient
    survivor: Patient


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldOrder:
    """What is said of one order, or of its report; absent text is ""."""

    accession_number: str = ""
    study_instance_uid: str = ""
    #: Placer and Filler Order Number (ORC-2, ORC-3), by which several orders of one study are told from each other.
    placer_number: str = ""
    filler_number: str = ""
    #: Requested Procedure Priority (0040,1003); `None` where nothing is said of it.
    priority: str | None = None
    #: Nobody wants it any more.
    cancelled: bool = False
    #: Reason for the study and the like; `None` where nothing is said of it.
    facts: tuple[Fact, ...] | None = None
    report: ReportState | None = None
    #: Impression of the report, one fact a section.
    impression: tuple[Fact, ...] = ()

    @property
    def is_known_by_something(self) -> bool:
        """Whether a study can be found for it."""
        return bool(self.accession_number or self.study_instance_uid)


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What one message tells."""

    #: When the source said so (ISO 8601 UTC); empty where that cannot be known.
    at: str = ""
    #: The same person under the identifiers of one issuer or several, with birth date and sex as they are told.
    patients: tuple[Patient, ...] = ()
    #: Whether name, birth date and sex are those to be kept for the identifier (ADT alone).
    corrects: bool = False
    #: Fields of the patient that were deleted ("name", "birth_date", "sex").
    deleted: tuple[str, ...] = ()
    facts: tuple[ToldFacts, ...] = ()
    merges: tuple[Move, ...] = ()
    separations: tuple[Move, ...] = ()
    orders: tuple[ToldOrder, ...] = ()
    #: Why nothing of it is used although it was understood; empty where something is.
    unused: str = ""
