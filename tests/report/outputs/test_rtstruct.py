"""Contours in millimetres, for those who ask for them by name; unapproved, and never in another's place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import Dataset, dcmread

from node.config import Peer
from node.report.composition import encode
from tests.report.synthetic import AVAILABLE, SCANS, Scan, build, card, evidence_on, finding
from tests.report.test_contour import area_of

Series = Callable[[Scan], list[Path]]
KIND = "rtstruct"


def points_of(contour: Dataset) -> NDArray[np.float64]:
    points = np.array(contour.ContourData, np.float64).reshape(-1, 3)
    assert len(points) == contour.NumberOfContourPoints
    return points


@pytest.mark.parametrize("scan", ["axial", "oblique", "sagittal", "anisotropic", "reversed"])
def test_contours_lie_where_the_mask_does(scan: str, series: Series, tmp_path: Path) -> None:
    evidence = evidence_on(series(SCANS[scan]))
    path = tmp_path / "structures.dcm"
    path.write_bytes(encode(build(evidence, KIND)))
    (contours,) = dcmread(path).ROIContourSequence
    volume_ml, step_mm = 0.0, evidence.lattice.spacing_mm
    back = np.linalg.inv(evidence.lattice.matrix)
    for contour in contours.ContourSequence:
        index = (back @ np.column_stack([points_of(contour), np.ones(contour.NumberOfContourPoints)]).T)[:3].T
        (number,) = {int(each) for each in np.round(index[:, 0])}
        np.testing.assert_allclose(index[:, 0], number, atol=0.02)
        image = contour.ContourImageSequence[0].ReferencedSOPInstanceUID
        assert image == evidence.slices[number].header.SOPInstanceUID
        rows, columns = np.nonzero(evidence.labels[number])
        np.testing.assert_allclose(index[:, 1:].min(axis=0), [rows.min() - 0.5, columns.min() - 0.5], atol=0.02)
        np.testing.assert_allclose(index[:, 1:].max(axis=0), [rows.max() + 0.5, columns.max() + 0.5], atol=0.02)
        ring = np.vstack([index[:, 1:], index[:1, 1:]]).astype(np.float32)
        volume_ml += (area_of(ring) + 0.5) * float(np.prod(step_mm)) / 1000
    assert volume_ml == pytest.approx(evidence.findings[0].measurements[0].value, rel=0.01)


def test_a_hole_is_cut_open(series: Series) -> None:
    base = evidence_on(series(SCANS["axial"]))
    mask = np.zeros_like(base.labels)
    mask[3, 4:16, 4:16] = 1
    mask[3, 8:10, 8:12] = 0
    structures = build(replace(base, mask=mask, findings=(finding(mask, base.lattice),), tally=None), KIND)
    contours = structures.ROIContourSequence[0].ContourSequence
    assert len(contours) == 2
    areas = [area_of(np.vstack([points, points[:1]])[:, :2].astype(np.float32)) for points in map(points_of, contours)]
    assert sum(areas) == pytest.approx(144 - 8, abs=1.5)


def test_it_is_unapproved_and_says_so(series: Series) -> None:
    structures = build(evidence_on(series(SCANS["axial"])), KIND)
    assert structures.ApprovalStatus == "UNAPPROVED"
    assert len(structures.StructureSetLabel) <= 16
    assert "not for diagnosis" in structures.StructureSetDescription
    (region,) = structures.StructureSetROISequence
    assert (region.ROIName, region.ROIGenerationAlgorithm) == ("Brain", "AUTOMATIC")
    assert "not for diagnosis" in region.ROIGenerationDescription
    (observation,) = structures.RTROIObservationsSequence
    assert (observation.RTROIInterpretedType, observation.ROIInterpreter) == ("", "")
    assert structures.ROIContourSequence[0].ROIDisplayColor == [220, 60, 60]
    assert structures.StructureSetDate == structures.ContentDate


def test_a_long_name_fits_the_label(series: Series) -> None:
    evidence = replace(evidence_on(series(SCANS["axial"])), card=replace(card(), name="a-model-with-a-long-name"))
    assert build(evidence, KIND).StructureSetLabel == "AI a-model-with-"


def test_all_images_of_the_series_are_named_once(series: Series) -> None:
    evidence = evidence_on(series(SCANS["axial"]))
    (frame,) = build(evidence, KIND).ReferencedFrameOfReferenceSequence
    assert frame.FrameOfReferenceUID == evidence.source.FrameOfReferenceUID
    (of_series,) = frame.RTReferencedStudySequence[0].RTReferencedSeriesSequence
    named = [item.ReferencedSOPInstanceUID for item in of_series.ContourImageSequence]
    assert named == [each.header.SOPInstanceUID for each in evidence.slices]


def test_it_takes_nothings_place() -> None:
    assert all(KIND not in output.FALLBACKS for output in AVAILABLE.values())
    assert KIND not in Peer.model_fields["fallback"].default
