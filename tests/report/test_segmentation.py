"""What we write frame by frame is what highdicom writes from the whole mask."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from highdicom.seg import Segmentation, SegmentationTypeValues
from pydicom import Dataset

from node.domain.finding import Segment
from node.report.attributes import stamp
from node.report.composition import encode
from node.report.evidence import Evidence
from node.report.segmentation import description
from tests.report.synthetic import ANATOMY, AVAILABLE, BRAIN, SCANS, Scan, blob, build, card, evidence_on, finding

Series = Callable[[Scan], list[Path]]
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
        source_images=evidence.sources,
        pixel_array=evidence.labels,
        **description(evidence, kind, AVAILABLE[kind].SERIES_NUMBER, TYPES[kind]),  # type: ignore[attr-defined]
    )
    written.ContentCreatorName = ""
    stamp(written, evidence, kind)
    bits = int(written.Rows) * int(written.Columns) * int(written.NumberOfFrames) * int(written.BitsAllocated)
    if len(written.PixelData) > (bits + 7) // 8:
        written.PixelData = written.PixelData[:-1] + b"\0"  # it pads with the digit 0
    return written


@pytest.mark.parametrize("segments", [1, 4])
@pytest.mark.parametrize("scan", SCANS.values(), ids=SCANS.keys())
@pytest.mark.parametrize("kind", TYPES)
def test_the_file_is_the_one_that_highdicom_writes(kind: str, scan: Scan, segments: int, series: Series) -> None:
    evidence = segmented(series(scan), segments)
    assert encode(build(evidence, kind)) == encode(written_by_highdicom(evidence, kind))
