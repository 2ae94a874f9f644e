"""Studies of old come a few an hour, by night, are read in the shadow, and are heard of nowhere else."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from node.domain.model_card import Mode
from node.domain.night import BackfilledState, BackfillState
from node.domain.retrieval import Purpose, RetrievalState
from node.domain.study import Order, StudyState
from node.domain.work import OutcomeState, WorkHours, WorkKind, WorkState
from node.store import backfills, findings, outcomes, retrievals, studies, work_hours, work_items
from node.store.backfills import Backfill
from node.store.database import Database
from node.workflow import backfilling, operations, reading
from node.workflow.closing import close_due
from node.workflow.policy import Policy
from tests.fakes import FakeClock, arrive, model, policy, slice_of, volume_finding
from tests.workflow.test_closing import QUIET_S

ARCHIVE = {"name": "PAST", "ae_title": "PAST", "host": "127.0.0.1", "port": 4343, "roles": ["archive"]}
OLD = Order(study_date="20250601")


def site(*, flags: bool = False, **night: object) -> Policy:
    """A node with a live model; its archive's studies would be told of and sent, were they anybody's."""
    made = policy(model(), more_peers=(ARCHIVE,))  # type: ignore[arg-type]
    settings = made.settings.model_dump()
    settings["night"] = {"timezone": "UTC", "backfill_free_percent": 0, **night}
    settings["data"] |= {"minimum_free_percent": 0}
    settings["quiet_s"] = 1.0
    performer = {"name": "READER", "ae_title": "READER", "addresses": ["127.0.0.1/32"], "roles": ["reader"]}
    settings["peers"] = [*({**each, "results_to": ["PACS"]} for each in settings["peers"]), performer]
    settings["routes"] = [{"name": "HOOK", "kind": "webhook", "url": "https://h.example.org", "secret_file": "s"}]
    for peer in settings["peers"]:
        peer["flags_to"] = ["HOOK"]
    return replace(made, settings=made.settings.model_validate(settings))


def begin(db: Database, clock: FakeClock, **changes: Any) -> Backfill:
    given = {"peer": "PAST", "since": "20250530", "until": "20250601", "modality": "", "at_once": False} | changes
    with db.transaction():
        return backfills.add(db, clock.now(), **given)


def listed(db: Database, backfill: Backfill, day: str, *uids: str) -> None:
    """The archive has told which studies a day has."""
    with db.transaction():
        backfills.record_day(db, backfill, day, [(uid, day) for uid in uids])
        db.execute("UPDATE work_item SET state = 'finished' WHERE kind = 'backfill'")


def comes(db: Database, clock: FakeClock, made: Policy, uid: str, *, state: RetrievalState | None = None) -> None:
    """A study is retrieved and closed, as a prior is."""
    (retrieval,) = retrievals.of_study(db, uid)
    with db.transaction():
        retrievals.move(db, clock.now(), retrieval.id, RetrievalState.RETRIEVING)
    if state is None:
        for number in range(3):
            instance = slice_of(number, study=uid, series=f"{uid}.1", order=OLD)
            arrive(db, clock.now(), instance, source="PAST", retrieved=True)
    with db.transaction():
        retrievals.move(db, clock.now(), retrieval.id, state or RetrievalState.RETRIEVED, "so it is")
        studies.request_closing(db, uid)
    close_due(db, clock.forward(QUIET_S), made)


def states(db: Database, backfill: Backfill) -> dict[str, int]:
    return backfills.counts(db, backfill.id)


def test_an_archive_is_asked_day_by_day_backwards_until_the_first(db: Database, clock: FakeClock) -> None:
    made, backfill = site(), begin(db, clock)
    asked = []
    for _ in range(8):
        backfilling.step(db, clock.now(), made)
        found = work_items.claim(db, clock.now(), WorkKind.BACKFILL, "retrieve:1", 30)
        for item in found:
            asked.append(item.subject.partition("/")[2])
            with db.transaction():
                work_items.finish(db, clock.now(), item)
                backfills.record_day(db, backfill, asked[-1], [])
    assert asked == ["20250601", "20250531", "20250530"]
    assert [each.state for each in backfills.every(db)] == [BackfillState.DONE]


def test_studies_are_fetched_a_few_at_a_time_and_below_everything_else(db: Database, clock: FakeClock) -> None:
    made, backfill = site(), begin(db, clock)
    listed(db, backfill, "20250601", "1.9.1", "1.9.2", "1.9.3")
    assert backfilling.step(db, clock.now(), made) == 2
    assert backfilling.step(db, clock.now(), made) == 0
    assert work_hours.waiting(db) == {"fetch": {"night": 2}}
    assert {each.purpose for each in retrievals.unfinished(db)} == {Purpose.BACKFILL}


def test_no_more_are_asked_for_in_an_hour_than_the_site_says(db: Database, clock: FakeClock) -> None:
    made, backfill = site(backfill_per_hour=3), begin(db, clock)
    uids = [f"1.9.{number}" for number in range(1, 9)]
    listed(db, backfill, "20250601", *uids)
    for _ in range(5):
        backfilling.step(db, clock.now(), made)
        for each in retrievals.unfinished(db):
            comes(db, clock, made, each.study_instance_uid)
        clock.forward(60)
    assert len(db.rows("SELECT id FROM retrieval")) == 3
    backfilling.step(db, clock.now(), made)
    assert backfills.every(db)[0].reason == "3 studies were asked for within an hour"
    clock.wall = datetime(2026, 1, 2, 4, 30, tzinfo=UTC)
    backfilling.step(db, clock.now(), made)
    assert len(db.rows("SELECT id FROM retrieval")) == 5


@pytest.mark.parametrize(("at_once", "asked"), [(False, 0), (True, 2)])
def test_by_day_nothing_is_asked_for_unless_a_person_wants_it_now(
    db: Database, clock: FakeClock, at_once: bool, asked: int
) -> None:
    clock.forward(9 * 3600)
    made, backfill = site(), begin(db, clock, at_once=at_once)
    listed(db, backfill, "20250601", "1.9.1", "1.9.2", "1.9.3")
    assert backfilling.step(db, clock.now(), made) == asked
    if not at_once:
        assert backfills.every(db)[0].reason == "waits for the night"


def test_a_disk_that_fills_up_is_left_alone(db: Database, clock: FakeClock) -> None:
    made, backfill = site(backfill_free_percent=99.999), begin(db, clock)
    listed(db, backfill, "20250601", "1.9.1")
    assert backfilling.step(db, clock.now(), made) == 0
    assert "of the disk is free" in backfills.every(db)[0].reason


def test_what_is_stopped_stays_until_it_goes_on(db: Database, clock: FakeClock) -> None:
    made, backfill = site(), begin(db, clock)
    listed(db, backfill, "20250601", "1.9.1")
    with db.transaction():
        backfills.move(db, clock.now(), backfill, BackfillState.STOPPED, "by a person")
    assert backfilling.step(db, clock.now(), made) == 0
    with db.transaction():
        backfills.move(db, clock.now(), backfill, BackfillState.RUNNING)
    assert backfilling.step(db, clock.now(), made) == 1


def test_a_study_that_has_come_is_read_in_the_shadow_by_night(db: Database, clock: FakeClock) -> None:
    made, backfill = site(), begin(db, clock)
    listed(db, backfill, "20250601", "1.9.1")
    backfilling.step(db, clock.now(), made)
    comes(db, clock, made, "1.9.1")
    backfilling.step(db, clock.now(), made)
    (outcome,) = outcomes.current(db, "1.9.1")
    assert (outcome.state, outcome.mode) == (OutcomeState.PENDING, Mode.SHADOW)
    assert states(db, backfill) == {BackfilledState.READ: 1}
    assert work_hours.waiting(db)["infer"] == {"night": 1}
    assert work_items.claim(db, clock.now(), WorkKind.INFER, "infer:1", 30, by_night=False) == []


def test_nothing_of_it_ranks_leaves_or_is_told(db: Database, clock: FakeClock) -> None:
    made, backfill = site(), begin(db, clock)
    listed(db, backfill, "20250601", "1.9.1")
    backfilling.step(db, clock.now(), made)
    comes(db, clock, made, "1.9.1")
    backfilling.step(db, clock.now(), made)
    (item,) = work_items.claim(db, clock.now(), WorkKind.INFER, "infer:1", 30)
    with db.transaction():
        assert reading.begin(db, clock.now(), item) is not None
    with db.transaction():
        assert reading.complete(db, clock.now(), made, item, [volume_finding()], [], {})
    (outcome,) = outcomes.current(db, "1.9.1")
    assert outcome.state is OutcomeState.RESULT
    assert findings.of_outcome(db, outcome.id)
    for table in ("outbox", "notice", "ups", "acknowledgement"):
        assert db.rows(f"SELECT * FROM {table}") == [], table
    kinds = {row["kind"] for row in db.rows("SELECT DISTINCT kind FROM work_item")}
    assert not kinds & {WorkKind.REPORT, WorkKind.PRIORS, WorkKind.HISTORY}
    study = studies.study(db, "1.9.1")
    assert study is not None
    assert (study.state, study.score, study.reasons) == (StudyState.DONE, 0.0, ())


def test_late_instances_that_no_model_reads_leave_its_result_alone(db: Database, clock: FakeClock) -> None:
    made, backfill = site(), begin(db, clock)
    listed(db, backfill, "20250601", "1.9.1")
    backfilling.step(db, clock.now(), made)
    comes(db, clock, made, "1.9.1")
    backfilling.step(db, clock.now(), made)
    late = slice_of(9, study="1.9.1", series="1.9.1.7", order=OLD, modality="SR")
    arrive(db, clock.now(), late, source="PAST", retrieved=True)
    with db.transaction():
        studies.request_closing(db, "1.9.1")
    close_due(db, clock.forward(QUIET_S), made)
    (outcome,) = outcomes.current(db, "1.9.1")
    assert (outcome.state, outcome.mode) == (OutcomeState.PENDING, Mode.SHADOW)


def test_a_person_who_wants_it_read_gets_a_live_result(db: Database, clock: FakeClock) -> None:
    made, backfill = site(), begin(db, clock)
    listed(db, backfill, "20250601", "1.9.1")
    backfilling.step(db, clock.now(), made)
    comes(db, clock, made, "1.9.1")
    backfilling.step(db, clock.now(), made)
    operations.force(db, clock.now(), made, "1.9.1")
    (outcome,) = outcomes.current(db, "1.9.1")
    assert (outcome.state, outcome.mode) == (OutcomeState.PENDING, Mode.LIVE)
    (item,) = work_items.claim(db, clock.now(), WorkKind.INFER, "infer:1", 30, by_night=False)
    assert item.hours is WorkHours.ANY


def test_what_cannot_be_had_is_left_out_with_the_reason_and_the_rest_goes_on(db: Database, clock: FakeClock) -> None:
    made, backfill = site(), begin(db, clock, since="20250601")
    listed(db, backfill, "20250601", "1.9.1", "1.9.2")
    backfilling.step(db, clock.now(), made)
    comes(db, clock, made, "1.9.1", state=RetrievalState.FAILED)
    comes(db, clock, made, "1.9.2")
    for _ in range(3):
        backfilling.step(db, clock.now(), made)
    assert states(db, backfill) == {"left out": 1, "read": 1}
    assert backfills.reasons(db, backfill.id, 5) == {"so it is": 1}
    assert backfills.every(db)[0].state is BackfillState.DONE


def test_a_study_that_somebody_waits_for_is_not_read_in_the_shadow(db: Database, clock: FakeClock) -> None:
    made, backfill = site(), begin(db, clock)
    today = Order(study_date="20260102")
    for number in range(3):
        arrive(db, clock.now(), slice_of(number, study="1.9.1", series="1.9.1.1", order=today))
    close_due(db, clock.forward(QUIET_S), made)
    listed(db, backfill, "20250601", "1.9.1")
    for _ in range(3):
        backfilling.step(db, clock.now(), made)
    assert retrievals.of_study(db, "1.9.1") == []
    assert [each.mode for each in outcomes.of_study(db, "1.9.1")] == [Mode.LIVE]


def test_a_prior_that_somebody_waits_for_is_fetched_at_once(db: Database, clock: FakeClock) -> None:
    made, backfill = site(), begin(db, clock)
    listed(db, backfill, "20250601", "1.9.1")
    backfilling.step(db, clock.now(), made)
    with db.transaction():
        retrieval = retrievals.record(db, clock.now(), "1.9.1", "PAST", Purpose.PRIOR, wanted_for="1.2.3")
    assert retrieval.purpose is Purpose.PRIOR
    assert work_items.state(db, WorkKind.FETCH, retrievals.subject_of(retrieval)) is WorkState.READY
    assert work_hours.waiting(db) == {}
