"""What we write frame by frame is what highdicom writes from the whole mask."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from highdicom.seg import Segmentation, SegmentationTypeValues, segread
from numpy.typing import NDArray
from pydicom import Dataset, dcmread

from node.domain.finding import Segment
from node.domain.geometry import to_patient
from node.report.attributes import stamp
from node.report.composition import encode
from node.report.evidence import Evidence
from node.report.segments.segmentation import description
from tests.report.gathered import gather
from tests.report.synthetic import ANATOMY, AVAILABLE, BRAIN, SCANS, Scan, blob, build, card, evidence_on, finding
from tests.report.test_source_kinds import VOLUMES

Series = Callable[[Scan], list[Path]]
#: Multi-frame sources of which every frame is a slice, in order: highdicom, too, takes such a one.
MULTI_FRAME = ("enhanced mr", "enhanced mr, all said in each frame", "enhanced ct", "legacy converted mr")
#: Sources of which it takes none, and one that is read in the order of its frames' places.
PIECES = ("enhanced mr, frames in disorder", "enhanced mr, two phases", "enhanced mr, localizer in the object")
TYPES = {"seg": SegmentationTypeValues.BINARY, "labelmap_seg": SegmentationTypeValues.LABELMAP}


def segmented(paths: list[Path], segments: int) -> Evidence:
    """Evidence of a body cut into columns, one a segment; the last segment is nowhere, where there are several."""
    evidence = evidence_on(paths)
    mask = blob(evidence.lattice.shape)
    found = max(1, segments - 1)
    width = -(-mask.shape[2] // found)
    for number in range(2, found + 1):
        mask[:, :, (number - 1) * width : number * width] *= np.uint8(number)
    described = tuple(
        Segment(number=n + 1, label=f"Part {n + 1}", category=ANATOMY, type=BRAIN) for n in range(segments)
    )
    there = [number for number in range(1, segments + 1) if (mask == number).any()]
    findings = tuple(finding(mask, evidence.lattice, number) for number in there)
    return replace(evidence, mask=mask, findings=findings, card=card(*described))


def written_by_highdicom(evidence: Evidence, kind: str) -> Dataset:
    """The same object by highdicom alone, from the whole mask and the headers as they are."""
    written = Segmentation(
        source_images=[deepcopy(each) for each in evidence.sources],  # it adds to what they say of their pixels
        pixel_array=evidence.labels,
        **description(evidence, kind, AVAILABLE[kind].SERIES_NUMBER, TYPES[kind]),  # type: ignore[attr-defined]
    )
    written.ContentCreatorName = ""
    stamp(written, evidence, kind)
    bits = int(written.Rows) * int(written.Columns) * int(written.NumberOfFrames) * int(written.BitsAllocated)
    if len(written.PixelData) > (bits + 7) // 8:
        written.PixelData = written.PixelData[:-1] + b"\0"  # it pads with the digit 0
    return written


def points(evidence: Evidence) -> NDArray[np.float64]:
    """Centres of the marked voxels in LPS mm, with their segment numbers, sorted."""
    return _sorted(evidence.labels, evidence.lattice.matrix)


def _sorted(labels: NDArray[np.uint8], affine: NDArray[np.float64]) -> NDArray[np.float64]:
    places = to_patient(affine, np.argwhere(labels).astype(float)).round(2)
    found = np.column_stack([labels[labels > 0], places])
    return found[np.lexsort(found.T)]


@pytest.mark.parametrize("segments", [1, 4])
@pytest.mark.parametrize("scan", SCANS.values(), ids=SCANS.keys())
@pytest.mark.parametrize("kind", TYPES)
def test_the_file_is_the_one_that_highdicom_writes(kind: str, scan: Scan, segments: int, series: Series) -> None:
    evidence = segmented(series(scan), segments)
    assert encode(build(evidence, kind)) == encode(written_by_highdicom(evidence, kind))


@pytest.mark.parametrize("name", MULTI_FRAME)
@pytest.mark.parametrize("kind", TYPES)
def test_of_a_multi_frame_image_too_the_file_is_highdicoms(kind: str, name: str, tmp_path: Path) -> None:
    evidence = gather(tmp_path, VOLUMES[name].write(tmp_path), VOLUMES[name].card).evidence
    assert encode(build(evidence, kind)) == encode(written_by_highdicom(evidence, kind))


@pytest.mark.parametrize("name", PIECES)
@pytest.mark.parametrize("kind", TYPES)
def test_frames_of_a_piece_of_a_multi_frame_image_are_its_own(kind: str, name: str, tmp_path: Path) -> None:
    evidence = gather(tmp_path, VOLUMES[name].write(tmp_path), VOLUMES[name].card).evidence
    segmentation = build(evidence, kind)
    expected = {index: each.frame_number for index, each in enumerate(evidence.slices)}
    written = [index for index in expected if evidence.labels[index].any()]
    found = [
        item.DerivationImageSequence[0].SourceImageSequence[0].ReferencedFrameNumber
        for item in segmentation.PerFrameFunctionalGroupsSequence
    ]
    assert set(found) == {expected[index] for index in written}
    assert len(found) == len(written)


@pytest.mark.parametrize("name", ["axial", "oblique", "sagittal", "anisotropic", "reversed", "odd pixel bytes"])
@pytest.mark.parametrize("kind", TYPES)
def test_highdicom_reads_the_same_voxels_in_the_same_places(
    kind: str, name: str, series: Series, tmp_path: Path
) -> None:
    evidence = segmented(series(SCANS[name]), 4)
    path = tmp_path / "seg.dcm"
    path.write_bytes(encode(build(evidence, kind)))
    volume = segread(path).get_volume(combine_segments=True)
    np.testing.assert_allclose(_sorted(volume.array, volume.affine), points(evidence), atol=0.021)


@pytest.mark.parametrize("kind", TYPES)
def test_slices_lie_as_far_apart_as_their_positions_and_not_as_the_scanner_says(kind: str, series: Series) -> None:
    evidence = evidence_on(series(Scan(header={"SpacingBetweenSlices": 0.5})))
    measures = build(evidence, kind).SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    assert measures.SpacingBetweenSlices == 3.0


@pytest.mark.parametrize("kind", TYPES)
def test_the_sources_are_left_as_they_were(kind: str, series: Series) -> None:
    evidence = evidence_on(series(SCANS["axial"]))
    before = deepcopy(evidence.sources)
    build(evidence, kind)
    assert evidence.sources == before


def test_a_label_map_describes_its_background_except_for_viewers_that_count_segments(series: Series) -> None:
    evidence = segmented(series(SCANS["axial"]), 4)
    described = [item.SegmentNumber for item in build(evidence, "labelmap_seg").SegmentSequence]
    counted = build(replace(evidence, profile="ohif"), "labelmap_seg")
    assert described == [0, 1, 2, 3, 4]
    assert [item.SegmentNumber for item in counted.SegmentSequence] == [1, 2, 3, 4]
    assert counted.PixelPaddingValue == 0


def test_nothing_is_parsed_that_nobody_asks_for(series: Series, tmp_path: Path) -> None:
    segmentation = build(evidence_on(series(SCANS["axial"])), "seg")
    assert segmentation.get_item("PerFrameFunctionalGroupsSequence").is_raw
    path = tmp_path / "seg.dcm"
    path.write_bytes(encode(segmentation))
    assert segmentation.get_item("PerFrameFunctionalGroupsSequence").is_raw
    assert dcmread(path) == segmentation
