from __future__ import annotations

import errno
import struct
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage

from node.errors import Refused, Transient
from node.receive import association
from node.receive.intakes import cstore
from node.receive.layouts import Layouts
from node.store import events
from node.store.database import Database
from tests.receive.objects import settings_for
from tests.receive.peer import Bare, bare
from tests.receive.stub_keeper import StubKeeper

LIMIT = 1 << 20


@pytest.fixture
def keeper(db: Database) -> StubKeeper:  # type: ignore[override]
    return StubKeeper(db)


@pytest.fixture
def peer(tmp_path: Path, keeper: StubKeeper, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bare]:
    """An association of a peer that speaks bytes."""
    monkeypatch.setattr(association, "_RESERVE_S", 0.0)
    running = cstore.start(settings_for(tmp_path / "var", receive={"maximum_object_bytes": LIMIT}), keeper.as_keeper())
    with closing(bare(running.port)) as made:
        yield made
    running.stop(0.0)


@pytest.mark.parametrize("fragment_bytes", [1000, 40000, 100000])
def test_fragments_reach_the_keeper_as_one_object(peer: Bare, keeper: StubKeeper, fragment_bytes: int):
    content = bytes(range(256)) * 500
    assert peer.store(content, fragment_bytes=fragment_bytes) == (0x0000, "")
    [arrived] = keeper.arrived
    assert (arrived.content, arrived.became) == (content, "kept")
    assert isinstance(arrived.named.pop("layouts"), Layouts)
    assert arrived.named == {
        "transfer_syntax_uid": ExplicitVRLittleEndian,
        "sop_class_uid": MRImageStorage,
        "sop_instance_uid": "1.2.3.4.5.1",
        "maximum_bytes": LIMIT,
    }
    assert (arrived.origin.source, arrived.origin.sending_ae_title, arrived.origin.receiving_ae_title) == (
        *("SCANNER", "SCANNER1", "MATINS"),
    )


def test_objects_of_one_association_share_what_is_remembered_of_their_layout(peer: Bare, keeper: StubKeeper):
    for number in (1, 2):
        peer.store(b"object %d" % number)
    first, second = keeper.arrived
    assert first.named["layouts"] is second.named["layouts"]


@pytest.mark.parametrize(("originator", "retrieved"), [("", False), ("OTHER", False), ("MATINS ", True)])
def test_what_we_asked_for_is_known_by_its_originator(peer: Bare, keeper: StubKeeper, originator: str, retrieved: bool):
    assert peer.store(b"xx", more=[(0x1030, originator.encode())] if originator else [])[0] == 0x0000
    assert keeper.arrived[0].origin.retrieved is retrieved


@pytest.mark.parametrize("fragment_bytes", [4000, 40000])
@pytest.mark.parametrize("step", ["receive", "write", "keep"])
@pytest.mark.parametrize(
    ("error", "status"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), 0xA700),
        (OSError(errno.EIO, "Input/output error"), 0xA700),
        (Transient("the index is behind"), 0xA700),
        (Refused(0xA900, "not the command's"), 0xA900),
        (Refused(0xC000, "truncated"), 0xC000),
        (RuntimeError("a bug"), 0x0110),
        (MemoryError(), 0x0110),
    ],
    ids=lambda each: str(each) if isinstance(each, Exception) else f"0x{each:04X}",
)
def test_whatever_goes_wrong_is_told_at_the_end_of_the_data_set(
    peer: Bare, keeper: StubKeeper, step: str, error: Exception, status: int, fragment_bytes: int
):
    keeper.failing[step] = error
    told, comment = peer.store(bytes(100000), fragment_bytes=fragment_bytes)
    assert f"0x{told:04X}" == f"0x{status:04X}"
    assert comment
    assert len(comment) <= 64
    assert all(arrived.became == "discarded" for arrived in keeper.arrived)
    assert peer.store(b"sound")[0] == 0x0000


def test_an_object_over_the_limit_is_told_at_once_and_the_association_aborted(peer: Bare, keeper: StubKeeper):
    peer.begin_store()
    for _ in range(LIMIT // 65536 + 1):
        peer.data(bytes(65536), last=False)
    assert peer.answer()[0] == 0xA700
    assert peer.pdu() == (7, bytes([0, 0, 0, 0]))
    [arrived] = keeper.arrived
    assert arrived.became == "discarded"


def test_an_object_of_the_limit_is_kept(peer: Bare):
    assert peer.store(bytes(LIMIT), fragment_bytes=100000)[0] == 0x0000


def test_a_refused_object_is_thrown_away_up_to_the_limit(peer: Bare, keeper: StubKeeper):
    keeper.failing["receive"] = Refused(0xC000, "not now")
    peer.begin_store()
    for _ in range(LIMIT // 65536 + 1):
        peer.data(bytes(65536), last=False)
    assert peer.answer()[0] == 0xC000
    assert peer.pdu()[0] == 7


def test_half_an_object_is_discarded_when_the_peer_goes(peer: Bare, keeper: StubKeeper):
    peer.begin_store()
    peer.data(b"half", last=False)
    peer.release()
    assert keeper.arrived[0].became == "discarded"


def test_a_disk_without_its_reserve_is_told_at_each_object(
    peer: Bare, keeper: StubKeeper, monkeypatch: pytest.MonkeyPatch
):
    assert peer.store(b"xx")[0] == 0x0000
    monkeypatch.setattr(association, "has_room", lambda *_: False)
    status, comment = peer.store(b"xx")
    assert (status, "of the disk is free" in comment) == (0xA700, True)
    monkeypatch.setattr(association, "has_room", lambda *_: True)
    assert peer.store(b"xx")[0] == 0x0000


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"sop_instance": "../../ESCAPED"}, 0x0117),
        ({"sop_instance": "/etc/passwd"}, 0x0117),
        ({"sop_instance": "1.2\0.3"}, 0x0117),
        ({"sop_instance": "1.2\n3"}, 0x0117),
        ({"sop_instance": "$(touch ESCAPED)"}, 0x0117),
        ({"sop_instance": "1." + "2" * 300}, 0x0117),
        ({"sop_instance": ""}, 0x0117),
        ({"sop_class": "1.2.840.10008.5.1.4.1.1.2"}, 0x0122),
        ({"sop_class": "1.2.3.4"}, 0x0122),
        ({"sop_class": ""}, 0x0122),
        ({"context_id": 3}, 0x0122),
        ({"context_id": 3, "sop_class": "1.2.840.10008.1.1"}, 0x0211),
    ],
)
def test_a_command_that_cannot_be_right_is_refused_and_nothing_begun(
    peer: Bare, keeper: StubKeeper, db: Database, changes: dict[str, object], status: int
):
    told, comment = peer.store(bytes(5000), **changes)  # type: ignore[arg-type]
    assert f"0x{told:04X}" == f"0x{status:04X}"
    assert comment
    assert keeper.arrived == []
    [event] = events.latest(db, "instance")
    assert event.reason.startswith(f"0x{status:04X}: ")
    assert event.reason.isprintable()
    assert "ESCAPED" not in event.subject


def test_a_store_without_a_data_set_cannot_be_understood(peer: Bare):
    peer.begin_store(data_set=False)
    assert peer.answer()[0] == 0xC000


def test_the_answer_names_the_object(peer: Bare):
    peer.store(b"xx")
    [class_uid, instance_uid] = [peer.last[number].rstrip(b"\0") for number in (0x0002, 0x1000)]
    assert (class_uid, instance_uid) == (MRImageStorage.encode(), b"1.2.3.4.5.1")
    assert struct.unpack("<H", peer.last[0x0120]) == (5,)
