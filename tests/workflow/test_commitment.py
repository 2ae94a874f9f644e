"""Reports of archives on what they keep: split, believed only where they were asked, and never twice."""

from __future__ import annotations

import pytest

from node.domain.commitment import CommitmentReport
from node.domain.work import ResultState
from node.store import commitments, events, outbox
from node.store.commitments import CommitmentState, Way
from node.store.database import Database
from node.store.outbox import OutboxRow
from node.workflow import commitment
from tests.deliver.conftest import SR, queue_results
from tests.fakes import STUDY, FakeClock

TRANSACTION = "2.25.1234"
QUIET_S = 5.0


def sent(db: Database, clock: FakeClock, numbers: tuple[int, ...] = (1, 2, 3)) -> list[OutboxRow]:
    """Results that the destination has answered success to."""
    rows = queue_results(db, clock.now(), numbers)
    return send(db, clock, rows)


def send(db: Database, clock: FakeClock, rows: list[OutboxRow]) -> list[OutboxRow]:
    clock.forward(1)
    with db.transaction():
        for row in rows:
            assert outbox.move(db, clock.now(), row, ResultState.SENT, "")
    return outbox.with_ids(db, [row.id for row in rows])


def ask(db: Database, clock: FakeClock, rows: list[OutboxRow], transaction_uid: str = TRANSACTION) -> None:
    clock.forward(1)
    with db.transaction():
        commitments.record_asked(db, clock.now(), transaction_uid, "PACS", rows, wait_s=86400)


def report(
    rows: list[OutboxRow], failed: dict[int, int] | None = None, transaction_uid: str = TRANSACTION
) -> CommitmentReport:
    """Everything is kept but what `failed` says: index → Failure Reason."""
    missing = {rows[index].sop_instance_uid: reason for index, reason in (failed or {}).items()}
    kept = {row.sop_instance_uid: SR for row in rows if row.sop_instance_uid not in missing}
    return CommitmentReport(transaction_uid=transaction_uid, committed=kept, failed=missing)


def apply(db: Database, clock: FakeClock, said: CommitmentReport, destination: str = "PACS") -> bool:
    clock.forward(1)
    with db.transaction():
        return commitment.apply(db, clock.now(), destination, said)


def states(db: Database) -> list[str]:
    return [row.state.value for row in outbox.of_study(db, STUDY)]


def due(db: Database, clock: FakeClock) -> int:
    return len(commitments.due(db, clock.now(), "PACS", quiet_s=QUIET_S, limit=100))


def test_what_is_committed_says_when_and_by_whom(db: Database, clock: FakeClock) -> None:
    rows = sent(db, clock)
    ask(db, clock, rows)
    assert apply(db, clock, report(rows))
    assert states(db) == ["committed"] * 3
    assert {row.reason for row in outbox.of_study(db, STUDY)} == {"committed by PACS"}
    assert set(commitments.confirmations_of_study(db, STUDY).values()) == {clock.now().iso}


def test_the_same_report_again_changes_nothing(db: Database, clock: FakeClock) -> None:
    rows = sent(db, clock)
    ask(db, clock, rows)
    assert apply(db, clock, report(rows))
    before = (outbox.of_study(db, STUDY), commitments.confirmations_of_study(db, STUDY))
    told = events.latest_number(db, STUDY)
    assert apply(db, clock, report(rows))
    assert apply(db, clock, report(rows, {0: 0x0112}))
    assert (outbox.of_study(db, STUDY), commitments.confirmations_of_study(db, STUDY)) == before
    assert events.latest_number(db, STUDY) == told


def test_a_mixed_report_is_split(db: Database, clock: FakeClock) -> None:
    rows = sent(db, clock, (1, 2, 3, 4, 5))
    ask(db, clock, rows)
    assert apply(db, clock, report(rows, {1: 0x0112, 2: 0x0213, 3: 0x0119, 4: 0x0122}))
    assert states(db) == ["committed", "queued", "sent", "sent", "sent"]
    found = outbox.of_study(db, STUDY)
    assert "no such object instance; it is sent again" in found[1].reason
    assert "resource limitation; it is asked again" in found[2].reason
    assert ["class / instance conflict" in found[3].reason, "not supported" in found[4].reason] == [True, True]
    clock.forward(2 * 86400)
    assert [each.row.id for each in commitments.due(db, clock.now(), "PACS", quiet_s=5, limit=9)] == [rows[2].id]


@pytest.mark.parametrize("reason", [0x0110, 0x0213, 0x0131, 0xABCD])
def test_a_passing_fault_is_asked_again_later_and_later(db: Database, clock: FakeClock, reason: int) -> None:
    rows = sent(db, clock, (1,))
    waits = []
    for number in range(9):
        ask(db, clock, rows, f"2.25.{number}")
        assert apply(db, clock, report(rows, {0: reason}, f"2.25.{number}"))
        waited = 0
        while not due(db, clock):
            clock.forward(10)
            waited += 10
        waits.append(waited)
    assert waits == sorted(waits)
    assert 50 <= waits[0] <= 120
    assert 3600 <= waits[-1] <= 3700
    assert states(db) == ["sent"]


def test_what_is_missing_is_sent_again_until_a_person_has_to_look(db: Database, clock: FakeClock) -> None:
    rows = sent(db, clock, (1,))
    for number in range(commitment.MOST_RESENDS):
        ask(db, clock, rows, f"2.25.{number}")
        assert apply(db, clock, report(rows, {0: 0x0112}, f"2.25.{number}"))
        assert states(db) == ["queued"]
        rows = send(db, clock, outbox.of_study(db, STUDY))
    ask(db, clock, rows, "2.25.99")
    assert apply(db, clock, report(rows, {0: 0x0112}, "2.25.99"))
    (row,) = outbox.of_study(db, STUDY)
    assert row.state is ResultState.DEAD
    assert "`matins retry`" in row.reason


def test_a_failure_that_was_asked_before_the_resend_says_nothing_of_it(db: Database, clock: FakeClock) -> None:
    rows = sent(db, clock, (1,))
    ask(db, clock, rows, "2.25.1")
    ask(db, clock, rows, "2.25.2")
    assert apply(db, clock, report(rows, {0: 0x0112}, "2.25.1"))
    again = send(db, clock, outbox.of_study(db, STUDY))
    assert apply(db, clock, report(again, {0: 0x0112}, "2.25.2"))
    assert states(db) == ["sent"]


def test_the_late_report_of_an_older_request_counts(db: Database, clock: FakeClock) -> None:
    rows = sent(db, clock)
    ask(db, clock, rows, "2.25.1")
    clock.forward(86400 + QUIET_S)
    assert due(db, clock) == 3
    ask(db, clock, rows, "2.25.2")
    assert due(db, clock) == 0
    assert apply(db, clock, report(rows, transaction_uid="2.25.1"))
    assert states(db) == ["committed"] * 3
    second = commitments.commitment(db, "2.25.2")
    assert second is not None
    assert second.state is CommitmentState.ASKED


def test_nothing_is_believed_that_was_not_asked(db: Database, clock: FakeClock) -> None:
    rows = sent(db, clock, (1, 2, 3))
    ask(db, clock, rows[:1])
    assert not apply(db, clock, report(rows, transaction_uid="2.25.9"))
    assert not apply(db, clock, report(rows), destination="OTHER")
    assert states(db) == ["sent"] * 3
    # The others were not asked for in this transaction.
    assert apply(db, clock, report(rows, {1: 0x0112}))
    assert states(db) == ["committed", "sent", "sent"]


def test_another_class_under_our_uid_is_not_our_object(db: Database, clock: FakeClock) -> None:
    rows = sent(db, clock, (1, 2))
    ask(db, clock, rows)
    kept = {rows[0].sop_instance_uid: "1.2.840.10008.5.1.4.1.1.4", rows[1].sop_instance_uid: SR}
    both = {rows[1].sop_instance_uid: 0x0119}
    said = CommitmentReport(transaction_uid=TRANSACTION, committed=kept, failed=both)
    assert apply(db, clock, said)
    assert states(db) == ["sent", "sent"]


def test_what_was_taken_back_meanwhile_stays_taken_back(db: Database, clock: FakeClock) -> None:
    rows = sent(db, clock, (1, 2))
    ask(db, clock, rows)
    with db.transaction():
        for row in rows:
            outbox.move(db, clock.now(), row, ResultState.WITHDRAWN, "withdrawn")
    assert apply(db, clock, report(rows, {1: 0x0112}))
    assert states(db) == ["withdrawn"] * 2
    assert commitments.confirmations_of_study(db, STUDY) == {}


def test_who_lost_a_row_does_not_queue_it_again(db: Database, clock: FakeClock) -> None:
    (row,) = queue_results(db, clock.now(), (1,))
    send(db, clock, [row])
    with db.transaction():
        assert not outbox.move(db, clock.now(), row, ResultState.QUEUED, "the sender that was thought dead")
        assert not outbox.move(db, clock.now(), row, ResultState.DEAD, "the sender that was thought dead")
    assert states(db) == ["sent"]


def test_what_is_not_found_is_sent_once_more_and_then_left_with_the_reason(db: Database, clock: FakeClock) -> None:
    sent(db, clock, (1,))

    def query_until_it_moves() -> float:
        begun = clock.now().boottime_s
        while not clock.forward(5) or states(db) == ["sent"]:
            for each in commitments.due(db, clock.now(), "PACS", quiet_s=QUIET_S, limit=9):
                with db.transaction():
                    commitment.not_found(db, clock.now(), each.row)
            if not commitments.unconfirmed(db, 1) or commitments.unconfirmed(db, 1).way is Way.ENDED:  # type: ignore[union-attr]
                break
        return clock.now().boottime_s - begun

    assert 2000 < query_until_it_moves() < 4000
    assert states(db) == ["queued"]
    send(db, clock, outbox.of_study(db, STUDY))
    assert 2000 < query_until_it_moves() < 4000
    (row,) = outbox.of_study(db, STUDY)
    assert row.state is ResultState.SENT
    assert "although it was sent twice" in row.reason
    clock.reboot()
    assert due(db, clock) == 0


def test_what_was_accepted_long_ago_is_not_sent_again_unasked(db: Database, clock: FakeClock) -> None:
    rows = sent(db, clock, (1,))
    clock.forward(8 * 86_400)
    ask(db, clock, rows)
    apply(db, clock, report(rows, {0: 0x0112}))
    [row] = outbox.of_study(db, STUDY)
    assert row.state is ResultState.DEAD
    assert "may have been deleted there; `matins retry` sends it again" in row.reason
