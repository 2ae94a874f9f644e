"""Destinations go away, strangers call, processes are killed: nothing acknowledged is lost, nothing is sent twice
with different content."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom import dcmread
from pynetdicom import AE
from pynetdicom.sop_class import Verification

from tests.associations import associated
from tests.journeys.storm import Storm
from tests.journeys.tiny_model import tiny_head, tiny_model_folder
from tests.site import ArchiveProcess, Site, running, wait_until

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model_folder(tmp_path_factory.mktemp("tiny") / "models")


def site_with(folder: Path, models: Path, archive: ArchiveProcess) -> Site:
    site = Site(folder / "site", models=models, model="tiny")
    site.peer("SCANNER", roles=["source"], results_to=["PACS"])
    site.peer("PACS", port=archive.port, roles=["destination"])
    return site


def test_results_wait_for_a_killed_destination_and_arrive_when_it_is_back(tmp_path: Path, models: Path) -> None:
    archive = ArchiveProcess(tmp_path / "archive")
    site = site_with(tmp_path, models, archive)
    files = tiny_head(tmp_path / "head", "1.2.3")
    with running(site, archive):
        archive.stop(signal.SIGKILL)
        site.send(files, calling="SCANNER")
        story = wait_until("a first failed try", lambda: _tried(site))
        assert {each["state"] for each in story["results"]} == {"queued"}
        assert all(each["reason"] for each in story["results"])
        archive.start()
        wait_until("the results", lambda: len(archive.objects()) == 2)
        wait_until("both recorded", lambda: {each["state"] for each in site.story("1.2.3")["results"]} == {"sent"})


def _tried(site: Site) -> object:
    story = site.told("1.2.3")
    return story if story and len(story["results"]) == 2 and all(each["reason"] for each in story["results"]) else None


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory, models: Path) -> Iterator[Site]:
    """A site that nobody sends to."""
    folder = tmp_path_factory.mktemp("door")
    site = site_with(folder, models, ArchiveProcess(folder / "archive"))
    site.mode = "off"
    with running(site):
        yield site


@pytest.mark.parametrize(
    ("calling", "called", "reason"), [("STRANGER", "MATINS", 3), ("SCANNER", "NOBODY", 7), ("PACS", "MATINS", 3)]
)
def test_a_stranger_is_rejected_for_the_right_reason_and_a_person_can_see_it(
    door: Site, calling: str, called: str, reason: int
) -> None:
    ae = AE(calling)
    ae.add_requested_context(Verification)
    with associated(ae, door.port, ae_title=called) as association:
        assert association.is_rejected
        rejection = association.acceptor.primitive
    assert (rejection.result, rejection.result_source, rejection.diagnostic) == (1, 1, reason)
    line = wait_until(
        "the line in the log",
        lambda: [each for each in door.log.read_text().splitlines() if "refused" in each and calling in each],
    )
    assert line


# While the listener starts anew, pynetdicom leaves the sockets that are refused to the garbage collector.
@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_kill_nine_of_any_process_at_any_moment_loses_and_doubles_nothing(tmp_path: Path, models: Path) -> None:
    storm = Storm(tmp_path, models, kills=8, seed=7)
    report = storm.run()
    assert report.lost == []
    assert report.unread == []
    assert report.doubled == []
    assert report.sent_differently == []


def test_a_restart_over_a_lost_index_rebuilds_it_from_the_spool(tmp_path: Path, models: Path) -> None:
    archive = ArchiveProcess(tmp_path / "archive")
    site = site_with(tmp_path, models, archive)
    files = tiny_head(tmp_path / "head", "1.2.3")
    with running(site, archive):
        assert all(answer.status == 0 for answer in site.send(files, calling="SCANNER"))
        wait_until("the results", lambda: len(archive.objects()) == 2)
        before = {path.name: path.read_bytes() for path in archive.objects()}
        site.stop(signal.SIGKILL)
        for path in site.data.glob("matins.sqlite*"):
            path.unlink()
        site.start()
        assert site.uids() == {dcmread(path, stop_before_pixels=True).SOPInstanceUID for path in files}
        wait_until("the study again", lambda: len(site.story("1.2.3")["results"]) == 2)
        assert set(before) == {path.name for path in archive.objects()}
