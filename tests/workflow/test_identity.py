from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.domain.model_card import Mode
from node.domain.patient import Patient
from node.domain.study import StudyState
from node.domain.work import ResultState
from node.store import studies
from node.store.database import Database
from node.workflow.closing import close_due
from node.workflow.identity import agreed_patient, gate
from tests.fakes import PATIENT, STUDY, FakeClock, arrive, model, policy, slice_of
from tests.workflow.test_reading import QUIET_S, closed_study, read, report


@pytest.fixture
def row(db: Database, clock: FakeClock) -> object:
    used = policy(model())
    closed_study(db, clock, used)
    read(db, clock, used)
    return report(db, clock, used)[0]


def test_the_gate_lets_out_what_is_still_right(db: Database, row: object) -> None:
    assert gate(db, policy(model()), row, PATIENT).is_open  # type: ignore[arg-type]


@pytest.mark.parametrize("field", ["patient_id", "issuer", "birth_date", "sex"])
def test_the_gate_holds_an_object_of_another_patient(db: Database, row: object, field: str) -> None:
    decided = gate(db, policy(model()), row, replace(PATIENT, **{field: "M" if field == "sex" else "X"}))  # type: ignore[arg-type]
    assert decided.state is ResultState.HELD
    assert "another patient" in decided.reason


def test_the_gate_holds_everything_of_a_held_study(db: Database, clock: FakeClock, row: object) -> None:
    with db.transaction():
        studies.move(db, clock.now(), STUDY, StudyState.HELD, "conflict")
    assert gate(db, policy(model()), row, PATIENT).state is ResultState.HELD  # type: ignore[arg-type]


def test_the_gate_holds_the_results_of_a_model_that_is_no_longer_live(db: Database, row: object) -> None:
    assert gate(db, policy(model(Mode.SHADOW)), row, PATIENT).state is ResultState.HELD  # type: ignore[arg-type]


def test_a_newer_version_of_an_input_makes_the_gate_wait_and_then_supersede(
    db: Database, clock: FakeClock, row: object
) -> None:
    used = policy(model())
    corrected = replace(PATIENT, patient_id="P9")
    for number in range(6):
        arrive(db, clock.now(), slice_of(number, patient=corrected, content=f"new {number}"), version="2")
        assert gate(db, used, row, PATIENT).state is ResultState.QUEUED  # type: ignore[arg-type]
    close_due(db, clock.forward(QUIET_S), used)
    assert gate(db, used, row, PATIENT).state is ResultState.SUPERSEDED  # type: ignore[arg-type]


names = st.sampled_from(["", "A", "B"])
people = st.builds(
    Patient, patient_id=names, issuer=names, birth_date=st.sampled_from(["", "19700101", "19800101"]), sex=names
)


@given(st.lists(people, min_size=2, max_size=5))
def test_agreement_does_not_depend_on_the_order_of_the_instances(patients: list[Patient]) -> None:
    described = [slice_of(number, patient=each) for number, each in enumerate(patients)]
    one, other = agreed_patient(described), agreed_patient(described[::-1])
    assert bool(one[1]) == bool(other[1])
    if not one[1]:
        assert one[0] == other[0]
