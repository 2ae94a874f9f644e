from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

import pytest
from pydicom import Dataset
from pynetdicom import AE, evt

from node.deliver.oversight import Oversight
from node.deliver.stored import StoredHeader
from node.domain.model_card import Mode
from node.domain.study import StudyState
from node.domain.work import OutcomeState, ResultState
from node.errors import Transient
from node.loop import Stop
from node.store import events, outbox, outcomes, studies
from node.store.database import Database
from node.store.outbox import OutboxRow
from tests.associations import associated
from tests.deliver.conftest import (
    EXPLICIT,
    HANG,
    IMPLICIT,
    SEG,
    UID_ROOT,
    Pacs,
    dataset_bytes,
    queue_results,
    serving,
    settings_for,
)
from tests.fakes import PATIENT, SR, STUDY, FakeClock, arrive, slice_of

Start = Callable[..., Pacs]
MINUTES = 60.0
#: pynetdicom lets go of a socket that could not be connected without closing it; Python closes it at once.
unconnected = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")


def rows(db: Database, study: str = STUDY) -> list[OutboxRow]:
    return outbox.of_study(db, study)


def only(db: Database) -> OutboxRow:
    (row,) = rows(db)
    return row


def test_the_stored_bytes_arrive_unchanged_over_one_association_with_the_needed_contexts_alone(
    db: Database, clock: FakeClock, pacs: Start
) -> None:
    archive = pacs()
    queue_results(db, clock.now(), (1,), sop_class=SEG)
    queue_results(db, clock.now(), (2, 3), study="1.2.3.2")
    sender = serving(db, clock, settings_for(db, {"PACS": archive.port}))
    assert sender.step()
    assert not sender.step()
    files = {f"{UID_ROOT}.{number}": db.folder / "results" / f"{number}.dcm" for number in (1, 2, 3)}
    assert dict(archive.received) == {uid: dataset_bytes(path) for uid, path in files.items()}
    # One transfer syntax a context, the default one besides (PS3.5 §10.1).
    assert archive.requested == [
        [(SEG, [IMPLICIT]), (SEG, [EXPLICIT]), (SR, [IMPLICIT]), (SR, [EXPLICIT])],
    ]
    assert {(row.state, row.reason) for row in rows(db) + rows(db, "1.2.3.2")} == {(ResultState.SENT, "")}
    assert only(db).sent_at == clock.now().iso


def test_an_object_larger_than_many_pdus_arrives_whole(db: Database, clock: FakeClock, pacs: Start) -> None:
    archive = pacs(maximum_pdu=4096)
    queue_results(db, clock.now(), size=3_000_000)
    serving(db, clock, settings_for(db, {"PACS": archive.port})).step()
    assert archive.received == [(f"{UID_ROOT}.1", dataset_bytes(db.folder / "results" / "1.dcm"))]


@pytest.mark.parametrize("status", [0xB000, 0xB006, 0xB007, 0x0107, 0x0116])
def test_a_warning_is_a_success_with_the_warning_as_reason(
    db: Database, clock: FakeClock, pacs: Start, status: int
) -> None:
    archive = pacs(status)
    queue_results(db, clock.now())
    serving(db, clock, settings_for(db, {"PACS": archive.port})).step()
    assert only(db).state is ResultState.SENT
    assert only(db).reason.startswith(f"0x{status:04X} ")


@pytest.mark.parametrize("status", [0xA900, 0xA9FF, 0x0117, 0x0122, 0x0124])
def test_a_refusal_for_good_is_a_dead_letter_with_meaning_and_remedy_and_holds_up_nothing(
    db: Database, clock: FakeClock, pacs: Start, status: int
) -> None:
    archive = pacs(status, 0x0000)
    queue_results(db, clock.now(), (1, 2))
    sender = serving(db, clock, settings_for(db, {"PACS": archive.port}))
    sender.step()
    first, second = rows(db)
    assert (first.state, second.state) == (ResultState.DEAD, ResultState.SENT)
    assert first.reason.startswith(f"0x{status:04X} ")
    assert "matins retry" in first.reason
    clock.forward(24 * 60 * MINUTES)
    assert not sender.step()
    assert len(archive.received) == 2


def test_the_comment_of_the_peer_is_kept_without_what_could_forge_a_line(
    db: Database, clock: FakeClock, pacs: Start
) -> None:
    def reply(_event: evt.Event) -> Dataset:
        answer = Dataset()
        answer.Status, answer.ErrorComment = 0xC001, "disk\x07 quota"
        return answer

    archive = pacs(reply)
    queue_results(db, clock.now())
    serving(db, clock, settings_for(db, {"PACS": archive.port})).step()
    assert "(“disk quota”)" in only(db).reason


@pytest.mark.parametrize("status", [0xA700, 0xA7FF, 0x0213])
def test_a_passing_refusal_is_tried_again_until_it_succeeds(
    db: Database, clock: FakeClock, pacs: Start, status: int
) -> None:
    archive = pacs(status, status, status, 0x0000)
    queue_results(db, clock.now())
    sender = serving(db, clock, settings_for(db, {"PACS": archive.port}))
    for attempt in (1, 2, 3):
        assert sender.step()
        assert (only(db).state, only(db).attempts) == (ResultState.QUEUED, attempt)
        assert only(db).reason.startswith(f"0x{status:04X} ")
        assert not sender.step()
        clock.forward(64)
    assert sender.step()
    assert only(db).state is ResultState.SENT
    assert len(set(archive.received)) == 1


@pytest.mark.parametrize("status", [0x0110, 0xC000, 0xC123])
def test_what_may_pass_but_seldom_does_is_tried_thrice_slowly_and_then_a_dead_letter(
    db: Database, clock: FakeClock, pacs: Start, status: int
) -> None:
    def reply(event: evt.Event) -> int:
        return status if event.request.AffectedSOPInstanceUID == f"{UID_ROOT}.1" else 0x0000

    archive = pacs(reply)
    queue_results(db, clock.now(), (1, 2))
    sender = serving(db, clock, settings_for(db, {"PACS": archive.port}))
    for time in (1, 2):
        assert sender.step()
        first, second = rows(db)
        assert (first.state, first.refusals) == (ResultState.QUEUED, time)
        # It holds up nobody.
        assert second.state is ResultState.SENT
        clock.forward(0.7 * 64)
        assert not sender.step()
        clock.forward(0.3 * 64)
    assert sender.step()
    assert rows(db)[0].state is ResultState.DEAD
    assert rows(db)[0].reason.startswith(f"0x{status:04X} ")
    assert "matins retry" in rows(db)[0].reason
    assert len([uid for uid, _ in archive.received if uid == f"{UID_ROOT}.1"]) == 3
    with db.transaction():
        outbox.move(db, clock.now(), rows(db)[0], ResultState.QUEUED, "retry asked for")
    assert rows(db)[0].refusals == 0


@pytest.mark.parametrize(
    ("there", "state", "words"),
    [
        (True, ResultState.SENT, "found there"),
        (None, ResultState.SENT, "it cannot be asked"),
        (False, ResultState.QUEUED, "not found there"),
        (Transient("nobody answers the question"), ResultState.QUEUED, "nobody answers the question"),
    ],
)
def test_a_duplicate_is_believed_when_it_was_seen_at_the_archive(
    db: Database, clock: FakeClock, pacs: Start, there: bool | Transient | None, state: ResultState, words: str
) -> None:
    class Looking(Oversight):
        def holds(self, row: OutboxRow, stored: StoredHeader) -> bool | None:
            assert not archive.is_busy, "the association is over: the archive may take one only"
            assert stored.sop_instance_uid == row.sop_instance_uid
            if isinstance(there, Transient):
                raise there
            return there

    archive = pacs(0x0111)
    queue_results(db, clock.now())
    sender = serving(db, clock, settings_for(db, {"PACS": archive.port}), oversight=Looking())
    sender.step()
    assert (only(db).state, words in only(db).reason) == (state, True)
    for _ in range(4):
        clock.forward(64)
        sender.step()
    assert len(set(archive.received)) == 1
    # Never believed, and never sent for ever: three times, as a processing failure.
    assert (only(db).state is ResultState.DEAD) == (there is False)


def test_waits_double_up_to_the_maximum(db: Database, clock: FakeClock, pacs: Start) -> None:
    archive = pacs(0xA700)
    queue_results(db, clock.now())
    sender = serving(db, clock, settings_for(db, {"PACS": archive.port}))
    waits = []
    for _ in range(6):
        assert sender.step()
        row = db.row("SELECT not_before_boot_s FROM outbox")
        assert row is not None
        waits.append(row[0] - clock.boottime_s)
        clock.forward(waits[-1])
    for wait_s, full_s in zip(waits, (4, 8, 16, 32, 64, 64), strict=True):
        assert 0.75 * full_s <= wait_s <= 1.5 * full_s
    assert max(waits) <= 64


def test_an_object_that_always_meets_a_passing_fault_does_not_hold_up_the_others(
    db: Database, clock: FakeClock, pacs: Start
) -> None:
    def reply(event: evt.Event) -> int:
        return 0xA700 if event.request.AffectedSOPInstanceUID == f"{UID_ROOT}.1" else 0x0000

    archive = pacs(reply)
    queue_results(db, clock.now(), range(1, 6))
    sender = serving(db, clock, settings_for(db, {"PACS": archive.port}))
    for _ in range(20):
        sender.step()
        clock.forward(4)
    assert [row.state for row in rows(db)] == [ResultState.QUEUED] + [ResultState.SENT] * 4


@unconnected
def test_results_wait_for_a_dead_destination_and_arrive_when_it_is_back(
    db: Database, clock: FakeClock, pacs: Start, nobody: int
) -> None:
    queue_results(db, clock.now(), (1, 2))
    settings = settings_for(db, {"PACS": nobody})
    sender = serving(db, clock, settings)
    for _ in range(30):
        assert sender.step()
        clock.forward(64)
    assert {row.state for row in rows(db)} == {ResultState.QUEUED}
    assert "refused" in rows(db)[0].reason
    archive = pacs()
    back = settings_for(db, {"PACS": archive.port})
    returned = serving(db, clock, back)
    while returned.step():
        pass
    assert {row.state for row in rows(db)} == {ResultState.SENT}


@unconnected
def test_a_dead_destination_costs_one_row_a_try(db: Database, clock: FakeClock, nobody: int) -> None:
    queue_results(db, clock.now(), range(1, 41))
    sender = serving(db, clock, settings_for(db, {"PACS": nobody}))
    sender.step()
    clock.forward(64)
    sender.step()
    tried = db.row("SELECT count(*) FROM event WHERE about = 'result' AND before = 'queued'")
    assert tried is not None
    assert tried[0] == 16 + 1


def test_an_unknown_calling_title_is_told_with_the_remedy_and_tried_again_slowly(
    db: Database, clock: FakeClock, pacs: Start
) -> None:
    archive = pacs(knows="SOMEBODY")
    queue_results(db, clock.now())
    sender = serving(db, clock, settings_for(db, {"PACS": archive.port}))
    sender.step()
    assert only(db).state is ResultState.QUEUED
    assert "1/1/3" in only(db).reason
    assert "Enter MATINS there" in only(db).reason
    clock.forward(47)
    assert not sender.step()
    clock.forward(17)
    assert sender.step()
    assert len(archive.requested) == 2


def test_a_wrong_called_title_names_the_key_to_correct(db: Database, clock: FakeClock, pacs: Start) -> None:
    archive = pacs(title="OTHERNAME")
    queue_results(db, clock.now())
    serving(db, clock, settings_for(db, {"PACS": archive.port})).step()
    assert "1/1/7" in only(db).reason
    assert "ae_title of the peer PACS" in only(db).reason


def test_a_busy_destination_is_tried_again_soon(db: Database, clock: FakeClock, pacs: Start) -> None:
    archive = pacs(maximum_associations=1)
    other = AE()
    other.add_requested_context(SR, EXPLICIT)
    queue_results(db, clock.now())
    sender = serving(db, clock, settings_for(db, {"PACS": archive.port}))
    with associated(other, archive.port, ae_title="PACS"):
        sender.step()
    assert "2/3/2" in only(db).reason
    clock.forward(5)
    assert sender.step()


def test_a_refused_context_is_a_dead_letter_and_the_other_class_arrives(
    db: Database, clock: FakeClock, pacs: Start
) -> None:
    archive = pacs(classes=(SR,))
    queue_results(db, clock.now(), (1,), sop_class=SEG)
    queue_results(db, clock.now(), (2,), study="1.2.3.2")
    serving(db, clock, settings_for(db, {"PACS": archive.port})).step()
    assert only(db).state is ResultState.DEAD
    assert "does not accept Segmentation Storage in Explicit VR Little Endian (SOP Class not" in only(db).reason
    assert [row.state for row in rows(db, "1.2.3.2")] == [ResultState.SENT]


def test_a_destination_that_accepts_nothing_gets_dead_letters(db: Database, clock: FakeClock, pacs: Start) -> None:
    archive = pacs(classes=(SEG,))
    queue_results(db, clock.now())
    serving(db, clock, settings_for(db, {"PACS": archive.port})).step()
    assert only(db).state is ResultState.DEAD
    assert "does not accept" in only(db).reason


def test_an_abort_instead_of_an_answer_is_tried_again_with_the_same_bytes(
    db: Database, clock: FakeClock, pacs: Start
) -> None:
    def abort(event: evt.Event) -> int:
        event.assoc.abort()
        return 0x0000

    archive = pacs(abort, 0x0000)
    queue_results(db, clock.now())
    sender = serving(db, clock, settings_for(db, {"PACS": archive.port}))
    sender.step()
    assert only(db).state is ResultState.QUEUED
    assert "broke the association off" in only(db).reason
    clock.forward(64)
    sender.step()
    assert only(db).state is ResultState.SENT
    assert len(archive.received) == 2
    assert len(set(archive.received)) == 1


def test_a_destination_that_does_not_answer_is_left_after_the_time_limit(
    db: Database, clock: FakeClock, pacs: Start
) -> None:
    archive = pacs(HANG)
    queue_results(db, clock.now())
    serving(db, clock, settings_for(db, {"PACS": archive.port}, dimse_s=0.5)).step()
    assert only(db).state is ResultState.QUEUED
    assert "no answer within" in only(db).reason


def test_an_answer_to_another_message_is_not_believed(db: Database, clock: FakeClock, pacs: Start) -> None:
    archive = pacs()

    def answer_another(event: evt.Event) -> None:
        event.message.command_set.MessageID += 7

    archive.on_message = answer_another
    queue_results(db, clock.now())
    sender = serving(db, clock, settings_for(db, {"PACS": archive.port}))
    sender.step()
    assert archive.received
    assert only(db).state is ResultState.QUEUED
    assert "nothing of it is believed" in only(db).reason
    archive.on_message = lambda _event: None
    clock.forward(64)
    sender.step()
    assert only(db).state is ResultState.SENT


def test_the_gate_holds_an_object_that_names_another_patient(db: Database, clock: FakeClock, pacs: Start) -> None:
    archive = pacs()
    queue_results(db, clock.now(), patient=replace(PATIENT, patient_id="P2"))
    serving(db, clock, settings_for(db, {"PACS": archive.port})).step()
    assert only(db).state is ResultState.HELD
    assert "another patient" in only(db).reason
    assert not archive.requested


def test_the_gate_holds_what_a_shadow_model_made(db: Database, clock: FakeClock, pacs: Start) -> None:
    archive = pacs()
    queue_results(db, clock.now())
    serving(db, clock, settings_for(db, {"PACS": archive.port}, Mode.SHADOW)).step()
    assert only(db).state is ResultState.HELD
    assert not archive.requested


def test_the_gate_holds_the_results_of_a_held_study_and_drops_superseded_ones(
    db: Database, clock: FakeClock, pacs: Start
) -> None:
    archive = pacs()
    queue_results(db, clock.now(), (1,))
    queue_results(db, clock.now(), (2,), study="1.2.3.2")
    with db.transaction():
        studies.move(db, clock.now(), STUDY, StudyState.HELD, "conflict")
        outcomes.move(db, clock.now(), rows(db, "1.2.3.2")[0].outcome_id, OutcomeState.SUPERSEDED)
    serving(db, clock, settings_for(db, {"PACS": archive.port})).step()
    assert [row.state for row in rows(db) + rows(db, "1.2.3.2")] == [ResultState.HELD, ResultState.SUPERSEDED]
    assert not archive.requested


def test_a_result_waits_while_a_newer_version_of_its_input_is_looked_at(
    db: Database, clock: FakeClock, pacs: Start
) -> None:
    archive = pacs()
    queue_results(db, clock.now())
    arrive(db, clock.now(), slice_of(1, content="new"), version="2")
    sender = serving(db, clock, settings_for(db, {"PACS": archive.port}))
    sender.step()
    assert (only(db).state, "newer version" in only(db).reason) == (ResultState.QUEUED, True)
    assert not archive.requested


def test_the_gate_is_asked_again_for_each_object_just_before_it_is_sent(
    db: Database, clock: FakeClock, pacs: Start
) -> None:
    def correct_the_patient(_event: evt.Event) -> int:
        with db.transaction():
            studies.move(db, clock.now(), STUDY, StudyState.HELD, "conflict")
        return 0x0000

    archive = pacs(correct_the_patient)
    queue_results(db, clock.now(), (1, 2))
    serving(db, clock, settings_for(db, {"PACS": archive.port})).step()
    assert [row.state for row in rows(db)] == [ResultState.SENT, ResultState.HELD]
    assert len(archive.received) == 1


def test_what_is_withdrawn_on_its_way_stays_withdrawn_and_the_story_says_that_it_arrived(
    db: Database, clock: FakeClock, pacs: Start
) -> None:
    def withdraw(_event: evt.Event) -> int:
        with db.transaction():
            outbox.move(db, clock.now(), only(db), ResultState.WITHDRAWN, "by hand")
        return 0x0000

    archive = pacs(withdraw)
    queue_results(db, clock.now())
    serving(db, clock, settings_for(db, {"PACS": archive.port})).step()
    assert only(db).state is ResultState.WITHDRAWN
    assert events.of_study(db, STUDY)[-1].after == "arrived"


@pytest.mark.parametrize("fault", ["gone", "torn", "other"])
def test_a_damaged_file_is_never_sent(db: Database, clock: FakeClock, pacs: Start, fault: str) -> None:
    archive = pacs()
    queue_results(db, clock.now(), (1, 2))
    path = db.folder / "results" / "1.dcm"
    if fault == "gone":
        path.unlink()
    elif fault == "torn":
        path.write_bytes(path.read_bytes()[:100])
    else:
        path.write_bytes(path.read_bytes()[:-1] + b"x")
    serving(db, clock, settings_for(db, {"PACS": archive.port})).step()
    first, second = rows(db)
    assert (first.state, second.state) == (ResultState.DEAD, ResultState.SENT)
    assert "matins force" in first.reason


def test_the_most_urgent_study_goes_first(db: Database, clock: FakeClock, pacs: Start) -> None:
    archive = pacs()
    for number in (1, 2, 3):
        queue_results(db, clock.now(), (number,), study=f"1.2.3.{number}")
    db.execute("UPDATE study SET lane_order = 0 WHERE study_instance_uid = '1.2.3.2'")
    db.execute("UPDATE study SET sort_key = 5 WHERE study_instance_uid = '1.2.3.3'")
    serving(db, clock, settings_for(db, {"PACS": archive.port})).step()
    assert [uid.rpartition(".")[2] for uid, _ in archive.received] == ["2", "3", "1"]


def test_a_stop_ends_after_the_object_that_is_on_its_way(db: Database, clock: FakeClock, pacs: Start) -> None:
    stop = Stop()

    def reply(_event: evt.Event) -> int:
        stop.set()
        return 0x0000

    archive = pacs(reply)
    queue_results(db, clock.now(), (1, 2, 3))
    sender = serving(db, clock, settings_for(db, {"PACS": archive.port}), stop=stop)
    sender.step()
    assert [row.state for row in rows(db)] == [ResultState.SENT, ResultState.QUEUED, ResultState.QUEUED]
    assert {row.owner for row in rows(db)} == {""}


def test_an_answer_that_the_reactor_thread_of_pynetdicom_takes_is_not_lost(
    db: Database, clock: FakeClock, pacs: Start
) -> None:
    # It takes every answer that `send_c_store` does not happen to wait for at that moment.
    archive = pacs()
    queue_results(db, clock.now(), range(1, 201))
    sender = serving(db, clock, settings_for(db, {"PACS": archive.port}))
    while sender.step():
        pass
    assert {(row.state, row.attempts) for row in rows(db)} == {(ResultState.SENT, 1)}
    assert len(archive.received) == 200


def test_no_association_outlives_its_batch(db: Database, clock: FakeClock, pacs: Start) -> None:
    archive = pacs(0x0000, 0xA700)
    queue_results(db, clock.now(), (1, 2))
    serving(db, clock, settings_for(db, {"PACS": archive.port})).step()
    names = [thread.name for thread in threading.enumerate() if thread.name.startswith("RequestorThread")]
    assert names == []
