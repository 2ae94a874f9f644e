"""What the node makes of a study arrives at an Orthanc: every kind that it is configured to send, once."""

from __future__ import annotations

import json
import socket
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.uid import SegmentationStorage

from tests.interop.programs import program
from tests.journeys.tiny_model import tiny_head, tiny_model_folder
from tests.orthanc import Orthanc
from tests.site import Site, running, wait_until

pytestmark = [pytest.mark.interop, pytest.mark.timeout(600)]
# Orthanc's DICOM port listens on every address there is.
if [name for _, name in socket.if_nameindex()] != ["lo"]:
    pytest.skip("runs in a network of its own: unshare --net, with lo up", allow_module_level=True)

STUDY = "1.2.826.0.2.41"
#: All that can be written of a segmentation and that an Orthanc 1.10 takes.
OUTPUTS = [
    *("seg", "measurement_sr", "comprehensive_sr", "enhanced_sr", "basic_text_sr", "secondary_capture"),
    *("presentation_state", "key_objects", "rtstruct", "encapsulated_pdf"),
]


def held(orthanc: Orthanc) -> list[dict[str, Any]]:
    """What Orthanc has, each instance with its header."""
    with urllib.request.urlopen(f"http://127.0.0.1:{orthanc.web}/instances", timeout=20) as answer:
        ids = json.load(answer)
    found = []
    for each in ids:
        with urllib.request.urlopen(
            f"http://127.0.0.1:{orthanc.web}/instances/{each}/simplified-tags", timeout=20
        ) as it:
            found.append(json.load(it))
    return found


def arrivals(orthanc: Orthanc) -> int:
    """How many instances have come, whether Orthanc has them still or not."""
    with urllib.request.urlopen(f"http://127.0.0.1:{orthanc.web}/changes?limit=1000", timeout=20) as answer:
        return sum(change["ChangeType"] == "NewInstance" for change in json.load(answer)["Changes"])


def settled(site: Site) -> list[dict[str, Any]]:
    """The results of the study once none of them waits for anything; before that, nothing."""
    story = site.told(STUDY)
    results = story["results"] if story else []
    return results if results and not {each["state"] for each in results} & {"queued", "sent"} else []


def sent_to_orthanc(folder: Path, outputs: list[str]) -> tuple[Site, Orthanc]:
    """A node whose only destination is an Orthanc that it asks for commitment."""
    program("Orthanc", "apt-get install orthanc")
    site = Site(folder / "site", models=tiny_model_folder(folder / "models"), model="tiny")
    orthanc = Orthanc(folder / "orthanc", site)
    site.peer("SCANNER", roles=["source"], results_to=["ORTHANC"])
    place = {"port": orthanc.port, "addresses": ["127.0.0.0/8"]}
    site.peer("ORTHANC", roles=["destination"], outputs=outputs, confirm="ask", **place)
    return site, orthanc


def test_every_kind_arrives_once_and_is_committed(tmp_path: Path) -> None:
    site, orthanc = sent_to_orthanc(tmp_path, OUTPUTS)
    files = tiny_head(tmp_path / "head", STUDY)
    with orthanc.running(), running(site):
        assert {answer.status for answer in site.send(files, calling="SCANNER")} == {0}
        results = wait_until("the results to be committed", lambda: settled(site), limit_s=240)
        there = held(orthanc)
        assert arrivals(orthanc) == len(OUTPUTS)
    assert Counter(each["kind"] for each in results) == Counter(OUTPUTS)
    assert {(each["state"], each["attempts"]) for each in results} == {("committed", 1)}
    assert Counter(each["SOPInstanceUID"] for each in there) == Counter(each["sop_instance_uid"] for each in results)
    first = dcmread(files[0], stop_before_pixels=True)
    for each in there:
        assert (each["StudyInstanceUID"], each["PatientID"]) == (STUDY, first.PatientID)
        assert each["SeriesDescription"].startswith("AI ")


def test_an_orthanc_that_refuses_a_labelmap_gets_the_binary_segmentation(tmp_path: Path) -> None:
    site, orthanc = sent_to_orthanc(tmp_path, ["labelmap_seg"])
    files = tiny_head(tmp_path / "head", STUDY)
    with orthanc.running(), running(site):
        assert {answer.status for answer in site.send(files, calling="SCANNER")} == {0}
        wait_until("something to arrive", lambda: held(orthanc), limit_s=240)
        results = wait_until("the results to be committed", lambda: settled(site), limit_s=240)
        there = held(orthanc)
    assert [each["SOPClassUID"] for each in there] == [SegmentationStorage]
    states = {each["kind"]: each for each in results}
    assert states["seg"]["state"] == "committed"
    assert states["labelmap_seg"]["state"] == "superseded"
    assert states["labelmap_seg"]["reason"].startswith("replaced by ")
