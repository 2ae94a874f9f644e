"""How far two regions of one mask lie apart."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree
from scipy.spatial.distance import cdist

from node.imaging.measure.hull import Points
from node.imaging.measure.region import Region

#: So often about so many voxels of each region say how near they may lie; what lies farther is out.
_ROUNDS, _SAMPLE = 4, 300


def centroid_distance_mm(one: Region, other: Region) -> float:
    """Distance of the two centroids."""
    return float(np.linalg.norm(one.centroid - other.centroid))


def surface_distance_mm(one: Region, other: Region) -> float:
    """Distance of the nearest two voxels, by their centres, from face to face; 0 where they touch."""
    here, there = one.border, other.border
    near_here, near_there = np.arange(len(here.places)), np.arange(len(there.places))
    for _ in range(_ROUNDS):
        rough = float(cdist(_sample(here.places[near_here]), _sample(there.places[near_there])).min())
        near_here = near_here[_within(here.places[near_here], there.places[near_there], rough)]
        near_there = near_there[_within(there.places[near_there], here.places[near_here], rough)]
    found = KDTree(there.places[near_there]).query(here.places[near_here])
    distances, nearest = np.asarray(found[0]), np.asarray(found[1])
    closest = int(distances.argmin())
    gap = np.abs(here.indices[near_here[closest]] - there.indices[near_there[nearest[closest]]]) - 1
    steps = np.linalg.norm(one.grid.matrix[:3, :3], axis=0)
    return float(np.linalg.norm(np.maximum(gap, 0) * steps))


def _sample(places: Points) -> Points:
    return places[:: max(1, len(places) // _SAMPLE)]


def _within(points: Points, others: Points, reach_mm: float) -> NDArray[np.bool_]:
    """Which points lie at most `reach_mm` from the box around the others."""
    low, high = others.min(axis=0) - reach_mm - 1e-6, others.max(axis=0) + reach_mm + 1e-6
    found: NDArray[np.bool_] = ((points >= low) & (points <= high)).all(axis=1)
    return found
