"""Studies are found at an Orthanc and come from there by C-MOVE and by C-GET."""

from __future__ import annotations

import shutil
import socket
from pathlib import Path

import pytest
from pydicom import dcmread

from tests.journeys.tiny_model import tiny_head, tiny_model_folder
from tests.orthanc import Orthanc
from tests.site import Site, running, wait_until

pytestmark = [pytest.mark.interop, pytest.mark.timeout(300)]

if shutil.which("Orthanc") is None:
    pytest.skip("not installed: Orthanc (Debian: orthanc)", allow_module_level=True)
# Orthanc's DICOM port listens on every address there is.
if [name for _, name in socket.if_nameindex()] != ["lo"]:
    pytest.skip("runs in a network of its own: unshare --net, with lo up", allow_module_level=True)

FIRST, SECOND = "1.2.826.0.2.1", "1.2.826.0.2.2"


def head(folder: Path, study: str, accession: str) -> list[Path]:
    paths = tiny_head(folder, study)
    for path in paths:
        dataset = dcmread(path)
        dataset.AccessionNumber = accession
        dataset.save_as(path, enforce_file_format=True)
    return paths


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "site", models=tiny_model_folder(tmp_path / "models"), model="tiny")


def test_a_study_is_found_at_orthanc_and_comes_by_c_move(site: Site, tmp_path: Path) -> None:
    orthanc = Orthanc(tmp_path / "orthanc", site)
    site.peer("ORTHANC", port=orthanc.port, roles=["source", "archive"])
    with orthanc.running(), running(site):
        orthanc.hold(head(tmp_path / "first", FIRST, "ACC-1") + head(tmp_path / "second", SECOND, "ACC-2"))
        listed = site.json("fetch", "--since", "2025-12-31", "--modality", "MR", "--dry-run")
        assert {each["study_instance_uid"] for each in listed["studies"]} == {FIRST, SECOND}
        told = site.json("fetch", "--accession", "ACC-1", "--wait")
        (study,) = told["studies"]
        assert (study["state"], study["expected"], study["held"]) == ("retrieved", 12, 12)
        held = site.json("instances")["instances"]
        assert {(each["study_instance_uid"], each["source"]) for each in held} == {(FIRST, "ORTHANC")}
        wait_until("it to be read", lambda: site.story(FIRST)["state"] == "done")
        assert [each["state"] for each in site.story(FIRST)["outcomes"]] == ["result"]


def test_an_archive_that_may_not_call_us_gives_its_study_by_c_get(site: Site, tmp_path: Path) -> None:
    orthanc = Orthanc(tmp_path / "orthanc", site)
    site.peer("ORTHANC", port=orthanc.port, roles=["archive"])
    with orthanc.running(), running(site):
        orthanc.hold(head(tmp_path / "first", FIRST, "ACC-1"))
        done = site.run("fetch", "--study", FIRST, "--wait")
        assert done.returncode == 0, done.stdout + done.stderr
        held = site.json("instances")["instances"]
        assert {(each["study_instance_uid"], each["source"]) for each in held} == {(FIRST, "ORTHANC")}


def test_an_orthanc_that_does_not_know_us_is_given_up_with_a_hint(site: Site, tmp_path: Path) -> None:
    orthanc = Orthanc(tmp_path / "orthanc", site)
    orthanc.settings["DicomModalities"] = {}
    site.peer("ORTHANC", port=orthanc.port, roles=["source", "archive"])
    site.peers.append("[retrieve]\ntries = 1")
    with orthanc.running(), running(site):
        orthanc.hold(head(tmp_path / "first", FIRST, "ACC-1"))
        done = site.run("fetch", "--study", FIRST, "--wait")
        assert done.returncode == 1
        assert "does it know our AE title MATINS" in done.stdout
