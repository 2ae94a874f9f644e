from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread

from node.domain.study import Instance
from node.errors import Failed, Unsuitable
from node.imaging.read_segmentation import read_segmentation
from node.receive.fields import instance_of
from tests.report.synthetic import Scan, blob, build, evidence_on, mr_series, oblique

SCANS = [Scan(), Scan(orientation=oblique(20, 10))] if "orientation" in Scan.__dataclass_fields__ else [Scan()]


def described(paths: list[Path]) -> list[Instance]:
    return [instance_of(dcmread(each), issuer="", has_pixels=True) for each in reversed(paths)]


@pytest.fixture
def made(tmp_path: Path) -> Callable[..., tuple[Path, list[Instance], Dataset]]:
    def make(kind: str = "seg", scan: Scan | None = None) -> tuple[Path, list[Instance], Dataset]:
        paths = mr_series(tmp_path / "series", scan or Scan())
        segmentation = build(evidence_on(paths), kind)
        file = tmp_path / "seg.dcm"
        segmentation.save_as(file, enforce_file_format=True)
        return file, described(paths), segmentation

    return make


@pytest.mark.parametrize("kind", ["seg", "labelmap_seg"])
@pytest.mark.parametrize("scan", SCANS)
def test_what_we_wrote_is_read_back_voxel_by_voxel_on_the_images(made, kind: str, scan: Scan) -> None:
    file, sources, _ = made(kind, scan)
    found = read_segmentation(file, sources)
    expected = blob(found.mask.labels.shape)
    assert np.array_equal(found.mask.labels, expected)
    assert set(found.mask.sop_instance_uids) == {each.sop_instance_uid for each in sources}
    named = [each for each in found.segments if each.number]
    assert {each.number for each in named} >= set(np.unique(expected).tolist()) - {0}
    assert all(each.type is not None and each.algorithm_name for each in named)
    assert {each.partition("=")[0] for each in named[-1].algorithm_parameters} == {"model", "card"}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda seg: setattr(seg, "StudyInstanceUID", "1.2.3"), "another study"),
        (lambda seg: setattr(seg, "FrameOfReferenceUID", "1.2.3"), "another frame of reference"),
        (lambda seg: setattr(seg, "SegmentationType", "FRACTIONAL"), "but fractional"),
        (lambda seg: setattr(seg, "NumberOfFrames", 1), "1 frames, but"),
        (lambda seg: delattr(seg, "SegmentSequence"), "without SegmentSequence"),
        (lambda seg: setattr(seg.SegmentSequence[0], "SegmentNumber", 7), "not described"),
        (lambda seg: setattr(seg.SegmentSequence[0], "SegmentNumber", 300), "has the number 300"),
        (lambda seg: delattr(seg.SegmentSequence[0], "SegmentNumber"), "lacks what it must have"),
    ],
)
def test_what_is_no_mask_of_these_images_is_refused_with_the_reason(
    made, change: Callable[[Dataset], None], reason: str
) -> None:
    file, sources, _ = made()
    found = dcmread(file)
    change(found)
    found.save_as(file)
    with pytest.raises(Unsuitable, match=reason):
        read_segmentation(file, sources)


def test_one_that_lies_beside_the_pixels_is_refused(made) -> None:
    file, sources, _ = made()
    found = dcmread(file)
    for groups in found.PerFrameFunctionalGroupsSequence:
        x, y, z = groups.PlanePositionSequence[0].ImagePositionPatient
        groups.PlanePositionSequence[0].ImagePositionPatient = [x + 0.5, y + 0.4, z + 0.3]
    found.save_as(file)
    with pytest.raises(Unsuitable, match="does not lie on the pixels"):
        read_segmentation(file, sources)


def test_a_file_that_is_none_or_is_cut_fails(made, tmp_path: Path) -> None:
    file, sources, _ = made()
    with pytest.raises(Failed):
        read_segmentation(tmp_path / "nothing.dcm", sources)
    (tmp_path / "text.dcm").write_text("no DICOM")
    with pytest.raises(Failed):
        read_segmentation(tmp_path / "text.dcm", sources)
    found = dcmread(file)
    found.PixelData = found.PixelData[: len(found.PixelData) // 4 * 2]
    found.save_as(file)
    with pytest.raises(Failed):
        read_segmentation(file, sources)
