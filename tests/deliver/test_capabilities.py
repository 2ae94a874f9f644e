"""What a destination answers when it is asked what it can do."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    Comprehensive3DSRStorage,
    SegmentationStorage,
    Verification,
)

from node.config import Peer
from node.deliver.capabilities import probe
from node.domain.output import SOP_CLASS_OF_OUTPUT
from node.report.outputs import outputs
from tests.associations import Scp

ALL = (Verification, SegmentationStorage, Comprehensive3DSRStorage)


@contextmanager
def archive(
    *contexts: str,
    title: str = "ARCHIVE",
    knows: str = "MATINS",
    echo: int = 0x0000,
    syntaxes: list[str] | None = None,
) -> Iterator[Peer]:
    """An archive that accepts `contexts` and calls only from the AE title `knows`."""
    ae = AE(ae_title=title)
    ae.require_called_aet = True
    ae.require_calling_aet = [knows]
    for context in contexts:
        ae.add_supported_context(context, syntaxes)
    scp = Scp(ae, [(evt.EVT_C_ECHO, lambda _event: echo)])
    try:
        yield peer(scp.port)
    finally:
        scp.stop()


def peer(port: int) -> Peer:
    return Peer(name="PACS", ae_title="ARCHIVE", host="127.0.0.1", port=port, roles=("destination",))


def test_a_destination_that_answers_and_accepts_is_fine() -> None:
    with archive(*ALL) as pacs:
        answer = probe(pacs, "MATINS", patience_s=5)
    assert answer.ok
    assert set(answer.accepted) == set(ALL)
    # What could take the place of its outputs is asked for besides.
    assert set(answer.refused) == {SOP_CLASS_OF_OUTPUT[kind] for kind in pacs.fallback}


def test_a_class_that_is_refused_is_named() -> None:
    with archive(Verification, Comprehensive3DSRStorage) as pacs:
        answer = probe(pacs, "MATINS", patience_s=5)
    assert not answer.ok
    assert SegmentationStorage in answer.problem
    assert "outputs" in answer.remedy


def test_a_class_that_is_refused_is_made_up_for_by_one_that_takes_its_place() -> None:
    with archive(Verification, Comprehensive3DSRStorage, SOP_CLASS_OF_OUTPUT["secondary_capture"]) as pacs:
        answer = probe(pacs, "MATINS", patience_s=5)
    assert answer.ok
    assert answer.made_up_for
    assert SegmentationStorage in answer.problem


def test_what_is_learnt_names_each_transfer_syntax() -> None:
    with archive(Verification, SegmentationStorage, syntaxes=[ImplicitVRLittleEndian]) as pacs:
        answer = probe(pacs, "MATINS", patience_s=5)
    of_seg = {each.transfer_syntax_uid: each for each in answer.learnt if each.sop_class_uid == SegmentationStorage}
    assert {syntax: each.accepted for syntax, each in of_seg.items()} == {
        ImplicitVRLittleEndian: True,
        ExplicitVRLittleEndian: False,
    }
    assert "does not accept Segmentation Storage" in of_seg[ExplicitVRLittleEndian].reason
    assert Verification not in {each.sop_class_uid for each in answer.learnt}


def test_an_archive_that_does_not_know_us_is_told_apart_from_one_of_another_name() -> None:
    with archive(*ALL, knows="OTHER") as pacs:
        answer = probe(pacs, "MATINS", patience_s=5)
    assert "does not know our AE title MATINS" in answer.problem
    with archive(*ALL, title="ELSEWHERE") as pacs:
        answer = probe(pacs, "MATINS", patience_s=5)
    assert "is not called ARCHIVE" in answer.problem


def test_a_failing_echo_is_told_with_its_status() -> None:
    with archive(*ALL, echo=0x0122) as pacs:
        assert "0x0122" in probe(pacs, "MATINS", patience_s=5).problem


def test_an_answer_that_the_reactor_thread_of_pynetdicom_takes_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    real = Association.send_c_echo

    def taken(association: Association) -> Dataset:
        real(association)
        return Dataset()

    monkeypatch.setattr(Association, "send_c_echo", taken)
    with archive(*ALL) as pacs:
        assert probe(pacs, "MATINS", patience_s=5).ok


def test_nobody_there_is_told_with_the_place() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    answer = probe(peer(port), "MATINS", patience_s=2)
    assert f"nobody answers at 127.0.0.1:{port}" in answer.problem


def test_something_that_speaks_no_dicom_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def hang_up() -> None:
            for _ in range(2):
                connection, _ = server.accept()
                connection.close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        answer = probe(peer(server.getsockname()[1]), "MATINS", patience_s=2)
        thread.join()
    assert "no DICOM" in answer.problem


@pytest.mark.parametrize("kind", sorted(outputs()))
def test_every_output_has_its_class(kind: str) -> None:
    assert kind in SOP_CLASS_OF_OUTPUT
