"""`check` says of each destination whether it can be sent to, and keeps what it takes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pynetdicom.sop_class import Comprehensive3DSRStorage, SegmentationStorage, Verification

from node.commands.check import Check
from node.commands.destinations import destinations
from node.config import Peer, Settings
from node.domain.output import SOP_CLASS_OF_OUTPUT
from node.domain.time import SystemClock
from node.store import capabilities
from node.store.database import Database, open_database
from tests.deliver.stow_service import StowService
from tests.deliver.test_capabilities import archive

FILE = Path("config.toml")


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    database = open_database(tmp_path / "var", "test")
    yield database
    database.close()


def checked(db: Database, **how: object) -> Check:
    peer = Peer.model_validate({"name": "PACS", "ae_title": "ARCHIVE", "roles": ["destination"], **how})
    settings = Settings.model_validate({"data": {"folder": db.folder}, "deliver": {"connect_s": 5.0, "dimse_s": 5.0}})
    (check,) = destinations(settings.model_copy(update={"peers": (peer,)}), FILE)
    return check


def test_what_a_destination_takes_is_kept_and_what_it_does_not_is_named(db: Database) -> None:
    summary = SOP_CLASS_OF_OUTPUT["secondary_capture"]
    with archive(Verification, Comprehensive3DSRStorage, summary) as pacs:
        check = checked(db, host=pacs.host, port=pacs.port)
    assert check.ok
    assert "does not take seg, labelmap_seg, presentation_state, encapsulated_pdf" in check.found
    assert "other outputs take its place" in check.problem
    now = SystemClock().now()
    assert capabilities.known_refusal(db, now, "PACS", SegmentationStorage)
    assert not capabilities.known_refusal(db, now, "PACS", summary)
    with archive(Verification, Comprehensive3DSRStorage, SegmentationStorage) as pacs:
        check = checked(db, host=pacs.host, port=pacs.port)
    assert "seg," not in check.found.replace("labelmap_seg,", "")
    assert not capabilities.known_refusal(db, now, "PACS", SegmentationStorage)


@pytest.mark.parametrize("there", [True, False])
def test_a_folder_is_there_or_is_not(db: Database, tmp_path: Path, there: bool) -> None:
    folder = tmp_path / "outgoing"
    if there:
        folder.mkdir()
    check = checked(db, send_by="folder", folder=folder)
    assert check.ok is there
    assert check.key == ("" if there else "peers[0].folder")


@pytest.mark.parametrize(
    ("outputs", "said"),
    [
        (["seg", "measurement_sr"], False),
        (["labelmap_seg", "measurement_sr"], True),
        (["labelmap_seg", "basic_text_sr"], False),
    ],
)
def test_a_report_without_the_segmentation_that_it_refers_to_is_named(
    db: Database, tmp_path: Path, outputs: list[str], said: bool
) -> None:
    check = checked(db, send_by="folder", folder=tmp_path, outputs=outputs)
    assert check.ok
    assert ("measurement_sr will refer to seg, which its `outputs` lack" in check.found) is said


def test_a_service_that_answers_is_fine_and_one_that_does_not_is_named_with_its_address(db: Database) -> None:
    with StowService() as service:
        address = service.address
        assert checked(db, send_by="stow", dicomweb=address).ok
        assert service.received == []
    check = checked(db, send_by="stow", dicomweb=address)
    assert (check.ok, address in check.problem, check.key) == (False, True, "peers[0].dicomweb")
