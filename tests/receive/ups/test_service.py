"""The UPS SCP through the door: pynetdicom as SCU."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any, cast

import pytest
from pydicom.uid import ExplicitVRLittleEndian

from node.config import Settings
from node.domain.time import SystemClock
from node.domain.ups import PULL, PUSH, QUERY, WATCH, UpsState
from node.receive.intakes import Request
from node.receive.keeper import Keeper
from node.receive.ups import encoding, service
from node.store import events, ups, ups_watch
from node.store.database import Database
from tests.receive.objects import encoded
from tests.receive.ups.conftest import (
    ABROAD,
    ASKER,
    LOCK,
    OTHER_LOCK,
    READER,
    SCANNER,
    SECOND,
    Calling,
    code,
    creation,
    done,
    made,
)

UID = "1.2.3.9.1"
ALL, FILTERED = "1.2.840.10008.5.1.4.34.5", "1.2.840.10008.5.1.4.34.5.1"


def test_a_step_is_asked_for_found_claimed_worked_on_and_completed(calling: Calling, db: Database) -> None:
    asker, reader = calling(ASKER), calling(READER)
    assert asker.create(creation()) == (0x0000, UID)
    keys = {"ProcedureStepState": "SCHEDULED", "PatientName": "", "ScheduledWorkitemCodeSequence": [made(CodeValue="")]}
    [found] = reader.find(**keys)
    assert (found.SOPInstanceUID, found.SOPClassUID, str(found.PatientName)) == (UID, PUSH, "Müller^Jörg")
    assert found.ScheduledWorkitemCodeSequence[0].CodeValue == "110005"
    assert "CodeMeaning" not in found.ScheduledWorkitemCodeSequence[0]
    assert "PatientID" not in found
    assert reader.claim() == 0x0000
    assert reader.find(**keys) == []
    progress = [made(ProcedureStepProgress=50, ProcedureStepProgressDescription="half")]
    assert reader.set(TransactionUID=LOCK, ProcedureStepProgressInformationSequence=progress) == 0x0000
    assert reader.change(UID, "COMPLETED") == 0xC304
    assert reader.set(TransactionUID=LOCK, UnifiedProcedureStepPerformedProcedureSequence=done()) == 0x0000
    assert reader.change(UID, "COMPLETED") == 0x0000
    assert reader.change(UID, "COMPLETED") == 0xB306
    status, seen = asker.get(UID, over=PUSH)
    assert seen is not None
    assert (status, seen.ProcedureStepState, str(seen.PatientName)) == (0x0000, "COMPLETED", "Müller^Jörg")
    assert seen.ProcedureStepProgressInformationSequence[0].ProcedureStepProgress == 50
    assert "TransactionUID" not in seen
    assert [each.after for each in reversed(events.latest(db, "ups"))] == ["SCHEDULED", "IN PROGRESS", "COMPLETED"]


def test_the_lock_is_told_to_nobody(calling: Calling) -> None:
    reader = calling(READER)
    calling(ASKER).create(creation())
    reader.claim()
    assert "TransactionUID" not in (reader.get(UID, 0x00081195)[1] or made())
    [found] = reader.find(TransactionUID="", ProcedureStepState="")
    assert "TransactionUID" not in found
    # ... nor found by it.
    assert len(reader.find(TransactionUID="1.9.9", SOPInstanceUID=UID)) == 1


#: What is asked of a step in a state, by the holder of the lock or another, and the answer.
REFUSALS = [
    ("SCHEDULED", "IN PROGRESS", "", 0xC301),
    ("SCHEDULED", "SCHEDULED", LOCK, 0xC303),
    ("SCHEDULED", "COMPLETED", LOCK, 0xC310),
    ("SCHEDULED", "CANCELED", LOCK, 0xC310),
    ("IN PROGRESS", "IN PROGRESS", LOCK, 0xC302),
    ("IN PROGRESS", "IN PROGRESS", OTHER_LOCK, 0xC301),
    ("IN PROGRESS", "SCHEDULED", LOCK, 0xC303),
    ("IN PROGRESS", "COMPLETED", OTHER_LOCK, 0xC301),
    ("IN PROGRESS", "COMPLETED", LOCK, 0xC304),
    ("IN PROGRESS", "CANCELED", OTHER_LOCK, 0xC301),
    ("IN PROGRESS", "CANCELED", LOCK, 0xC304),
    ("COMPLETED", "IN PROGRESS", LOCK, 0xC300),
    ("COMPLETED", "COMPLETED", LOCK, 0xB306),
    ("COMPLETED", "CANCELED", LOCK, 0xC300),
    ("COMPLETED", "COMPLETED", OTHER_LOCK, 0xC301),
    ("CANCELED", "IN PROGRESS", LOCK, 0xC300),
    ("CANCELED", "COMPLETED", LOCK, 0xC300),
    ("CANCELED", "CANCELED", LOCK, 0xB304),
    ("CANCELED", "FINISHED", LOCK, 0x0106),
    ("CANCELED", "", LOCK, 0x0120),
    ("IN PROGRESS", "COMPLETED", "no-uid", 0x0106),
]


def test_every_refusal_has_its_status_and_changes_nothing(calling: Calling, db: Database) -> None:
    asker, reader = calling(ASKER), calling(READER)
    reason = [made(ProcedureStepDiscontinuationReasonCodeSequence=[code("110513", "DCM", "unspecified")])]
    for number, state in enumerate(UpsState, 1):
        uid = f"1.2.3.9.{number}"
        assert asker.create(creation(), uid)[0] == 0x0000
        if state is not UpsState.SCHEDULED:
            assert reader.claim(uid) == 0x0000
        if state.is_final:
            performed = done() if state is UpsState.COMPLETED else []
            said = {"UnifiedProcedureStepPerformedProcedureSequence": performed}
            said |= {"ProcedureStepProgressInformationSequence": reason} if state is UpsState.CANCELED else {}
            assert reader.set(uid, TransactionUID=LOCK, **said) == 0x0000
            assert reader.change(uid, state) == 0x0000
    uids = {state: f"1.2.3.9.{number}" for number, state in enumerate(UpsState, 1)}
    for state, asked, lock, status in REFUSALS:
        answered = reader.change(uids[UpsState(state)], asked, lock)
        assert f"{answered:04X}" == f"{status:04X}", (state, asked, lock)
    for state, uid in uids.items():
        row = ups.step(db, uid)
        assert row is not None
        assert row.state is state
        assert row.transaction_uid == ("" if state is UpsState.SCHEDULED else LOCK)


def test_of_two_who_race_exactly_one_claims(calling: Calling, db: Database) -> None:
    asker = calling(ASKER)
    racers = [calling(READER, (PULL,)), calling(SECOND, (PULL,))]
    for number in range(10):
        uid = f"1.2.3.9.{number + 1}"
        asker.create(creation(), uid)
        line, answers = threading.Barrier(2), [0, 0]

        def race(mine: int, uid: str = uid, line: threading.Barrier = line, answers: list[int] = answers) -> None:
            line.wait(20)
            answers[mine] = racers[mine].claim(uid, (LOCK, OTHER_LOCK)[mine])

        threads = [threading.Thread(target=race, args=(mine,)) for mine in (0, 1)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(40)
        # The second one's Transaction UID is not the one by which the step was claimed (PS3.4 §CC.2.1.2).
        assert sorted(answers) == [0x0000, 0xC301]
        row = ups.step(db, uid)
        assert row is not None
        winner = answers.index(0)
        assert (row.transaction_uid, row.performer) == ((LOCK, OTHER_LOCK)[winner], (READER, SECOND)[winner])


def test_a_performer_that_died_goes_on_with_its_lock(calling: Calling) -> None:
    calling(ASKER).create(creation())
    first = calling(READER)
    assert first.claim() == 0x0000
    first.association.abort()
    again = calling(READER)
    assert again.claim() == 0xC302
    assert again.set(TransactionUID=LOCK, UnifiedProcedureStepPerformedProcedureSequence=done()) == 0x0000
    assert again.change(UID, "COMPLETED") == 0x0000


def test_a_step_is_durable_before_it_is_answered(settings: Settings, db: Database) -> None:
    class Unsynced:
        """The listener's own connection, whose commits are not synced: nothing of a step may go through it."""

        folder, room = db.folder, db.room

    keeper = cast("Keeper", SimpleNamespace(db=Unsynced(), clock=SystemClock()))
    peer = settings.peer_named(ASKER)
    assert peer is not None
    request = Request(
        operation="N-CREATE",
        sop_class_uid=PUSH,
        sop_instance_uid=UID,
        type_id=None,
        content=encoded(creation()),
        transfer_syntax_uid=ExplicitVRLittleEndian,
        peer=peer,
        abstract_syntax=PUSH,
    )
    assert service.answer(settings, keeper, request).status == 0x0000
    # On another connection: it was committed before the answer.
    assert ups.step(db, UID) is not None


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"ProcedureStepState": "IN PROGRESS"}, 0xC309),
        ({"ProcedureStepState": None}, 0x0120),
        ({"TransactionUID": LOCK}, 0x0106),
        ({"ProcedureStepLabel": None}, 0x0120),
        ({"ProcedureStepLabel": ""}, 0x0121),
        ({"ScheduledProcedureStepPriority": "STAT"}, 0x0106),
        ({"PatientName": None, "WorklistLabel": None, "TransactionUID": None}, 0x0000),
    ],
)
def test_a_creation_is_judged(calling: Calling, db: Database, changes: dict[str, Any], status: int) -> None:
    assert calling(ASKER).create(creation(**changes))[0] == status
    assert (ups.step(db, UID) is not None) == (status == 0)


def test_the_same_step_twice_is_refused_and_one_without_a_uid_gets_one(calling: Calling) -> None:
    asker = calling(ASKER)
    assert asker.create(creation())[0] == 0x0000
    assert asker.create(creation(ProcedureStepLabel="Other"))[0] == 0x0111
    status, uid = asker.create(creation(), None)
    assert status == 0x0000
    assert uid.startswith("2.25.")
    assert asker.get(uid, over=PUSH)[0] == 0x0000


def test_a_requester_in_a_loop_is_stopped(
    calling: Calling, settings: Any, monkeypatch: pytest.MonkeyPatch, db: Database
) -> None:
    monkeypatch.setattr(service.ups, "count_asked", lambda _db: settings.ups.maximum_created)
    assert calling(ASKER).create(creation())[0] == 0x0213
    assert ups.step(db, UID) is None


def test_who_has_not_the_role_is_not_heard(calling: Calling) -> None:
    asker, reader, scanner = calling(ASKER), calling(READER), calling(SCANNER)
    assert asker.create(creation())[0] == 0x0000
    assert reader.create(creation(), "1.2.3.9.2")[0] == 0x0124
    assert scanner.create(creation(), "1.2.3.9.2")[0] == 0x0124
    assert asker.claim() == 0x0124
    assert asker.set(ProcedureStepLabel="x") == 0x0124
    assert asker.refused_find(ProcedureStepState="") == 0x0124
    assert len(asker.find(WATCH, ProcedureStepState="")) == 1
    assert scanner.refused_find(QUERY, ProcedureStepState="") == 0x0124
    assert scanner.get()[0] == 0x0124
    assert scanner.act(3, UID, WATCH, ReceivingAE="SCANNER1", DeletionLock="FALSE") == 0x0124


def test_a_peer_of_another_issuer_learns_nothing(calling: Calling) -> None:
    asker, abroad, reader = calling(ASKER), calling(ABROAD), calling(READER)
    asker.create(creation(IssuerOfPatientID="A"))
    asker.create(creation(IssuerOfPatientID="B"), "1.2.3.9.2")
    assert [each.SOPInstanceUID for each in abroad.find(ProcedureStepState="")] == ["1.2.3.9.2"]
    assert len(reader.find(ProcedureStepState="")) == 2
    assert abroad.get()[0] == 0xC307
    assert abroad.claim() == 0xC307
    assert abroad.set(ProcedureStepLabel="x") == 0xC307
    assert abroad.act(2, UID, PUSH) == 0xC307


def test_what_does_not_exist_is_unknown_whatever_is_asked(calling: Calling) -> None:
    reader = calling(READER)
    assert reader.get("1.2.9")[0] == 0xC307
    assert reader.claim("1.2.9") == 0xC307
    assert reader.set("1.2.9", ProcedureStepLabel="x") == 0xC307
    assert reader.act(2, "1.2.9", WATCH) == 0xC307
    assert reader.act(3, "1.2.9", WATCH, ReceivingAE="READER1", DeletionLock="FALSE") == 0xC307


def test_an_action_belongs_to_its_sop_class(calling: Calling) -> None:
    calling(ASKER).create(creation())
    reader = calling(READER)
    said = {"ProcedureStepState": "IN PROGRESS", "TransactionUID": LOCK}
    assert reader.act(1, UID, PUSH, **said) == 0x0123
    assert reader.act(1, UID, WATCH, **said) == 0x0123
    assert reader.act(3, UID, PULL, ReceivingAE="READER1", DeletionLock="FALSE") == 0x0123
    assert reader.act(9, UID, WATCH) == 0x0123


def test_an_operation_belongs_to_its_sop_class(calling: Calling, db: Database) -> None:
    calling(ASKER).create(creation())
    association = calling(READER).association
    assert association.send_n_set(made(ProcedureStepLabel="x"), PUSH, UID, meta_uid=PUSH)[0].Status == 0x0211
    assert association.send_n_create(creation(), PUSH, "1.2.3.9.2", meta_uid=PULL)[0].Status == 0x0211
    assert association.send_n_get([], PUSH, UID, meta_uid=QUERY)[0].Status == 0x0211
    assert [answer.Status for answer, _ in association.send_c_find(made(ProcedureStepState=""), PUSH)] == [0x0211]
    assert ups.step(db, "1.2.3.9.2") is None


def test_attributes_are_set_as_the_state_allows(calling: Calling) -> None:
    calling(ASKER).create(creation())
    reader, second = calling(READER), calling(SECOND)
    assert reader.set(TransactionUID=LOCK, ProcedureStepLabel="x") == 0xC310
    assert reader.set(ProcedureStepLabel="new") == 0x0000
    assert reader.set(PatientID="P8") == 0x0105
    assert reader.set(ProcedureStepState="SCHEDULED") == 0xC303
    assert reader.set(ProcedureStepState="COMPLETED") == 0x0105
    reader.claim()
    assert second.set(ProcedureStepLabel="x") == 0xC301
    assert second.set(TransactionUID=OTHER_LOCK, ProcedureStepLabel="x") == 0xC301
    # Another character set, beside what was kept before.
    assert reader.set(SpecificCharacterSet="ISO_IR 192", TransactionUID=LOCK, ProcedureStepLabel="Ж") == 0x0000
    _, seen = reader.get(UID)
    assert seen is not None
    assert (seen.ProcedureStepLabel, str(seen.PatientName), seen.PatientID) == ("Ж", "Müller^Jörg", "P7")
    _, one = reader.get(UID, 0x00741204)
    assert one is not None
    assert {each.keyword for each in one} <= {"ProcedureStepLabel", "SpecificCharacterSet"}


def test_a_cancel_is_done_asked_of_the_performer_or_too_late(calling: Calling, db: Database) -> None:
    asker, reader = calling(ASKER), calling(READER)
    for number in (1, 2):
        asker.create(creation(), f"1.2.3.9.{number}")
    assert reader.act(3, UID, WATCH, ReceivingAE="READER1", DeletionLock="FALSE") == 0x0000
    wish = {"ReasonForCancellation": "wrong patient", "ContactDisplayName": "Ward 3"}
    assert asker.act(2, UID, PUSH, **wish) == 0x0000
    assert asker.act(2, UID, PUSH) == 0xB304
    notices = [(each.type, each.content) for each in ups_watch.next_notices(db, READER, limit=9)]
    assert [kind for kind, _ in notices] == [1, 1, 1]
    states = [content["00741000"]["Value"][0] for _, content in notices]
    assert states == ["SCHEDULED", "IN PROGRESS", "CANCELED"]
    assert notices[-1][1]["00741238"]["Value"] == ["wrong patient"]
    _, seen = reader.get(UID)
    assert seen is not None
    told = seen.ProcedureStepProgressInformationSequence[0]
    assert told.ProcedureStepDiscontinuationReasonCodeSequence[0].CodeValue == "110513"
    assert told.ProcedureStepCancellationDateTime
    # One that is claimed: only who has claimed it may give it up.
    other = "1.2.3.9.2"
    reader.claim(other)
    assert asker.act(2, other, PUSH, **wish) == 0xC312
    reader.act(3, other, WATCH, ReceivingAE="READER1", DeletionLock="FALSE")
    assert asker.act(2, other, PUSH, **wish) == 0x0000
    last = ups_watch.next_notices(db, READER, limit=20)[-1]
    assert (last.type, last.content["00741236"]["Value"]) == (2, ["ASKER1"])
    assert reader.find(ProcedureStepState="IN PROGRESS")
    reader.set(other, TransactionUID=LOCK, UnifiedProcedureStepPerformedProcedureSequence=done())
    reader.change(other, "COMPLETED")
    assert asker.act(2, other, PUSH) == 0xC311


def test_subscriptions_are_taken_for_known_peers_that_can_be_reached(calling: Calling, db: Database) -> None:
    calling(ASKER).create(creation())
    reader = calling(READER)
    watch = {"ReceivingAE": "READER1", "DeletionLock": "TRUE"}
    for title in ("NOBODY", "SECOND1", "SCANNER1", "MATINS"):
        assert reader.act(3, UID, WATCH, ReceivingAE=title, DeletionLock="FALSE") == 0xC308
    assert reader.act(3, UID, WATCH, ReceivingAE="READER1", DeletionLock="PERHAPS") == 0x0106
    assert reader.act(3, UID, WATCH, **watch) == 0x0000
    assert ups_watch.subscriptions(db, UID) == {READER: True}
    assert reader.act(5, UID, WATCH, ReceivingAE="READER1") == 0xC314
    assert reader.act(4, UID, WATCH, ReceivingAE="READER1") == 0x0000
    assert ups_watch.subscriptions(db, UID) == {}


def test_who_watches_all_watches_what_comes_later_until_it_is_suspended(calling: Calling, db: Database) -> None:
    asker, reader = calling(ASKER), calling(READER)
    asker.create(creation())
    assert reader.act(3, ALL, WATCH, ReceivingAE="READER1", DeletionLock="TRUE") == 0x0000
    asker.create(creation(), "1.2.3.9.2")
    assert [each.ups for each in ups_watch.next_notices(db, READER, limit=9)] == [UID, "1.2.3.9.2"]
    assert reader.act(5, ALL, WATCH, ReceivingAE="READER1") == 0x0000
    asker.create(creation(), "1.2.3.9.3")
    assert [bool(ups_watch.subscriptions(db, f"1.2.3.9.{number}")) for number in (1, 2, 3)] == [True, True, False]
    assert reader.act(4, ALL, WATCH, ReceivingAE="READER1") == 0x0000
    assert ups_watch.subscriptions(db, UID) == {}


def test_a_filter_decides_which_are_watched(calling: Calling, db: Database) -> None:
    asker, reader = calling(ASKER), calling(READER)
    asker.create(creation(WorklistLabel="HEAD"))
    asker.create(creation(), "1.2.3.9.2")
    said = {"ReceivingAE": "READER1", "DeletionLock": "FALSE", "WorklistLabel": "CH*"}
    assert reader.act(3, FILTERED, WATCH, **said) == 0x0000
    asker.create(creation(), "1.2.3.9.3")
    asker.create(creation(WorklistLabel="HEAD"), "1.2.3.9.4")
    watched = [bool(ups_watch.subscriptions(db, f"1.2.3.9.{number}")) for number in (1, 2, 3, 4)]
    assert watched == [False, True, True, False]


def test_a_peer_has_a_bounded_number_of_filters(calling: Calling, db: Database) -> None:
    reader = calling(READER)
    said = {"ReceivingAE": "READER1", "DeletionLock": "FALSE"}
    answers = [reader.act(3, FILTERED, WATCH, **said, WorklistLabel=f"CHEST{number}") for number in range(33)]
    assert answers == [0x0000] * 32 + [0x0213]
    assert reader.act(3, FILTERED, WATCH, **said, WorklistLabel="CHEST0") == 0x0000
    assert reader.act(3, FILTERED, WATCH, **said, WorklistLabel="C" * 60, ProcedureStepLabel="x" * 5000) == 0x0213
    assert len(ups_watch.global_subscriptions(db, READER)) == 32


def test_what_is_asked_is_read_and_answered_while_others_may_write(
    calling: Calling, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    asker, reader = calling(ASKER), calling(READER)
    seen: list[str] = []
    for name in ("read", "written"):
        whole = getattr(encoding, name)

        def writing(*given: Any, name: str = name, whole: Any = whole) -> Any:
            with db.transaction():
                seen.append(name)
            return whole(*given)

        monkeypatch.setattr(encoding, name, writing)
    assert asker.create(creation())[0] == 0x0000
    assert reader.act(3, ALL, WATCH, ReceivingAE="READER1", DeletionLock="TRUE") == 0x0000
    assert reader.get()[0] == 0x0000
    assert seen == ["read", "read", "written"]


def test_progress_and_assignment_are_told(calling: Calling, db: Database) -> None:
    reader = calling(READER)
    calling(ASKER).create(creation())
    reader.act(3, UID, WATCH, ReceivingAE="READER1", DeletionLock="FALSE")
    reader.set(ScheduledStationNameCodeSequence=[code("ST1", "99X", "Station")])
    reader.claim()
    progress = [made(ProcedureStepProgress=50)]
    for _ in range(2):
        reader.set(TransactionUID=LOCK, ProcedureStepProgressInformationSequence=progress)
    kinds = [each.type for each in ups_watch.next_notices(db, READER, limit=9)]
    # The same again changes nothing, and is not told again.
    assert kinds == [1, 5, 1, 3]


def test_a_query_is_bounded(calling: Calling, settings: Any, db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    asker, reader = calling(ASKER), calling(READER)
    for number in range(4):
        asker.create(creation(), f"1.2.3.9.{number + 1}")
    assert len(reader.find(SOPInstanceUID=["1.2.3.9.1", "1.2.3.9.3"])) == 2
    monkeypatch.setitem(settings.ups.__dict__, "maximum_matches", 3)
    assert reader.refused_find(ProcedureStepState="SCHEDULED") == 0xA700
    assert len(reader.find(SOPInstanceUID=["1.2.3.9.1", "1.2.3.9.3"])) == 2
    assert reader.refused_find(ProcedureStepLabel="x" * 5000) == 0xA900


def test_the_most_urgent_step_comes_first(calling: Calling) -> None:
    asker = calling(ASKER)
    for number, priority in enumerate(("LOW", "HIGH", "MEDIUM"), 1):
        asker.create(creation(ScheduledProcedureStepPriority=priority), f"1.2.3.9.{number}")
    found = calling(READER).find(QUERY, ScheduledProcedureStepPriority="")
    assert [each.ScheduledProcedureStepPriority for each in found] == ["HIGH", "MEDIUM", "LOW"]
