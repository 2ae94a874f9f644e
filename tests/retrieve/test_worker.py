from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from node.domain.model_card import Mode
from node.domain.work import OutcomeState, ResultState, WorkKind, WorkState
from node.errors import Failed, Transient
from node.loop import work_step
from node.retrieve.counts import Counts, archives_of, own_results_at
from node.retrieve.question import Question
from node.store import artifacts, outbox, outcomes, studies, work_items
from node.store.database import Database
from node.workflow.closing import close_due
from node.workflow.policy import Policy
from tests.fakes import STUDY, FakeClock, arrive, slice_of
from tests.retrieve.conftest import Archive, settings_for
from tests.site import ROOT, wait_until

SUBJECT = f"{STUDY}/1"
Reply = int | Exception


class Asked:
    """Stands for the process that asks: gives these replies, the last one for ever."""

    def __init__(self, *replies: Reply) -> None:
        self.replies = list(replies)
        self.questions: list[Question] = []

    def __call__(self, question: Question) -> int:
        self.questions.append(question)
        reply = self.replies[min(len(self.questions), len(self.replies)) - 1]
        if isinstance(reply, Exception):
            raise reply
        return reply


@pytest.fixture
def item(db: Database, clock: FakeClock) -> None:
    arrive(db, clock.now(), slice_of(1))
    with db.transaction():
        work_items.add(db, clock.now(), WorkKind.EXPECTED_COUNT, SUBJECT, STUDY)


def step(db: Database, clock: FakeClock, asked: Asked, **more: int) -> bool:
    counts = Counts(db, clock, settings_for(db, 4242, **more), asked)
    return work_step(db, clock, counts.handling())()


def expected(db: Database) -> int | None:
    study = studies.study(db, STUDY)
    assert study is not None
    return study.expected_count


def standing(db: Database) -> tuple[WorkState | None, str]:
    row = db.row("SELECT reason FROM work_item WHERE kind = 'expected_count'")
    assert row is not None
    return work_items.state(db, WorkKind.EXPECTED_COUNT, SUBJECT), row["reason"]


@pytest.mark.usefixtures("item")
def test_the_count_is_recorded_with_the_end_of_the_item(db: Database, clock: FakeClock) -> None:
    asked = Asked(384)
    assert step(db, clock, asked)
    assert expected(db) == 384
    assert standing(db) == (WorkState.FINISHED, "384 instances expected")
    (question,) = asked.questions
    assert (question.study_instance_uid, question.port, question.our_ae_title) == (STUDY, 4242, "MATINS")
    assert not step(db, clock, asked)


@pytest.mark.usefixtures("item")
def test_an_archive_that_is_away_is_asked_three_times_and_then_the_quiet_time_decides(
    db: Database, clock: FakeClock
) -> None:
    asked = Asked(Transient("nobody answers"))
    for _ in range(2):
        assert step(db, clock, asked)
        assert standing(db)[0] is WorkState.READY
        assert not step(db, clock, asked)
        clock.forward(10)
    assert step(db, clock, asked)
    state, reason = standing(db)
    assert (state, len(asked.questions), expected(db)) == (WorkState.FINISHED, 3, None)
    assert "nobody answers" in reason
    assert "quiet time decides alone" in reason


@pytest.mark.usefixtures("item")
def test_an_archive_that_is_back_in_time_is_believed(db: Database, clock: FakeClock) -> None:
    asked = Asked(Transient("nobody answers"), 5)
    step(db, clock, asked)
    clock.forward(10)
    step(db, clock, asked)
    assert expected(db) == 5


@pytest.mark.usefixtures("item")
def test_an_archive_that_has_no_number_is_asked_once(db: Database, clock: FakeClock) -> None:
    asked = Asked(Failed("does not hold the study"))
    step(db, clock, asked)
    assert standing(db)[0] is WorkState.FINISHED
    assert expected(db) is None


@pytest.mark.usefixtures("item")
def test_a_question_that_kills_its_asker_is_parked_and_holds_up_no_study(db: Database, clock: FakeClock) -> None:
    asked = Asked(ZeroDivisionError("oops"))
    for _ in range(3):
        step(db, clock, asked)
        clock.forward(60)
    assert standing(db)[0] is WorkState.PARKED


@pytest.mark.usefixtures("item")
def test_of_two_archives_the_one_that_has_more_counts_and_others_are_not_asked(db: Database, clock: FakeClock) -> None:
    arrive(db, clock.now(), slice_of(2), source="SECOND")
    arrive(db, clock.now(), slice_of(3), source="PLAIN")
    asked = Asked(2, 9)
    step(db, clock, asked, SECOND=4243, THIRD=4244)
    assert [question.peer for question in asked.questions] == ["SCANNER", "SECOND"]
    assert expected(db) == 9


def test_only_archives_that_sent_the_study_are_asked(db: Database, clock: FakeClock) -> None:
    arrive(db, clock.now(), slice_of(1), source="PLAIN")
    assert archives_of(db, settings_for(db, 4242), STUDY) == []


def test_our_own_results_at_the_archive_are_not_waited_for(db: Database, clock: FakeClock, item: None) -> None:
    settings = settings_for(db, 4242)
    with db.transaction():
        outcome_id = outcomes.add(
            db,
            clock.now(),
            study=STUDY,
            revision=1,
            run_number=1,
            model="brain",
            mode=Mode.LIVE,
            model_digest="m",
            card_digest="c",
            series_instance_uid="",
            content_digest="d",
            series=(),
            state=OutcomeState.RESULT,
        )
        for kind in ("seg", "sr"):
            names = {"kind": kind, "path": f"results/{kind}", "sop_instance_uid": f"2.25.{len(kind)}"}
            artifact_id = artifacts.record(db, clock.now(), outcome_id=outcome_id, size=1, digest="", **names)
            outbox.add(db, clock.now(), artifact_id=artifact_id, study=STUDY, destination="SCANNER")
    peer = settings.peer_named("SCANNER")
    assert peer is not None
    assert own_results_at(db, peer, STUDY) == 0
    with db.transaction():
        for row in outbox.of_study(db, STUDY):
            outbox.move(db, clock.now(), row, ResultState.SENT, "")
    assert own_results_at(db, peer, STUDY) == 2
    step(db, clock, Asked(3))
    assert expected(db) == 1


def test_a_closing_study_waits_for_the_number_and_then_for_the_instances(db: Database, clock: FakeClock) -> None:
    policy = Policy(settings_for(db, 4242), (), ())
    arrive(db, clock.now(), slice_of(1))
    assert close_due(db, clock.forward(700), policy) == 0
    assert step(db, clock, Asked(2))
    assert close_due(db, clock.forward(1), policy) == 0
    arrive(db, clock.now(), slice_of(2))
    assert close_due(db, clock.forward(700), policy) == 0
    assert step(db, clock, Asked(2))
    assert close_due(db, clock.forward(1), policy) == 1


def test_the_room_asks_the_archive_and_ends_in_good_order(
    db: Database, clock: FakeClock, archive: Callable[..., Archive], tmp_path: Path, item: None
) -> None:
    asked = archive(answers=[(STUDY, 17)])
    for name in ("models", "rules"):
        (tmp_path / name).mkdir()
    config = tmp_path / "config.toml"
    config.write_text(
        '[[peers]]\nname = "SCANNER"\nae_title = "SCANNER"\nhost = "127.0.0.1"\n'
        f"port = {asked.port}\naddresses = ['127.0.0.1/32']\nroles = ['source', 'archive']\n"
    )
    command = [sys.executable, "-m", "node", "retrieve", "--config", str(config)]
    room = subprocess.Popen(command, cwd=ROOT)
    try:
        wait_until("the count", lambda: expected(db) == 17)
    finally:
        room.send_signal(signal.SIGTERM)
        code = room.wait(60)
    assert code == 0
