"""Saliency in space: the weights come back, where they were."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import highdicom
import numpy as np
import pytest

from node.report.composition import encode
from node.report.outputs import parametric_map
from tests.report.synthetic import AVAILABLE, SCANS, Scan, build, classified, evidence_on, explained

Series = Callable[[Scan], list[Path]]
KIND = "parametric_map"


@pytest.mark.parametrize("scan", ["axial", "oblique", "sagittal", "anisotropic", "reversed"])
def test_weights_come_back_where_they_were(scan: str, series: Series, tmp_path: Path) -> None:
    evidence = explained(evidence_on(series(SCANS[scan])))
    assert evidence.saliency is not None
    path = tmp_path / "map.dcm"
    path.write_bytes(encode(build(evidence, KIND)))
    volume = highdicom.imread(path).get_volume(dtype=np.float32)
    # highdicom's own order of slices may be the other way round: places decide.
    for index in np.ndindex(evidence.saliency.shape):
        if sum(index) % 7 == 0:
            place = evidence.lattice.matrix @ (*index, 1.0)
            there = np.round(np.linalg.inv(volume.affine) @ place)[:3].astype(int)
            assert volume.array[tuple(there)] == evidence.saliency[index]


def test_its_quantity_is_saliency_from_0_to_1(series: Series) -> None:
    chart = build(explained(evidence_on(series(SCANS["axial"]))), KIND)
    (mapping,) = chart.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence
    assert mapping.QuantityDefinitionSequence[0].ConceptCodeSequence[0].CodeValue == "130404"
    assert mapping.MeasurementUnitsCodeSequence[0].CodeValue == "1"
    first, last = "DoubleFloatRealWorldValueFirstValueMapped", "DoubleFloatRealWorldValueLastValueMapped"
    assert (mapping[first].value, mapping[last].value) == (0.0, 1.0)
    assert chart.ImageType == ["DERIVED", "PRIMARY", "VOLUME", "QUANTITY"]
    assert (chart.BurnedInAnnotation, chart.ContentCreatorName) == ("NO", "")


def test_its_window_shows_every_weight_in_its_own_grey(series: Series) -> None:
    chart = build(explained(evidence_on(series(SCANS["axial"]))), KIND)
    (shown,) = chart.SharedFunctionalGroupsSequence[0].FrameVOILUTSequence
    # LINEAR of width 1 would show all that is above 0 white (PS3.3 C.11.2.1.2.1).
    assert (shown.WindowCenter, shown.WindowWidth, shown.VOILUTFunction) == (0.5, 1, "LINEAR_EXACT")


def test_of_a_map_too_large_the_slices_with_most_weight_are_sent(
    series: Series, monkeypatch: pytest.MonkeyPatch
) -> None:
    evidence = explained(evidence_on(series(SCANS["oblique"])))
    weights = np.zeros(evidence.labels.shape, np.float32)
    weights[2], weights[5], weights[6, 0] = 0.5, 0.75, 1.0
    evidence = replace(evidence, saliency=weights)
    monkeypatch.setattr(parametric_map, "MOST_BYTES", 2 * 24 * 20 * 4 + 100)
    chart = build(evidence, KIND)
    assert chart.NumberOfFrames == 2
    groups = chart.PerFrameFunctionalGroupsSequence
    for frame, group in zip(chart.pixel_array, groups, strict=True):
        place = group.PlanePositionSequence[0].ImagePositionPatient
        (index,) = [i for i in (2, 5) if np.allclose(place, evidence.slices[i].position, atol=1e-4)]
        np.testing.assert_array_equal(frame, weights[index])
    assert (str(chart.PatientName), chart.StudyDescription) == ("Test^Person", "MR head")


def test_there_is_none_without_saliency_or_place(series: Series) -> None:
    evidence = evidence_on(series(SCANS["axial"]))
    assert AVAILABLE[KIND].unfit(evidence) == "the model left no saliency"
    weights = np.zeros((7, 24, 20), np.float32)
    assert AVAILABLE[KIND].unfit(replace(classified(evidence), saliency=weights)) == "the images have no place in space"
