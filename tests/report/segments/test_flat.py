"""Segments on images that do not say where they lie: single ones, frames of a clip, and both together."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import UltrasoundImageStorage, UltrasoundMultiFrameImageStorage

from node.domain.finding import Finding, Segment
from node.imaging.images import read_images
from node.imaging.tasks.outlines import mask_on
from node.report.composition import encode
from node.report.evidence import Evidence
from node.report.sources import normalise, read_headers
from tests.imaging.test_images import written
from tests.report.synthetic import ANATOMY, BRAIN, NODULE, SCANS, build, card, evidence_on, mr_series
from tests.report.test_outputs import errors_of

CARD = card(
    Segment(number=1, label="Brain", category=ANATOMY, type=BRAIN),
    Segment(number=2, label="Nodule", category=ANATOMY, type=NODULE),
)


@pytest.fixture(scope="module")
def evidence(tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    """A still beside a clip of three frames; labels on the still and on the second frame."""
    folder = tmp_path_factory.mktemp("flat")
    said = {"Modality": "US", "PatientID": "T-1", "PatientName": "Test^Person", "InstanceNumber": 1}
    given = [
        written(folder / "a.dcm", np.zeros((16, 15), np.uint8), number=1, SOPClassUID=UltrasoundImageStorage, **said),
        written(
            folder / "b.dcm",
            np.zeros((3, 16, 15), np.uint8),
            number=2,
            SOPClassUID=UltrasoundMultiFrameImageStorage,
            **said,
        ),
    ]
    labels = np.zeros((4, 16, 15), np.uint8)
    labels[0, 3:6, 3:6] = 1
    labels[2, 4:9, 4:9] = 1
    labels[2, 9:11, 4:9] = 2
    mask = mask_on(read_images(given), labels)
    uids = list(dict.fromkeys(mask.sop_instance_uids))
    paths = tuple(path for path, _ in given)
    base = evidence_on(mr_series(tmp_path_factory.mktemp("mr"), SCANS["axial"]))
    return replace(
        base,
        sources=normalise(read_headers(paths), None, [None, None]),
        paths=paths,
        frames=tuple(
            (uids.index(uid), number) for uid, number in zip(mask.sop_instance_uids, mask.frame_numbers, strict=True)
        ),
        grid=None,
        mask=labels,
        tally=None,
        card=CARD,
        findings=tuple(Finding(code=each.type, segment_number=each.number) for each in CARD.segments),
    )


def places(written_: Dataset) -> list[tuple[str, int, list[int]]]:
    """Of each frame: the image, its frame, and the dimension indices."""
    found = []
    for group in written_.PerFrameFunctionalGroupsSequence:
        image = group.DerivationImageSequence[0].SourceImageSequence[0]
        index = group.FrameContentSequence[0].DimensionIndexValues
        found.append(
            (
                str(image.ReferencedSOPInstanceUID),
                int(image.get("ReferencedFrameNumber", 0)),
                [index] if isinstance(index, int) else list(index),
            )
        )
    return found


def test_each_frame_of_the_segmentation_names_the_image_that_it_lies_on(evidence: Evidence, tmp_path: Path):
    path = tmp_path / "seg.dcm"
    path.write_bytes(encode(build(evidence, "seg")))
    assert errors_of(path) == []
    segmentation = dcmread(path)
    assert [(uid, frame) for uid, frame, _ in places(segmentation)] == [("1.2.1", 0), ("1.2.2", 2), ("1.2.2", 2)]
    indices = [index for _, _, index in places(segmentation)]
    assert indices == [[1, 1], [1, 2], [2, 2]]
    assert len(segmentation.DimensionIndexSequence) == 2
    labels = evidence.labels
    expected = np.stack([labels[0] == 1, labels[2] == 1, labels[2] == 2])
    assert np.array_equal(segmentation.pixel_array.astype(bool), expected)
    assert "FrameOfReferenceUID" not in segmentation


def test_a_label_map_has_one_frame_an_image(evidence: Evidence, tmp_path: Path):
    path = tmp_path / "labels.dcm"
    path.write_bytes(encode(build(evidence, "labelmap_seg")))
    assert errors_of(path) == []
    segmentation = dcmread(path)
    assert [(uid, frame) for uid, frame, _ in places(segmentation)] == [("1.2.1", 0), ("1.2.2", 2)]
    assert np.array_equal(segmentation.pixel_array, evidence.labels[[0, 2]])


@pytest.mark.parametrize("kind", ["measurement_sr", "presentation_state", "key_objects", "basic_text_sr"])
def test_everything_else_is_written_too(kind: str, evidence: Evidence, tmp_path: Path):
    path = tmp_path / "a.dcm"
    path.write_bytes(encode(build(evidence, kind)))
    assert errors_of(path) == []


def test_a_mask_of_many_images_on_one_of_them_needs_no_order(evidence: Evidence):
    labels = evidence.labels.copy()
    labels[0] = 0
    alone = replace(evidence, mask=labels, tally=None)
    segmentation = build(alone, "seg")
    assert [(uid, frame) for uid, frame, _ in places(segmentation)] == [("1.2.2", 2), ("1.2.2", 2)]
    assert len(segmentation.DimensionIndexSequence) == 1
