from __future__ import annotations

from dataclasses import replace

from node.domain.notice import NoticeState
from node.domain.report_state import ReportState
from node.domain.study import StudyState
from node.store import notices, studies
from node.store.database import Database
from node.workflow import listing, operations, reported
from node.workflow.closing import close_due
from node.workflow.held_studies import BECAUSE, HeldStudies
from node.workflow.policy import Policy
from tests.fakes import STUDY, FakeClock
from tests.notices import PERSON, QUIET_S, RIS, bleed, closed, leave, newest, read, routed, told


def hold(db: Database, clock: FakeClock, study: str = STUDY) -> None:
    with db.transaction():
        studies.move(db, clock.now(), study, StudyState.HELD, "two patients in one study: CANARY^OTHER")


def told_of_blood(db: Database, clock: FakeClock, policy: Policy) -> None:
    closed(db, clock, policy)
    read(db, clock, policy, bleed())
    leave(db, clock)


def test_a_receiver_that_was_told_hears_that_nothing_of_it_counts(db: Database, clock: FakeClock) -> None:
    policy = routed()
    told_of_blood(db, clock, policy)
    before = newest(db)
    hold(db, clock)
    assert HeldStudies().take_back(db, clock.now(), policy) == 1
    after = newest(db)
    assert (after.flag.kind, after.because, after.state) == ("withdrawn", BECAUSE, NoticeState.QUEUED)
    assert (after.flag.findings, after.flag.reasons, after.flag.lane) == ((), (), "ROUTINE")
    assert (after.flag.patient, after.flag.accession_number) == (before.flag.patient, before.flag.accession_number)
    assert listing.gate(db, policy, after).is_open


def test_it_is_told_by_the_identity_that_was_told_whatever_the_study_says_now(db: Database, clock: FakeClock) -> None:
    policy = routed()
    told_of_blood(db, clock, policy)
    row = studies.study(db, STUDY)
    assert row is not None
    with db.transaction():
        other = replace(PERSON, patient_id="SOMEBODY-ELSE", name="ELSE^SOMEBODY")
        studies.record_identity(db, STUDY, other, replace(row.order, accession_number="A-9"), "MR")
    hold(db, clock)
    HeldStudies().take_back(db, clock.now(), policy)
    after = newest(db)
    assert after.flag.patient == PERSON
    assert after.flag.accession_number == "A-1"
    assert listing.gate(db, policy, after).is_open
    assert "CANARY" not in after.because


def test_it_is_told_once_and_again_when_it_is_held_again(db: Database, clock: FakeClock) -> None:
    policy, held = routed(), HeldStudies()
    told_of_blood(db, clock, policy)
    hold(db, clock)
    assert [held.take_back(db, clock.now(), policy) for _ in range(3)] == [1, 0, 0]
    assert HeldStudies().take_back(db, clock.now(), policy) == 0
    leave(db, clock)
    operations.release(db, clock.now(), STUDY)
    close_due(db, clock.forward(QUIET_S), policy)
    assert held.take_back(db, clock.now(), policy) == 0
    assert told(db)[-1][2] == "something new was found"
    leave(db, clock)
    hold(db, clock)
    assert held.take_back(db, clock.now(), policy) == 1


def test_who_was_told_nothing_hears_nothing(db: Database, clock: FakeClock) -> None:
    policy = routed()
    closed(db, clock, policy)
    read(db, clock, policy, bleed())
    hold(db, clock)
    assert HeldStudies().take_back(db, clock.now(), policy) == 0
    assert [state for _, state, _ in told(db)] == ["queued"]


def test_what_may_have_arrived_is_taken_back_too(db: Database, clock: FakeClock) -> None:
    policy = routed()
    closed(db, clock, policy)
    read(db, clock, policy, bleed())
    leave(db, clock, acknowledged=False)
    hold(db, clock)
    assert HeldStudies().take_back(db, clock.now(), policy) == 1
    assert [state for _, state, _ in told(db)] == ["superseded", "queued"]


def test_a_study_that_is_released_before_it_was_told_is_as_if_it_had_never_been_held(
    db: Database, clock: FakeClock
) -> None:
    policy = routed()
    told_of_blood(db, clock, policy)
    hold(db, clock)
    HeldStudies().take_back(db, clock.now(), policy)
    operations.release(db, clock.now(), STUDY)
    assert listing.gate(db, policy, newest(db)).state == NoticeState.QUEUED
    close_due(db, clock.forward(QUIET_S), policy)
    assert [state for _, state, _ in told(db)] == ["acknowledged", "superseded"]


def test_a_line_that_another_study_still_speaks_for_loses_what_the_held_one_said(
    db: Database, clock: FakeClock
) -> None:
    policy = routed()
    told_of_blood(db, clock, policy)
    closed(db, clock, policy, study="1.2.4")
    hold(db, clock)
    HeldStudies().take_back(db, clock.now(), policy)
    after = newest(db)
    assert after.flag.kind == "rank"
    assert (after.flag.told_of, after.flag.findings) == (("1.2.4",), ())
    assert after.because == "a finding that was told stands no longer"


def test_a_route_that_does_not_hear_of_withdrawals_is_not_told(db: Database, clock: FakeClock) -> None:
    policy = routed({**RIS, "when": ["rank"]})
    told_of_blood(db, clock, policy)
    hold(db, clock)
    assert HeldStudies().take_back(db, clock.now(), policy) == 0


def test_a_withdrawal_waits_where_no_source_lists_the_route_any_more(db: Database, clock: FakeClock) -> None:
    policy = routed()
    told_of_blood(db, clock, policy)
    hold(db, clock)
    HeldStudies().take_back(db, clock.now(), policy)
    gate = listing.gate(db, routed(flags_to=[]), newest(db))
    assert (gate.state, gate.reason) == ("held", "no flags_to lists RIS")


def test_the_worklist_is_told_in_words_under_the_same_order_number(db: Database, clock: FakeClock) -> None:
    from node.deliver.route import letter_of
    from node.deliver.routes import hl7

    policy = routed()
    told_of_blood(db, clock, policy)
    first = notices.of_study(db, STUDY)[0]
    hold(db, clock)
    HeldStudies().take_back(db, clock.now(), policy)
    route = policy.settings.routes[0]
    said = [hl7.message(route, letter_of(route, each, clock)).decode() for each in (first, newest(db))]
    numbers = [next(line for line in text.split("\r") if line.startswith("OBR")).split("|")[3] for text in said]
    assert numbers[0] == numbers[1]
    observations = [line.split("|") for line in said[1].split("\r") if line.startswith("OBX")]
    assert any(each[3].startswith("STATUS^") and each[5] == "withdrawn" for each in observations)
    assert {each[11] for each in observations} == {"P"}
    assert "Hemorrhage" not in said[1]
    assert "withdrawn" not in said[0]


def test_a_line_that_was_reported_for_another_study_is_left_in_peace(db: Database, clock: FakeClock) -> None:
    policy = routed()
    closed(db, clock, policy)
    closed(db, clock, policy, study="1.2.4")
    read(db, clock, policy, bleed())
    read(db, clock, policy, bleed())
    leave(db, clock)
    assert newest(db).flag.told_of == (STUDY, "1.2.4")
    with db.transaction():
        reported.record(db, clock.now(), policy, "1.2.4", ReportState.FINAL, told_by="maria")
    hold(db, clock)
    assert HeldStudies().take_back(db, clock.now(), policy) == 0
    assert newest(db).flag.kind == "rank"
