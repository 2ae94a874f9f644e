from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
import time
from io import BytesIO
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from pydicom.filereader import dcmread
from pynetdicom import AE, evt

from node.demo.archive import Archive
from node.demo.collection import ARRIVALS, Collection, arrivals
from node.demo.head import DemoStudy
from node.demo.sender import Address, send, set_no_delay
from tests.associations import associated

ROOT = Path(__file__).resolve().parents[2]
VERIFICATION, FIND = "1.2.840.10008.1.1", "1.2.840.10008.5.1.4.1.2.2.1"


def find(to: Address, identifier: Dataset) -> list[tuple[int, Dataset | None]]:
    ae = AE("ASKER")
    ae.add_requested_context(FIND)
    with associated(ae, to.port, ae_title=to.ae_title) as association:
        assert association.is_established
        return [(status.Status, found) for status, found in association.send_c_find(identifier, FIND)]


def content(instance: Dataset) -> bytes:
    stream = BytesIO()
    instance.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def wait_for(folder: Path, count: int) -> None:
    deadline = time.monotonic() + 30
    while len(arrivals(folder)) < count:
        assert time.monotonic() < deadline, f"{len(arrivals(folder))} of {count} arrived"
        time.sleep(0.05)


def test_what_is_sent_lies_in_the_folder_and_is_found_again(
    archive: Address, folder: Path, studies: dict[str, DemoStudy]
) -> None:
    study = studies["unsuitable"]
    answers = send(study.instances, archive)
    assert [answer.status for answer in answers] == [0x0000] * 34
    arrived = arrivals(folder)
    assert [one.sop_instance_uid for one in arrived] == [str(one.SOPInstanceUID) for one in study.instances]
    assert {one.calling_ae_title for one in arrived} == {"DEMO-SCANNER"}
    for one, sent in zip(arrived, study.instances, strict=True):
        kept = dcmread(folder / one.file)
        assert kept == sent
        assert kept.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.1"
    identifier = Dataset()
    identifier.QueryRetrieveLevel = "STUDY"
    identifier.StudyInstanceUID = study.study_instance_uid
    identifier.NumberOfStudyRelatedInstances = None
    identifier.RetrieveAETitle = ""
    (pending, found), (last, nothing) = find(archive, identifier)
    assert (pending, last, nothing) == (0xFF00, 0x0000, None)
    assert found is not None
    assert found.NumberOfStudyRelatedInstances == 34
    assert found.RetrieveAETitle == "ARCHIVE"


def test_it_answers_an_echo(archive: Address) -> None:
    ae = AE("ASKER")
    ae.add_requested_context(VERIFICATION)
    with associated(ae, archive.port) as association:
        assert association.send_c_echo().Status == 0x0000


def test_a_query_outside_the_model_gets_a_status_and_no_answer(archive: Address) -> None:
    identifier = Dataset()
    identifier.QueryRetrieveLevel = "SERIES"
    assert find(archive, identifier) == [(0xA900, None)]


def test_every_storage_class_and_transfer_syntax_is_accepted(archive: Address) -> None:
    ae = AE("ASKER")
    for sop_class in ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.88.34", "1.2.840.10008.5.1.4.1.1.2"):
        for syntax in ("1.2.840.10008.1.2", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.201"):
            ae.add_requested_context(sop_class, syntax)
    with associated(ae, archive.port) as association:
        assert len(association.accepted_contexts) == 12


@pytest.mark.filterwarnings("ignore:Invalid value for VR UI")
def test_the_received_text_never_becomes_a_file_name(archive: Address, folder: Path) -> None:
    evil = Dataset()
    evil.SOPClassUID = "1.2.840.10008.5.1.4.1.1.4"
    evil.StudyInstanceUID = evil.SeriesInstanceUID = "1.2.3"
    evil.SOPInstanceUID = "../../evil"
    ae = AE("EVIL")
    ae.add_requested_context(evil.SOPClassUID)
    evil.ensure_file_meta()
    evil.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2"
    evil.set_original_encoding(True, True)
    with associated(ae, archive.port) as association:
        association.send_c_store(evil)
    assert not list(folder.parent.rglob("*evil*"))
    assert all(path.name == ARRIVALS or len(path.stem) == 40 for path in folder.iterdir())


def test_an_object_without_its_uids_is_refused_and_not_kept(
    archive: Address, folder: Path, studies: dict[str, DemoStudy]
) -> None:
    for damage in ("StudyInstanceUID", "SeriesInstanceUID"):
        broken = dcmread(BytesIO(content(studies["unsuitable"].instances[0])))
        setattr(broken, damage, "")
        assert [answer.status for answer in send([broken], archive)] == [0xA900]
    assert arrivals(folder) == []
    assert list(folder.glob("*.dcm")) == []


@pytest.mark.parametrize(("number", "status"), [(errno.ENOSPC, 0xA700), (errno.EIO, 0x0110)])
def test_an_object_that_cannot_be_written_is_never_acknowledged(
    archive: Address,
    folder: Path,
    studies: dict[str, DemoStudy],
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    status: int,
) -> None:
    def fails(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fails)
    assert [answer.status for answer in send(studies["unsuitable"].instances[:1], archive)] == [status]
    assert list(folder.iterdir()) == []


def test_the_last_of_two_versions_is_kept_and_both_arrivals_are_told(
    archive: Address, folder: Path, studies: dict[str, DemoStudy]
) -> None:
    first = studies["unsuitable"].instances[0]
    second = dcmread(BytesIO(content(first)))
    second.SeriesDescription = "changed"
    send([first, second], archive)
    one, other = arrivals(folder)
    assert one.file == other.file
    assert one.sha256 != other.sha256
    assert dcmread(folder / one.file).SeriesDescription == "changed"


def test_a_restarted_archive_knows_what_it_holds_and_leaves_rubbish_aside(
    archive: Address, folder: Path, studies: dict[str, DemoStudy], capsys: pytest.CaptureFixture[str]
) -> None:
    send(studies["unsuitable"].instances[:5], archive)
    (folder / ".incoming-half").write_bytes(b"half")
    (folder / "rubbish.dcm").write_bytes(b"rubbish")
    assert len(Collection(folder)) == 5
    assert not (folder / ".incoming-half").exists()
    assert "rubbish.dcm is left aside" in capsys.readouterr().err


def test_a_line_of_the_journal_still_being_written_is_not_read(tmp_path: Path) -> None:
    (tmp_path / ARRIVALS).write_text('{"sop_class')
    assert arrivals(tmp_path) == []
    assert arrivals(tmp_path / "absent") == []


def test_both_ends_switch_nagles_algorithm_off(folder: Path, studies: dict[str, DemoStudy]) -> None:
    seen: list[int] = []

    def look(event: evt.Event) -> None:
        transport = event.assoc.dul.socket
        assert transport is not None
        assert transport.socket is not None
        seen.append(transport.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

    listening = Archive(Collection(folder), "ARCHIVE")
    ae = AE("LOOKER")
    ae.add_requested_context(VERIFICATION)
    handlers = [(evt.EVT_CONN_OPEN, set_no_delay), (evt.EVT_ESTABLISHED, look)]
    with associated(ae, listening.start(0), evt_handlers=handlers):
        (answering,) = listening._ae.active_associations
        look(evt.Event(answering, evt.EVT_ESTABLISHED))
    listening.stop()
    assert len(seen) == 2
    assert all(seen)


def test_the_process_says_when_it_is_ready_forwards_what_arrives_and_ends_on_sigterm(
    tmp_path: Path, archive: Address, folder: Path, studies: dict[str, DemoStudy]
) -> None:
    first = tmp_path / "first"
    command = [sys.executable, "-W", "error", "-m", "node.demo.archive", "--folder", first, "--ae-title", "FIRST"]
    command += ["--forward-to", f"127.0.0.1:{archive.port}:ARCHIVE"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            ready, place = process.stdout.readline().split()
            host, port = place.split(":")
            assert (ready, host) == ("ready", "127.0.0.1")
            send(studies["unsuitable"].instances[:6], Address(host, int(port), "FIRST"))
            wait_for(folder, 6)
        finally:
            process.send_signal(signal.SIGTERM)
            _, errors = process.communicate(timeout=20)
    assert process.returncode == 0, errors
    assert {one.calling_ae_title for one in arrivals(folder)} == {"FIRST"}
    assert [one.sha256 for one in arrivals(first)] != []
    assert {(folder / a.file).read_bytes() for a in arrivals(folder)} == {
        (first / a.file).read_bytes() for a in arrivals(first)
    }


def test_the_archive_imports_no_heavy_library() -> None:
    program = "import sys, node.demo.archive; sys.exit(bool({'torch', 'highdicom', 'monai'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT).returncode == 0
