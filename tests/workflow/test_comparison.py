"""A number is compared with the patient's own earlier one, and with nobody else's."""

from __future__ import annotations

from dataclasses import replace

import pytest

from node.domain.finding import Finding
from node.domain.patient import Patient
from node.domain.study import Order
from node.domain.work import WorkKind
from node.store import findings, outcomes, work_items
from node.store.database import Database
from node.workflow import reading
from node.workflow.closing import close_due
from tests.fakes import PATIENT, FakeClock, arrive, model, policy, slice_of, volume_finding

NOW, BEFORE, LONG_BEFORE = "1.2.3.9", "1.2.3.5", "1.2.3.4"
QUIET_S = 5000


def said(volume_ml: float, **changes: object) -> Finding:
    made = replace(volume_finding(volume_ml), sentence=f"Brain: volume {volume_ml:g} mL.", tracking_uid="")
    return replace(made, **changes)  # type: ignore[arg-type]


def read(
    db: Database,
    clock: FakeClock,
    study: str,
    day: str,
    found: Finding,
    *,
    patient: Patient = PATIENT,
    **of_model: str,
) -> Finding:
    """A study of that day that is read and comes to one finding, as it is kept."""
    used = policy(replace(model(), **of_model))  # type: ignore[arg-type]
    for number in range(3):
        instance = slice_of(number, study=study, series=f"{study}.1", patient=patient, order=Order(study_date=day))
        arrive(db, clock.now(), instance)
    close_due(db, clock.forward(QUIET_S), used)
    (item,) = work_items.claim(db, clock.now(), WorkKind.INFER, "infer", 60)
    with db.transaction():
        reading.begin(db, clock.now(), item)
        assert reading.complete(db, clock.now(), used, item, [found], [], {})
    (outcome,) = outcomes.current(db, study)
    (kept,) = findings.of_outcome(db, outcome.id)
    return kept


def test_the_latest_earlier_study_of_the_patient_is_named_with_the_change(db: Database, clock: FakeClock) -> None:
    read(db, clock, LONG_BEFORE, "20251230", said(1500.0))
    read(db, clock, BEFORE, "20251231", said(1180.0))
    kept = read(db, clock, NOW, "20260101", said(1239.0))
    assert kept.sentence == (
        "Brain: volume 1239 mL; volume +60 mL (+5%) against 1180 mL on 2025-12-31,"
        " how well the model repeats is not known."
    )
    assert replace(kept, sentence="") == replace(said(1239.0), sentence="")


@pytest.mark.parametrize(
    ("day", "patient", "changes", "of_model"),
    [
        ("20260102", PATIENT, {}, {}),
        ("20260101", PATIENT, {}, {}),
        ("someday", PATIENT, {}, {}),
        ("20251231", replace(PATIENT, patient_id="P2"), {}, {}),
        ("20251231", replace(PATIENT, issuer="B"), {}, {}),
        ("20251231", replace(PATIENT, issuer=""), {}, {}),
        ("20251231", replace(PATIENT, birth_date="19700102"), {}, {}),
        ("20251231", replace(PATIENT, name="Roe^Richard"), {}, {}),
        ("20251231", PATIENT, {"segment_number": 2}, {}),
        ("20251231", PATIENT, {"lesion_number": 1}, {}),
        ("20251231", PATIENT, {}, {"model_digest": "ff" * 32}),
        ("20251231", PATIENT, {}, {"card_digest": "ff" * 32}),
    ],
    ids=["later", "the same day", "no day", "another ID", "another issuer", "no issuer", "another birth date",
         "another name", "another segment", "a lesion", "another model", "another card"],
)  # fmt: skip
def test_what_is_not_beyond_doubt_the_same_of_the_same_patient_before_is_not_compared(
    db: Database, clock: FakeClock, day: str, patient: Patient, changes: dict[str, object], of_model: dict[str, str]
) -> None:
    read(db, clock, BEFORE, day, said(1180.0, **changes), patient=patient, **of_model)
    assert read(db, clock, NOW, "20260101", said(1239.0)).sentence == "Brain: volume 1239 mL."


def test_a_patient_whom_nobody_knows_has_no_prior(db: Database, clock: FakeClock) -> None:
    nobody = Patient(patient_id="UNKNOWN", issuer="A")
    read(db, clock, BEFORE, "20251231", said(1180.0), patient=nobody)
    assert read(db, clock, NOW, "20260101", said(1239.0), patient=nobody).sentence == "Brain: volume 1239 mL."
