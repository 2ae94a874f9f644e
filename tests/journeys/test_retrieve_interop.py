"""Studies are found at an Orthanc and come from there by C-MOVE and by C-GET."""

from __future__ import annotations

import shutil
import socket
from pathlib import Path

import pytest
from pydicom import dcmread

from tests import prior_archive
from tests.journeys.tiny_model import tiny_head, tiny_model_folder
from tests.orthanc import Orthanc
from tests.site import Site, running, wait_until

pytestmark = [pytest.mark.interop, pytest.mark.timeout(300)]

if shutil.which("Orthanc") is None:
    pytest.skip("not installed: Orthanc (Debian: orthanc)", allow_module_level=True)
# Orthanc's DICOM port listens on every address there is.
if [name for _, name in socket.if_nameindex()] != ["lo"]:
    pytest.skip("runs in a network of its own: unshare --net, with lo up", allow_module_level=True)

PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
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


@pytest.mark.parametrize("way", ["C-MOVE", "C-GET", "WADO-RS"])
def test_priors_come_from_orthanc_with_their_reports_and_the_facts_are_the_right_patients(
    site: Site, tmp_path: Path, way: str
) -> None:
    orthanc = Orthanc(tmp_path / "orthanc", site)
    site.peer("SCANNER", roles=["source"], issuer="HOSPITAL-A")
    roles = ["source", "archive"] if way == "C-MOVE" else ["archive"]
    more = {}
    if way == "WADO-RS":
        if not PLUGIN.is_file():
            pytest.skip("not installed: Orthanc's DICOMweb plugin (Debian: orthanc-dicomweb)")
        orthanc.settings |= {"Plugins": [str(PLUGIN)], "DicomWeb": {"Enable": True}}
        more = {"dicomweb": f"http://127.0.0.1:{orthanc.web}/dicom-web"}
    site.peer("ORTHANC", port=orthanc.port, roles=roles, issuer="HOSPITAL-A", **more)
    # All three go by one ID at Orthanc, which takes them for one patient; of the images nothing is wanted.
    reports = 'name = "reports"\nmodalities = "any"\nbody_part = "same"\nseries_modalities = []\ncount = 5'
    site.peers.append(f"[[retrieve.select]]\n{reports}")
    with orthanc.running(), running(site):
        orthanc.hold(prior_archive.everything(tmp_path / "archive"))
        today = prior_archive.images_of(tmp_path, prior_archive.CURRENT, date="20260101")
        assert all(answer.status == 0 for answer in site.send(today, calling="SCANNER"))

        def read_back() -> bool:
            story = site.told(prior_archive.CURRENT)
            return story is not None and len(story["prior_documents"]) >= 4

        wait_until("the reports of the prior to be read", read_back)
        story = site.story(prior_archive.CURRENT)
        told = [each for each in story["history"] if each["code"] in ("report", "problem")]
        assert {(e["code"], e["value"], e["coded"], e["standing"]) for e in told} == prior_archive.FACTS
        held = site.json("instances")["instances"]
        mine = [each for each in held if each["study_instance_uid"] == prior_archive.RIGHT]
        assert len(mine) == 4
        assert {each["study_instance_uid"] for each in held} == {prior_archive.RIGHT, prior_archive.CURRENT}
