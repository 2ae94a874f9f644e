"""Intensities and shape of a region, as the Image Biomarker Standardisation Initiative defines them.

Zwanenburg et al., Radiology 295 (2020) 328. What needs a surface mesh is not among them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Below this many pixels or voxels nothing is said of a region.
LEAST = 8


def intensities(values: NDArray[Any], mask: NDArray[np.bool_]) -> dict[str, float]:
    """Statistics of the values of a region, in their unit."""
    x = values[mask].astype(np.float64)
    mean, median = float(x.mean()), float(np.median(x))
    variance = float(x.var())
    p10, p25, p75, p90 = (float(each) for each in np.percentile(x, (10, 25, 75, 90)))
    middle = x[(x >= p10) & (x <= p90)]
    moved = x - mean
    found = {
        "mean": mean,
        "variance": variance,
        "skewness": float((moved**3).mean()) / variance**1.5 if variance else 0.0,
        "kurtosis": float((moved**4).mean()) / variance**2 - 3 if variance else 0.0,
        "median": median,
        "minimum": float(x.min()),
        "percentile_10": p10,
        "percentile_90": p90,
        "maximum": float(x.max()),
        "interquartile_range": p75 - p25,
        "range": float(np.ptp(x)),
        "mean_absolute_deviation": float(np.abs(moved).mean()),
        "robust_mean_absolute_deviation": float(np.abs(middle - middle.mean()).mean()),
        "median_absolute_deviation": float(np.abs(x - median).mean()),
        "variation": float(np.sqrt(variance)) / mean if mean else 0.0,
        "quartile_dispersion": (p75 - p25) / (p75 + p25) if p75 + p25 else 0.0,
        "energy": float((x**2).sum()),
        "root_mean_square": float(np.sqrt((x**2).mean())),
    }
    return {f"firstorder_{name}": value for name, value in found.items()}


def shape(mask: NDArray[np.bool_], spacing: Sequence[float]) -> dict[str, float]:
    """Size and proportions of a region; `spacing` along each axis, in mm or in pixels."""
    steps = np.array(spacing, np.float64)
    places = np.argwhere(mask) * steps
    volume = len(places) * float(steps.prod())
    covariance = np.cov(places.T)
    lengths = 4 * np.sqrt(np.sort(np.linalg.eigvalsh(covariance))[::-1].clip(0))
    padded = np.pad(mask, 1).astype(np.int8)
    faces = [float(np.abs(np.diff(padded, axis=axis)).sum()) for axis in range(mask.ndim)]
    surface = sum(count * float(steps.prod()) / step for count, step in zip(faces, steps.tolist(), strict=True))
    found = {
        "volume": volume,
        "major_axis": float(lengths[0]),
        "minor_axis": float(lengths[1]),
        "elongation": float(lengths[1] / lengths[0]) if lengths[0] else 0.0,
        # Of faces between voxels, not of a mesh: larger than IBSI's, and alike for regions of one grid.
        "face_surface_to_volume": surface / volume,
    }
    if mask.ndim == 3:
        found["least_axis"] = float(lengths[2])
        found["flatness"] = float(lengths[2] / lengths[0]) if lengths[0] else 0.0
    return {f"shape_{name}": value for name, value in found.items()}
