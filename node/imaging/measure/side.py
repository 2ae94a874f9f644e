"""On which side of the patient a region lies: from its place in LPS, whatever way the slices were taken or stored."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from node.domain.finding import LEFT, RIGHT, RIGHT_AND_LEFT, Code
from node.domain.geometry import to_patient
from node.domain.measures import Midline, Sided
from node.imaging.measure.region import Region
from node.imaging.volume import Values

#: A region with at least this share of its voxels on either side lies on both.
_BOTH = 0.2
#: So near to the midline a voxel's middle lies on it.
_ON_IT_MM = 1e-6


def side_of(region: Region, rule: Sided, segments: Mapping[int, Region], array: Values | None) -> Code | None:
    """Right, left, or both where a fifth or more lies on either side of the midline.

    `segments` are those of the mask, `array` the volume it lies on. `None` where the midline cannot be found.
    """
    middle_mm = _midline_mm(region, rule, segments, array)
    if middle_mm is None:
        return None
    share = _share_left(region, middle_mm)
    if min(share, 1 - share) >= _BOTH:
        return RIGHT_AND_LEFT
    return LEFT if share > 0.5 else RIGHT


def _midline_mm(region: Region, rule: Sided, segments: Mapping[int, Region], array: Values | None) -> float | None:
    """Where left and right part: x in LPS, which grows towards the patient's left."""
    other = segments.get(rule.of_segment) if rule.of_segment is not None else None
    match rule.midline:
        case Midline.VOLUME:
            middle = (np.array(region.grid.shape) - 1) / 2
            return float(to_patient(region.grid.matrix, middle)[0])
        case Midline.SEGMENT:
            return None if other is None else float(other.centroid[0])
        case Midline.PAIR:
            own = segments.get(rule.segment_number)
            return None if own is None or other is None else float((own.centroid[0] + other.centroid[0]) / 2)
        case Midline.BODY:
            return _body_mm(region, array, rule.body_above)


def _body_mm(region: Region, array: Values | None, above: float | None) -> float | None:
    """Mean place of what is brighter, on the slices of the region."""
    if array is None or above is None:
        return None
    mask = array[region.box[0]] > above
    voxels = np.count_nonzero(mask)
    if not voxels:
        return None
    others = ((1, 2), (0, 2), (0, 1))
    counts = (np.count_nonzero(mask, axis=axes) for axes in others)
    index = np.array([float((np.arange(len(each)) * each).sum()) / voxels for each in counts])
    index[0] += region.start[0]
    return float(to_patient(region.grid.matrix, index)[0])


def _share_left(region: Region, middle_mm: float) -> float:
    """Share of the voxels that lie left of the midline; those on it count half."""
    affine = region.grid.matrix
    start = to_patient(affine, np.array(region.start, dtype=np.float64))[0]
    planes, rows, columns = (
        np.arange(size) * step for size, step in zip(region.mask.shape, affine[0, :3], strict=True)
    )
    left = 0.0
    for plane, within in zip(planes, region.mask, strict=True):
        beyond = start + plane + rows[:, None] + columns[None] - middle_mm
        left += np.count_nonzero(within & (beyond > _ON_IT_MM)) + np.count_nonzero(within & (beyond >= -_ON_IT_MM))
    return left / 2 / region.voxels
