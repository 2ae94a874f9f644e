from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from node.domain.finding import Code, Segment
from node.domain.geometry import Grid
from node.domain.model_card import ModelCard, VolumeMeasurement
from node.errors import Failed
from node.imaging.measure import findings, volume_ml
from tests.fakes import card
from tests.imaging.series import grid_of

LIVER = Code("10200004", "SCT", "Liver")


@pytest.fixture
def two_segments() -> ModelCard:
    made = card()
    liver = Segment(number=2, label="Liver", category=made.segments[0].category, type=LIVER)
    volumes = (VolumeMeasurement(segment_number=1, plausible_ml=(0.5, 2.0)),)
    return replace(made, segments=(made.segments[0], liver), volumes=volumes)


@pytest.fixture
def labels() -> np.ndarray:
    labels = np.zeros((10, 10, 10), dtype=np.uint8)
    labels[:5, :5, :5] = 1
    return labels


def sheared(voxel_ml: float) -> Grid:
    affine = np.eye(4)
    affine[:3, :3] = np.array([[1, 0.3, 0], [0, 1, 0.2], [0, 0, 1]]) * np.cbrt(voxel_ml * 1000)
    return grid_of((10, 10, 10), affine)


def test_a_volume_is_voxels_times_the_determinant_of_the_affine(labels: np.ndarray):
    assert volume_ml(labels, sheared(0.01), 1) == pytest.approx(1.25)
    assert volume_ml(labels, sheared(0.01), 2) == 0


def test_a_finding_is_made_for_each_segment_that_the_mask_shows(labels: np.ndarray, two_segments: ModelCard):
    (brain,) = findings(two_segments, labels, sheared(0.01))
    assert brain.segment_number == 1
    assert brain.code == two_segments.segments[0].type
    assert [(each.value, each.unit.value) for each in brain.measurements] == [(pytest.approx(1.25), "mL")]
    labels[9, 9, 9] = 2
    assert [found.code for found in findings(two_segments, labels, sheared(0.01))] == [brain.code, LIVER]


@pytest.mark.parametrize(("voxel_ml", "volume"), [(0.001, "0"), (0.2, "25")])
def test_a_volume_that_no_person_has_fails_with_the_range(
    labels: np.ndarray, two_segments: ModelCard, voxel_ml: float, volume: str
):
    with pytest.raises(Failed, match=rf"volume of {volume} mL is not plausible \(0 to 2 mL\)"):
        findings(two_segments, labels, sheared(voxel_ml))
