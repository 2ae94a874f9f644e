from __future__ import annotations

import importlib.util
import sys

import numpy as np
import pytest

from node.domain.measures import Quantity
from node.errors import Failed
from node.imaging.measure import measured
from node.imaging.measure.radiomics import features
from node.imaging.volume import Volume
from tests.imaging.measure.bodies import asking, ellipsoid, grid, of, turned


def phantom() -> tuple[Volume, np.ndarray]:
    """An ellipsoid of noise on an oblique grid."""
    rng = np.random.default_rng(7)
    on = grid((24, 40, 44), turned(rng) * np.array((2.5, 1.0, 0.9)))
    labels = ellipsoid(on, np.array([17.0, 12.0, 9.0]), turned(rng), np.zeros(3)).astype(np.uint8)
    array = rng.normal(40, 15, on.shape).round().astype(np.int16)
    return Volume(array, on, tuple(map(str, range(24)))), labels


def test_without_the_extra_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [each for each in sys.modules if each.partition(".")[0] == "radiomics"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "radiomics", None)
    volume, labels = phantom()
    with pytest.raises(Failed, match=r"not installed; install the extra: pip install .*matins\[radiomics\]"):
        features(volume.array, labels, volume.grid, 1)


@pytest.mark.skipif(
    importlib.util.find_spec("radiomics") is None,
    reason="PyRadiomics is not here: pip install -c constraints.txt '.[radiomics]'",
)
# What PyRadiomics and PyWavelets say while they are imported is not ours.
@pytest.mark.filterwarnings("ignore")
def test_first_order_and_shape_agree_with_what_we_measure_ourselves() -> None:
    volume, labels = phantom()
    told = features(volume.array, labels, volume.grid, 1, classes=("firstorder", "shape"))
    card = asking(
        *map(of, (Quantity.VOLUME, Quantity.MEAN, Quantity.STANDARD_DEVIATION, Quantity.DIAMETER, Quantity.LONG_AXIS))
    )
    (found,) = measured(card, labels, volume.grid, volume, modality="CT").findings
    volume_ml, mean, deviation, diameter_mm, in_plane_mm = (each.value for each in found.measurements)
    assert told["shape_VoxelVolume"] / 1000 == pytest.approx(volume_ml)
    assert told["firstorder_Mean"] == pytest.approx(mean)
    assert told["firstorder_Variance"] == pytest.approx(deviation**2)
    # Theirs goes to the middles of the outer faces, which lie a voxel apart from the centres.
    half_mm = np.linalg.norm(volume.grid.spacing_mm) / 2
    assert told["shape_Maximum3DDiameter"] == pytest.approx(diameter_mm, abs=half_mm)
    assert told["shape_Maximum2DDiameterSlice"] == pytest.approx(in_plane_mm, abs=half_mm)
