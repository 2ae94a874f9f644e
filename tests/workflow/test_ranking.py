from __future__ import annotations

from node.store import events, studies
from node.store.database import Database
from node.workflow import ranking
from node.workflow.closing import close_due
from tests.fakes import STUDY, FakeClock, arrive, model, policy, slice_of
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
