from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import pytest

from node.config import Settings
from node.domain.patient import Patient
from node.domain.priority import Lane
from node.domain.retrieval import Purpose
from node.domain.study import Order
from node.domain.work import WorkHours, WorkKind, WorkState
from node.errors import Transient
from node.loop import work_step
from node.retrieve.found import FoundStep, FoundStudy
from node.retrieve.priors import Priors
from node.retrieve.question import Reply, WorklistQuery
from node.retrieve.worklists import Worklists
from node.store import expected_studies, history, retrievals, studies, work_hours, work_items
from node.store.database import Database
from node.workflow import expecting
from node.workflow.closing import close_due
from node.workflow.policy import Policy
from tests.fakes import PATIENT, FakeClock, arrive, slice_of
from tests.retrieve.conftest import settings_for

UID, DAY = "1.2.3.77", date(2026, 1, 2)


def settings(db: Database, **worklist: object) -> Settings:
    made = settings_for(db, 4242).model_dump()
    ris = {"name": "RIS", "ae_title": "RIS", "host": "127.0.0.1", "port": 4343, "roles": ["modality_worklist"]}
    made["peers"] = [*made["peers"], ris | worklist]
    made["retrieve"] = {"priors": 2}
    made["night"] = {"timezone": "Europe/Berlin"}
    made["fhir"] = [{"name": "EHR", "base": "https://fhir.example.org/r4", "identifiers": {"A": "urn:oid:1.2"}}]
    return Settings.model_validate(made)


def step_of(**changes: Any) -> FoundStep:
    made = FoundStep(
        study_instance_uid=UID,
        patient=PATIENT,
        accession_number="A1",
        modality="MR",
        start_date="20260102",
        start_time="093000",
        description="MR Brain",
    )
    return replace(made, **changes)


class Ris:
    """Stands for the process that asks."""

    def __init__(self, *steps: FoundStep, error: Exception | None = None) -> None:
        self.reply, self.error = Reply(scheduled=steps), error
        self.asked: list[WorklistQuery] = []

    def __call__(self, query: WorklistQuery) -> Reply:
        self.asked.append(query)
        if self.error is not None:
            raise self.error
        return self.reply


def step(db: Database, clock: FakeClock, made: Settings, ris: Ris) -> bool:
    with db.transaction():
        work_items.add(db, clock.now(), WorkKind.WORKLIST, expecting.subject_of("RIS", DAY), "")
    return work_step(db, clock, Worklists(db, clock, lambda: Policy(made, (), ()), ris).handling())()


def expected(db: Database, uid: str = UID) -> tuple[str, str, datetime] | None:
    found = expected_studies.of_study(db, uid)
    return found and (found.patient.issuer, found.accession_number, found.scheduled_at)


def asked_for(db: Database) -> dict[str, str]:
    rows = db.rows("SELECT kind, subject FROM work_item WHERE kind IN ('priors', 'history')")
    return {row["kind"]: row["subject"] for row in rows}


def test_a_study_is_expected_at_the_time_of_its_first_step_by_the_site_s_clock(db: Database, clock: FakeClock) -> None:
    ris = Ris(step_of(start_time="1100", modality="CT"), step_of())
    assert step(db, clock, settings(db), ris)
    assert [query.day for query in ris.asked] == ["20260102"]
    assert expected(db) == ("A", "A1", datetime(2026, 1, 2, 8, 30, tzinfo=UTC))
    assert work_items.state(db, WorkKind.WORKLIST, "RIS/2026-01-02") is WorkState.FINISHED


def test_the_zone_of_the_worklist_s_own_clock_counts_first(db: Database, clock: FakeClock) -> None:
    step(db, clock, settings(db, timezone="Europe/London"), Ris(step_of()))
    assert expected(db) == ("A", "A1", datetime(2026, 1, 2, 9, 30, tzinfo=UTC))


def test_priors_and_history_are_asked_for_before_the_study_comes_and_in_spare_time(
    db: Database, clock: FakeClock
) -> None:
    step(db, clock, settings(db), Ris(step_of()))
    assert asked_for(db) == {"priors": f"expected/{UID}", "history": f"EHR/{UID}"}
    assert work_hours.waiting(db) == {"history": {"spare": 1}, "priors": {"spare": 1}}


def test_priors_of_who_is_expected_are_those_before_the_day_and_are_fetched_in_spare_time(
    db: Database, clock: FakeClock
) -> None:
    made = settings(db)
    step(db, clock, made, Ris(step_of()))
    prior = FoundStudy(study_instance_uid="1.2.9.1", patient=PATIENT, study_date="20250601", modalities=("MR",))
    other = replace(prior, study_instance_uid="1.2.9.2", modalities=("US",))
    stranger = replace(prior, study_instance_uid="1.2.9.3", patient=replace(PATIENT, birth_date="19710101"))
    priors = Priors(db, clock, made, lambda _query: Reply(studies=(prior, other, stranger)))
    assert work_step(db, clock, priors.handling())()
    (wanted,) = retrievals.wanted_for(db, UID)
    assert (wanted.study_instance_uid, wanted.purpose) == ("1.2.9.1", Purpose.PRIOR)
    assert work_hours.waiting(db)["fetch"] == {"spare": 1}
    with db.transaction():  # the same prior for a study that is here
        retrievals.record(db, clock.now(), "1.2.9.1", wanted.peer, Purpose.PRIOR, wanted_for="1.2.3.9")
    assert "fetch" not in work_hours.waiting(db)


def test_a_history_that_is_awaited_by_then_is_asked_for_at_once(db: Database, clock: FakeClock) -> None:
    made = settings(db)
    step(db, clock, made, Ris(step_of()))
    arrive(db, clock.now(), slice_of(1, study=UID, series=f"{UID}.1"))
    with db.transaction():
        studies.request_closing(db, UID)
    close_due(db, clock.forward(1), Policy(made, (), ()))
    assert work_hours.waiting(db) == {"priors": {"spare": 1}}
    assert work_items.state(db, WorkKind.PRIORS, UID) is WorkState.READY


@pytest.mark.parametrize("patient_id", ["", "UNKNOWN", "P*", "0"])
def test_nothing_is_asked_for_a_patient_who_is_not_identified(db: Database, clock: FakeClock, patient_id: str) -> None:
    step(db, clock, settings(db), Ris(step_of(patient=replace(PATIENT, patient_id=patient_id), reason="fall")))
    assert expected(db) is not None
    assert asked_for(db) == {}
    assert db.rows("SELECT * FROM history") == []


def test_a_patient_without_issuer_has_the_worklist_s(db: Database, clock: FakeClock) -> None:
    step(db, clock, settings(db, issuer="B"), Ris(step_of(patient=replace(PATIENT, issuer=""))))
    found = expected(db)
    assert found is not None
    assert found[0] == "B"


def test_two_patients_under_one_study_are_nobody(db: Database, clock: FakeClock) -> None:
    step(db, clock, settings(db), Ris(step_of(), step_of(patient=replace(PATIENT, patient_id="P2"))))
    assert (expected(db), asked_for(db)) == (None, {})
    row = db.row("SELECT reason FROM work_item WHERE kind = 'worklist'")
    assert row is not None
    assert "two patients under one study" in row["reason"]


def test_the_order_and_its_reason_count_when_the_study_comes(db: Database, clock: FakeClock) -> None:
    made = settings(db)
    step(db, clock, made, Ris(step_of(requested_priority="STAT", reason="sudden headache")))
    arrive(db, clock.now(), slice_of(1, study=UID, series=f"{UID}.1", order=Order(accession_number="A1")))
    with db.transaction():
        studies.request_closing(db, UID)
    close_due(db, clock.forward(1), Policy(made, (), ()))
    study = studies.study(db, UID)
    assert study is not None
    assert study.lane is Lane.STAT
    assert [(each.code, each.value) for each in history.facts(db, PATIENT, study=UID)] == [
        ("reason_for_request", "sudden headache")
    ]


def test_what_a_ris_has_said_by_a_message_is_newer_than_its_list(db: Database, clock: FakeClock) -> None:
    from node.domain.told import ToldOrder
    from node.workflow import ordered

    made = settings(db)
    told = ToldOrder(accession_number="A1", study_instance_uid=UID, priority="ROUTINE")
    with db.transaction():
        ordered.take(db, clock.now(), Policy(made, (), ()), PATIENT, told, at="", told_by="hl7 RIS")
    step(db, clock, made, Ris(step_of(requested_priority="STAT")))
    row = db.row("SELECT priority, told_by FROM told_order")
    assert row is not None
    assert tuple(row) == ("ROUTINE", "hl7 RIS")


def test_a_study_that_is_here_is_asked_for_no_more(db: Database, clock: FakeClock) -> None:
    arrive(db, clock.now(), slice_of(1, study=UID, series=f"{UID}.1"))
    step(db, clock, settings(db), Ris(step_of()))
    assert asked_for(db) == {}


def test_a_worklist_that_is_away_is_asked_again_until_its_day_is_over(db: Database, clock: FakeClock) -> None:
    made, ris = settings(db), Ris(error=Transient("nobody answers"))
    step(db, clock, made, ris)
    assert work_items.state(db, WorkKind.WORKLIST, "RIS/2026-01-02") is WorkState.READY
    clock.forward(30 * 3600)
    step(db, clock, made, ris)
    assert work_items.state(db, WorkKind.WORKLIST, "RIS/2026-01-02") is WorkState.PARKED
    assert len(ris.asked) == 1


def test_a_study_that_never_came_is_missing_and_one_that_came_or_was_cancelled_is_not(
    db: Database, clock: FakeClock
) -> None:
    from node.domain.told import ToldOrder
    from node.workflow import ordered

    made = settings(db)
    uids = [f"1.2.3.8{number}" for number in range(4)]
    steps = [step_of(study_instance_uid=uid, accession_number=f"A{n}") for n, uid in enumerate(uids)]
    step(db, clock, made, Ris(*steps))
    arrive(db, clock.now(), slice_of(1, study=uids[0], series=f"{uids[0]}.1"))
    arrive(db, clock.now(), slice_of(2, study="1.2.5", series="1.2.5.1", order=Order(accession_number="A1")))
    with db.transaction():
        studies.request_closing(db, "1.2.5")
        cancelled = ToldOrder(accession_number="A2", cancelled=True)
        ordered.take(db, clock.now(), Policy(made, (), ()), PATIENT, cancelled, at="", told_by="hl7 RIS")
    close_due(db, clock.forward(1), Policy(made, (), ()))
    day = datetime(2026, 1, 2, tzinfo=UTC), datetime(2026, 1, 3, tzinfo=UTC)
    assert [each.study_instance_uid for each in expected_studies.missing(db, *day)] == [uids[3]]
    assert expected_studies.counts(db, *day) == expected_studies.ExpectedCounts(expected=4, came=2, cancelled=1)
    with db.transaction():
        expected_studies.mark_missed(db, uids[3], "2026-01-03")
    assert expected_studies.missing(db, *day) == []


def test_another_patient_with_the_same_accession_number_is_not_who_was_expected(db: Database, clock: FakeClock) -> None:
    made = settings(db)
    step(db, clock, made, Ris(step_of()))
    stranger = Patient(patient_id="P9", issuer="A")
    arrive(db, clock.now(), slice_of(1, study="1.2.5", patient=stranger, order=Order(accession_number="A1")))
    with db.transaction():
        studies.request_closing(db, "1.2.5")
    close_due(db, clock.forward(1), Policy(made, (), ()))
    day = datetime(2026, 1, 2, tzinfo=UTC), datetime(2026, 1, 3, tzinfo=UTC)
    assert [each.study_instance_uid for each in expected_studies.missing(db, *day)] == [UID]


def test_work_in_spare_time_is_claimed_after_what_somebody_waits_for(db: Database, clock: FakeClock) -> None:
    with db.transaction():
        for subject, hours in (("a", WorkHours.NIGHT), ("b", WorkHours.SPARE), ("c", WorkHours.ANY)):
            work_items.add(db, clock.now(), WorkKind.PRIORS, subject, "")
            work_items.put_off(db, WorkKind.PRIORS, subject, hours)

    def claim(**narrowed: bool) -> list[str]:
        found = work_items.claim(db, clock.now(), WorkKind.PRIORS, "x", 30, **narrowed)  # type: ignore[arg-type]
        return [each.subject for each in found]

    assert work_hours.is_awaited(db, clock.now(), WorkKind.PRIORS)
    assert [claim(), claim(awaited=True), claim(by_night=False), claim(by_night=False), claim()] == [
        *(["c"], [], ["b"], [], ["a"])
    ]
    assert not work_hours.is_awaited(db, clock.now(), WorkKind.PRIORS)


def test_a_study_is_still_expected_where_one_of_its_orders_stands(db: Database, clock: FakeClock) -> None:
    from node.domain.told import ToldOrder
    from node.workflow import ordered

    made = settings(db)
    step(db, clock, made, Ris(step_of(accession_number="A1")))
    day = datetime(2026, 1, 2, tzinfo=UTC), datetime(2026, 1, 3, tzinfo=UTC)

    def cancelled(number: str, *, cancels: bool = True) -> int:
        told = ToldOrder(
            accession_number="A1", placer_number=number, cancelled=cancels, priority=None if cancels else "HIGH"
        )
        with db.transaction():
            ordered.take(db, clock.forward(1), Policy(made, (), ()), PATIENT, told, at="", told_by="hl7 RIS")
        return expected_studies.counts(db, *day).cancelled

    assert [cancelled("1", cancels=False), cancelled("2"), cancelled("1"), cancelled("3", cancels=False)] == [
        *(0, 0, 1, 0)
    ]
