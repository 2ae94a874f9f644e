"""Notices: what the reading list is told of a study, by one route, and what became of telling it."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, field, replace
from enum import StrEnum

from node.domain.finding import Code
from node.domain.patient import Patient
from node.domain.priority import Lane


class NoticeState(StrEnum):
    """What became of one notice."""

    #: Waits for its turn; nothing of it has left.
    QUEUED = "queued"
    #: It was given to the line, and no acknowledgement has come: it is sent again, the same in every character.
    SENT = "sent"
    #: The receiver has said that it has it.
    ACKNOWLEDGED = "acknowledged"
    #: Refused so often that only a person has it tried again (`matins retry`).
    DEAD = "dead"
    #: Stopped at the gate, with the reason.
    HELD = "held"
    #: A newer notice took its place, or there is nothing to tell any more.
    SUPERSEDED = "superseded"


class NoticeKind(StrEnum):
    """What a notice is about."""

    #: Where a study stands, and what was found.
    RANK = "rank"
    #: Nobody has acknowledged a finding in time.
    ESCALATION = "escalation"
    #: An urgent finding came after the report, and nobody has seen to it in time.
    DISCREPANCY = "discrepancy"
    #: The study is held: nothing that was told of it counts until a person has looked at it.
    WITHDRAWN = "withdrawn"

    @property
    def in_words(self) -> str:
        """As a receiver reads it; empty where it is no more than where the study stands."""
        return _IN_WORDS[self]


_IN_WORDS = {
    NoticeKind.RANK: "",
    NoticeKind.ESCALATION: "not acknowledged",
    NoticeKind.DISCREPANCY: "found after the report",
    NoticeKind.WITHDRAWN: "withdrawn",
}

#: Kinds that call for a person.
ALERTS = frozenset({NoticeKind.ESCALATION, NoticeKind.DISCREPANCY})

_N = NoticeState

NOTICE_MOVES: dict[NoticeState, frozenset[NoticeState]] = {
    _N.QUEUED: frozenset({_N.QUEUED, _N.SENT, _N.DEAD, _N.HELD, _N.SUPERSEDED}),
    _N.SENT: frozenset({_N.SENT, _N.ACKNOWLEDGED, _N.DEAD, _N.HELD, _N.SUPERSEDED}),
    _N.ACKNOWLEDGED: frozenset(),
    _N.DEAD: frozenset({_N.QUEUED, _N.SUPERSEDED}),
    _N.HELD: frozenset({_N.QUEUED, _N.SUPERSEDED}),
    _N.SUPERSEDED: frozenset(),
}

#: Of a notice that may still leave, or that a person may have sent.
STANDING = frozenset({_N.QUEUED, _N.SENT, _N.DEAD, _N.HELD})


@dataclass(frozen=True, slots=True, kw_only=True)
class FlaggedFinding:
    """One finding of a live model, as a reading list is told of it; several lesions of one kind are one."""

    model: str
    code: Code
    #: 0–1, the highest of them; `None` where the model gives none.
    probability: float | None = None
    #: Whether the model decided that it is there; `None` where it does not decide.
    present: bool | None = None
    #: Right, Left or Bilateral, or empty.
    laterality: str = ""
    #: How many of them.
    count: int = 1
    sentence: str = ""

    @property
    def in_words(self) -> str:
        """As a person reads it."""
        parts = [self.sentence or self.code.meaning]
        if self.laterality:
            parts.append(self.laterality.lower())
        if self.count > 1:
            parts.append(f"{self.count} of them")
        if self.probability is not None:
            parts.append(f"probability {self.probability:.2f}")
        return f"{', '.join(parts)} [{self.model}]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Flag:
    """Everything that may be told of a study, as it was known when it was written down; a route sends a part of it."""

    study_instance_uid: str
    patient: Patient = field(default_factory=Patient)
    accession_number: str = ""
    #: YYYYMMDD, HHMMSS, or empty.
    study_date: str = ""
    study_time: str = ""
    study_description: str = ""
    modality: str = ""
    #: Lane and points that the order alone gives: nobody has to be told of them.
    ordered_lane: Lane = Lane.ROUTINE
    ordered_score: float = 0.0
    lane: Lane = Lane.ROUTINE
    score: float = 0.0
    #: Sentences, the reasons of lane and score.
    reasons: tuple[str, ...] = ()
    findings: tuple[FlaggedFinding, ...] = ()
    #: Models that were meant to read and did not, each with the reason.
    failures: tuple[tuple[str, str], ...] = ()
    #: The studies that this is gathered from: those of one accession number. Never said.
    told_of: tuple[str, ...] = ()
    #: Why there is nothing to read any more, of what a manager of steps was told before; empty where there is.
    over: str = ""
    kind: NoticeKind = NoticeKind.RANK

    @property
    def present(self) -> frozenset[tuple[str, str, str, str]]:
        """What models decided to be there: model, code, scheme, side."""
        return frozenset(
            (each.model, each.code.value, each.code.scheme, each.laterality) for each in self.findings if each.present
        )


def said(flag: Flag, phi: frozenset[str]) -> Flag:
    """The part of a flag that a route says: of the patient, and in words that may be about the patient, only `phi`."""

    def allowed(key: str, text: str) -> str:
        return text if key in phi else ""

    patient, reasons = flag.patient, "reasons" in phi
    return replace(
        flag,
        study_instance_uid=allowed("study_instance_uid", flag.study_instance_uid),
        patient=Patient(
            patient_id=allowed("patient_id", patient.patient_id),
            issuer=allowed("issuer_of_patient_id", patient.issuer),
            name=allowed("patient_name", patient.name),
            birth_date=allowed("patient_birth_date", patient.birth_date),
            sex=allowed("patient_sex", patient.sex),
        ),
        accession_number=allowed("accession_number", flag.accession_number),
        study_date=allowed("study_date", flag.study_date),
        study_time=allowed("study_date", flag.study_time),
        study_description=allowed("study_description", flag.study_description),
        reasons=flag.reasons if reasons else (),
        findings=tuple(each if reasons else replace(each, sentence="") for each in flag.findings),
        failures=tuple((model, why if reasons else "") for model, why in flag.failures),
    )


def control_id(study_instance_uid: str, route: str, version: int, told_at: str) -> str:
    """The notice's own identifier: MSH-10 of HL7 v2 (20 characters), idempotency key, Message-ID.

    The same notice has the same one however often it is sent. `told_at` (ISO 8601) keeps apart what a node that lost
    its database tells anew under the same numbers.
    """
    return _letters(f"{study_instance_uid}\0{route}\0{version}\0{told_at}", 19)


def filler_number(study_instance_uid: str, route: str) -> str:
    """Our own order number of a study (OBR-3.1, 16 characters): the same in every notice of it by one route."""
    return _letters(f"{study_instance_uid}\0{route}", 15)


def _letters(text: str, length: int) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return "M" + base64.b32encode(digest).decode()[:length]
