from __future__ import annotations

import socket
import time
from contextlib import closing
from io import BytesIO
from pathlib import Path

import pytest
from pydicom.filereader import dcmread
from pydicom.uid import UID
from pynetdicom import AE, evt

from node.demo.collection import arrivals
from node.demo.connections import Connections
from node.demo.head import DemoStudy
from node.demo.sender import Address, Answer, _associate, _park, files_below, send
from node.errors import Transient
from tests.associations import Scp

MR = "1.2.840.10008.5.1.4.1.1.4"


@pytest.mark.parametrize(
    ("status", "accepted"),
    [(0x0000, True), (0xB000, True), (0xB007, True), (0xA700, False), (0xC000, False), (0x0110, False), (None, False)],
)
def test_success_and_warnings_count_as_accepted(status: int | None, accepted: bool) -> None:
    assert Answer("1.2", status).is_accepted is accepted


def test_an_address_is_read_from_text() -> None:
    assert Address.parse("127.0.0.1:104:AE TITLE") == Address("127.0.0.1", 104, "AE TITLE")
    for wrong in ("", "host:AE", "host:port:AE"):
        with pytest.raises(ValueError, match=r".+"):
            Address.parse(wrong)


def test_files_go_out_as_they_lie_there(
    archive: Address, folder: Path, studies: dict[str, DemoStudy], tmp_path: Path
) -> None:
    source = tmp_path / "source" / "deeper"
    source.mkdir(parents=True)
    for number, instance in enumerate(studies["unsuitable"].instances[:4]):
        instance.save_as(source / f"{number}.dcm", enforce_file_format=True)
    files = files_below(tmp_path / "source")
    answers = send(files, archive, calling_ae_title="FOLDER")
    assert [answer.status for answer in answers] == [0] * 4
    for arrival, path in zip(arrivals(folder), files, strict=True):
        assert dcmread(folder / arrival.file) == dcmread(path)
        assert arrival.calling_ae_title == "FOLDER"


def test_progress_is_told_after_each_answer(archive: Address, studies: dict[str, DemoStudy]) -> None:
    told: list[tuple[int, int]] = []
    send(studies["unsuitable"].instances[:3], archive, on_sent=lambda done, total: told.append((done, total)))
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_nothing_to_send_opens_no_association() -> None:
    assert send([], Address("127.0.0.1", 9, "NOBODY")) == []


def test_more_kinds_than_one_association_can_carry_go_over_several(
    archive: Address, studies: dict[str, DemoStudy]
) -> None:
    """130 storage classes of which the archive knows one: the rest is answered without a status."""
    instances = []
    for number in range(130):
        stream = BytesIO()
        studies["unsuitable"].instances[0].save_as(stream, enforce_file_format=True)
        stream.seek(0)
        instance = dcmread(stream)
        if number != 129:
            instance.file_meta.MediaStorageSOPClassUID = UID(f"1.2.826.0.1.{number}")
        instances.append(instance)
    answers = send(instances, archive)
    assert [answer.status for answer in answers] == [None] * 129 + [0x0000]


# pynetdicom 3.0.4 lets go of a socket that could not be connected without closing it: transport.py, _shutdown_socket.
@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
def test_a_peer_that_is_not_there_is_a_passing_fault(studies: dict[str, DemoStudy]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound but not listening: nobody else answers here
        port = taken.getsockname()[1]
        with pytest.raises(Transient, match=f"ABSENT at 127.0.0.1:{port} cannot be reached"):
            send(studies["unsuitable"].instances[:1], Address("127.0.0.1", port, "ABSENT"))


def test_a_rejected_association_is_a_passing_fault(studies: dict[str, DemoStudy]) -> None:
    ae = AE("STRICT")
    ae.require_called_aet = True
    ae.add_supported_context(MR)
    strict = Scp(ae)
    try:
        with pytest.raises(Transient, match="rejected the association"):
            send(studies["unsuitable"].instances[:1], Address("127.0.0.1", strict.port, "WRONG"))
    finally:
        strict.stop()


def serve(answer_when: int) -> tuple[Scp, list[str]]:
    """A peer that aborts the association at every `answer_when`-th object before it answers."""
    seen: list[str] = []

    def store(event: evt.Event) -> int:
        seen.append(str(event.request.AffectedSOPInstanceUID))
        if len(seen) % answer_when == 0:
            event.assoc.abort()
        return 0x0000

    ae = AE("SHAKY")
    ae.add_supported_context(MR, "1.2.840.10008.1.2.1")
    return Scp(ae, [(evt.EVT_C_STORE, store)]), seen


def test_a_broken_association_is_taken_up_where_the_answers_stopped(studies: dict[str, DemoStudy]) -> None:
    shaky, seen = serve(answer_when=4)
    try:
        instances = studies["unsuitable"].instances[:8]
        answers = send(instances, Address("127.0.0.1", shaky.port, "SHAKY"))
    finally:
        shaky.stop()
    uids = [str(instance.SOPInstanceUID) for instance in instances]
    assert [answer.sop_instance_uid for answer in answers] == uids
    assert all(answer.is_accepted for answer in answers)
    assert sorted(set(seen)) == sorted(uids)
    assert len(seen) > len(uids)


def test_a_peer_that_never_answers_is_given_up_after_three_associations(studies: dict[str, DemoStudy]) -> None:
    shaky, seen = serve(answer_when=1)
    try:
        with pytest.raises(Transient, match="broke off after 0 instances"):
            send(studies["unsuitable"].instances[:2], Address("127.0.0.1", shaky.port, "SHAKY"))
    finally:
        shaky.stop()
    assert len(seen) == 3


def test_no_answer_is_taken_by_the_reactor_of_the_library(archive: Address) -> None:
    with closing(Connections()) as connections:
        association = _associate([(MR, "1.2.840.10008.1.2.1")], archive, "SCANNER", connections)
        parked = _park(association)
        association.dimse.msg_queue.put((1, "an answer that came at once"))
        time.sleep(0.1)
        assert association.dimse.msg_queue.get_nowait() == (1, "an answer that came at once")
        association.release()
        parked.end()
        association.join(5)
    assert not association.is_alive()
