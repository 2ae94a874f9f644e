from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from node.domain.model_card import Mode
from node.domain.priority import Lane
from node.store import impact as kept
from node.store import studies
from node.store.database import Database
from node.workflow.impact import measured, weekly
from node.workflow.order_facts import ordered_lanes
from tests.fakes import FakeClock
from tests.workflow.nights import Night, night
from tests.workflow.test_closing import QUIET_S

DAY_S = 86_400.0


@pytest.fixture
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def week_of(db: Database, clock: FakeClock, studies: int) -> Night:
    """Studies of one night, of which every fourth shows something and is reported first."""
    made = night(db, clock)
    uids = [(made.study(found=number % 4 == 0), number % 4 == 0) for number in range(studies)]
    for uid, _ in sorted(uids, key=lambda each: not each[1]):
        clock.forward(600)
        made.report(uid)
    return made


def groups(figures: dict) -> dict:
    return {each["group"]: each for each in figures["groups"]}


def test_a_week_that_is_over_is_kept_once(db: Database, clock: FakeClock) -> None:
    made = week_of(db, clock, 40)
    assert "2026-W01" not in weekly(db, clock.now(), made.policy)
    clock.forward(3 * DAY_S)
    # The seven weeks before it are kept already: nobody was reported in them.
    assert weekly(db, clock.now(), made.policy) == ["2026-W01"]
    assert weekly(db, clock.now(), made.policy) == []
    told = groups(kept.weeks(db)["2026-W01"])
    assert (told["everybody"]["studies"], told["finding present"]["studies"]) == (40, 10)
    assert told["nothing found"]["difference_min"]["mean"]["value"] > 0
    # Ten are too few to tell anything of.
    assert told["finding present"]["waited_min"] == {}
    assert told["everybody"]["difference_min"]["mean"]["value"] == pytest.approx(0, abs=1e-6)


def test_the_running_week_is_told_and_not_kept(db: Database, clock: FakeClock) -> None:
    made = week_of(db, clock, 31)
    told = measured(db, clock.now(), made.policy, 1)
    assert [(each["week"], each["studies"], each["over"]) for each in told] == [
        ("2025-W52", 0, True),
        ("2026-W01", 31, False),
    ]
    assert kept.weeks(db) == {}
    assert told[-1]["live_models"] == ["brain"]


def test_a_late_report_changes_no_week_that_is_kept(db: Database, clock: FakeClock) -> None:
    made = night(db, clock)
    early, late = made.study(), made.study()
    made.report(early)
    clock.forward(4 * DAY_S)
    weekly(db, clock.now(), made.policy)
    made.report(late)
    assert kept.weeks(db)["2026-W01"]["studies"] == 1
    assert measured(db, clock.now(), made.policy, 1)[-1]["studies"] == 1


def test_who_was_reported_before_being_listed_and_who_is_a_prior_counts_not(db: Database, clock: FakeClock) -> None:
    made = night(db, clock)
    waited, prior = made.study(), made.study()
    with db.transaction():
        studies.record_prior(db, prior, "made years ago")
    clock.forward(60)
    made.report(waited)
    made.report(prior)
    (read,) = kept.reported(db, "2026-01-01", "2026-02-01")
    assert (read.reported_at - read.listed_at).total_seconds() == pytest.approx(60 + QUIET_S + 60 + 60)
    assert read.found is False


def test_what_only_a_shadow_model_found_is_no_finding_that_ranked(db: Database, clock: FakeClock) -> None:
    made = night(db, clock, Mode.SHADOW)
    uid = made.study(found=True, requested_priority="STAT")
    clock.forward(60)
    made.report(uid)
    (read,) = kept.reported(db, "2026-01-01", "2026-02-01")
    assert (read.found, read.lane) == (None, "STAT")
    assert ordered_lanes(db, [uid, "1.2.3.99"]) == {uid: Lane.STAT, "1.2.3.99": Lane.ROUTINE}


def test_a_week_begins_on_monday_by_the_sites_clock_also_when_the_clocks_change(
    berlin: None, db: Database, clock: FakeClock
) -> None:
    # Clocks went forward on 29 March 2026; that Monday began at 22:00 UTC, the one before at 23:00 UTC.
    clock.wall = datetime(2026, 3, 29, 21, 0, tzinfo=UTC)
    made = night(db, clock)
    uid = made.study()
    clock.wall = datetime(2026, 3, 29, 21, 59, tzinfo=UTC)
    made.report(uid)
    other = made.study()
    # Half past midnight there, and half past eleven by the clock of the winter.
    clock.wall = datetime(2026, 3, 29, 22, 30, tzinfo=UTC)
    made.report(other)
    told = measured(db, clock.now(), made.policy, 1)
    assert [(each["week"], each["from"], each["studies"]) for each in told] == [
        ("2026-W13", "2026-03-23", 1),
        ("2026-W14", "2026-03-30", 1),
    ]
