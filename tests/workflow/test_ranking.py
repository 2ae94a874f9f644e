"""The list as the tables have it: order, restarts, clocks that are set, a person's word, long waits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from node.config.sections import LongestWait
from node.domain.history import Fact
from node.domain.priority import Lane
from node.domain.report_state import ReportState
from node.domain.rule import Comparison, Operator, Rule
from node.domain.study import Order
from node.domain.time import Instant
from node.errors import Failed
from node.store import events, reading_list, studies, waiting
from node.store.database import Database
from node.triage.rules import compile_rules
from node.workflow import pinning, ranking, reported, waits
from node.workflow.closing import close_due
from node.workflow.policy import Policy
from node.workflow.story import worklist_story
from tests.fakes import PATIENT, STUDY, FakeClock, arrive, model, policy, slice_of
from tests.workflow.test_closing import QUIET_S


def test_earlier_arrivals_come_first_among_equals(db: Database, clock: FakeClock) -> None:
    used = policy(model())
    for number, uid in enumerate(("1.2.5", "1.2.4", "1.2.6")):
        for position in range(3):
            arrive(db, clock.forward(10), slice_of(position, study=uid, series=f"{uid}.{number}"))
    close_due(db, clock.forward(QUIET_S), used)
    assert [study.study_instance_uid for study in studies.worklist(db)] == ["1.2.5", "1.2.4", "1.2.6"]


def test_the_same_rank_again_is_no_event(db: Database, clock: FakeClock) -> None:
    used = policy(model())
    arrive(db, clock.now(), slice_of(1))
    with db.transaction():
        ranking.rerank(db, clock.now(), used, STUDY)
        ranking.rerank(db, clock.now(), used, STUDY)
    assert [event for event in events.of_study(db, STUDY) if event.about == "rank"] == []


def test_a_study_that_still_receives_stands_behind_the_ranked_ones_of_its_lane(db: Database, clock: FakeClock) -> None:
    used = policy(model())
    arrive(db, clock.now(), slice_of(1))
    close_due(db, clock.forward(QUIET_S), used)
    arrive(db, clock.now(), slice_of(1, study="1.2.4", series="1.2.4.1"))
    assert [study.study_instance_uid for study in studies.worklist(db)] == [STUDY, "1.2.4"]


# ------------------------------------------------------------------------------------------- clocks that are set


DAY_S = 86_400.0


def close_one(db: Database, clock: FakeClock, used: Policy, uid: str, **changes: object) -> None:
    arrive(db, clock.now(), slice_of(1, study=uid, series=f"{uid}.1", **changes))
    close_due(db, clock.forward(QUIET_S), used)


def order_of(db: Database) -> list[str]:
    return [study.study_instance_uid for study in studies.worklist(db)]


@pytest.mark.parametrize("step_s", [DAY_S, -DAY_S, 3600.0, -3600.0, 0.5, -0.5, 20 * 365 * DAY_S, -20 * 365 * DAY_S])
@pytest.mark.parametrize("reboots", [False, True])
def test_a_clock_that_is_set_reorders_nothing_that_waits(
    db: Database, clock: FakeClock, step_s: float, reboots: bool
) -> None:
    used = policy(model())
    for number in range(2):
        close_one(db, clock, used, f"1.2.{number}")
    places = reading_list.places(db, order_of(db))
    clock.wall += timedelta(seconds=step_s)
    if reboots:
        clock.reboot()
    for number in range(2, 4):
        close_one(db, clock, used, f"1.2.{number}")
    clock.wall -= timedelta(seconds=step_s)
    close_one(db, clock, used, "1.2.4")
    assert order_of(db) == [f"1.2.{number}" for number in range(5)]
    ranking.rerank_all(db, clock.now(), used)
    assert order_of(db) == [f"1.2.{number}" for number in range(5)]
    assert reading_list.places(db, list(places)) == places


def test_what_arrives_in_a_wrong_day_is_overtaken_for_no_longer_than_what_comes_in_the_right_one(
    db: Database, clock: FakeClock
) -> None:
    """A clock that runs a day ahead for an hour would cost a study 144 points."""
    used = policy(model())
    close_one(db, clock, used, "1.2.0")
    clock.wall += timedelta(seconds=DAY_S)
    close_one(db, clock, used, "1.2.1")
    clock.wall -= timedelta(seconds=DAY_S)
    close_one(db, clock, used, "1.2.2")
    first, second, third = (reading_list.places(db, order_of(db))[f"1.2.{number}"] for number in range(3))
    assert second.sort_key - third.sort_key == pytest.approx(first.sort_key - second.sort_key, abs=1e-6)


def test_waits_are_counted_through_clock_steps(db: Database, clock: FakeClock) -> None:
    used = policy(model())
    close_one(db, clock, used, STUDY)
    clock.wall -= timedelta(seconds=DAY_S)
    clock.forward(600)
    (told,) = worklist_story(db, now=clock.now())["studies"]
    assert told["wait_min"] == pytest.approx((QUIET_S + 600) / 60, abs=0.1)


def test_a_study_of_an_earlier_boot_that_ranked_nothing_joins_by_the_wall_clock(db: Database, clock: FakeClock) -> None:
    used = policy(model())
    arrive(db, clock.now(), slice_of(1))
    clock.wall += timedelta(seconds=7200)
    clock.reboot()
    close_one(db, clock, used, "1.2.9")
    close_due(db, clock.forward(QUIET_S), used)
    assert order_of(db)[0] == STUDY
    (told, _) = worklist_story(db, now=clock.now())["studies"]
    assert told["wait_min"] > 120


# -------------------------------------------------------------------------------------------- a person's word


def test_a_pinned_study_stands_where_the_person_says_with_who_when_and_why(db: Database, clock: FakeClock) -> None:
    used = policy(model())
    close_one(db, clock, used, "1.2.0", order=Order(requested_priority="STAT"))
    close_one(db, clock, used, "1.2.1")
    close_one(db, clock, used, "1.2.2")
    pinning.pin(db, clock.now(), used, "1.2.2", lane=None, by="ada", why="the surgeon waits")
    assert order_of(db) == ["1.2.2", "1.2.0", "1.2.1"]
    pinning.pin(db, clock.forward(5), used, "1.2.1", lane=None, by="bob", why="second")
    assert order_of(db) == ["1.2.2", "1.2.1", "1.2.0"], "of several on top the one pinned first leads"
    told = worklist_story(db)["studies"][0]
    assert told["pinned"]["by"] == "ada"
    assert "Pinned first of all by ada at 2026-01-02" in told["reasons"][0]["because"]
    assert told["reasons"][0]["because"].endswith(": the surgeon waits")
    pinning.unpin(db, clock.now(), used, "1.2.2", by="eve")
    pinning.pin(db, clock.now(), used, "1.2.0", lane=Lane.ROUTINE, by="bob", why="outpatient")
    assert order_of(db) == ["1.2.1", "1.2.0", "1.2.2"]
    moves = [(each.before, each.after, each.subject) for each in events.of_study(db, "1.2.2") if each.about == "pin"]
    assert moves == [("", "first", "ada"), ("first", "none", "eve")]


@pytest.mark.parametrize("why", ["", "  \x1b "])
def test_a_pin_needs_a_reason(db: Database, clock: FakeClock, why: str) -> None:
    close_one(db, clock, policy(model()), STUDY)
    with pytest.raises(Failed, match="--why"):
        pinning.pin(db, clock.now(), policy(model()), STUDY, lane=None, by="ada", why=why)


def test_what_is_reported_or_not_pinned_or_not_here_cannot_be_pinned_or_unpinned(
    db: Database, clock: FakeClock
) -> None:
    used = policy(model())
    close_one(db, clock, used, STUDY)
    with pytest.raises(Failed, match="not pinned"):
        pinning.unpin(db, clock.now(), used, STUDY, by="ada")
    with pytest.raises(Failed, match=r"no study 1\.2\.99"):
        pinning.pin(db, clock.now(), used, "1.2.99", lane=None, by="ada", why="x")
    with db.transaction():
        reported.record(db, clock.now(), used, STUDY, ReportState.FINAL, told_by="ada")
    with pytest.raises(Failed, match="reported"):
        pinning.pin(db, clock.now(), used, STUDY, lane=None, by="ada", why="x")


# ------------------------------------------------------------------------------------------ who waits for too long


def test_a_study_that_waits_too_long_is_marked_once_and_moves_nowhere(db: Database, clock: FakeClock) -> None:
    used = policy(model())
    close_one(db, clock, used, "1.2.0")
    close_one(db, clock, used, "1.2.1", order=Order(requested_priority="STAT"))
    before = order_of(db)
    assert waits.mark_long_waits(db, clock.now(), used) == 0
    clock.wall += timedelta(days=2)
    assert waits.mark_long_waits(db, clock.now(), used) == 0, "the wall clock alone makes no wait"
    clock.forward(61 * 60)
    assert waits.mark_long_waits(db, clock.now(), used) == 1
    assert waits.mark_long_waits(db, clock.forward(60), used) == 0
    assert order_of(db) == before
    told = {each["study_instance_uid"]: each["waits_too_long"] for each in worklist_story(db)["studies"]}
    assert told == {"1.2.1": "unread in STAT for more than 60 min", "1.2.0": ""}
    assert [each.after for each in events.of_study(db, "1.2.1") if each.about == "wait"] == ["too long"]
    assert waiting.too_long_by_lane(db) == {"STAT": 1}
    with db.transaction():
        reported.record(db, clock.now(), used, "1.2.1", ReportState.PRELIMINARY, told_by="ada")
    assert waiting.too_long_by_lane(db) == {}


def test_nothing_is_marked_where_the_site_sets_no_limit(db: Database, clock: FakeClock) -> None:
    used = policy(model())
    limits = LongestWait(STAT=0, URGENT=0, ROUTINE=0)
    section = used.settings.rank.model_copy(update={"longest_wait_min": limits})
    close_one(db, clock, used, STUDY)
    clock.forward(90 * DAY_S)
    silent = replace(used, settings=used.settings.model_copy(update={"rank": section}))
    assert waits.mark_long_waits(db, clock.now(), silent) == 0


# ------------------------------------------------------------------------------------------------- the whole list


def test_what_is_reported_leaves_the_list_and_is_kept_behind_all(db: Database, clock: FakeClock) -> None:
    used = policy(model())
    close_one(db, clock, used, "1.2.0")
    close_one(db, clock, used, "1.2.1")
    with db.transaction():
        reported.record(db, clock.now(), used, "1.2.0", ReportState.FINAL, told_by="ada")
    assert [each["study_instance_uid"] for each in worklist_story(db)["studies"]] == ["1.2.1"]
    assert len(worklist_story(db, every=True)["studies"]) == 2
    assert reading_list.unread(db) == ["1.2.1"]


def test_new_rules_move_what_waits_and_the_same_rules_write_nothing(db: Database, clock: FakeClock) -> None:
    used = policy(model())
    for number in range(3):
        close_one(db, clock, used, f"1.2.{number}")
    old = Rule(
        id="old",
        title="T",
        because="B",
        when=Comparison(field="study_description", operator=Operator.HAS, value="head"),
        points=50,
        lane=Lane.URGENT,
        source="s",
        version="1",
    )
    arrive(db, clock.now(), slice_of(1, study="1.2.8", series="1.2.8.1", order=Order(study_description="Head")))
    close_due(db, clock.forward(QUIET_S), used)
    assert order_of(db)[-1] == "1.2.8"
    assert ranking.rerank_all(db, clock.now(), used) == 0
    ruled = replace(used, rules=compile_rules([old]))
    assert ranking.rerank_all(db, clock.now(), ruled) == 4, "the three others can be overtaken for longer"
    assert order_of(db)[0] == "1.2.8"
    assert ranking.rerank_all(db, clock.now(), ruled) == 0
    assert [each.reason for each in events.of_study(db, "1.2.8") if each.about == "rank"] == ["B"]


def test_whoever_ranks_all_that_waits_lets_others_write_in_between(
    db: Database, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    used = policy(model())
    for number in range(25):
        close_one(db, clock, used, f"1.2.{number}")
    at_once: list[int] = []
    whole = ranking._write

    def note(db: Database, now: Instant, policy: Policy, ranked: Sequence[ranking.Ranked]) -> int:
        at_once.append(len(ranked))
        return whole(db, now, policy, ranked)

    monkeypatch.setattr(ranking, "_write", note)
    rank = used.settings.rank.model_copy(update={"points_per_minute": 0.7})
    faster = replace(used, settings=used.settings.model_copy(update={"rank": rank}))
    assert ranking.rerank_all(db, clock.now(), faster) == 25
    assert at_once == [10, 10, 5]


def test_a_reading_list_says_until_when_a_study_can_be_overtaken(db: Database, clock: FakeClock) -> None:
    some = Rule(
        id="r", title="T", because="B", points=30, source="s", version="1",
        when=Comparison(field="study_description", operator=Operator.HAS, value="head"),
    )  # fmt: skip
    used = replace(policy(model()), rules=compile_rules([some]))
    arrived = clock.now().wall
    close_one(db, clock, used, STUDY)
    (told,) = worklist_story(db)["studies"]
    assert told["overtakable_until"] == (arrived + timedelta(minutes=300)).isoformat(timespec="seconds")


def test_what_a_study_says_of_its_patient_moves_the_others_of_that_patient_that_wait(
    db: Database, clock: FakeClock
) -> None:
    ill = Rule(
        id="ill", title="T", because="B", points=30, source="s", version="1",
        when=Comparison(field="history.medical_alert", operator=Operator.HAS, value="warfarin"),
    )  # fmt: skip
    used = replace(policy(model()), rules=compile_rules([ill]))
    close_one(db, clock, used, "1.2.0")
    close_one(db, clock, used, "1.2.1", patient=replace(PATIENT, patient_id="P2"))
    alert = Fact(code="medical_alert", value="warfarin", source="dataset")
    close_one(db, clock, used, "1.2.2", order=Order(facts=(alert,)))
    scores = {each.study_instance_uid: each.score for each in reading_list.places(db, order_of(db)).values()}
    assert scores == {"1.2.0": 30, "1.2.1": 0, "1.2.2": 30}


def test_the_arrival_is_fixed_once_also_of_an_earlier_boot_and_under_a_clock_that_is_set(
    db: Database, clock: FakeClock
) -> None:
    used = policy(model())
    arrive(db, clock.forward(60), slice_of(1, study="1.2.8", series="1.2.8.1"))
    arrive(db, clock.forward(60), slice_of(1))
    clock.wall += timedelta(seconds=600)
    clock.reboot()
    close_due(db, clock.forward(QUIET_S), used)
    places = reading_list.places(db, ["1.2.8", STUDY])
    clock.wall += timedelta(days=3)
    assert ranking.rerank_all(db, clock.now(), used) == 0
    assert reading_list.places(db, ["1.2.8", STUDY]) == places

    arrive(db, clock.now(), slice_of(1, study="1.2.9", series="1.2.9.1"))
    clock.wall -= timedelta(days=3)
    clock.reboot()
    with db.transaction():
        ranking.rerank(db, clock.forward(QUIET_S), used, "1.2.9")
    latest = reading_list.places(db, ["1.2.9"])["1.2.9"]
    assert latest.queued_s is not None
    joined = {each.queued_s for each in places.values()}
    assert all(each is not None and 0 < latest.queued_s - each < 3600 for each in joined), "by the steady clock"


def test_who_is_pinned_first_again_keeps_the_turn(db: Database, clock: FakeClock) -> None:
    used = policy(model())
    for number in range(2):
        close_one(db, clock, used, f"1.2.{number}")
        pinning.pin(db, clock.forward(5), used, f"1.2.{number}", lane=None, by="ada", why="now")
    pinning.pin(db, clock.forward(5), used, "1.2.0", lane=None, by="bob", why="said once more")
    assert order_of(db) == ["1.2.0", "1.2.1"]
