"""What readers see of our results in OHIF, out of an Orthanc: names, colours, volumes, lengths, and no error page."""

from __future__ import annotations

import re
import socket
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from highdicom.sr.utils import find_content_items
from pydicom import Dataset
from pydicom.sr.codedict import codes

from node.report.composition import encode
from tests.interop import ohif
from tests.interop.ohif import Viewer
from tests.interop.ohif_site import DIST, served
from tests.interop.programs import missing, program
from tests.interop.studies import UNREADABLE, Study, everything_on_ct, measured_on_mr
from tests.orthanc import Orthanc
from tests.site import free_port

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = [pytest.mark.interop, pytest.mark.timeout(600)]
# Orthanc's DICOM port listens on every address there is.
if [name for _, name in socket.if_nameindex()] != ["lo"]:
    pytest.skip("runs in a network of its own: unshare --net, with lo up", allow_module_level=True)
PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")

#: Kind of report → what is to be read of it in the viewport.
REPORTS = {
    "measurement_sr": "Volume: 102.01 mL",
    "comprehensive_sr": "Volume: 102.01 mL",
    "enhanced_sr": "Volume: 102.01 mL",
    "classification_sr": "Probability: 0.88",
    "basic_text_sr": "102 mL",
    "not_performed_sr": "NOT READ",
}


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Study]:
    folder = tmp_path_factory.mktemp("studies")
    return {"axial CT": everything_on_ct(folder / "ct"), "oblique MR": measured_on_mr(folder / "mr")}


@pytest.fixture(scope="module")
def address(studies: dict[str, Study], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of the viewer, with an Orthanc behind it that holds the studies."""
    program("Orthanc", "apt-get install orthanc")
    if not PLUGIN.is_file():
        missing(f"{PLUGIN} is not there: apt-get install orthanc-dicomweb")
    if not DIST.is_dir():
        missing(f"{DIST} is not there: make interop-install")
    unknown = SimpleNamespace(port=free_port())
    orthanc = Orthanc(tmp_path_factory.mktemp("archive") / "orthanc", unknown)  # type: ignore[arg-type]
    orthanc.settings |= {"Plugins": [str(PLUGIN)], "DicomWeb": {"Enable": True}}
    with orthanc.running():
        for study in studies.values():
            for content in [*map(Path.read_bytes, study.paths), *map(encode, study.outputs.values())]:
                urllib.request.urlopen(f"http://127.0.0.1:{orthanc.web}/instances", content, timeout=60).close()
        with served(orthanc.web) as address:
            yield address


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if not ohif.CHROMIUM.is_file():
        missing(f"{ohif.CHROMIUM} is not there: apt-get install chromium")
    try:
        import playwright  # noqa: F401
    except ImportError:
        missing("playwright is not installed: make interop-install")
    with ohif.browser() as started:
        yield started


@pytest.fixture
def viewer(browser: Browser, address: str) -> Iterator[Viewer]:
    page = browser.new_page(viewport={"width": 1400, "height": 900})
    try:
        yield Viewer(page, address)
    finally:
        page.close()


def opened(viewer: Viewer, study: Study, kind: str) -> int:
    """Open an output of a study, and return the number of its series."""
    number = int(study.outputs[kind].SeriesNumber)
    viewer.open_study(study.uid, study.series)
    viewer.open_series(number)
    return number


def lengths_mm(report: Dataset) -> list[float]:
    """The lengths that a report states."""
    found = find_content_items(report, name=codes.SCT.Length, recursive=True)
    return [float(item.MeasuredValueSequence[0].NumericValue) for item in found]


@pytest.mark.parametrize("name", ["axial CT", "oblique MR"])
def test_segments_are_shown_with_our_names_colours_and_volumes(
    name: str, viewer: Viewer, studies: dict[str, Study]
) -> None:
    study = studies[name]
    segments = study.evidence.card.segments
    opened(viewer, study, "seg")
    viewer.wait_for("the segmentation", viewer.segmentation)
    viewer.activate_panel("panelSegmentation")
    rows = viewer.wait_for("its segments", lambda: viewer.rows() if len(viewer.rows()) == len(segments) else [])
    assert [row.title for row in rows] == [segment.label for segment in segments]
    for row, segment in zip(rows, segments, strict=True):
        np.testing.assert_allclose(row.colour, segment.colour, atol=3)
        viewer.wait_for(f"{segment.label} in its colour", lambda colour=segment.colour: viewer.count_of(colour) > 200)
    viewer.keep(f"seg-{name}")
    volumes_ml = viewer.volumes_ml()
    for finding in study.evidence.findings:
        [volume] = finding.measurements
        assert finding.segment_number is not None
        assert volumes_ml[finding.segment_number] == pytest.approx(volume.value, rel=0.005)
    assert viewer.thrown == []


def test_lengths_of_the_profile_ohif_become_measurements_of_its_own(viewer: Viewer, studies: dict[str, Study]) -> None:
    study = studies["oblique MR"]
    ours = lengths_mm(study.outputs["measurement_sr"])
    number = opened(viewer, study, "measurement_sr")
    viewer.wait_for("the measurements", lambda: len(viewer.measurements()) == len(ours))
    assert viewer.of_series(number, "each.isHydrated") is True
    for theirs, length in zip(viewer.measurements(), ours, strict=True):
        assert theirs["tool"] == "Length"
        assert theirs["series"] == study.evidence.source_series_instance_uid
        assert theirs["values"] == [{"value": pytest.approx(length, rel=0.005), "unit": "mm"}]
    viewer.activate_panel("trackedMeasurements")
    viewer.wait_for("the list of measurements", lambda: len(viewer.rows()) == len(ours))
    viewer.wait_for("the lengths in the images", lambda: len(re.findall(r"\d mm", viewer.text())) == len(ours))
    assert [row.title for row in viewer.rows()] == ["Brain", "Brain"]
    viewer.keep("measurements")
    assert not viewer.is_broken
    assert viewer.thrown == []


@pytest.mark.parametrize(("kind", "words"), REPORTS.items(), ids=REPORTS)
def test_a_report_is_shown_and_no_error_page(kind: str, words: str, viewer: Viewer, studies: dict[str, Study]) -> None:
    opened(viewer, studies["axial CT"], kind)
    viewer.wait_for(f"{words!r} of {kind}", lambda: words in viewer.text())
    viewer.keep(kind)
    assert not viewer.is_broken
    assert viewer.thrown == []


def test_an_error_page_would_be_seen(viewer: Viewer, studies: dict[str, Study]) -> None:
    viewer.open_study(studies["axial CT"].uid, studies["axial CT"].series)
    viewer.open_series(UNREADABLE)
    with pytest.raises(AssertionError, match="an error page instead of"):
        viewer.wait_for("a report without coordinates", lambda: False)


def test_a_secondary_capture_is_shown(viewer: Viewer, studies: dict[str, Study]) -> None:
    study = studies["axial CT"]
    number = opened(viewer, study, "secondary_capture")
    for segment in study.evidence.card.segments:
        viewer.wait_for(
            f"the outline of {segment.label}", lambda segment=segment: viewer.count_of(segment.colour) > 100
        )
    viewer.keep("secondary_capture")
    assert viewer.of_series(number, "each.Modality") == "OT"
    assert viewer.thrown == []


def test_a_parametric_map_is_shown_in_colour_over_the_images(viewer: Viewer, studies: dict[str, Study]) -> None:
    study = studies["axial CT"]
    saliency = study.evidence.saliency
    assert saliency is not None
    opened(viewer, study, "parametric_map")
    viewer.wait_for("a map in colour", lambda: viewer.coloured_share() > 0.2)
    viewer.keep("parametric_map")
    # OHIF shows percent.
    assert viewer.mean_of_volume("pmap") == pytest.approx(100 * float(saliency.mean()), rel=0.005)
    assert viewer.thrown == []
