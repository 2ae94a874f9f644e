"""What a model measured before in the same patient, and how what it measures now differs from that."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime

from node.domain.finding import Finding
from node.domain.patient import Patient, conflict, same_name
from node.domain.study import StudyState
from node.domain.work import OutcomeState
from node.store import findings, outcomes, studies
from node.store.database import Database
from node.store.outcomes import Outcome
from node.store.studies import StudyRow
from node.triage.sentence import Prior, with_prior

#: Of a patient with more studies here the latest arrived are looked at.
_MOST_STUDIES = 100


def with_priors(db: Database, outcome: Outcome, found: Sequence[Finding]) -> list[Finding]:
    """Return the findings with sentences that name the latest earlier study in which the same model measured the same.

    A segment is compared with itself on its own side, by the very same model. Lesions are not: which of them is which
    takes a registration. A patient who is not identified, or of whom two studies do not agree, has no priors.
    """
    if not any(each.measurements and not each.lesion_number for each in found):
        return list(found)
    earlier = list(_earlier(db, outcome))
    return [_compared(each, earlier) for each in found]


def _compared(finding: Finding, earlier: Sequence[tuple[str, list[Finding]]]) -> Finding:
    if finding.lesion_number or not finding.sentence:
        return finding
    for day, before in earlier:
        same = next((each for each in before if _is_same(each, finding)), None)
        if same is not None and same.measurements:
            prior = Prior(study_date=day, measurements=same.measurements)
            return replace(finding, sentence=with_prior(finding, prior))
    return finding


def _is_same(one: Finding, other: Finding) -> bool:
    named = (one.code, one.segment_number, one.laterality, one.lesion_number)
    return named == (other.code, other.segment_number, other.laterality, 0)


def _earlier(db: Database, outcome: Outcome) -> Iterator[tuple[str, list[Finding]]]:
    """Day (ISO 8601) and findings of this model in earlier studies of the patient, the latest first."""
    study = studies.study(db, outcome.study_instance_uid)
    if study is None or not study.patient.is_identified:
        return
    made = _day(study)
    held = studies.matching(db, uids=(), accession_number="", patient_id=study.patient.patient_id, limit=_MOST_STUDIES)
    dated = [(day, each) for each in held if (day := _day(each)) and _is_of(study.patient, each)]
    for day, each in sorted(dated, key=lambda pair: (pair[0], pair[1].study_instance_uid), reverse=True):
        if made and day < made:
            for before in outcomes.current(db, each.study_instance_uid):
                if _is_same_model(before, outcome) and before.state is OutcomeState.RESULT:
                    yield day, findings.of_outcome(db, before.id)


def _is_same_model(one: Outcome, other: Outcome) -> bool:
    """Whether the same files read, and the same card said which of their numbers is what and how it is measured."""
    return (one.model, one.model_digest, one.card_digest) == (other.model, other.model_digest, other.card_digest)


def _is_of(patient: Patient, study: StudyRow) -> bool:
    """Whether a study is the patient's beyond doubt."""
    other = study.patient
    if study.state is StudyState.HELD or patient.issuer != other.issuer or conflict(patient, other):
        return False
    return same_name(patient.name, other.name) is not False


def _day(study: StudyRow) -> str:
    """Study Date (0008,0020) as ISO 8601; empty where it is none."""
    try:
        return datetime.strptime(study.order.study_date.strip(), "%Y%m%d").date().isoformat()  # noqa: DTZ007
    except ValueError:
        return ""
