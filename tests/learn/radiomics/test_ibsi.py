"""Our features of the IBSI's digital phantom are those of its reference manual (3D, averaged over directions).

Phantom by A. Zwanenburg for the Image Biomarker Standardisation Initiative, CC BY 4.0.
"""

from __future__ import annotations

import numpy as np
import pytest

from node.learn.radiomics.region import intensities, shape
from node.learn.radiomics.texture import cooccurrence, discretised, runs, tones, zones

#: (slice, row, column); 0: not in the region.
PHANTOM = np.array(
    [
        [[1, 4, 4, 1, 1], [1, 4, 6, 1, 1], [4, 1, 6, 4, 1], [4, 4, 6, 4, 1]],
        [[1, 4, 4, 1, 1], [1, 1, 6, 1, 1], [0, 1, 3, 1, 1], [4, 4, 6, 1, 1]],
        [[1, 4, 4, 0, 0], [1, 1, 1, 1, 1], [1, 1, 0, 1, 1], [1, 1, 6, 1, 1]],
        [[1, 4, 4, 0, 0], [1, 1, 1, 1, 1], [1, 1, 1, 1, 1], [1, 1, 6, 1, 1]],
    ]
)
#: In the order of the functions' answers, to the three digits that are published.
GLCM = (0.503, 2.14, 3.1, 2.4, 1.43, 3.06, 1.56, 4.29, 7.07, 1.92, 0.303, 5.32, 0.677, 0.851, 0.618, 0.898, 0.0604)
GLCM = (*GLCM, 0.157, 5.06, 7.07, 16.6, 145, -0.157, 0.52)
GLRLM = (0.705, 3.06, 0.603, 9.7, 0.352, 8.54, 2.39, 17.6, 21.8, 0.43, 26.9, 0.513, 0.68, 3.46, 0.574, 2.43)
GLSZM = (0.255, 550, 0.253, 15.6, 0.0256, 2.76, 503, 1490, 1.4, 0.28, 1, 0.2, 0.0676, 2.64, 331, 2.32)
NGTDM = (0.0296, 0.584, 6.54, 13.5, 0.763)
FIRST = (2.15, 3.05, 1.08, -0.355, 1, 1, 1, 4, 6, 3, 5, 1.55, 1.11, 1.15, 0.812, 0.6, 567, 2.77)


@pytest.mark.parametrize(
    ("measure", "published"),
    [
        (lambda: cooccurrence(PHANTOM), GLCM),
        (lambda: runs(PHANTOM), GLRLM),
        (lambda: zones(PHANTOM), GLSZM),
        (lambda: tones(PHANTOM), NGTDM),
        (lambda: intensities(PHANTOM, PHANTOM > 0), FIRST),
    ],
    ids=["glcm", "glrlm", "glszm", "ngtdm", "firstorder"],
)
def test_features_are_those_of_the_reference_manual(measure, published):
    found = measure()
    assert len(found) == len(published)
    wrong = {
        name: (value, wanted)
        for (name, value), wanted in zip(found.items(), published, strict=True)
        if float(f"{value:.3g}") != pytest.approx(wanted, rel=1e-6)
    }
    assert not wrong


def test_axes_are_those_of_the_reference_manual():
    found = shape(PHANTOM > 0, (2.0, 2.0, 2.0))
    told = {name: float(f"{value:.3g}") for name, value in found.items() if "face" not in name}
    assert told == {
        "shape_volume": 592,
        "shape_major_axis": 11.4,
        "shape_minor_axis": 9.31,
        "shape_elongation": 0.816,
        "shape_least_axis": 8.54,
        "shape_flatness": 0.749,
    }


def test_grey_levels_reach_from_one_to_the_number_of_bins():
    mask = np.ones((2, 3), np.bool_)
    mask[1, 2] = False
    levels = discretised(np.array([[0.0, 1.0, 2.0], [3.0, 4.0, 900.0]]), mask, 4)
    assert levels.tolist() == [[1, 2, 3], [4, 4, 0]]
    assert discretised(np.full((2, 3), 7), mask, 4).tolist() == [[1, 1, 1], [1, 1, 0]]
