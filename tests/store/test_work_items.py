from __future__ import annotations

import threading

import pytest

from node.domain.work import WORK_MOVES, WorkKind, WorkState
from node.store import events, work_items
from node.store.database import Database, open_database
from tests.fakes import STUDY, FakeClock, arrive, slice_of


@pytest.fixture
def item_study(db: Database, clock: FakeClock) -> str:
    arrive(db, clock.now(), slice_of(1))
    with db.transaction():
        work_items.add(db, clock.now(), WorkKind.INFER, 7, STUDY)
    return STUDY


def claim(db: Database, clock: FakeClock, owner: str = "infer:1") -> work_items.WorkItem:
    (item,) = work_items.claim(db, clock.now(), WorkKind.INFER, owner, 30)
    return item


def state(db: Database) -> WorkState | None:
    return work_items.state(db, WorkKind.INFER, 7)


def test_an_item_is_claimed_once(db: Database, clock: FakeClock, item_study: str) -> None:
    assert claim(db, clock).attempts == 1
    assert work_items.claim(db, clock.now(), WorkKind.INFER, "infer:2", 30) == []


def test_the_same_subject_is_added_once(db: Database, clock: FakeClock, item_study: str) -> None:
    with db.transaction():
        work_items.add(db, clock.now(), WorkKind.INFER, 7, STUDY)
    claim(db, clock)
    assert work_items.claim(db, clock.now(), WorkKind.INFER, "infer:2", 30) == []


def test_two_claimers_never_get_the_same_item(db: Database, clock: FakeClock, item_study: str) -> None:
    with db.transaction():
        for subject in range(100, 140):
            work_items.add(db, clock.now(), WorkKind.INFER, subject, STUDY)
    taken: list[str] = []

    def take(owner: str) -> None:
        own = open_database(db.folder, owner)
        while items := work_items.claim(own, clock.now(), WorkKind.INFER, owner, 30):
            taken.extend(item.subject for item in items)
        own.close()

    threads = [threading.Thread(target=take, args=(f"infer:{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == len(set(taken)) == 41


def test_a_stalled_item_is_found_by_its_lease(db: Database, clock: FakeClock, item_study: str) -> None:
    item = claim(db, clock)
    clock.forward(29)
    assert work_items.expired(db, clock.now()) == []
    assert work_items.heartbeat(db, clock.now(), item, 30)
    clock.forward(29)
    assert work_items.expired(db, clock.now()) == []
    clock.forward(2)
    assert [each.id for each in work_items.expired(db, clock.now())] == [item.id]


def test_a_lease_of_an_earlier_boot_has_expired(db: Database, clock: FakeClock, item_study: str) -> None:
    claim(db, clock)
    clock.reboot()
    assert len(work_items.expired(db, clock.now())) == 1


def test_who_lost_the_item_can_neither_finish_nor_beat(db: Database, clock: FakeClock, item_study: str) -> None:
    lost = claim(db, clock)
    with db.transaction():
        work_items.give_up_or_retry(db, clock.now(), lost, "silent")
    clock.forward(60)
    won = claim(db, clock, "infer:2")
    assert not work_items.heartbeat(db, clock.now(), lost, 30)
    with db.transaction():
        assert not work_items.finish(db, clock.now(), lost)
        assert work_items.finish(db, clock.now(), won)
    assert state(db) is WorkState.FINISHED


def test_three_deaths_park_an_item(db: Database, clock: FakeClock, item_study: str) -> None:
    seen = []
    for _ in range(3):
        item = claim(db, clock)
        with db.transaction():
            seen.append(work_items.give_up_or_retry(db, clock.now(), item, "died"))
        clock.forward(60)
    assert seen == [WorkState.READY, WorkState.READY, WorkState.PARKED]
    assert work_items.claim(db, clock.now(), WorkKind.INFER, "infer:1", 30) == []


def test_a_passing_fault_counts_no_death_and_waits_longer_each_time(
    db: Database, clock: FakeClock, item_study: str
) -> None:
    waits = []
    for _ in range(6):
        item = claim(db, clock)
        assert item.attempts == 1
        with db.transaction():
            work_items.give_back(db, clock.now(), item, "disk full")
        waited = 0.0
        while db.row("SELECT 1 FROM work_item WHERE kind = 'infer' AND not_before_boot_s > ?", (clock.boottime_s,)):
            clock.forward(0.5)
            waited += 0.5
        waits.append(waited)
    assert waits[-1] > 4 * waits[0]


def test_an_orderly_stop_makes_the_item_ready_at_once(db: Database, clock: FakeClock, item_study: str) -> None:
    item = claim(db, clock)
    with db.transaction():
        work_items.give_back(db, clock.now(), item, "stopping", wait_s=0)
    assert claim(db, clock).attempts == 1


def test_a_parked_item_is_retried_with_a_fresh_count(db: Database, clock: FakeClock, item_study: str) -> None:
    item = claim(db, clock)
    with db.transaction():
        assert work_items.park(db, clock.now(), item, "no")
        assert work_items.retry(db, clock.now(), WorkKind.INFER, 7, "asked")
        assert not work_items.retry(db, clock.now(), WorkKind.INFER, 7, "asked")
    assert claim(db, clock).attempts == 1


def test_a_cancelled_item_cannot_be_finished(db: Database, clock: FakeClock, item_study: str) -> None:
    item = claim(db, clock)
    with db.transaction():
        work_items.cancel(db, clock.now(), WorkKind.INFER, 7, "newer revision")
        assert not work_items.finish(db, clock.now(), item)
    assert state(db) is WorkState.CANCELLED


def test_the_most_urgent_study_is_claimed_first(db: Database, clock: FakeClock, item_study: str) -> None:
    arrive(db, clock.now(), slice_of(1, study="1.2.5", series="1.2.5.1"))
    with db.transaction():
        work_items.add(db, clock.now(), WorkKind.INFER, 8, "1.2.5")
        db.execute("UPDATE study SET lane_order = 0 WHERE study_instance_uid = '1.2.5'")
    assert claim(db, clock).subject == "8"


def test_every_move_is_an_event(db: Database, clock: FakeClock, item_study: str) -> None:
    item = claim(db, clock)
    with db.transaction():
        work_items.finish(db, clock.now(), item, "well")
    moves = [(each.before, each.after) for each in events.of_study(db, STUDY) if each.subject == "infer:7"]
    assert moves == [("", "ready"), ("ready", "claimed"), ("claimed", "finished")]


@pytest.mark.parametrize("before", list(WorkState))
@pytest.mark.parametrize("after", [WorkState.CANCELLED, WorkState.READY])
def test_only_legal_moves_are_made(
    db: Database, clock: FakeClock, item_study: str, before: WorkState, after: WorkState
) -> None:
    db.execute("UPDATE work_item SET state = ? WHERE kind = 'infer'", (before,))
    with db.transaction():
        if after is WorkState.CANCELLED:
            work_items.cancel(db, clock.now(), WorkKind.INFER, 7, "test")
        else:
            work_items.retry(db, clock.now(), WorkKind.INFER, 7, "test")
    legal = after in WORK_MOVES[before] and (after is WorkState.CANCELLED or before is WorkState.PARKED)
    assert state(db) is (after if legal else before)
