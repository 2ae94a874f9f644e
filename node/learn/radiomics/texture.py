"""Texture of a region in two or three dimensions, as the Image Biomarker Standardisation Initiative defines it.

Zwanenburg et al., Radiology 295 (2020) 328. Co-occurrences and runs are counted in each direction, and their features
averaged; zones and grey tones are counted over all neighbours. Grey levels count from 1; 0 lies outside of the region.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Levels = NDArray[np.int64]
Numbers = NDArray[np.float64]


def discretised(values: NDArray[Any], mask: NDArray[np.bool_], bins: int) -> Levels:
    """Put the values of a region into so many bins of one width between their least and their greatest."""
    inside = values[mask].astype(np.float64)
    low, high = float(inside.min()), float(inside.max())
    found = np.zeros(values.shape, np.int64)
    share = (inside - low) / (high - low) if high > low else np.zeros_like(inside)
    found[mask] = np.minimum(np.floor(share * bins).astype(np.int64) + 1, bins)
    return found


def cooccurrence(levels: Levels) -> dict[str, float]:
    """Features of the grey level co-occurrence matrix at distance 1, symmetric."""
    count = int(levels.max())
    found = []
    for one, other in _neighbours(levels):
        matrix = np.zeros((count, count))
        np.add.at(matrix, (one - 1, other - 1), 1.0)
        matrix += matrix.T
        if matrix.sum():
            found.append(_of_pairs(matrix / matrix.sum()))
    return _mean("glcm", found)


def runs(levels: Levels) -> dict[str, float]:
    """Features of the grey level run length matrix."""
    padded = np.pad(levels, 1)
    voxels = int((levels > 0).sum())
    found = []
    for step in _directions(levels.ndim):
        there = np.roll(padded, step, axis=range(levels.ndim))
        places = np.stack(np.nonzero((padded > 0) & (there != padded)))
        mine = padded[tuple(places)]
        lengths = np.ones(len(mine), np.int64)
        alive = np.ones(len(mine), np.bool_)
        while alive.any():
            places = places + np.array(step)[:, None] * alive
            alive &= padded[tuple(places)] == mine
            lengths += alive
        found.append(_of_stretches(mine, lengths, voxels, ("short", "long", "run")))
    return _mean("glrlm", found)


def zones(levels: Levels) -> dict[str, float]:
    """Features of the grey level size zone matrix."""
    corners = np.ones((3,) * levels.ndim, np.bool_)
    greys: list[int] = []
    sizes: list[int] = []
    for level in np.unique(levels[levels > 0]).tolist():
        parts, _ = ndimage.label(levels == level, structure=corners)
        counts = np.bincount(parts.ravel())[1:]
        greys += [level] * len(counts)
        sizes += counts.tolist()
    voxels = int((levels > 0).sum())
    return _mean("glszm", [_of_stretches(np.array(greys), np.array(sizes), voxels, ("small", "large", "zone"))])


def tones(levels: Levels) -> dict[str, float]:
    """Features of the neighbourhood grey tone difference matrix."""
    mask = (levels > 0).astype(np.float64)
    around = np.ones((3,) * levels.ndim)
    around[(1,) * levels.ndim] = 0
    neighbours = ndimage.convolve(mask, around, mode="constant")
    total = ndimage.convolve(levels * mask, around, mode="constant")
    valid = (levels > 0) & (neighbours > 0)
    if not valid.any():
        return {f"ngtdm_{name}": 0.0 for name in ("coarseness", "contrast", "busyness", "complexity", "strength")}
    mine = levels[valid]
    apart = np.abs(mine - total[valid] / neighbours[valid])
    i = np.unique(mine).astype(np.float64)
    s = np.array([apart[mine == level].sum() for level in i])
    p = np.array([(mine == level).mean() for level in i])
    number, voxels = len(i), int(valid.sum())
    far = np.abs(i[:, None] - i[None, :])
    both = p[:, None] + p[None, :]
    busy = np.abs((i * p)[:, None] - (i * p)[None, :]).sum()
    weighed = float((p * s).sum())
    spread = (p[:, None] * p[None, :] * far**2).sum() / max(1, number * (number - 1))
    found = {
        # Where no voxel differs from its neighbours, IBSI takes a large number for what is infinite.
        "coarseness": min(1e6, 1 / weighed) if weighed else 1e6,
        "contrast": spread * s.sum() / voxels,
        "busyness": weighed / busy if busy else 0.0,
        "complexity": float((far * ((p * s)[:, None] + (p * s)[None, :]) / both).sum()) / voxels,
        "strength": float((both * far**2).sum() / s.sum()) if s.sum() else 0.0,
    }
    return {f"ngtdm_{name}": float(value) for name, value in found.items()}


def _directions(axes: int) -> list[tuple[int, ...]]:
    """Half of the neighbours: the other half are their opposites."""
    return [step for step in product((-1, 0, 1), repeat=axes) if step > (0,) * axes]


def _neighbours(levels: Levels) -> Iterator[tuple[Levels, Levels]]:
    """For each direction the levels of the pairs within the region."""
    padded = np.pad(levels, 1)
    for step in _directions(levels.ndim):
        there = np.roll(padded, [-each for each in step], axis=range(levels.ndim))
        both = (padded > 0) & (there > 0)
        yield padded[both], there[both]


def _of_pairs(p: Numbers) -> dict[str, float]:
    count = len(p)
    i = np.arange(1, count + 1, dtype=np.float64)
    row, column = i[:, None], i[None, :]
    alone = p.sum(axis=1)
    mean = float((i * alone).sum())
    variance = float(((i - mean) ** 2 * alone).sum())
    apart, together = np.abs(row - column), row + column
    differences = np.array([p[apart == k].sum() for k in range(count)])
    k = np.arange(count, dtype=np.float64)
    sums = np.array([p[together == total].sum() for total in range(2, 2 * count + 1)])
    totals = np.arange(2, 2 * count + 1, dtype=np.float64)
    sum_mean, difference_mean = float((totals * sums).sum()), float((k * differences).sum())
    off = apart > 0
    product_ = alone[:, None] * alone[None, :]
    entropy, of_one = _entropy(p), _entropy(alone)
    crossed = -float((p * np.log2(product_, out=np.zeros_like(p), where=product_ > 0)).sum())
    independent = _entropy(product_)
    centred = together - 2 * mean
    return {
        "joint_maximum": float(p.max()),
        "joint_average": mean,
        "joint_variance": variance,
        "joint_entropy": entropy,
        "difference_average": difference_mean,
        "difference_variance": float(((k - difference_mean) ** 2 * differences).sum()),
        "difference_entropy": _entropy(differences),
        "sum_average": sum_mean,
        "sum_variance": float(((totals - sum_mean) ** 2 * sums).sum()),
        "sum_entropy": _entropy(sums),
        "angular_second_moment": float((p**2).sum()),
        "contrast": float((apart**2 * p).sum()),
        "inverse_difference": float((p / (1 + apart)).sum()),
        "normalised_inverse_difference": float((p / (1 + apart / count)).sum()),
        "inverse_difference_moment": float((p / (1 + apart**2)).sum()),
        "normalised_inverse_difference_moment": float((p / (1 + apart**2 / count**2)).sum()),
        "inverse_variance": float((p[off] / apart[off] ** 2).sum()),
        "correlation": float((row * column * p).sum() - mean**2) / variance if variance else 1.0,
        "autocorrelation": float((row * column * p).sum()),
        "cluster_tendency": float((centred**2 * p).sum()),
        "cluster_shade": float((centred**3 * p).sum()),
        "cluster_prominence": float((centred**4 * p).sum()),
        "information_correlation_1": (entropy - crossed) / of_one if of_one else 0.0,
        "information_correlation_2": float(np.sqrt(max(0.0, 1 - np.exp(-2 * (independent - entropy))))),
    }


def _of_stretches(greys: Levels, sizes: Levels, voxels: int, words: tuple[str, str, str]) -> dict[str, float]:
    """Features of runs or zones, each with its grey level and size."""
    little, much, what = words
    i, j, count = greys.astype(np.float64), sizes.astype(np.float64), len(greys)
    by_grey, by_size = (np.unique(each, return_counts=True)[1].astype(np.float64) for each in (greys, sizes))
    pairs = np.unique(np.stack([greys, sizes]), axis=1, return_counts=True)[1] / count
    return {
        f"{little}_emphasis": float((1 / j**2).mean()),
        f"{much}_emphasis": float((j**2).mean()),
        "low_grey_emphasis": float((1 / i**2).mean()),
        "high_grey_emphasis": float((i**2).mean()),
        f"{little}_low_grey_emphasis": float((1 / (i * j) ** 2).mean()),
        f"{little}_high_grey_emphasis": float((i**2 / j**2).mean()),
        f"{much}_low_grey_emphasis": float((j**2 / i**2).mean()),
        f"{much}_high_grey_emphasis": float(((i * j) ** 2).mean()),
        "grey_non_uniformity": float((by_grey**2).sum() / count),
        "normalised_grey_non_uniformity": float((by_grey**2).sum() / count**2),
        "size_non_uniformity": float((by_size**2).sum() / count),
        "normalised_size_non_uniformity": float((by_size**2).sum() / count**2),
        f"{what}_percentage": count / voxels,
        "grey_variance": float(i.var()),
        "size_variance": float(j.var()),
        "entropy": _entropy(pairs),
    }


def _entropy(p: Numbers) -> float:
    known = p[p > 0]
    return -float((known * np.log2(known)).sum())


def _mean(family: str, found: list[dict[str, float]]) -> dict[str, float]:
    names = found[0] if found else dict.fromkeys(_of_pairs(np.ones((1, 1))), 0.0)
    return {f"{family}_{name}": float(np.mean([each[name] for each in found])) if found else 0.0 for name in names}
