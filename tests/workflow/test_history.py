from __future__ import annotations

from dataclasses import replace

from node.domain.history import Fact, Standing
from node.domain.report_state import ReportState
from node.store import events, history, studies
from node.store.database import Database
from node.workflow import reported
from node.workflow.closing import close_due
from node.workflow.history import learn
from tests.fakes import PATIENT, STUDY, FakeClock, arrive, model, policy, slice_of
from tests.workflow.test_closing import QUIET_S

CANCER = Fact(code="problem", value="Lung cancer", source="fhir H", coded="SCT:363358000", observed_at="2020-01-01")
ORIGIN = "fhir H Condition"


def closed(db: Database, clock: FakeClock) -> None:
    for position in range(3):
        arrive(db, clock.now(), slice_of(position))
    close_due(db, clock.forward(QUIET_S), policy(model()))


def test_what_another_system_tells_is_known_of_its_patient_and_no_other(db: Database, clock: FakeClock) -> None:
    closed(db, clock)
    with db.transaction():
        assert learn(db, clock.now(), policy(), PATIENT, [CANCER], origin=ORIGIN) == [STUDY]
        assert learn(db, clock.now(), policy(), PATIENT, [CANCER], origin=ORIGIN) == []
    assert history.facts(db, PATIENT, study=STUDY) == [CANCER]
    assert history.facts(db, replace(PATIENT, issuer="B"), study="1.9") == []
    assert [event.subject for event in events.of_study(db, STUDY) if event.about == "history"] == [ORIGIN]


def test_what_a_source_no_longer_says_is_superseded(db: Database, clock: FakeClock) -> None:
    gone = replace(CANCER, standing=Standing.NO)
    with db.transaction():
        history.replace_told(db, clock.now(), PATIENT, [CANCER], origin=ORIGIN)
        assert history.replace_told(db, clock.now(), PATIENT, [gone], origin=ORIGIN)
        history.replace_told(db, clock.now(), PATIENT, [CANCER], origin="csv")
    assert history.facts(db, PATIENT, study="") == [gone, CANCER]


def test_a_fact_of_somebody_of_another_birth_date_is_a_candidate(db: Database, clock: FakeClock) -> None:
    meant = replace(PATIENT, birth_date="19700102")
    with db.transaction():
        history.replace_told(db, clock.now(), meant, [CANCER], origin=ORIGIN)
    assert history.facts(db, PATIENT, study="") == []
    assert history.candidates(db, PATIENT, study="") == [(CANCER, "birth date differs")]


def test_of_a_patient_who_is_not_identified_nothing_is_kept(db: Database, clock: FakeClock) -> None:
    for patient_id in ("", "UNKNOWN", "A*"):
        nobody = replace(PATIENT, patient_id=patient_id)
        with db.transaction():
            assert learn(db, clock.now(), policy(), nobody, [CANCER], origin=ORIGIN) == []
        assert history.facts(db, nobody, study="") == []


def test_a_final_report_is_not_taken_back(db: Database, clock: FakeClock) -> None:
    closed(db, clock)
    states = [ReportState.PRELIMINARY, ReportState.FINAL, ReportState.PRELIMINARY]
    with db.transaction():
        told = [reported.record(db, clock.now(), policy(), STUDY, each, told_by="hl7 RIS") for each in states]
    assert told == [True, True, False]
    study = studies.study(db, STUDY)
    assert study is not None
    assert (study.report_state, study.report_told_by) == (ReportState.FINAL, "hl7 RIS")
