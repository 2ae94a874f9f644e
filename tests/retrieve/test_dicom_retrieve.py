from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pynetdicom._config
import pytest
from pydicom import dcmread

from node.demo.archive import Archive
from node.demo.collection import Collection
from node.demo.sender import Address, send
from node.errors import Failed, Transient
from node.loop import Stop
from node.retrieve.asking import CHILD, ask
from node.retrieve.calls import portions_of
from node.retrieve.dicom_retrieve import identifier_of, retrieve
from node.retrieve.found import FoundInstance
from node.retrieve.question import NotOffered, Portion, Tally, Transfer, Way
from node.store.inbox import Inbox
from tests.receive.objects import STUDY, mr_slice
from tests.retrieve.conftest import OTHER_SERVICE
from tests.retrieve.scripted import DONE, HANG, HANG_UP, Say, Script, Scripted, pending


def transfer(port: int, **changes: object) -> Transfer:
    values: dict[str, object] = {
        "peer": "PACS",
        "host": "127.0.0.1",
        "port": port,
        "their_ae_title": "ARCHIVE",
        "our_ae_title": "MATINS",
        "connect_s": 5.0,
        "answer_s": 5.0,
        "study_instance_uid": STUDY,
        "way": Way.MOVE,
        "portions": (Portion(),),
        "our_port": 11112,
        "maximum_bytes": 1 << 30,
        "minimum_free_percent": 0.0,
        "longest_s": 20.0,
        "longest_silence_s": 20.0,
    }
    return Transfer.model_validate(values | changes)


def moved(archive: Scripted, **changes: object) -> tuple[Any, list[Tally]]:
    heard: list[Tally] = []
    return retrieve(transfer(archive.port, **changes), threading.Event(), heard.append), heard


def test_a_study_is_moved_to_our_own_ae_title_and_progress_is_heard(scripted: Callable[..., Scripted]) -> None:
    going = [Say(status=0xFF00, remaining=2 - n, completed=n, failed=0) for n in range(3)]
    archive = scripted([*going, Say(status=0x0000, completed=2, failed=0)])
    reply, heard = moved(archive)
    assert (reply.tally.completed, reply.tally.failed, reply.reason) == (2, 0, "")
    assert [(tally.remaining, tally.completed) for tally in heard] == [(2, 0), (1, 1), (0, 2), (0, 2)]
    assert archive.destinations == ["MATINS"]
    (asked,) = archive.asked
    assert {each.keyword for each in asked} == {"QueryRetrieveLevel", "StudyInstanceUID"}


def test_portions_are_asked_for_one_after_the_other_and_their_counts_add_up(scripted: Callable[..., Scripted]) -> None:
    archive = scripted([Say(status=0x0000, completed=5)], [Say(status=0xB000, completed=1, failed=1)])
    portions = (
        Portion(series_instance_uid="1.2.9"),
        Portion(series_instance_uid="1.2.8", sop_instance_uids=("1.1", "1.2")),
    )
    reply = retrieve(transfer(archive.port, portions=portions), threading.Event(), lambda _: None)
    assert (reply.tally.completed, reply.tally.failed) == (6, 1)
    assert reply.reason == "PACS could not send 1 of the instances"
    assert [asked.QueryRetrieveLevel for asked in archive.asked] == ["SERIES", "IMAGE"]
    assert list(archive.asked[1].SOPInstanceUID) == ["1.1", "1.2"]


@pytest.mark.parametrize(
    ("status", "error", "words"),
    [
        (0xA801, Failed, r"does not know our AE title MATINS .* enter it there, .* port 11112"),
        (0xA900, Failed, "0xA900"),
        (0x0124, Failed, "does not allow"),
        (0x0122, Failed, "does not offer"),
        (0xA701, Transient, "short of resources"),
        (0xA702, Transient, "short of resources"),
        (0xC001, Transient, "0xC001"),
        (0x0110, Transient, "0x0110"),
        (0xFE00, Transient, "cancelled"),
    ],
)
def test_each_status_says_whether_to_come_again(
    scripted: Callable[..., Scripted], status: int, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        moved(scripted([Say(status=status)]))


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ([HANG_UP], "broke off"),
        ([Say(status=0xFF00, remaining=1), HANG_UP], "broke off"),
        ([Say(status=0x0000, completed=9, off_by=3)], "another message"),
        ([Say(status=0xFF00, off_by=1)], "another message"),
        ([HANG], "no answer within 1 s"),
    ],
)
def test_a_move_that_breaks_or_lies_is_tried_again(
    scripted: Callable[..., Scripted], script: Script, words: str
) -> None:
    with pytest.raises(Transient, match=words):
        moved(scripted(script), longest_s=1.0)


def test_success_with_failures_is_no_success(scripted: Callable[..., Scripted]) -> None:
    reply, _ = moved(scripted([Say(status=0x0000, completed=1, failed=3)]))
    assert reply.reason == "PACS could not send 3 of the instances"


def test_whoever_offers_no_move_is_told_apart(scripted: Callable[..., Scripted]) -> None:
    with pytest.raises(NotOffered):
        moved(scripted([DONE], services=OTHER_SERVICE))


def test_a_stop_cancels_the_move_at_the_archive(scripted: Callable[..., Scripted]) -> None:
    archive = scripted([Say(status=0xFF00, remaining=1), HANG])
    stop = Stop()

    def heard(_tally: Tally) -> None:
        stop.set()

    with pytest.raises(Transient, match="the room ends"):
        ask(CHILD, transfer(archive.port), stop, lambda: None, start_s=60, heard=heard)
    assert archive.cancelled.wait(10)


def test_a_failed_list_of_thousands_is_read_and_nothing_of_it_told(scripted: Callable[..., Scripted]) -> None:
    failed = pending(FailedSOPInstanceUIDList=[f"1.2.{n}" for n in range(5000)]).identifier
    reply, _ = moved(scripted([Say(status=0xB000, completed=0, failed=5000, identifier=failed)]))
    assert reply.reason == "PACS could not send 5000 of the instances"


# What is asked for


def found(series: str, *numbers: int) -> list[FoundInstance]:
    return [FoundInstance(series_instance_uid=series, sop_instance_uid=f"{series}.{n}") for n in numbers]


def test_what_is_missing_is_asked_for_as_coarsely_as_can_be() -> None:
    first, second = found("1.1", 1, 2), found("1.2", *range(1, 451))
    contents = [*first, *second]
    assert portions_of(contents, contents) == [Portion()]
    assert portions_of(first, contents) == [Portion(series_instance_uid="1.1")]
    one = portions_of(second[:1], contents)
    assert one == [Portion(series_instance_uid="1.2", sop_instance_uids=("1.2.1",))]
    many = portions_of([*first, *second[1:]], contents)
    assert many[0] == Portion(series_instance_uid="1.1")
    assert [len(portion.sop_instance_uids) for portion in many[1:]] == [200, 200, 49]


def test_only_unique_keys_are_named() -> None:
    for portion in (Portion(), Portion(series_instance_uid="1.1")):
        assert all(each.keyword.endswith("UID") or each.keyword == "QueryRetrieveLevel"
                   for each in identifier_of(STUDY, portion))  # fmt: skip


# C-GET


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Address]:
    listening = Archive(Collection(tmp_path / "archive"), "ARCHIVE")
    address = Address("127.0.0.1", listening.start(0), "ARCHIVE")
    for number in range(1, 5):
        dataset = mr_slice(number)
        dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        send([dataset], address)
    yield address
    listening.stop()


def test_objects_come_over_the_same_association_and_wait_whole_in_the_inbox(archive: Address, tmp_path: Path) -> None:
    inbox = Inbox(tmp_path)
    folder = inbox.folder_of(7)
    errand = transfer(archive.port, way=Way.GET, folder=str(folder), sop_class_uids=["1.2.840.10008.5.1.4.1.1.4"])
    reply = ask(CHILD, errand, Stop(), lambda: None, start_s=60)
    assert (reply.tally.completed, reply.tally.failed, reply.disbelieved) == (4, 0, {})
    waiting = list(inbox.waiting())
    assert [number for number, _ in waiting] == [7] * 4
    for _, path in waiting:
        assert dcmread(path).PixelData
    assert sorted(dcmread(path).InstanceNumber for _, path in waiting) == [1, 2, 3, 4]
    assert [path.name for path in (folder / "unfinished").iterdir()] == []


def test_objects_over_the_limit_are_left_out_and_told(archive: Address, tmp_path: Path) -> None:
    folder = Inbox(tmp_path).folder_of(7)
    errand = transfer(archive.port, way=Way.GET, folder=str(folder), maximum_bytes=1000)
    reply = ask(CHILD, errand, Stop(), lambda: None, start_s=60)
    assert reply.disbelieved == {"larger than [receive] maximum_object_bytes": 4}
    assert list(Inbox(tmp_path).waiting()) == []


def test_the_configuration_of_the_library_stays_as_it_was_here() -> None:
    assert not pynetdicom._config.STORE_RECV_CHUNKED_DATASET
