from __future__ import annotations

from dataclasses import replace

import pytest

from node.domain.notice import NoticeState
from node.domain.report_state import ReportState
from node.domain.study import StudyState
from node.domain.work import OutcomeState
from node.store import notices, outcomes, studies
from node.store.database import Database
from node.workflow import listing, merging, operations, ranking, reported
from tests.fakes import STUDY, FakeClock
from tests.notices import PERSON, RIS, bleed, closed, leave, newest, read, routed, told


def rerank(db: Database, clock: FakeClock, policy: object, study: str = STUDY) -> None:
    with db.transaction():
        ranking.rerank(db, clock.now(), policy, study)  # type: ignore[arg-type]


def test_nobody_is_told_of_a_study_that_stands_where_its_order_says(db: Database, clock: FakeClock) -> None:
    policy = routed()
    closed(db, clock, policy, priority="STAT")
    read(db, clock, policy, bleed(0.1, present=False))
    assert told(db) == []


def test_a_finding_is_told_with_what_is_known_of_the_study(db: Database, clock: FakeClock) -> None:
    policy = routed()
    closed(db, clock, policy)
    read(db, clock, policy, bleed(0.7), bleed(0.9))
    assert told(db) == [(1, "queued", "something new was found")]
    flag = newest(db).flag
    (found,) = flag.findings
    assert (found.code.meaning, found.probability, found.count) == ("Hemorrhage", 0.9, 2)
    assert (flag.patient, flag.accession_number, flag.lane) == (PERSON, "A-1", "ROUTINE")


def test_the_same_facts_again_are_told_once(db: Database, clock: FakeClock) -> None:
    policy = routed()
    closed(db, clock, policy)
    read(db, clock, policy, bleed())
    rerank(db, clock, policy)
    leave(db, clock)
    rerank(db, clock, policy)
    assert told(db) == [(1, "acknowledged", "something new was found")]


@pytest.mark.parametrize("sent", [False, True])
def test_what_a_route_was_told_is_taken_back_when_it_is_withdrawn(db: Database, clock: FakeClock, sent: bool) -> None:
    policy = routed()
    closed(db, clock, policy)
    read(db, clock, policy, bleed())
    if sent:
        leave(db, clock)
    operations.withdraw(db, clock.now(), policy, STUDY, "wrong side")
    states = [state for _, state, _ in told(db)]
    assert states[-1] == "queued"
    assert states[0] == ("acknowledged" if sent else "superseded")
    assert newest(db).flag.findings == ()


def test_a_notice_that_never_left_and_is_true_no_longer_is_not_followed_by_another(
    db: Database, clock: FakeClock
) -> None:
    policy = routed({**RIS, "when": ["rank", "withdrawn"]})
    closed(db, clock, policy)
    read(db, clock, policy, bleed())
    operations.withdraw(db, clock.now(), policy, STUDY, "wrong side")
    assert [state for _, state, _ in told(db)] == ["superseded"]


def test_after_a_lost_acknowledgement_the_receiver_is_told_how_it_stands_now(db: Database, clock: FakeClock) -> None:
    policy = routed({**RIS, "when": ["rank", "withdrawn"]})
    closed(db, clock, policy)
    read(db, clock, policy, bleed())
    leave(db, clock, acknowledged=False)
    operations.withdraw(db, clock.now(), policy, STUDY, "wrong side")
    assert told(db) == [
        (1, "superseded", "something new was found"),
        (2, "queued", "a finding that was told stands no longer"),
    ]


def test_what_may_or_may_not_have_arrived_is_told_again_when_it_is_true_again(db: Database, clock: FakeClock) -> None:
    policy = routed()
    closed(db, clock, policy)
    read(db, clock, policy, bleed())
    leave(db, clock, acknowledged=False)
    operations.withdraw(db, clock.now(), policy, STUDY, "wrong side")
    (outcome,) = outcomes.current(db, STUDY)
    with db.transaction():
        outcomes.move(db, clock.now(), outcome.id, OutcomeState.RESULT, "it was right after all")
        ranking.rerank(db, clock.now(), policy, STUDY)
    assert [state for _, state, _ in told(db)] == ["superseded", "superseded", "queued"]
    assert told(db)[-1][2] == "an earlier notice may or may not have arrived"
    first, _, last = notices.of_study(db, STUDY)
    assert last.flag == first.flag


def test_an_acknowledgement_that_comes_late_is_kept_and_revives_nothing(db: Database, clock: FakeClock) -> None:
    policy = routed()
    closed(db, clock, policy)
    read(db, clock, policy, bleed())
    notice = leave(db, clock, acknowledged=False)
    operations.withdraw(db, clock.now(), policy, STUDY, "wrong side")
    with db.transaction():
        assert not notices.move(db, clock.now(), notice, NoticeState.ACKNOWLEDGED, "")
    first, second = notices.of_study(db, STUDY)
    assert (first.state, bool(first.acknowledged_at), second.state) == ("superseded", True, "queued")


def test_only_routes_that_every_source_lists_are_told(db: Database, clock: FakeClock) -> None:
    policy = routed(RIS, {**RIS, "name": "OTHER"}, flags_to=["OTHER"])
    closed(db, clock, policy)
    read(db, clock, policy, bleed())
    assert [each.route for each in notices.of_study(db, STUDY)] == ["OTHER"]


def test_a_study_that_was_read_is_not_told_and_what_waits_is_stopped_at_the_gate(
    db: Database, clock: FakeClock
) -> None:
    policy = routed()
    closed(db, clock, policy)
    read(db, clock, policy, bleed())
    with db.transaction():
        reported.record(db, clock.now(), policy, STUDY, ReportState.FINAL, told_by="test")
    gate = listing.gate(db, policy, newest(db))
    assert (gate.state, gate.reason) == ("superseded", "the study has been read and reported")


def test_a_shadow_model_tells_nobody(db: Database, clock: FakeClock) -> None:
    policy = routed()
    closed(db, clock, policy)
    read(db, clock, routed(models={"brain": {"mode": "shadow"}}), bleed())
    assert told(db) == []


def test_a_model_that_is_live_no_longer_holds_what_it_had_to_say(db: Database, clock: FakeClock) -> None:
    policy = routed()
    closed(db, clock, policy)
    read(db, clock, policy, bleed())
    gate = listing.gate(db, routed(models={"brain": {"mode": "off"}}), newest(db))
    assert gate.state == "held"
    assert "is not live" in gate.reason


def test_another_patient_or_accession_number_than_was_told_holds_the_notice(db: Database, clock: FakeClock) -> None:
    policy = routed()
    closed(db, clock, policy)
    read(db, clock, policy, bleed())
    notice = newest(db)
    for change in ({"patient": replace(PERSON, patient_id="OTHER")}, {"accession_number": "A-2"}):
        gate = listing.gate(db, policy, replace(notice, flag=replace(notice.flag, **change)))
        assert gate.state == "held"
        assert "OTHER" not in gate.reason


def test_nothing_is_told_of_an_id_that_is_somebody_elses_by_what_the_hospital_says(
    db: Database, clock: FakeClock
) -> None:
    policy = routed()
    closed(db, clock, policy)
    read(db, clock, policy, bleed())
    with db.transaction():
        merging.correct(
            db, clock.now(), policy, replace(PERSON, name="ROE^RICHARD", birth_date="19870707"), told_by="hl7 RIS"
        )
    gate = listing.gate(db, policy, newest(db))
    assert (gate.state, "somebody else's" in gate.reason) == ("held", True)
    with db.transaction():
        merging.correct(db, clock.now(), policy, PERSON, told_by="hl7 RIS")
    assert listing.gate(db, policy, newest(db)).is_open


def test_a_held_study_holds_its_notice_and_its_release_queues_it_again(db: Database, clock: FakeClock) -> None:
    policy = routed()
    closed(db, clock, policy)
    read(db, clock, policy, bleed())
    with db.transaction():
        studies.move(db, clock.now(), STUDY, StudyState.HELD, "a person has to look")
    gate = listing.gate(db, policy, newest(db))
    assert (gate.state, gate.reason) == ("held", "the study is held: a person has to look")
    with db.transaction():
        notices.move(db, clock.now(), newest(db), NoticeState.HELD, gate.reason)
        studies.move(db, clock.now(), STUDY, StudyState.DONE, "released")
    rerank(db, clock, policy)
    assert told(db) == [(1, "queued", "something new was found")]


def test_studies_of_one_accession_number_are_one_line_and_the_most_urgent_speaks(
    db: Database, clock: FakeClock
) -> None:
    policy = routed()
    closed(db, clock, policy)
    closed(db, clock, policy, study="1.2.4")
    read(db, clock, policy, bleed(0.1, present=False))
    assert told(db) == []
    read(db, clock, policy, bleed())
    assert told(db, "1.2.4") == []
    assert told(db) == [(1, "queued", "something new was found")]


def test_a_line_of_which_one_study_was_reported_still_tells_of_the_other(db: Database, clock: FakeClock) -> None:
    policy = routed()
    closed(db, clock, policy)
    closed(db, clock, policy, study="1.2.4")
    read(db, clock, policy, bleed(0.1, present=False))
    with db.transaction():
        reported.record(db, clock.now(), policy, STUDY, ReportState.FINAL, told_by="test")
    read(db, clock, policy, bleed())
    assert newest(db).flag.told_of == ("1.2.4",)
    assert listing.gate(db, policy, newest(db)).is_open


def test_one_accession_number_for_two_patients_is_two_lines(db: Database, clock: FakeClock) -> None:
    policy = routed()
    closed(db, clock, policy)
    closed(db, clock, policy, study="1.2.4", patient=replace(PERSON, sex="M"))
    closed(db, clock, policy, study="1.2.5", patient=replace(PERSON, issuer="B"))
    for _ in range(3):
        read(db, clock, policy, bleed())
    assert [newest(db, study).flag.told_of for study in (STUDY, "1.2.4", "1.2.5")] == [
        (STUDY,), ("1.2.4",), ("1.2.5",),
    ]  # fmt: skip


def test_one_number_of_two_hospitals_that_nobody_is_known_to_have_issued_is_two_lines(
    db: Database, clock: FakeClock
) -> None:
    policy = routed()
    nobody = replace(PERSON, issuer="", birth_date="")
    closed(db, clock, policy, patient=nobody)
    closed(db, clock, policy, study="1.2.4", patient=nobody)
    for _ in range(2):
        read(db, clock, policy, bleed())
    assert [newest(db, study).flag.told_of for study in (STUDY, "1.2.4")] == [(STUDY,), ("1.2.4",)]


def test_an_outage_does_not_let_an_older_state_overtake_a_newer_one(db: Database, clock: FakeClock) -> None:
    policy = routed()
    closed(db, clock, policy)
    read(db, clock, policy, bleed())
    operations.withdraw(db, clock.now(), policy, STUDY, "wrong side")
    sent = leave(db, clock)
    assert sent.version == 2
    assert notices.claim(db, clock.now(), "RIS", "deliver:1:", 60) is None


def test_a_receiver_that_lost_everything_is_told_again_what_stands(db: Database, clock: FakeClock) -> None:
    policy = routed()
    closed(db, clock, policy)
    read(db, clock, policy, bleed())
    first = leave(db, clock)
    assert listing.tell_again(db, clock.now(), policy, "RIS", since="2026") == [STUDY]
    again = newest(db)
    assert (again.flag, again.state) == (first.flag, "queued")
    assert again.control_id != first.control_id


def test_retry_queues_what_is_dead_and_keeps_its_control_id(db: Database, clock: FakeClock) -> None:
    policy = routed()
    closed(db, clock, policy)
    read(db, clock, policy, bleed())
    notice = leave(db, clock, acknowledged=False)
    with db.transaction():
        notices.move(db, clock.now(), notice, NoticeState.DEAD, "AE")
        assert listing.retry(db, clock.now(), STUDY) == ["the notice to RIS is sent again"]
    assert (newest(db).state, newest(db).control_id) == ("queued", notice.control_id)
