"""Each thing of the night once a local day: over restarts, missed nights, summer time, other zones and clock steps."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from node.domain.night import NightlyTask, RunState
from node.domain.work import WorkKind, WorkState
from node.errors import Transient
from node.store import digests, events, nightly_runs, work_items
from node.store.database import Database, open_database
from node.workflow import nightly
from node.workflow.policy import Policy
from tests.fakes import FakeClock, model, policy

RIS = {"name": "RIS", "ae_title": "RIS", "host": "127.0.0.1", "port": 4343, "roles": ["modality_worklist"]}
HOUR_S, DAY_S = 3600.0, 86_400.0


def site(zone: str = "Europe/Berlin", **night: object) -> Policy:
    made = policy(model(), more_peers=(RIS,))  # type: ignore[arg-type]
    told = made.settings.model_dump() | {"night": {"timezone": zone, **night}}
    return replace(made, settings=made.settings.model_validate(told))


def at(clock: FakeClock, *parts: int) -> None:
    """Let time go on until then, UTC."""
    clock.forward((datetime(*parts, tzinfo=UTC) - clock.wall).total_seconds())  # type: ignore[arg-type,misc]


def beat(db: Database, clock: FakeClock, made: Policy) -> list[tuple[NightlyTask, date]]:
    return [(each.task, each.day) for each in nightly.run_due(db, clock.now, made)]


def set_up(db: Database, clock: FakeClock, made: Policy) -> None:
    """A node that has seen one morning."""
    beat(db, clock, made)
    clock.forward(DAY_S)
    beat(db, clock, made)


def states(db: Database, task: NightlyTask) -> dict[str, str]:
    return {run.day.isoformat(): run.state.value for run in nightly_runs.newest(db, 500) if run.task is task}


def test_a_node_that_was_just_set_up_begins_with_the_next_night(db: Database, clock: FakeClock) -> None:
    made = site()
    assert beat(db, clock, made) == []
    assert states(db, NightlyTask.DIGEST) == {"2026-01-01": "skipped"}
    at(clock, 2026, 1, 2, 5, 1)
    assert [task for task, _ in beat(db, clock, made)] == ["ranking", "digest", "impact"]


def test_each_task_is_done_once_a_day_however_often_it_is_looked_at(db: Database, clock: FakeClock) -> None:
    made = site()
    set_up(db, clock, made)
    done = []
    for _ in range(3 * 24 * 4):
        clock.forward(HOUR_S / 4)
        done += beat(db, clock, made)
    assert len(done) == len(set(done)) == 3 * len(NightlyTask)


def test_the_evening_comes_with_the_window_and_the_morning_by_its_own_time(db: Database, clock: FakeClock) -> None:
    made = site(window="21:30-05:00", morning="05:30")
    set_up(db, clock, made)
    at(clock, 2026, 1, 10, 12)
    beat(db, clock, made)
    at(clock, 2026, 1, 10, 20, 29)
    assert beat(db, clock, made) == []
    at(clock, 2026, 1, 10, 20, 30)
    assert beat(db, clock, made) == [("prefetch", date(2026, 1, 10)), ("rerun", date(2026, 1, 10))]
    at(clock, 2026, 1, 11, 4, 29)
    assert beat(db, clock, made) == []
    at(clock, 2026, 1, 11, 4, 30)
    assert [task for task, _ in beat(db, clock, made)] == ["ranking", "digest", "impact"]


def test_a_restart_does_nothing_again(db: Database, clock: FakeClock) -> None:
    made = site()
    set_up(db, clock, made)
    other = open_database(db.folder, "clock")
    clock.reboot()
    assert beat(other, clock, made) == []
    other.close()


def test_what_was_missed_is_made_up_for_once_and_told(db: Database, clock: FakeClock) -> None:
    made = site()
    set_up(db, clock, made)
    at(clock, 2026, 1, 8, 12)
    assert [day for _, day in beat(db, clock, made)] == [date(2026, 1, 7)] * 2 + [date(2026, 1, 8)] * 3
    assert beat(db, clock, made) == []
    told = states(db, NightlyTask.DIGEST)
    assert [told[f"2026-01-0{day}"] for day in range(2, 9)] == ["done", *["skipped"] * 5, "done"]
    assert digests.days(db, 9) == [date(2026, 1, 8), date(2026, 1, 2)]


@pytest.mark.parametrize(
    ("before", "morning", "day"),
    [((2026, 3, 28, 12), "02:30", date(2026, 3, 29)), ((2026, 10, 24, 12), "02:30", date(2026, 10, 25))],
)
def test_when_clocks_are_turned_the_morning_comes_once(
    db: Database, clock: FakeClock, before: tuple[int, ...], morning: str, day: date
) -> None:
    made = site(morning=morning)
    set_up(db, clock, made)
    at(clock, *before)
    beat(db, clock, made)
    done = []
    for _ in range(24 * 6):
        clock.forward(600)
        done += [each for each in beat(db, clock, made) if each[0] is NightlyTask.DIGEST]
    assert done == [(NightlyTask.DIGEST, day)]


def test_a_clock_that_was_a_day_ahead_costs_no_morning(db: Database, clock: FakeClock) -> None:
    made = site()
    set_up(db, clock, made)
    at(clock, 2026, 1, 10, 12)
    beat(db, clock, made)
    clock.wall += timedelta(days=1)  # somebody sets it wrong
    assert (NightlyTask.DIGEST, date(2026, 1, 11)) in beat(db, clock, made)
    clock.wall -= timedelta(days=1)  # and right again
    assert beat(db, clock, made) == []
    assert states(db, NightlyTask.DIGEST)["2026-01-11"] == RunState.UNTIMELY
    at(clock, 2026, 1, 11, 5, 30)
    assert (NightlyTask.DIGEST, date(2026, 1, 11)) in beat(db, clock, made)


def test_a_clock_that_was_a_day_behind_does_nothing_again(db: Database, clock: FakeClock) -> None:
    made = site()
    set_up(db, clock, made)
    at(clock, 2026, 1, 10, 12)
    beat(db, clock, made)
    clock.wall -= timedelta(days=1)
    assert beat(db, clock, made) == []
    clock.wall += timedelta(days=1)
    assert (NightlyTask.DIGEST, date(2026, 1, 10)) not in beat(db, clock, made)


def test_a_clock_that_is_corrected_by_minutes_does_nothing_again(db: Database, clock: FakeClock) -> None:
    made = site()
    set_up(db, clock, made)
    at(clock, 2026, 1, 10, 5, 0, 1)
    beat(db, clock, made)
    clock.wall -= timedelta(minutes=5)
    assert beat(db, clock, made) == []
    clock.forward(600)
    assert beat(db, clock, made) == []


def test_another_zone_brings_no_second_morning_on_one_day(db: Database, clock: FakeClock) -> None:
    set_up(db, clock, site())
    at(clock, 2026, 1, 10, 6)
    beat(db, clock, site())
    done = []
    for _ in range(24 * 3):
        clock.forward(HOUR_S)
        done += [day for task, day in beat(db, clock, site("America/New_York")) if task is NightlyTask.DIGEST]
    assert done == [date(2026, 1, 11), date(2026, 1, 12)]


def test_a_task_that_the_node_dies_over_is_tried_thrice_and_then_left_with_the_reason(
    db: Database, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = site()
    set_up(db, clock, made)
    clock.forward(DAY_S)
    tried: list[int] = []

    def rerank_all(*_: object) -> int:
        tried.append(1)
        raise RuntimeError("a bug")

    monkeypatch.setattr(nightly, "rerank_all", rerank_all)
    for _ in range(3):
        with pytest.raises(RuntimeError):
            beat(db, clock, made)
    done = [task for task, _ in beat(db, clock, made)]
    assert (len(tried), NightlyTask.DIGEST in done) == (3, True)
    assert states(db, NightlyTask.RANKING)["2026-01-03"] == "failed"
    told = digests.newest(db)
    assert told is not None
    assert {"task": "ranking", "day": "2026-01-03", "state": "failed"}.items() <= told.body["night"][-1].items()


def test_a_busy_database_is_nobody_s_fault(db: Database, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    made = site()
    set_up(db, clock, made)
    clock.forward(DAY_S)

    def rerank_all(*_: object) -> int:
        raise Transient("busy")

    with monkeypatch.context() as patched:
        patched.setattr(nightly, "rerank_all", rerank_all)
        for _ in range(9):
            with pytest.raises(Transient):
                beat(db, clock, made)
    assert NightlyTask.RANKING in [task for task, _ in beat(db, clock, made)]


@pytest.mark.parametrize(("window", "asked"), [("22:00-06:00", "2026-01-11"), ("00:30-06:00", "2026-01-10")])
def test_in_the_evening_it_is_asked_who_comes_on_the_day_in_which_the_night_ends(
    db: Database, clock: FakeClock, window: str, asked: str
) -> None:
    made = site(window=window)
    set_up(db, clock, made)
    at(clock, 2026, 1, 10, 22)
    beat(db, clock, made)
    assert work_items.state(db, WorkKind.WORKLIST, f"RIS/{asked}") is WorkState.READY


#: Hours that pass, the clock set wrong by a day and right again some hours later, a restart, another zone.
steps = st.lists(
    st.one_of(
        st.tuples(st.just("on"), st.integers(1, 40)),
        st.tuples(st.just("ahead"), st.integers(1, 10)),
        st.tuples(st.just("behind"), st.integers(1, 10)),
        st.tuples(st.just("restart"), st.just(0)),
        st.tuples(st.just("zone"), st.integers(0, 3)),
    ),
    min_size=4,
    max_size=10,
)
ZONES = ["Europe/Berlin", "America/New_York", "Pacific/Auckland", "UTC"]


@settings(
    max_examples=10,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@example(start=(2026, 3, 28), steps=[("ahead", 3), ("on", 24), ("behind", 9), ("zone", 1), ("on", 24)])
@given(start=st.sampled_from([(2026, 3, 26), (2026, 10, 22), (2026, 7, 1)]), steps=steps)
def test_whatever_the_clock_does_no_day_that_counts_is_done_twice_and_the_next_true_morning_comes(
    db: Database, start: tuple[int, int, int], steps: list[tuple[str, int]]
) -> None:
    for table in ("nightly_run", "digest", "boot", "event"):
        db.execute(f"DELETE FROM {table}")
    clock, made = FakeClock(), site(rerun_priors=0)
    clock.wall = datetime(*start, tzinfo=UTC)

    def look() -> None:
        beat(db, clock, made)
        counted: Counter[str] = Counter()
        for each in events.latest(db, "night", 10_000):
            if each.subject == NightlyTask.DIGEST and each.after in ("done", "untimely"):
                counted[each.before] += 1 if each.after == "done" else -1
        assert all(number <= 1 for number in counted.values()), counted

    look()
    for what, number in steps:
        wrong = timedelta(days={"ahead": 1, "behind": -1}.get(what, 0))
        clock.wall += wrong
        look()
        clock.forward(number * HOUR_S if what in ("on", "ahead", "behind") else 0)
        look()
        clock.wall -= wrong
        if what == "restart":
            clock.reboot()
        made = site(ZONES[number], rerun_priors=0) if what == "zone" else made
        look()
    clock.forward(48 * HOUR_S)
    assert NightlyTask.DIGEST in [task for task, _ in beat(db, clock, made)]
