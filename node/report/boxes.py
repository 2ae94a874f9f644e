"""Boxes of findings on the images that they lie on: a box on a stranger's image is never written down."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import isfinite
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from node.domain.finding import Finding, Region
from node.errors import Failed

#: Boxes are written with pixels this far from an edge of the image cut off: numbers are rounded on their way.
_TOLERANCE = 1e-3


class SourceImage(Protocol):
    """An image, or a frame of one, as `evidence.SourceSlice` has it."""

    @property
    def header(self) -> Dataset:
        """What it says of itself."""
        ...

    @property
    def frame_number(self) -> int | None:
        """1 is the first; `None` where the image has a single one."""
        ...


def frames_of_boxes(findings: Iterable[Finding]) -> dict[str, list[int]]:
    """SOP Instance UID → the numbers of its frames that boxes lie on, in order; 0 of an image with a single one."""
    found: dict[str, set[int]] = {}
    for finding in findings:
        for region in finding.regions:
            found.setdefault(region.sop_instance_uid, set()).add(region.frame_number)
    return {uid: sorted(numbers) for uid, numbers in found.items()}


def check_boxes(findings: Iterable[Finding], sources: Sequence[Dataset]) -> None:
    """See that every box lies on one of the images.

    Raises:
        Failed: one does not, or reaches beyond its image.
    """
    regions = [region for finding in findings for region in finding.regions]
    if not regions:
        return
    headers: Mapping[str, Dataset] = {str(each.SOPInstanceUID): each for each in sources}
    for region in regions:
        header = headers.get(region.sop_instance_uid)
        if header is None:
            raise Failed(f"a box lies on {region.sop_instance_uid}, which is no input of the outcome")
        top, left, bottom, right = region.edges
        inside = -_TOLERANCE <= top < bottom <= int(header.Rows) + _TOLERANCE
        inside &= -_TOLERANCE <= left < right <= int(header.Columns) + _TOLERANCE
        if not (inside and all(map(isfinite, region.edges))):
            raise Failed(f"a box of {region.edges} does not lie within {region.sop_instance_uid}")


def around(region: Region) -> NDArray[np.float32]:
    """The box as a closed polyline, (5, 2) float32, (column, row); (0, 0) is the corner of the first pixel."""
    top, left, bottom, right = region.edges
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom), (left, top)], np.float32)


def in_order(finding: Finding) -> list[Region]:
    """The boxes of a finding, those on its key images first: viewers go to the first."""
    keys = {uid: rank for rank, uid in enumerate(finding.key_images)}
    return sorted(finding.regions, key=lambda region: keys.get(region.sop_instance_uid, len(keys)))


def boxes_on(findings: Iterable[Finding], place: SourceImage) -> list[NDArray[np.float32]]:
    """The boxes that lie on one image or frame, each as `around`."""
    key = str(place.header.SOPInstanceUID), place.frame_number or 0
    regions = [region for finding in findings for region in finding.regions]
    return [around(region) for region in regions if (region.sop_instance_uid, region.frame_number) == key]
