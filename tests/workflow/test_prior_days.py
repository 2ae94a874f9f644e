"""How long ago the last study of the same modality was, and that nobody else's counts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from node.domain.patient import Patient
from node.domain.study import Order
from node.store import studies
from node.store.database import Database
from node.workflow import merging
from node.workflow.closing import close_due
from node.workflow.rank_facts import facts_of
from tests.fakes import PATIENT, STUDY, FakeClock, arrive, policy, slice_of

POLICY = policy()


def held(
    db: Database, clock: FakeClock, study: str, date: str, patient: Patient = PATIENT, modality: str = "MR"
) -> None:
    order = Order(study_date=date)
    arrive(
        db, clock.now(), slice_of(1, study=study, series=f"{study}.1", order=order, patient=patient, modality=modality)
    )
    with db.transaction():
        studies.request_closing(db, study)
    close_due(db, clock.forward(1), POLICY)


def days(db: Database) -> float | None:
    return facts_of(db, studies.some(db, [STUDY]))[STUDY].prior_days


def test_the_latest_earlier_study_of_the_same_modality_counts(db: Database, clock: FakeClock) -> None:
    held(db, clock, STUDY, "20260101")
    assert days(db) is None
    held(db, clock, "1.5.1", "20251201")
    held(db, clock, "1.5.2", "20251222", modality="CT")
    held(db, clock, "1.5.3", "20240101")
    held(db, clock, "1.5.4", "20260105")
    assert days(db) == 31


@pytest.mark.parametrize(
    "changes", [{"issuer": "B"}, {"birth_date": "19551224"}, {"sex": "M"}, {"name": "Roe^Mary"}, {"patient_id": "P2"}]
)
def test_nobody_elses_study_counts(db: Database, clock: FakeClock, changes: dict[str, str]) -> None:
    held(db, clock, STUDY, "20260101")
    held(db, clock, "1.5.1", "20251201", replace(PATIENT, **changes))
    assert days(db) is None


def test_a_merged_patients_studies_count_under_every_id(db: Database, clock: FakeClock) -> None:
    held(db, clock, STUDY, "20260101")
    other = replace(PATIENT, patient_id="P2")
    held(db, clock, "1.5.1", "20251201", other)
    with db.transaction():
        merging.merge(db, clock.now(), POLICY, PATIENT, other, told_by="hl7 RIS")
    assert days(db) == 31


def test_of_somebody_who_is_not_identified_or_a_study_without_a_date_nothing_is_known(
    db: Database, clock: FakeClock
) -> None:
    nobody = replace(PATIENT, patient_id="UNKNOWN")
    held(db, clock, STUDY, "20260101", nobody)
    held(db, clock, "1.5.1", "20251201", nobody)
    assert days(db) is None
