"""Where each lesion of a segment lies: found in the mask as it was found when it was measured."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from node.domain.finding import Finding
from node.errors import Failed
from node.report.contour import regions
from node.report.evidence import Evidence

#: Slices of one lesion that are outlined at most; of more, these at even steps.
_MOST_SLICES = 64

#: Slice of the mask, and the outline there; (vertices, 2) float32, (column, row).
Outline = tuple[int, NDArray[np.float32]]


def outlines(evidence: Evidence) -> dict[str, list[Outline]]:
    """Tracking UID → outlines, slice by slice, of every finding that is a lesion.

    Raises:
        Failed: the mask has no such lesion.
    """
    found: dict[str, list[Outline]] = {}
    for number in sorted({each.segment_number or 0 for each in evidence.findings if each.lesion_number}):
        findings = [each for each in evidence.findings if each.segment_number == number and each.lesion_number]
        found |= {each.tracking_uid: drawn for each, drawn in _of_segment(evidence, number, findings)}
    return found


def _of_segment(evidence: Evidence, number: int, findings: list[Finding]) -> Iterator[tuple[Finding, list[Outline]]]:
    # Only reports on lesions need scipy.
    from node.imaging.components import components

    lesions = components(evidence.labels == number)
    for finding in findings:
        if finding.lesion_number > len(lesions):
            raise Failed(f"the mask has {len(lesions)} lesion(s) of segment {number}, not {finding.lesion_number}")
        lesion = lesions[finding.lesion_number - 1]
        first_slice, row, column = lesion.start
        places = range(0, len(lesion.mask), -(-len(lesion.mask) // _MOST_SLICES))
        drawn = [
            (first_slice + place, region.outline() + np.array((column, row), np.float32))
            for place in places
            for region in regions(lesion.mask[place])
        ]
        yield finding, drawn
