"""The order of single images, and how far apart their pixels are, as far as they say so."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from pydicom import Dataset

from node.domain.study import Instance

#: Direction cosines within this of each other are the same orientation (see `domain.geometry`).
_ORIENTATION_TOLERANCE = 1e-3
#: Physical Units X and Y Direction of an ultrasound region (PS3.3 §C.8.5.5.1.15): centimetres.
_CENTIMETRES = 3
#: What says how far apart pixels are, the most exact first.
_SPACINGS = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")


def in_order(images: Sequence[Instance]) -> list[str]:
    """SOP Instance UIDs: of parallel slices by their positions, else by instance number; the same whatever comes first.

    Slices go along the cross product of row and column direction, as in a volume.
    """
    along = _along_normal(images)

    def key(image: Instance) -> tuple[float, float, str]:
        number = math.inf if image.instance_number is None else image.instance_number
        return along.get(image.sop_instance_uid, 0.0), number, image.sop_instance_uid

    return [image.sop_instance_uid for image in sorted(images, key=key)]


def spacing_mm(instance: Instance, header: Dataset, frame_number: int) -> tuple[float, float] | None:
    """Distance between rows, then columns: in the patient where it is said, else on the detector; else `None`."""
    if instance.plane is not None:
        return instance.plane.spacing
    each = header.get("PerFrameFunctionalGroupsSequence") or []
    groups = [*each[frame_number - 1 : frame_number], *(header.get("SharedFunctionalGroupsSequence") or [])]
    measures = [item for group in groups for item in group.get("PixelMeasuresSequence") or []]
    for place in (*measures, header):
        for keyword in _SPACINGS:
            found = _pair(place.get(keyword))
            if found is not None:
                return found
    return _of_ultrasound(header)


def _along_normal(images: Sequence[Instance]) -> dict[str, float]:
    """SOP Instance UID → place along the normal, rounded to a thousandth of a millimetre; empty unless all agree."""
    planes = [(image.sop_instance_uid, image.plane) for image in images if image.plane is not None]
    if not planes or len(planes) < len(images):
        return {}
    orientation = np.array([plane.orientation for _, plane in planes])
    positions = np.array([plane.position for _, plane in planes])
    if not (np.isfinite(orientation).all() and np.isfinite(positions).all()):
        return {}
    if np.abs(orientation - orientation[0]).max() > _ORIENTATION_TOLERANCE:
        return {}
    # By the same orientation whichever image comes first.
    first = np.array(min(plane.orientation for _, plane in planes))
    along = positions @ np.cross(first[:3], first[3:])
    return {uid: round(float(place), 3) for (uid, _), place in zip(planes, along, strict=True)}


def _pair(given: Any) -> tuple[float, float] | None:
    """Two positive finite numbers, or nothing."""
    try:
        rows, columns = (float(each) for each in given)
    except (TypeError, ValueError):
        return None
    return (rows, columns) if 0 < rows < math.inf and 0 < columns < math.inf else None


def _of_ultrasound(header: Dataset) -> tuple[float, float] | None:
    """The spacing that ultrasound says of a region, where it says one for all (PS3.3 §C.8.5.5)."""
    found = set()
    for region in header.get("SequenceOfUltrasoundRegions") or []:
        units = (region.get("PhysicalUnitsXDirection"), region.get("PhysicalUnitsYDirection"))
        pair = _pair((region.get("PhysicalDeltaY"), region.get("PhysicalDeltaX")))
        if units != (_CENTIMETRES, _CENTIMETRES) or pair is None:
            return None
        found.add((pair[0] * 10, pair[1] * 10))
    return found.pop() if len(found) == 1 else None
