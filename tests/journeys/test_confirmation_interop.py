"""An Orthanc that has merged the patient gets results under the surviving ID, and commits itself to them."""

from __future__ import annotations

import json
import shutil
import socket
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread

from tests.journeys.test_changed_content import accepted
from tests.journeys.tiny_model import tiny_head, tiny_model_folder
from tests.orthanc import Orthanc
from tests.site import Site, running, wait_until

pytestmark = [pytest.mark.interop, pytest.mark.timeout(300)]

if shutil.which("Orthanc") is None:
    pytest.skip("not installed: Orthanc (Debian: orthanc)", allow_module_level=True)
# Orthanc's DICOM port listens on every address there is.
if [name for _, name in socket.if_nameindex()] != ["lo"]:
    pytest.skip("runs in a network of its own: unshare --net, with lo up", allow_module_level=True)

STUDY = "1.2.826.0.2.7"


def merged(files: list[Path], folder: Path) -> list[Path]:
    """The study as the archive has it once the patient was merged."""
    folder.mkdir()
    for path in files:
        dataset = dcmread(path)
        dataset.PatientID = "SURVIVOR"
        dataset.save_as(folder / path.name, enforce_file_format=True)
    return sorted(folder.iterdir())


def patients(orthanc: Orthanc) -> dict[str, int]:
    """Patient ID → number of instances, as Orthanc files them."""
    found: dict[str, int] = {}
    with urllib.request.urlopen(f"http://127.0.0.1:{orthanc.web}/patients?expand", timeout=20) as answer:
        for each in json.load(answer):
            url = f"http://127.0.0.1:{orthanc.web}/patients/{each['ID']}/instances"
            with urllib.request.urlopen(url, timeout=20) as instances:
                found[each["MainDicomTags"]["PatientID"]] = len(json.load(instances))
    return found


@pytest.mark.parametrize(("confirm", "reason"), [("ask", "committed by ORTHANC"), ("query", "found at ORTHANC")])
def test_results_are_filed_under_the_surviving_id_and_confirmed(tmp_path: Path, confirm: str, reason: str) -> None:
    site = Site(tmp_path / "site", models=tiny_model_folder(tmp_path / "models"), model="tiny")
    orthanc = Orthanc(tmp_path / "orthanc", site)
    site.peer("SCANNER", roles=["source"], results_to=["ORTHANC"])
    site.peer(
        "ORTHANC",
        port=orthanc.port,
        roles=["destination"],
        addresses=["127.0.0.0/8"],
        confirm=confirm,
        reconcile=True,
    )
    files = tiny_head(tmp_path / "head", STUDY, patient_id="TRAUMA-17")
    with orthanc.running(), running(site):
        orthanc.hold(merged(files, tmp_path / "merged"))
        accepted(site, files, calling="SCANNER")

        def confirmed() -> Any:
            story = site.told(STUDY)
            results = story["results"] if story else []
            states = {each["state"] for each in results}
            return results if states == {"committed", "superseded"} else None

        results = wait_until("the results to be confirmed", confirmed)
        kept = [each for each in results if each["state"] == "committed"]
        assert {each["reason"] for each in kept} == {reason}
        assert all(each["committed_at"] for each in kept)
        assert patients(orthanc) == {"SURVIVOR": len(files) + len(kept)}
