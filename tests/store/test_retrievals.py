from __future__ import annotations

import pytest

from node.domain.retrieval import RETRIEVAL_MOVES, Purpose, RetrievalState
from node.domain.work import WorkKind, WorkState
from node.store import events, instances, retrievals, work_items
from node.store.database import Database
from node.store.retrievals import Retrieval
from tests.fakes import STUDY, FakeClock, arrive, slice_of


def ask(db: Database, clock: FakeClock, purpose: Purpose = Purpose.ASKED, peer: str = "PACS") -> Retrieval:
    with db.transaction():
        return retrievals.record(db, clock.now(), STUDY, peer, purpose)


def move(db: Database, clock: FakeClock, of: Retrieval, after: RetrievalState, reason: str = "") -> bool:
    with db.transaction():
        return retrievals.move(db, clock.now(), of.id, after, reason)


def current(db: Database, of: Retrieval) -> Retrieval:
    found = retrievals.retrieval(db, of.id)
    assert found is not None
    return found


def test_asking_makes_a_retrieval_and_its_work_item_which_is_claimed_though_nothing_of_the_study_is_here(
    db: Database, clock: FakeClock
) -> None:
    made = ask(db, clock)
    assert (made.state, made.purpose, made.is_open) == (RetrievalState.REQUESTED, Purpose.ASKED, True)
    prefix = retrievals.subject_prefix("PACS")
    assert work_items.claim(db, clock.now(), WorkKind.FETCH, "x", 60, subject_prefix="PAC/") == []
    (item,) = work_items.claim(db, clock.now(), WorkKind.FETCH, "x", 60, subject_prefix=prefix)
    assert retrievals.id_of(item.subject) == made.id


def test_one_that_is_under_way_is_not_asked_for_again_but_one_that_is_over_is(db: Database, clock: FakeClock) -> None:
    first = ask(db, clock)
    assert ask(db, clock).id == first.id
    assert ask(db, clock, peer="OTHER").id != first.id
    move(db, clock, first, RetrievalState.FAILED, "gone")
    assert ask(db, clock).id > first.id


def test_a_prior_that_a_person_asks_for_meanwhile_is_theirs(db: Database, clock: FakeClock) -> None:
    prior = ask(db, clock, Purpose.PRIOR)
    assert not retrievals.asked(db, STUDY)
    assert ask(db, clock, Purpose.ASKED).id == prior.id
    assert retrievals.asked(db, STUDY)
    assert ask(db, clock, Purpose.PRIOR).purpose is Purpose.ASKED


@pytest.mark.parametrize("before", list(RetrievalState))
@pytest.mark.parametrize("after", list(RetrievalState))
def test_only_legal_moves_are_made(
    db: Database, clock: FakeClock, before: RetrievalState, after: RetrievalState
) -> None:
    made = ask(db, clock)
    db.execute("UPDATE retrieval SET state = ? WHERE id = ?", (before, made.id))
    assert move(db, clock, made, after, "because") == (after in RETRIEVAL_MOVES[before])
    assert current(db, made).state is (after if after in RETRIEVAL_MOVES[before] else before)


def test_moves_are_dated_and_told(db: Database, clock: FakeClock) -> None:
    made = ask(db, clock)
    move(db, clock, made, RetrievalState.RETRIEVING)
    started = current(db, made).started_at
    clock.forward(5)
    move(db, clock, made, RetrievalState.REQUESTED, "not now")
    move(db, clock, made, RetrievalState.RETRIEVING)
    assert current(db, made).started_at == started
    assert current(db, made).finished_at == ""
    move(db, clock, made, RetrievalState.RETRIEVED, "all here")
    assert current(db, made).finished_at == clock.now().iso
    told = [event.after for event in events.of_study(db, STUDY) if event.about == "retrieval"]
    assert told == ["requested", "retrieving", "requested", "retrieving", "retrieved"]


def test_what_comes_while_we_retrieve_it_is_known_as_retrieved_though_the_archive_does_not_say_so(
    db: Database, clock: FakeClock
) -> None:
    made = ask(db, clock, peer="SCANNER")
    arrive(db, clock.now(), slice_of(1))
    assert not retrievals.is_open(db, STUDY, "SCANNER")
    move(db, clock, made, RetrievalState.RETRIEVING)
    assert retrievals.is_open(db, STUDY, "SCANNER")
    assert not retrievals.is_open(db, STUDY, "OTHER")
    arrive(db, clock.now(), slice_of(2))
    arrive(db, clock.now(), slice_of(3), source="OTHER")
    move(db, clock, made, RetrievalState.RETRIEVED)
    arrive(db, clock.now(), slice_of(4))
    assert [each.retrieved for each in instances.of_study(db, STUDY)] == [False, True, False, False]


def test_a_study_is_a_prior_once_its_retrieval_has_begun_and_nobody_asked_for_it(
    db: Database, clock: FakeClock
) -> None:
    made = ask(db, clock, Purpose.PRIOR)
    assert not retrievals.is_prior(db, STUDY)
    move(db, clock, made, RetrievalState.RETRIEVING)
    assert retrievals.is_prior(db, STUDY)
    ask(db, clock, Purpose.ASKED)
    assert not retrievals.is_prior(db, STUDY)


def test_progress_is_kept_and_what_is_not_told_stays(db: Database, clock: FakeClock) -> None:
    made = ask(db, clock)
    with db.transaction():
        retrievals.record_progress(db, made.id, expected=10, held=1)
        retrievals.record_progress(db, made.id, held=4, failed=2)
    assert (current(db, made).expected, current(db, made).held, current(db, made).failed) == (10, 4, 2)


def test_the_item_of_a_retrieval_that_killed_its_room_is_parked_and_the_retrieval_failed(
    db: Database, clock: FakeClock
) -> None:
    from node.workflow.recovery import recover_expired
    from tests.fakes import policy

    made = ask(db, clock)
    for _ in range(3):
        work_items.claim(db, clock.now(), WorkKind.FETCH, "x", 10)
        recover_expired(db, clock.forward(60), policy())
        clock.forward(60)
    assert work_items.state(db, WorkKind.FETCH, f"PACS/{made.id}") is WorkState.PARKED
    assert current(db, made).state is RetrievalState.FAILED
