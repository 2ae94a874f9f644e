from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest
from pydicom.uid import ExplicitVRLittleEndian

from node.config import Peer, Settings
from node.errors import Transient
from node.receive import association
from node.receive.association import Call, Door, Rejection, judge
from node.receive.intakes import cstore
from node.receive.keeper import Incoming, Keeper
from node.receive.lobby import Lobby
from node.store import events, instances
from node.store.database import Database
from tests.receive.objects import PEER, encoded, mr_slice, settings_for
from tests.receive.peer import calling, store, store_dataset

GOOD: dict[str, Any] = {"calling_ae_title": "SCANNER1", "called_ae_title": "MATINS", "address": "127.0.0.1"}


@pytest.mark.parametrize(
    ("changes", "codes", "reason"),
    [
        ({"calling_ae_title": "NOBODY"}, (1, 1, 3), "no peer has the AE title NOBODY"),
        ({"calling_ae_title": ""}, (1, 1, 3), "(empty)"),
        ({"calling_ae_title": "A\r\n\x1bB"}, (1, 1, 3), "A???B"),
        ({"called_ae_title": "OTHER"}, (1, 1, 7), "it calls OTHER, but this node is MATINS"),
        ({"address": "10.0.0.1"}, (1, 1, 3), "SCANNER may not call from 10.0.0.1"),
        ({"address": "::1"}, (1, 1, 3), "SCANNER may not call from ::1"),
        ({"application_context": "1.2.3"}, (1, 1, 2), "application context"),
    ],
)
def test_who_is_not_a_peer_is_rejected_with_code_and_reason(
    settings: Settings, changes: dict[str, str], codes: tuple[int, int, int], reason: str
):
    verdict = judge(settings, Call(**{**GOOD, **changes}))
    assert isinstance(verdict, Rejection)
    assert (verdict.result, verdict.source, verdict.diagnostic) == codes
    assert reason in verdict.reason


@pytest.mark.parametrize("address", ["127.0.0.1", "::ffff:127.0.0.1"])
def test_a_peer_is_known_by_title_and_address(settings: Settings, address: str):
    verdict = judge(settings, Call(**{**GOOD, "address": address}))
    assert isinstance(verdict, Peer)
    assert verdict.name == "SCANNER"


def test_an_address_of_no_peer_is_not_listed_and_told_of_once(settings: Settings, db: Database, keeper: Keeper):
    door = Door(settings, keeper, Lobby(settings.receive))
    assert [door.is_listed(address) for address in ("127.0.0.1", "10.9.9.9", "10.9.9.9", "::1")] == [
        *(True, False, False, True)
    ]
    door.close()
    [told] = events.latest(db, "association")
    assert (told.subject, told.after) == ("10.9.9.9", "closed")


@pytest.mark.parametrize(
    ("title", "called", "codes"), [("NOBODY", "MATINS", (1, 1, 3)), ("SCANNER1", "OTHER", (1, 1, 7))]
)
def test_a_rejected_caller_gets_the_code_and_leaves_an_event(
    door: cstore.Acceptor, db: Database, title: str, called: str, codes: tuple[int, int, int]
):
    with calling(door.port, title=title, called=called) as rejected:
        assert rejected.is_rejected
        answer = rejected.acceptor.primitive
        assert (answer.result, answer.result_source, answer.diagnostic) == codes
    [event] = events.latest(db, "association")
    assert event.reason.startswith(f"RJ {codes[0]}/{codes[1]}/{codes[2]}: ")
    assert event.subject == f"{title} at 127.0.0.1"


def test_a_peer_without_the_role_source_may_echo_but_not_store(tmp_path: Path, db: Database, keeper: Keeper):
    settings = settings_for(tmp_path / "var", {**PEER, "roles": []})
    door = cstore.start(settings, keeper)
    try:
        with calling(door.port) as association:
            assert association.send_c_echo().Status == 0x0000
            answer = store(association, encoded(mr_slice()))
    finally:
        door.stop(0.0)
    assert answer.Status == 0x0124
    assert "role source" in answer.ErrorComment
    assert keeper.settle()
    assert instances.of_study(db) == []


def test_a_low_disk_rejects_for_now(tmp_path: Path, keeper: Keeper):
    settings = settings_for(tmp_path / "var", data={"minimum_free_percent": 99.999})
    door = cstore.start(settings, keeper)
    try:
        with calling(door.port) as rejected:
            answer = rejected.acceptor.primitive
            assert (answer.result, answer.result_source, answer.diagnostic) == (2, 3, 1)
    finally:
        door.stop(0.0)


def comes_in(port: int) -> bool:
    """Whether a new association is accepted; the place of one that has just left is free a moment later."""
    with calling(port) as association:
        return bool(association.is_established)


def test_too_many_associations_of_a_peer_are_rejected_for_now(tmp_path: Path, keeper: Keeper):
    settings = settings_for(tmp_path / "var", receive={"maximum_associations_per_peer": 2})
    door = cstore.start(settings, keeper)
    try:
        with calling(door.port) as first, calling(door.port) as second:
            assert first.is_established
            assert second.is_established
            with calling(door.port) as third:
                answer = third.acceptor.primitive
                assert (answer.result, answer.result_source, answer.diagnostic) == (2, 3, 2)
        assert any(comes_in(door.port) for _ in range(50))
    finally:
        door.stop(0.0)


def test_a_good_object_is_answered_with_success_and_is_there(door: cstore.Acceptor, db: Database, keeper: Keeper):
    with calling(door.port) as association:
        assert store_dataset(association, mr_slice()) == 0x0000
    assert keeper.settle()
    assert [(each.sop_instance_uid, each.source) for each in instances.of_study(db)] == [("1.2.3.4.5.1", "SCANNER")]


@pytest.mark.parametrize(
    ("content", "command", "status", "comment"),
    [
        (encoded(mr_slice())[:-1], {}, 0xC000, "truncated"),
        (encoded(mr_slice(StudyInstanceUID="")), {}, 0xC000, "Study Instance UID"),
        (encoded(mr_slice()), {"sop_instance": "1.2.99"}, 0xA900, "not the command's"),
        (encoded(mr_slice(SOPClassUID="1.2.840.10008.5.1.4.1.1.2")), {}, 0xA900, "SOP Class"),
        (encoded(mr_slice()), {"sop_instance": "../../ESCAPED"}, 0x0117, "no UID"),
        (encoded(mr_slice()), {"sop_instance": "/tmp/ESCAPED"}, 0x0117, "no UID"),
        (encoded(mr_slice()), {"sop_instance": "1." + "2" * 80}, 0x0117, "no UID"),
        (encoded(mr_slice()), {"sop_instance": ""}, 0x0117, "no UID"),
        (
            encoded(mr_slice()),
            {"sop_class": "1.2.840.10008.5.1.4.1.1.2", "context_of": "1.2.840.10008.5.1.4.1.1.4"},
            *(0x0122, "presentation context"),
        ),
        (
            encoded(mr_slice()),
            {"sop_class": "1.2.840.10008.1.1", "context_of": "1.2.840.10008.5.1.4.1.1.4"},
            *(0x0122, "presentation context"),
        ),
    ],
)
def test_a_bad_object_is_refused_with_its_status_and_the_association_goes_on(
    door: cstore.Acceptor, db: Database, keeper: Keeper, settings: Settings, content: bytes, command: dict[str, str],
    status: int, comment: str,
):  # fmt: skip
    with calling(door.port) as association:
        answer = store(association, content, **command)
        assert f"0x{answer.Status:04X}" == f"0x{status:04X}"
        assert comment in answer.ErrorComment
        assert store_dataset(association, mr_slice(2)) == 0x0000
    assert keeper.settle()
    assert [each.sop_instance_uid for each in instances.of_study(db)] == ["1.2.3.4.5.2"]
    assert list(settings.data.folder.parent.rglob("*ESCAPED*")) == []


def test_a_refused_object_leaves_an_event(door: cstore.Acceptor, db: Database):
    with calling(door.port) as association:
        store(association, encoded(mr_slice())[:-1])
    [event] = events.latest(db, "instance")
    assert (event.subject, event.after) == ("1.2.3.4.5.1", "refused")
    assert event.reason.startswith("0xC000: ")
    assert event.reason.endswith("(from SCANNER)")


def test_a_full_disk_is_out_of_resources_and_passes(door: cstore.Acceptor, monkeypatch: pytest.MonkeyPatch):
    def full(_incoming: Incoming) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with calling(door.port) as scanner:
        with monkeypatch.context() as disk:
            disk.setattr(Incoming, "keep", full)
            answer = store(scanner, encoded(mr_slice()))
        assert answer.Status == 0xA700
        assert "No space left" in answer.ErrorComment
        assert scanner.send_c_echo().Status == 0x0000
        assert store_dataset(scanner, mr_slice()) == 0x0000


@pytest.mark.parametrize(
    ("error", "status"), [(Transient("database: locked"), 0xA700), (RuntimeError("a bug"), 0x0110)]
)
def test_no_fault_of_ours_is_ever_a_success(
    door: cstore.Acceptor, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int
):
    def broken(*_: object) -> bool:
        raise error

    monkeypatch.setattr(Incoming, "keep", broken)
    with calling(door.port) as scanner:
        assert store_dataset(scanner, mr_slice()) == status


def test_the_log_of_a_refusal_has_no_value_of_the_object(door: cstore.Acceptor, capsys: pytest.CaptureFixture[str]):
    with calling(door.port) as scanner:
        store(scanner, encoded(mr_slice(PatientName="CANARY^NAME", PatientID="CANARY-ID"))[:-1])
        assert store_dataset(scanner, mr_slice(PatientName="CANARY^NAME"), ExplicitVRLittleEndian) == 0
    told = capsys.readouterr()
    assert "object_refused" in told.out + told.err
    assert "CANARY" not in told.out + told.err


def test_a_fault_in_the_verdict_lets_nobody_in(door: cstore.Acceptor, db: Database, monkeypatch: pytest.MonkeyPatch):
    def broken(*_: object) -> bool:
        raise RuntimeError("a bug")

    monkeypatch.setattr(association, "judge", broken)
    with calling(door.port) as rejected:
        answer = rejected.acceptor.primitive
        assert (answer.result, answer.result_source, answer.diagnostic) == (2, 2, 1)
        assert not rejected.is_established


def test_a_refusal_stands_though_it_cannot_be_written_down(door: cstore.Acceptor, monkeypatch: pytest.MonkeyPatch):
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("the database is gone")

    monkeypatch.setattr(events, "record", broken)
    with calling(door.port, title="NOBODY") as rejected:
        assert rejected.is_rejected
    with calling(door.port) as scanner:
        assert store(scanner, encoded(mr_slice())[:-1]).Status == 0xC000
