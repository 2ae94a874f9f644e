"""What is asked around the sending decides whether it happens."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from node.deliver.oversight import Leave, Oversight, Permit
from node.domain.time import Instant
from node.domain.work import ResultState
from node.errors import Transient
from node.store import outbox
from node.store.database import Database
from node.store.outbox import OutboxRow
from tests.deliver.conftest import Pacs, queue_results, serving, settings_for
from tests.fakes import STUDY, FakeClock

Start = Callable[..., Pacs]


class Watching(Oversight):
    """Answers as told, and remembers."""

    def __init__(self, permit: Permit | Transient | None = None) -> None:
        self.answer = permit or Permit()
        self.asked: list[tuple[str, int]] = []
        self.noted: list[int] = []
        self.turns = 0

    def permit(self, study_instance_uid: str, rows: Sequence[OutboxRow]) -> Permit:
        self.asked.append((study_instance_uid, len(rows)))
        if isinstance(self.answer, Transient):
            raise self.answer
        return self.answer

    def sent(self, now: Instant, row: OutboxRow) -> None:
        self.noted.append(row.id)

    def step(self) -> bool:
        self.turns += 1
        return False


def test_a_study_is_asked_for_once_a_batch_and_each_sent_row_is_noted(
    db: Database, clock: FakeClock, pacs: Start
) -> None:
    archive, watching = pacs(), Watching()
    queue_results(db, clock.now(), (1, 2))
    sender = serving(db, clock, settings_for(db, {"PACS": archive.port}), oversight=watching)
    sender.step()
    assert watching.asked == [(STUDY, 2)]
    assert watching.noted == [row.id for row in outbox.of_study(db, STUDY)]
    assert not sender.step()
    assert watching.turns == 1


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        (Permit(Leave.WAIT, "the study is not there yet"), ResultState.QUEUED),
        (Transient("the study is not there yet"), ResultState.QUEUED),
        (Permit(Leave.HOLD, "the study is not there yet"), ResultState.HELD),
    ],
)
def test_what_may_not_leave_is_not_sent_and_says_why(
    db: Database, clock: FakeClock, pacs: Start, answer: Permit | Transient, state: ResultState
) -> None:
    archive, watching = pacs(), Watching(answer)
    queue_results(db, clock.now())
    sender = serving(db, clock, settings_for(db, {"PACS": archive.port}), oversight=watching)
    sender.step()
    (row,) = outbox.of_study(db, STUDY)
    assert (row.state, row.reason, archive.requested) == (state, "the study is not there yet", [])
    assert watching.noted == []
    clock.forward(60)
    watching.answer = Permit()
    assert sender.step() is (state is ResultState.QUEUED)


def test_what_is_rebuilt_is_left_to_who_rebuilds_it(db: Database, clock: FakeClock, pacs: Start) -> None:
    archive = pacs()
    queue_results(db, clock.now())

    class Rebuilding(Oversight):
        def permit(self, study_instance_uid: str, rows: Sequence[OutboxRow]) -> Permit:
            with db.transaction():
                for row in rows:
                    outbox.move(db, clock.now(), row, ResultState.SUPERSEDED, "rebuilt as the archive has it")
            return Permit(Leave.REBUILD)

    serving(db, clock, settings_for(db, {"PACS": archive.port}), oversight=Rebuilding()).step()
    (row,) = outbox.of_study(db, STUDY)
    assert (row.state, archive.requested) == (ResultState.SUPERSEDED, [])
