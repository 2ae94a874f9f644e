"""Outlines over the source's own images, which stay as they are shown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

from node.domain.finding import Segment
from node.report.outputs import presentation_state
from tests.report.synthetic import ANATOMY, BRAIN, SCANS, Scan, build, card, evidence_on, finding

Series = Callable[[Scan], list[Path]]
KIND = "presentation_state"


def test_every_slice_with_a_segment_has_its_outline(series: Series) -> None:
    evidence = evidence_on(series(SCANS["axial"]))
    state = build(evidence, KIND)
    held = [index for index, plane in enumerate(evidence.labels) if plane.any()]
    expected = [evidence.slices[index].header.SOPInstanceUID for index in held]
    named = [note.ReferencedImageSequence[0].ReferencedSOPInstanceUID for note in state.GraphicAnnotationSequence]
    assert sorted(named) == sorted(expected)
    for index, uid in zip(held, expected, strict=True):
        note = state.GraphicAnnotationSequence[named.index(uid)]
        points = np.array(note.GraphicObjectSequence[0].GraphicData).reshape(-1, 2)  # (column, row)
        rows, columns = np.nonzero(evidence.labels[index])
        np.testing.assert_allclose(points.min(axis=0), [columns.min(), rows.min()])
        np.testing.assert_allclose(points.max(axis=0), [columns.max() + 1, rows.max() + 1])


def test_each_segment_is_a_layer_in_its_colour(series: Series) -> None:
    paths = series(SCANS["axial"])
    base = evidence_on(paths)
    mask = base.labels.copy()
    mask[:, :, 12:] *= 2
    segments = [
        Segment(number=n, label=f"Part {n}", category=ANATOMY, type=BRAIN, colour=(90 * n, 9, 9)) for n in (1, 2)
    ]
    grid = base.lattice
    found = (finding(mask, grid, 1), finding(mask, grid, 2))
    evidence = replace(base, card=card(*segments), mask=mask, findings=found, tally=None)
    state = build(evidence, KIND)
    layers = {item.GraphicLayer: item for item in state.GraphicLayerSequence}
    assert [layer.GraphicLayerDescription for layer in layers.values()] == ["Part 1", "Part 2"]
    colours = {tuple(layer.GraphicLayerRecommendedDisplayCIELabValue) for layer in layers.values()}
    assert len(colours) == 2
    assert {note.GraphicLayer for note in state.GraphicAnnotationSequence} == layers.keys()


def test_window_and_rescaling_are_the_sources(series: Series) -> None:
    paths = series(Scan(header={"RescaleSlope": 2, "RescaleIntercept": -1024, "WindowCenter": 40, "WindowWidth": 400}))
    other = dcmread(paths[3])
    other.WindowCenter = 60
    other.save_as(paths[3])
    state = build(evidence_on(paths), KIND)
    assert (state.RescaleSlope, state.RescaleIntercept) == (2, -1024)
    shown = {item.WindowCenter: item.ReferencedImageSequence for item in state.SoftcopyVOILUTSequence}
    assert [each.ReferencedSOPInstanceUID for each in shown[60]] == [other.SOPInstanceUID]
    assert set(shown) == {40, 60}
    assert len(shown[40]) + 1 == len(state.ReferencedSeriesSequence[0].ReferencedImageSequence)


def test_an_image_that_is_rescaled_otherwise_is_left_out(series: Series) -> None:
    paths = series(Scan(header={"RescaleSlope": 2, "RescaleIntercept": 0}))
    evidence = evidence_on(paths)
    least = int(np.where(evidence.counts[:, 1] > 0, evidence.counts[:, 1], 10**6).argmin())
    path = evidence.paths[least]
    other = dcmread(path)
    other.RescaleSlope = 3
    other.save_as(path)
    state = build(evidence_on(paths), KIND)
    images = [item.ReferencedSOPInstanceUID for item in state.ReferencedSeriesSequence[0].ReferencedImageSequence]
    assert other.SOPInstanceUID not in images
    assert images
    assert state.RescaleSlope == 2


@pytest.mark.parametrize(
    ("header", "shape"),
    [
        ({}, "IDENTITY"),
        ({"PhotometricInterpretation": "MONOCHROME1"}, "INVERSE"),
        ({"PresentationLUTShape": "INVERSE"}, "INVERSE"),
    ],
)
def test_an_image_whose_high_values_are_dark_stays_so(header: dict[str, object], shape: str, series: Series) -> None:
    # A presentation state overrides the image's own polarity (PS3.4 N.2.1.4).
    assert build(evidence_on(series(Scan(header=header))), KIND).PresentationLUTShape == shape


def test_no_window_is_invented(series: Series) -> None:
    assert "SoftcopyVOILUTSequence" not in build(evidence_on(series(SCANS["axial"])), KIND)


def test_pixels_keep_their_shape(series: Series) -> None:
    (area,) = build(evidence_on(series(SCANS["anisotropic"])), KIND).DisplayedAreaSelectionSequence
    assert area.PresentationPixelSpacing == [0.5, 0.9]
    assert "PresentationPixelAspectRatio" not in area


def test_of_too_many_outlines_the_largest_stay(series: Series, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presentation_state, "MOST_OUTLINES", 2)
    evidence = evidence_on(series(SCANS["axial"]))
    drawn = presentation_state.outlines(evidence)
    assert sorted(index for index, _ in drawn) == sorted(np.argsort(-evidence.counts[:, 1], kind="stable")[:2].tolist())


def test_images_in_colour_are_not_for_it(series: Series) -> None:
    evidence = evidence_on(series(SCANS["axial"]))
    evidence.source.SamplesPerPixel = 3
    assert presentation_state.unfit(evidence) == "the images are in colour"
