"""The Segmentation lies on the voxels of the source and says what it shows."""

from __future__ import annotations

import gzip
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import highdicom
import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import Dataset, dcmread

from node.domain.finding import Code, Segment
from node.domain.geometry import to_patient
from node.report.composition import encode
from node.report.evidence import Evidence
from tests.report.synthetic import ANATOMY, BRAIN, SCANS, Scan, blob, build, card, evidence_on, finding

Series = Callable[[Scan], list[Path]]
SEGIMAGE2ITKIMAGE = Path(sys.executable).with_name("segimage2itkimage")
LEFT = Segment(number=1, label="Left", category=ANATOMY, type=BRAIN, colour=(0, 0, 255))
RIGHT = Segment(number=2, label="Right", category=ANATOMY, type=BRAIN, site=Code("69536005", "SCT", "Head"))


def reread(dataset: Dataset, path: Path) -> highdicom.seg.Segmentation:
    path.write_bytes(encode(dataset))
    return highdicom.seg.segread(path)


def with_two_segments(paths: list[Path]) -> Evidence:
    evidence = evidence_on(paths)
    mask = blob(evidence.grid.shape)
    mask[:, :, evidence.grid.shape[2] // 2 :] *= 2
    findings = tuple(finding(mask, evidence.grid, number) for number in (1, 2))
    return replace(evidence, mask=mask, findings=findings, card=card(LEFT, RIGHT))


def points_of(mask: NDArray[np.uint8], affine: NDArray[np.float64]) -> NDArray[np.float64]:
    """Centres of the set voxels in LPS mm, sorted."""
    points = to_patient(affine, np.argwhere(mask).astype(float)).round(2)
    return points[np.lexsort(points.T)]


def nrrd_points(path: Path) -> NDArray[np.float64]:
    """The same of an NRRD file."""
    text, _, body = path.read_bytes().partition(b"\n\n")
    fields = dict(line.split(": ", 1) for line in text.decode().splitlines() if ": " in line)
    assert fields["space"] == "left-posterior-superior"
    body = gzip.decompress(body) if fields["encoding"] == "gzip" else body
    kinds = {"unsigned char": "u1", "short": "<i2", "unsigned short": "<u2"}
    sizes = [int(size) for size in fields["sizes"].split()]
    mask = np.frombuffer(body, kinds[fields["type"]]).reshape(sizes, order="F")
    affine = np.eye(4)
    columns = fields["space directions"].replace("(", "").replace(")", "").split(" ")
    affine[:3, :3] = np.array([[float(v) for v in column.split(",")] for column in columns]).T
    affine[:3, 3] = [float(v) for v in fields["space origin"].strip("()").split(",")]
    return points_of(mask, affine)


@pytest.mark.parametrize("scan", SCANS.values(), ids=SCANS.keys())
def test_every_voxel_comes_back_on_its_source_instance(scan: Scan, series: Series, tmp_path: Path) -> None:
    evidence = evidence_on(series(scan))
    segmentation = reread(build(evidence, "seg"), tmp_path / "seg.dcm")
    pixels = segmentation.get_pixels_by_source_instance(
        [str(source.SOPInstanceUID) for source in evidence.sources],
        combine_segments=True,
        assert_missing_frames_are_empty=True,
    )
    np.testing.assert_array_equal(pixels, evidence.mask)


@pytest.mark.parametrize("scan", SCANS.values(), ids=SCANS.keys())
def test_the_frames_lie_exactly_where_the_source_slices_do(scan: Scan, series: Series) -> None:
    paths = series(scan)
    sources = {header.SOPInstanceUID: header for header in map(dcmread, paths)}
    segmentation = build(evidence_on(paths), "seg")
    shared = segmentation.SharedFunctionalGroupsSequence[0]
    for frame in segmentation.PerFrameFunctionalGroupsSequence:
        reference = frame.DerivationImageSequence[0].SourceImageSequence[0]
        source = sources[reference.ReferencedSOPInstanceUID]
        position = frame.PlanePositionSequence[0].ImagePositionPatient
        np.testing.assert_allclose(position, source.ImagePositionPatient, atol=1e-6)
        orientation = shared.PlaneOrientationSequence[0].ImageOrientationPatient
        np.testing.assert_allclose(orientation, source.ImageOrientationPatient, atol=1e-9)
        np.testing.assert_allclose(shared.PixelMeasuresSequence[0].PixelSpacing, source.PixelSpacing, atol=1e-6)


@pytest.mark.parametrize("name", ["axial", "oblique", "sagittal", "anisotropic", "reversed"])
def test_dcmqi_reads_the_same_voxels_at_the_same_places(name: str, series: Series, tmp_path: Path) -> None:
    if not SEGIMAGE2ITKIMAGE.exists():
        pytest.skip(f"no {SEGIMAGE2ITKIMAGE}: pip install dcmqi==1.5.7")
    evidence = with_two_segments(series(SCANS[name]))
    path = tmp_path / "seg.dcm"
    path.write_bytes(encode(build(evidence, "seg")))
    subprocess.run(
        [SEGIMAGE2ITKIMAGE, "--outputType", "nrrd", "--inputDICOM", path, "--outputDirectory", tmp_path],
        check=True,
        capture_output=True,
        timeout=60,
    )
    for number in (1, 2):
        expected = points_of(evidence.mask == number, evidence.grid.matrix)
        np.testing.assert_allclose(nrrd_points(tmp_path / f"{number}.nrrd"), expected, atol=0.021)


def test_empty_frames_are_left_out(series: Series) -> None:
    evidence = evidence_on(series(SCANS["axial"]))
    segmentation = build(evidence, "seg")
    occupied = int(evidence.mask.any(axis=(1, 2)).sum())
    assert 0 < occupied < len(evidence.sources)
    assert int(segmentation.NumberOfFrames) == occupied


def test_the_segment_is_coded_as_the_card_says(series: Series) -> None:
    segmentation = build(with_two_segments(series(SCANS["axial"])), "seg")
    assert segmentation.SegmentationType == "BINARY"
    one, two = segmentation.SegmentSequence
    assert (one.SegmentNumber, one.SegmentLabel, two.SegmentNumber, two.SegmentLabel) == (1, "Left", 2, "Right")
    assert one.SegmentedPropertyTypeCodeSequence[0].CodeValue == "12738006"
    assert one.SegmentedPropertyCategoryCodeSequence[0].CodeValue == "123037004"
    assert two.AnatomicRegionSequence[0].CodeValue == "69536005"
    assert one.SegmentAlgorithmType == "AUTOMATIC"


def test_the_algorithm_is_named_with_its_digests(series: Series) -> None:
    segment = build(evidence_on(series(SCANS["axial"])), "seg").SegmentSequence[0]
    algorithm = segment.SegmentationAlgorithmIdentificationSequence[0]
    assert algorithm.AlgorithmFamilyCodeSequence[0].CodeValue == "123110"
    assert (algorithm.AlgorithmName, algorithm.AlgorithmVersion) == ("brain-t1", "1.0.2")
    assert "1f" * 32 in algorithm.AlgorithmParameters
    assert "2e" * 32 in algorithm.AlgorithmParameters


def test_the_display_colour_is_the_cards(series: Series) -> None:
    one = build(with_two_segments(series(SCANS["axial"])), "seg").SegmentSequence[0]
    colour = highdicom.color.CIELabColor.from_dicom_value(tuple(one.RecommendedDisplayCIELabValue))
    np.testing.assert_allclose(colour.to_rgb(), LEFT.colour, atol=3)


def test_each_segment_is_tracked_by_a_uid_of_its_own(series: Series) -> None:
    evidence = with_two_segments(series(SCANS["axial"]))
    one, two = build(evidence, "seg").SegmentSequence
    assert one.TrackingUID == evidence.tracking_uid(1) != two.TrackingUID
    assert (one.TrackingID, two.TrackingID) == ("Left 1", "Right 2")


def test_tracking_that_a_finding_brings_is_kept(series: Series) -> None:
    evidence = evidence_on(series(SCANS["axial"]))
    tracked = replace(evidence.findings[0], tracking_uid="2.25.42", tracking_identifier="Nodule A")
    segment = build(replace(evidence, findings=(tracked,)), "seg").SegmentSequence[0]
    assert (segment.TrackingUID, segment.TrackingID) == ("2.25.42", "Nodule A")


def test_odd_pixel_data_is_padded_with_zero(series: Series) -> None:
    scan = SCANS["odd pixel bytes"]
    full = np.zeros((scan.slices, scan.rows, scan.columns), np.uint8)
    full[1] = 1
    evidence = evidence_on(series(scan))
    evidence = replace(evidence, mask=full, findings=(finding(full, evidence.grid),))
    pixels = build(evidence, "seg").PixelData
    assert len(pixels) == 12  # 81 bits are 11 bytes
    assert pixels[-1] == 0
