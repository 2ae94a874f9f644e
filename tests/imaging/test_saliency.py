"""Saliency survives its file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from node.domain.geometry import Grid
from node.errors import Failed
from node.imaging.saliency import Saliency, read_saliency, to_bytes

AFFINE = ((0.0, 0.0, 0.5, -3.0), (0.0, 0.5, 0.0, 2.0), (4.0, 0.0, 0.0, 1.0), (0.0, 0.0, 0.0, 1.0))


def made(weights: np.ndarray | None = None) -> Saliency:
    values = np.linspace(0, 1, 60, dtype=np.float32).reshape(3, 4, 5) if weights is None else weights
    return Saliency(values, Grid((3, 4, 5), AFFINE), ("1.2.1", "1.2.2", "1.2.3"))


def test_weights_grid_and_slices_come_back(tmp_path: Path) -> None:
    path = tmp_path / "saliency.npz"
    path.write_bytes(to_bytes(made()))
    found = read_saliency(path)
    np.testing.assert_allclose(found.weights, made().weights, atol=5e-4)
    assert found.weights.dtype == np.float32
    assert (found.grid, found.sop_instance_uids) == (made().grid, made().sop_instance_uids)


def test_the_same_saliency_gives_the_same_bytes() -> None:
    assert to_bytes(made()) == to_bytes(made())


@pytest.mark.parametrize("weight", [-0.1, 1.1, float("nan")])
def test_a_weight_that_is_none_is_refused(weight: float) -> None:
    with pytest.raises(Failed, match="between 0 and 1"):
        to_bytes(made(np.full((3, 4, 5), weight, np.float32)))


def test_another_shape_is_refused() -> None:
    with pytest.raises(Failed, match="differ in shape"):
        to_bytes(made(np.zeros((3, 4, 4), np.float32)))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04rubbish", to_bytes(made())[:-60]])
def test_a_damaged_file_is_a_failure(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "saliency.npz"
    path.write_bytes(content)
    with pytest.raises(Failed, match="cannot be read"):
        read_saliency(path)


def test_a_file_that_is_gone_is_a_failure(tmp_path: Path) -> None:
    with pytest.raises(Failed, match="cannot be read"):
        read_saliency(tmp_path / "none.npz")
