"""Studies of old, and those we retrieved ourselves, raise nothing and send nothing until somebody asks."""

from __future__ import annotations

from dataclasses import replace

import pytest

from node.domain.priority import Lane
from node.domain.retrieval import Purpose, RetrievalState
from node.domain.study import Order, StudyState
from node.domain.work import OutcomeState, WorkKind
from node.store import outcomes, retrievals, studies, work_items
from node.store.database import Database
from node.store.outcomes import Outcome
from node.store.studies import StudyRow
from node.workflow import operations
from node.workflow.closing import close_due
from tests.fakes import STUDY, FakeClock, arrive, model, policy, slice_of
from tests.workflow.test_completeness import QUIET_S, early_policy, runs, with_completeness
from tests.workflow.test_reading import read, report


def send(db: Database, clock: FakeClock, study_date: str, count: int = 5, first: int = 0, priority: str = "") -> None:
    order = Order(study_date=study_date, requested_priority=priority)
    for number in range(first, first + count):
        arrive(db, clock.now(), slice_of(number, order=order))


def retrieve(db: Database, clock: FakeClock, numbers: range, *, retrieved: bool = True) -> None:
    """Let slices come by a retrieval of our own."""
    for number in numbers:
        arrive(db, clock.now(), slice_of(number), retrieved=retrieved)


def the_study(db: Database) -> StudyRow:
    study = studies.study(db, STUDY)
    assert study is not None
    return study


def the_outcome(db: Database) -> Outcome:
    (outcome,) = outcomes.current(db, STUDY)
    return outcome


# The clock of these tests begins on 2026-01-02.
@pytest.mark.parametrize(
    ("study_date", "is_read"),
    [
        ("20260102", True),
        ("20251226", True),
        ("20251224", False),
        ("20130717", False),
        ("", True),
        ("20270101", True),
        ("19000101", True),
        ("19700101", True),
        ("20251301", True),
        ("1994.11.05", True),
        ("unknown", True),
    ],
)
def test_a_study_older_than_a_week_is_not_read_and_a_date_that_says_nothing_counts_as_new(
    db: Database, clock: FakeClock, study_date: str, is_read: bool
) -> None:
    send(db, clock, study_date)
    close_due(db, clock.forward(QUIET_S), policy(model()))
    assert the_outcome(db).state is (OutcomeState.PENDING if is_read else OutcomeState.NOT_APPLICABLE)
    assert bool(the_study(db).prior) is not is_read


def test_a_prior_says_so_raises_nothing_and_is_done(db: Database, clock: FakeClock) -> None:
    send(db, clock, "20200101", priority="STAT")
    close_due(db, clock.forward(QUIET_S), policy(model()))
    study = the_study(db)
    assert the_outcome(db).reason == f"a prior: made more than 7 days ago; `matins force {STUDY}` reads it"
    assert (study.state, study.lane, study.score, study.reasons) == (StudyState.DONE, Lane.ROUTINE, 0, ())
    assert work_items.claim(db, clock.now(), WorkKind.INFER, "infer", 30) == []


def test_a_forced_prior_is_read_ranked_and_sent(db: Database, clock: FakeClock) -> None:
    used = policy(model())
    send(db, clock, "20200101", priority="STAT")
    close_due(db, clock.forward(QUIET_S), used)
    assert operations.force(db, clock.now(), used, STUDY) == ["brain runs again"]
    assert the_study(db).lane is Lane.STAT
    read(db, clock, used)
    assert {row.destination for row in report(db, clock, used)} == {"PACS"}


def test_a_prior_that_was_forced_is_read_anew_when_more_of_it_comes(db: Database, clock: FakeClock) -> None:
    used = policy(model())
    send(db, clock, "20200101")
    close_due(db, clock.forward(QUIET_S), used)
    operations.force(db, clock.now(), used, STUDY)
    send(db, clock, "20200101", 1, first=5)
    close_due(db, clock.forward(QUIET_S), used)
    assert the_outcome(db).state is OutcomeState.PENDING
    assert len(outcomes.inputs(db, the_outcome(db).id)) == 6


def test_forcing_a_prior_that_still_receives_reads_it_even_where_nothing_new_came(
    db: Database, clock: FakeClock
) -> None:
    used = policy(model())
    send(db, clock, "20200101")
    operations.force(db, clock.now(), used, STUDY)
    close_due(db, clock.now(), used)
    assert the_outcome(db).state is OutcomeState.PENDING
    other = "1.2.3.5"
    for number in range(5):
        arrive(db, clock.now(), slice_of(number, study=other, series="1.2.3.5.1", order=Order(study_date="20200101")))
    close_due(db, clock.forward(QUIET_S), used)
    arrive(db, clock.now(), slice_of(1, study=other, series="1.2.3.5.2", modality="CT"))
    operations.force(db, clock.now(), used, other)
    close_due(db, clock.now(), used)
    assert [each.state for each in outcomes.current(db, other)] == [OutcomeState.PENDING]


def test_the_same_prior_closed_again_stays_as_it_was(db: Database, clock: FakeClock) -> None:
    used = policy(model())
    send(db, clock, "20200101")
    close_due(db, clock.forward(QUIET_S), used)
    arrive(db, clock.now(), slice_of(1, series="1.2.3.1.8", modality="CT"))
    close_due(db, clock.forward(QUIET_S), used)
    assert (the_study(db).revision, runs(db)) == (1, [(1, 1)])


def test_a_study_that_was_read_when_it_came_is_no_prior_when_more_of_it_comes_late(
    db: Database, clock: FakeClock
) -> None:
    used = policy(model())
    send(db, clock, "20260101", priority="STAT")
    close_due(db, clock.forward(QUIET_S), used)
    read(db, clock, used)
    clock.forward(9 * 86400)
    send(db, clock, "20260101", 1, first=5)
    close_due(db, clock.forward(QUIET_S), used)
    assert (the_outcome(db).state, the_outcome(db).revision) == (OutcomeState.PENDING, 2)
    assert the_study(db).lane is Lane.STAT


def test_a_site_may_read_studies_of_any_age(db: Database, clock: FakeClock) -> None:
    send(db, clock, "20200101")
    close_due(db, clock.forward(QUIET_S), with_completeness(policy(model()), max_age_days=0))
    assert the_outcome(db).state is OutcomeState.PENDING


def test_what_we_retrieved_ourselves_is_a_prior_unless_the_scanner_sends_some_of_it_too(
    db: Database, clock: FakeClock
) -> None:
    retrieve(db, clock, range(5))
    close_due(db, clock.forward(QUIET_S), policy(model()))
    assert "retrieved by this node" in the_outcome(db).reason
    retrieve(db, clock, range(5, 6), retrieved=False)
    close_due(db, clock.forward(QUIET_S), policy(model()))
    assert the_outcome(db).state is OutcomeState.PENDING
    assert the_study(db).prior == ""


def test_what_a_person_fetched_is_read_like_any_study(db: Database, clock: FakeClock) -> None:
    with db.transaction():
        retrievals.record(db, clock.now(), STUDY, "PACS", Purpose.ASKED)
    retrieve(db, clock, range(5))
    close_due(db, clock.forward(QUIET_S), policy(model()))
    assert the_outcome(db).state is OutcomeState.PENDING


def test_a_prior_that_is_here_is_read_once_a_person_has_fetched_it(db: Database, clock: FakeClock) -> None:
    send(db, clock, "20200101")
    close_due(db, clock.forward(QUIET_S), policy(model()))
    with db.transaction():
        asked = retrievals.record(db, clock.now(), STUDY, "PACS", Purpose.ASKED)
    assert close_due(db, clock.forward(1), policy(model())) == 0
    with db.transaction():
        retrievals.move(db, clock.now(), asked.id, RetrievalState.RETRIEVING)
        retrievals.move(db, clock.now(), asked.id, RetrievalState.RETRIEVED)
    assert close_due(db, clock.forward(1), policy(model())) == 1
    assert the_outcome(db).state is OutcomeState.PENDING
    assert close_due(db, clock.forward(1), policy(model())) == 0


def test_a_prior_is_not_read_early_either(db: Database, clock: FakeClock) -> None:
    send(db, clock, "20200101", 10)
    close_due(db, clock.forward(60), early_policy())
    assert runs(db) == []


def test_of_several_dates_in_one_study_the_first_that_is_given_counts(db: Database, clock: FakeClock) -> None:
    send(db, clock, "")
    arrive(db, clock.now(), replace(slice_of(7), order=Order(study_date="20200101")))
    close_due(db, clock.forward(QUIET_S), policy(model()))
    assert the_outcome(db).state is OutcomeState.NOT_APPLICABLE
