"""The features of every case: one row a case, and one of its region a pixel wider."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from node.learn.case import Case
from node.learn.radiomics.region import intensities, shape
from node.learn.radiomics.regions import Region
from node.learn.radiomics.texture import cooccurrence, discretised, runs, tones, zones

Numbers = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A table of features."""

    keys: tuple[str, ...]
    names: tuple[str, ...]
    #: (case, feature).
    values: Numbers
    #: The same of regions a pixel wider.
    disturbed: Numbers
    #: Cases in which nothing was found: measured as a whole.
    whole: tuple[str, ...] = ()

    def rows(self, keys: Sequence[str]) -> list[int]:
        """Places of cases in the table."""
        place = {key: number for number, key in enumerate(self.keys)}
        return [place[key] for key in keys]


def measure(cases: Sequence[Case], region: Callable[[Case], Region], bins: int) -> Measured:
    """Measure every case.

    Raises:
        Misconfigured: as `region`.
    """
    rows, wider, whole = [], [], []
    names: tuple[str, ...] = ()
    for case in cases:
        found = region(case)
        row = features(found.values, found.mask, found.spacing, bins)
        around = ndimage.binary_dilation(found.mask, iterations=1)
        wider.append(list(features(found.values, around, found.spacing, bins).values()))
        rows.append(list(row.values()))
        names = tuple(row)
        if found.is_whole:
            whole.append(case.key)
    return Measured(
        keys=tuple(case.key for case in cases),
        names=names,
        values=_finite(rows),
        disturbed=_finite(wider),
        whole=tuple(whole),
    )


def features(values: NDArray[Any], mask: NDArray[np.bool_], spacing: Sequence[float], bins: int) -> dict[str, float]:
    """Return "family_name" → value of one region: intensities, shape and texture."""
    places = ndimage.find_objects(mask.astype(np.int8))[0]
    inner, within = values[places], mask[places]
    levels = discretised(inner, within, bins)
    found = intensities(inner, within) | shape(within, spacing)
    return found | cooccurrence(levels) | runs(levels) | zones(levels) | tones(levels)


def write_table(file: Path, measured: Measured) -> None:
    """Write it as CSV, the key of the case in the first column."""
    lines = [",".join(("image", *measured.names))]
    for key, row in zip(measured.keys, measured.values.tolist(), strict=True):
        quoted = '"' + key.replace('"', '""') + '"'
        lines.append(",".join((quoted, *(f"{value:.9g}" for value in row))))
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _finite(rows: list[list[float]]) -> Numbers:
    return np.nan_to_num(np.array(rows, np.float64), nan=0.0, posinf=1e12, neginf=-1e12)
