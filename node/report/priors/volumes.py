"""How large the segments of a segmentation are: counted in its mask on the images that it was made on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from pydicom import Dataset

from node.domain.finding import MILLILITRE, VOLUME, Measurement
from node.domain.prior_document import PriorFinding
from node.domain.study import Instance
from node.errors import Unsuitable
from node.imaging.mask import tally
from node.imaging.read_segmentation import read_segmentation


def measured(
    found: Sequence[PriorFinding], header: Dataset, path: Path, images: Sequence[Instance]
) -> tuple[PriorFinding, ...]:
    """The findings of its header with their volumes, mL; one whose segment has no voxels stays without.

    Raises:
        Unsuitable: its mask does not lie on these images, its segments overlap or share a number, or an image that it
            names is not here: the neighbours of a missing slice would count for it.
        Failed: it cannot be decoded.
    """
    missing = set(_named(header)) - {each.sop_instance_uid for each in images}
    if missing:
        raise Unsuitable(f"{len(missing)} of the images that it was made on are not here")
    read = read_segmentation(path, images)
    number, times = Counter(each.number for each in read.segments).most_common(1)[0]
    if times > 1:
        raise Unsuitable(f"{times} segments have the number {number}")
    if read.mask.grid is None:
        raise Unsuitable("the images do not say where they lie")
    voxels, voxel_ml = tally(read.mask.labels).counts.sum(axis=0), read.mask.grid.voxel_volume_ml
    return tuple(_sized(each, int(voxels[each.finding.segment_number or 0]) * voxel_ml) for each in found)


def _sized(found: PriorFinding, volume_ml: float) -> PriorFinding:
    if not volume_ml:
        return found
    volume = Measurement(quantity=VOLUME, value=volume_ml, unit=MILLILITRE)
    return replace(found, finding=replace(found.finding, measurements=(volume,)))


def _named(header: Dataset) -> Iterator[str]:
    """SOP Instance UIDs of the images that it refers to, series by series."""
    for series in header.get("ReferencedSeriesSequence") or []:
        for each in series.get("ReferencedInstanceSequence") or []:
            yield str(each.get("ReferencedSOPInstanceUID", "") or "")
