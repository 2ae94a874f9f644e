"""Boxes and scores in what is sent: on just the images that they lie on, and no score called a probability."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from highdicom.sr.utils import find_content_items
from pydicom import Dataset
from pydicom.sr.codedict import codes

from node.domain.detection import Detection
from node.domain.finding import Finding, Region
from node.errors import Failed
from node.imaging.images import read_images
from node.imaging.pipelines import Given
from node.imaging.tasks.detection import findings
from node.report.boxes import around
from node.report.composition import encode
from node.report.evidence import Evidence
from node.report.pictures.drawing import panel_of
from node.report.pictures.summary import key_slices, lines
from node.report.sources import normalise, read_headers
from tests.imaging.series import Slices, real_series
from tests.imaging.tasks.test_detection import CARD, annotated, as_boxes
from tests.report.synthetic import AVAILABLE, SCANS, build, detected, evidence_on, mr_series, of_study
from tests.report.test_outputs import errors_of

SCORE = codes.SCT.Score


@pytest.fixture(scope="module")
def evidence(tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    return detected(evidence_on(mr_series(tmp_path_factory.mktemp("boxes"), SCANS["axial"])))


def items(dataset: Dataset, name: object) -> list[Dataset]:
    return list(find_content_items(dataset, name=name, recursive=True))


def drawn(group: Dataset) -> list[Region]:
    """The image regions of a group, in their order."""
    found = []
    for item in items(group, codes.DCM.ImageRegion):
        points = np.array(item.GraphicData, np.float64).reshape(-1, 2)
        assert item.GraphicType == "POLYLINE"
        assert points[0].tolist() == points[-1].tolist()
        (left, top), (right, bottom) = points.min(axis=0), points.max(axis=0)
        image = item.ContentSequence[0].ReferencedSOPSequence[0]
        found.append(
            Region(
                sop_instance_uid=image.ReferencedSOPInstanceUID,
                frame_number=int(image.get("ReferencedFrameNumber", 0)),
                edges=(top, left, bottom, right),
            )
        )
    return found


def test_boxes_through_several_images_are_one_group_the_best_image_first(evidence: Evidence):
    first, second, absent = items(build(evidence, "classification_sr"), codes.DCM.MeasurementGroup)
    boxes = evidence.findings[0].regions
    assert drawn(first) == [boxes[1], boxes[0], boxes[2]]
    assert drawn(second) == list(evidence.findings[1].regions)
    assert drawn(absent) == []
    assert first.ContentTemplateSequence[0].TemplateIdentifier == "1411"
    assert second.ContentTemplateSequence[0].TemplateIdentifier == "1410"
    assert items(first, codes.DCM.TrackingIdentifier)[0].TextValue == "Nodule 1"
    assert items(first, codes.SCT.FindingSite)[0].ConceptCodeSequence[0].CodeMeaning == "Brain"
    assert "Nodule: score 0.75." in [item.TextValue for item in items(first, codes.DCM.Comment)]


def test_a_score_is_never_called_a_probability(evidence: Evidence):
    first, second, absent = items(build(evidence, "classification_sr"), codes.DCM.MeasurementGroup)
    for group, name, other, value in (
        (first, SCORE, codes.DCM.Probability, 0.75),
        (second, codes.DCM.Probability, SCORE, 0.625),
        (absent, SCORE, codes.DCM.Probability, 0.125),
    ):
        [number] = items(group, name)
        assert float(number.MeasuredValueSequence[0].NumericValue) == value
        assert number.MeasuredValueSequence[0].MeasurementUnitsCodeSequence[0].CodeValue == "1"
        assert items(group, other) == []
    said = [line.text for line in lines(evidence)]
    assert said[0] == "Nodule: present, score 0.75 (present from 0.5)"
    assert said[1] == "Nodule: present, probability 0.625 (present from 0.5)"
    words = build(evidence, "basic_text_sr")
    assert [item.TextValue for item in items(words, SCORE)] == [
        "0.75 (0 to 1); counts as present from 0.5",
        "0.125 (0 to 1); counts as present from 0.5",
    ]
    assert len(items(words, codes.DCM.Probability)) == 1
    assert "Marked on 3 place(s) of 3 image(s)." in [item.TextValue for item in items(words, codes.DCM.Comment)]


@pytest.mark.parametrize("kind", ["classification_sr", "basic_text_sr", "key_objects", "secondary_capture"])
def test_dciodvfy_finds_no_error_in_what_tells_of_boxes(kind: str, evidence: Evidence, tmp_path: Path):
    wanted = of_study(evidence) if AVAILABLE[kind].SCOPE == "study" else evidence
    path = tmp_path / "a.dcm"
    path.write_bytes(encode(build(wanted, kind)))
    assert errors_of(path) == []


def test_the_images_with_boxes_are_those_that_matter(evidence: Evidence):
    assert key_slices(evidence, 2) == [1, 6]
    assert key_slices(evidence, 9) == [0, 1, 2, 6]
    selected = build(evidence, "key_objects")
    uids = [str(header.SOPInstanceUID) for header in evidence.sources]
    images = [item for item in selected.ContentSequence if item.ValueType == "IMAGE"]
    assert [item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID for item in images] == [
        uids[n] for n in (0, 1, 2, 6)
    ]


def test_a_box_is_drawn_on_its_own_image_alone(evidence: Evidence):
    bare = replace(evidence, findings=())
    for index in range(len(evidence.sources)):
        marked = np.asarray(panel_of(evidence, index, 240)) != np.asarray(panel_of(bare, index, 240))
        assert marked.any() == (index in (0, 1, 2, 6))
    rows, columns, _ = np.nonzero(np.asarray(panel_of(evidence, 0, 240)) != np.asarray(panel_of(bare, 0, 240)))
    # 24 rows at ten to the pixel: the box is 2 to 6 down and 3.5 to 8.25 across, its lines two pixels wide.
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == pytest.approx((20, 60, 35, 82), abs=3)


def test_a_box_on_a_frame_names_the_frame(evidence: Evidence):
    uid = str(evidence.sources[0].SOPInstanceUID)
    regions = tuple(Region(sop_instance_uid=uid, frame_number=n, edges=(1.0, 1.0, 4.0, 4.0)) for n in (7, 3))
    clip = replace(evidence, sources=evidence.sources[:1], paths=evidence.paths[:1], findings=())
    clip = replace(clip, findings=(replace(evidence.findings[0], regions=regions, key_images=()),))
    assert [each.frame_number for each in clip.slices] == [3, 7]
    [group] = items(build(clip, "classification_sr"), codes.DCM.MeasurementGroup)
    assert [region.frame_number for region in drawn(group)] == [7, 3]


@pytest.mark.parametrize(
    "region",
    [
        Region(sop_instance_uid="1.2.3", edges=(0.0, 0.0, 1.0, 1.0)),
        Region(sop_instance_uid="", edges=(0.0, 0.0, 25.0, 1.0)),
        Region(sop_instance_uid="", edges=(0.0, -1.0, 2.0, 1.0)),
        Region(sop_instance_uid="", edges=(2.0, 0.0, 2.0, 1.0)),
        Region(sop_instance_uid="", edges=(0.0, 0.0, float("nan"), 1.0)),
    ],
)
def test_a_box_on_a_strangers_image_or_beyond_its_own_is_not_written(region: Region, evidence: Evidence):
    uid = region.sop_instance_uid or str(evidence.sources[0].SOPInstanceUID)
    found = replace(evidence.findings[0], regions=(replace(region, sop_instance_uid=uid),))
    with pytest.raises(Failed, match="a box"):
        replace(evidence, findings=(found,))


def test_a_box_runs_along_the_outer_edges_of_its_pixels():
    region = Region(sop_instance_uid="1.2", edges=(1.0, 2.0, 3.0, 5.0))
    assert around(region).tolist() == [[2, 1], [5, 1], [5, 3], [2, 3], [2, 1]]


def test_the_boxes_of_a_real_series_are_in_the_report_on_the_images_that_they_were_drawn_on(
    test_data: Path, evidence: Evidence, tmp_path: Path
):
    folder = test_data / "dicom" / "Lung_Dx-A0002"
    expected = annotated(folder / "annotation_voc")
    slices: Slices = real_series(next(each for each in folder.iterdir() if each.name != "annotation_voc"))
    given = Given(images=read_images(slices))
    reading = as_boxes(expected, [image.sop_instance_uid for image in given.images])
    found: tuple[Finding, ...] = findings(replace(CARD, detection=Detection(linked_from=0.3)), given, reading)
    paths = tuple(path for path, _ in slices)
    tumour = replace(evidence, findings=(), sources=normalise(read_headers(paths)), paths=paths)
    report = build(replace(tumour, findings=found), "classification_sr")
    [group] = items(report, codes.DCM.MeasurementGroup)
    assert {region.sop_instance_uid: region for region in drawn(group)} == expected
    assert report.StudyInstanceUID == slices[0][1].study_instance_uid
    path = tmp_path / "a.dcm"
    path.write_bytes(encode(report))
    assert errors_of(path) == []
