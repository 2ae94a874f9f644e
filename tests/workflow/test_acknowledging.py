from __future__ import annotations

from dataclasses import replace

import pytest

from node.domain.finding import LEFT, RIGHT, Region
from node.domain.priority import Lane
from node.domain.report_state import ReportState
from node.domain.study import StudyState
from node.domain.work import OutcomeState
from node.errors import Failed
from node.store import acknowledgements, events, findings, outcomes, reading_list, studies
from node.store.database import Database
from node.workflow import acknowledging, discrepancies, operations, ranking, reported
from node.workflow.policy import Policy
from node.workflow.story import study_story, worklist_story
from tests.fakes import STUDY, FakeClock
from tests.notices import bleed, closed, read, routed, told
from tests.workflow.urgent import rows, watched, with_blood


def state(db: Database) -> dict[str, object]:
    (study,) = worklist_story(db, every=True)["studies"]
    found: dict[str, object] = study["acknowledgement"]
    return found


def rerank(db: Database, clock: FakeClock, policy: Policy) -> None:
    with db.transaction():
        ranking.rerank(db, clock.now(), policy, STUDY)


def final(db: Database, clock: FakeClock, policy: Policy, *, by: str = "maria") -> None:
    with db.transaction():
        assert reported.record(db, clock.now(), policy, STUDY, ReportState.FINAL, told_by=by)


def read_again(db: Database, clock: FakeClock, *found: object) -> None:
    """The same model has read the study anew: the old result is superseded."""
    (outcome,) = outcomes.current(db, STUDY)
    with db.transaction():
        outcomes.move(db, clock.now(), outcome.id, OutcomeState.SUPERSEDED, "newer")
        db.execute(
            "INSERT INTO outcome (study_instance_uid, revision, run_number, model, mode, model_digest, card_digest,"
            " series_instance_uid, content_digest, state, reason, series, created_at, finished_at)"
            " SELECT study_instance_uid, revision, run_number + 1, model, mode, model_digest, card_digest,"
            " series_instance_uid, content_digest, 'result', '', series, created_at, finished_at FROM outcome"
            " WHERE id = ?",
            (outcome.id,),
        )
        (newer,) = outcomes.current(db, STUDY)
        findings.record(db, newer.id, list(found))  # type: ignore[arg-type]


def test_an_urgent_finding_is_due_by_a_time_that_the_settings_say(db: Database, clock: FakeClock) -> None:
    with_blood(db, clock, watched())
    (row,) = rows(db)
    assert (row.lane, row.key.model, row.code.meaning, row.asked_by) == (Lane.STAT, "brain", "Hemorrhage", "blood")
    told_of = state(db)
    assert (told_of["state"], told_of["by"], told_of["at"]) == ("due", "", "")
    assert told_of["due_at"] > row.asked_at  # type: ignore[operator]


@pytest.mark.parametrize("lane", [Lane.URGENT, Lane.STAT])
def test_the_time_is_that_of_the_lane_that_the_rule_asks_for(db: Database, clock: FakeClock, lane: Lane) -> None:
    with_blood(db, clock, watched(lane=lane))
    minutes = {Lane.STAT: 15, Lane.URGENT: 60}[lane]
    (row,) = rows(db)
    from datetime import datetime, timedelta

    apart = datetime.fromisoformat(row.due_at) - datetime.fromisoformat(row.asked_at)
    assert abs(apart - timedelta(minutes=minutes)) < timedelta(seconds=1)


def test_a_finding_that_no_rule_raises_asks_for_nobody(db: Database, clock: FakeClock) -> None:
    with_blood(db, clock, watched(lane=Lane.ROUTINE))
    assert rows(db) == []
    assert study_story(db, STUDY)["acknowledgement"] is None  # type: ignore[index]


def test_what_a_model_denies_or_a_shadow_model_says_asks_for_nobody(db: Database, clock: FakeClock) -> None:
    with_blood(db, clock, watched(), bleed(0.1, present=False))
    assert rows(db) == []


def test_a_shadow_model_asks_for_nobody(db: Database, clock: FakeClock) -> None:
    closed(db, clock, watched())
    read(db, clock, watched(mode="shadow"), bleed())
    assert rows(db) == []


def test_a_person_and_a_time_end_it_once(db: Database, clock: FakeClock) -> None:
    with_blood(db, clock, watched())
    now = clock.forward(60)
    acknowledging.acknowledge(db, now, STUDY, by="maria")
    told_of = state(db)
    assert (told_of["state"], told_of["by"], told_of["at"]) == ("acknowledged", "maria", now.iso)
    with pytest.raises(Failed, match="maria has acknowledged it already"):
        acknowledging.acknowledge(db, clock.forward(60), STUDY, by="otto")
    assert state(db)["by"] == "maria"
    moves = [
        (each.before, each.after, each.reason) for each in events.of_study(db, STUDY) if each.about == "acknowledgement"
    ]
    assert moves[-1] == ("due", "acknowledged", "by maria")


def test_only_the_findings_of_the_code_that_is_named_are_acknowledged(db: Database, clock: FakeClock) -> None:
    lesion = replace(bleed(), lesion_number=1, tracking_uid="2.25.1")
    with_blood(db, clock, watched(), bleed(), lesion)
    with pytest.raises(Failed, match="SCT:50960005"):
        acknowledging.acknowledge(db, clock.now(), STUDY, by="maria", code="SCT:1")
    taken = acknowledging.acknowledge(db, clock.now(), STUDY, by="maria", code="hemorrhage")
    assert len(taken) == 2
    assert state(db)["state"] == "acknowledged"


def test_nothing_is_acknowledged_where_nobody_asks(db: Database, clock: FakeClock) -> None:
    closed(db, clock, watched())
    with pytest.raises(Failed, match="no rule and no route"):
        acknowledging.acknowledge(db, clock.now(), STUDY, by="maria")
    with pytest.raises(Failed, match="no study"):
        acknowledging.acknowledge(db, clock.now(), "9.9", by="maria")


def test_the_same_finding_of_a_newer_result_stays_acknowledged(db: Database, clock: FakeClock) -> None:
    policy = watched()
    with_blood(db, clock, policy, replace(bleed(0.7), tracking_uid="2.25.1"))
    acknowledging.acknowledge(db, clock.now(), STUDY, by="maria")
    read_again(db, clock, replace(bleed(0.99), tracking_uid="2.25.2"))
    rerank(db, clock, policy)
    assert state(db)["by"] == "maria"
    assert len(rows(db)) == 1


@pytest.mark.parametrize(
    "other",
    [
        {"laterality": LEFT},
        {"lesion_number": 1, "tracking_uid": "2.25.9"},
        {"regions": (Region(sop_instance_uid="1.2", edges=(0, 0, 1, 1)),), "tracking_uid": "2.25.9"},
    ],
)
def test_a_new_finding_needs_an_acknowledgement_of_its_own(
    db: Database, clock: FakeClock, other: dict[str, object]
) -> None:
    policy = watched()
    first = replace(bleed(), laterality=RIGHT) if "laterality" in other else bleed()
    with_blood(db, clock, policy, first)
    acknowledging.acknowledge(db, clock.now(), STUDY, by="maria")
    read_again(db, clock, first, replace(bleed(), **other))  # type: ignore[arg-type]
    rerank(db, clock, policy)
    assert state(db)["state"] == "due"
    assert [row.acknowledged_by for row in rows(db)] == ["maria", ""]


def test_a_finding_that_is_withdrawn_asks_for_nobody_and_keeps_what_was_said(db: Database, clock: FakeClock) -> None:
    policy = watched()
    with_blood(db, clock, policy)
    operations.withdraw(db, clock.now(), policy, STUDY, "wrong side")
    assert study_story(db, STUDY)["acknowledgement"] is None  # type: ignore[index]
    assert [row.standing for row in rows(db)] == [False]


def test_a_route_may_ask_for_everything_that_it_is_told(db: Database, clock: FakeClock) -> None:
    from tests.notices import RIS

    policy = routed({**RIS, "acknowledge": True})
    closed(db, clock, policy)
    read(db, clock, policy, bleed())
    (row,) = rows(db)
    assert (row.asked_by, row.lane) == ("route RIS", Lane.ROUTINE)


def test_a_held_study_asks_for_nobody_new(db: Database, clock: FakeClock) -> None:
    policy = watched()
    with_blood(db, clock, replace(policy, rules=()))
    with db.transaction():
        studies.move(db, clock.now(), STUDY, StudyState.HELD, "two patients")
    rerank(db, clock, policy)
    assert rows(db) == []


def test_what_was_found_before_the_report_is_no_discrepancy_when_it_is_read_again(
    db: Database, clock: FakeClock
) -> None:
    policy = watched()
    with_blood(db, clock, policy)
    final(db, clock, policy)
    assert state(db)["state"] == "reported"
    read_again(db, clock, bleed(0.99))
    rerank(db, clock, policy)
    assert acknowledgements.discrepancies(db) == []


@pytest.mark.parametrize(("told_by", "owner"), [("maria", "maria"), ("hl7 RIS", "chief"), ("ups", "chief")])
def test_an_urgent_finding_after_the_report_is_a_discrepancy_with_an_owner_and_moves_nothing(
    db: Database, clock: FakeClock, told_by: str, owner: str
) -> None:
    policy = watched()
    closed(db, clock, policy)
    final(db, clock, policy, by=told_by)
    before = reading_list.places(db, [STUDY])
    read(db, clock, policy, bleed())
    (row,) = discrepancies.discrepancies_told(db)
    assert (row["owner"], row["code_meaning"], row["state"], row["lane"]) == (owner, "Hemorrhage", "due", "STAT")
    assert reading_list.places(db, [STUDY]) == before
    assert told(db) == []
    assert study_story(db, STUDY)["acknowledgement"] is None  # type: ignore[index]


def test_a_finding_below_urgent_or_of_a_shadow_model_after_the_report_is_none(db: Database, clock: FakeClock) -> None:
    policy = watched(lane=Lane.ROUTINE)
    closed(db, clock, policy)
    final(db, clock, policy)
    read(db, clock, policy, bleed())
    assert acknowledgements.discrepancies(db, every=True) == []


def test_a_discrepancy_is_closed_once_with_a_login_and_what_was_done(db: Database, clock: FakeClock) -> None:
    policy = watched()
    closed(db, clock, policy)
    final(db, clock, policy)
    read(db, clock, policy, bleed())
    (row,) = discrepancies.discrepancies_told(db)
    with pytest.raises(Failed, match="how it was settled"):
        discrepancies.close(db, clock.now(), row["discrepancy"], by="maria", because=" \n ")
    discrepancies.close(db, clock.now(), row["discrepancy"], by="maria", because="addendum\x1b[31m written")
    assert discrepancies.discrepancies_told(db) == []
    (closed_one,) = discrepancies.discrepancies_told(db, every=True)
    assert (closed_one["state"], closed_one["closed_by"]) == ("closed", "maria")
    assert closed_one["closed_because"] == "addendum[31m written"
    with pytest.raises(Failed, match="maria has closed it"):
        discrepancies.close(db, clock.now(), row["discrepancy"], by="otto", because="again")
    with pytest.raises(Failed, match="no discrepancy 99"):
        discrepancies.close(db, clock.now(), 99, by="otto", because="what")
