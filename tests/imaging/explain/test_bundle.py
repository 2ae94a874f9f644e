"""Published bundles explained through their own pre-processing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates

from node.domain.explanation import Explanation
from node.domain.geometry import to_patient
from node.domain.model_card import Task
from node.imaging.explain import explainable_of
from node.imaging.explain.study import Wish, explain
from node.imaging.images import Image
from node.imaging.pipelines import Given
from node.imaging.volume import read_volume
from tests.imaging.bundles import ZOO, bundle_card, loaded, model_folder, textured
from tests.imaging.series import Made, write_series

OBLIQUE = Made(orientation=(0.8, 0.6, 0.0, -0.6, 0.8, 0.0), spacing=(1.4, 1.1), step_mm=2.5, origin=(20.0, -30.0, 40.0))


def test_a_volume_is_explained_where_it_lies(tmp_path: Path):
    folder = model_folder(tmp_path, ZOO / "spleen_ct" / "configs")
    (tmp_path / "series").mkdir()
    volume = read_volume(write_series(tmp_path / "series", textured((20, 40, 44), high=150), OBLIQUE))
    of = replace(bundle_card(folder), explanation=Explanation(methods=("grad-cam",), budget_s=1e6))
    runner = loaded(folder, of, model_digest="e" * 64)
    given = Given(volumes={"": volume})
    prepared = explainable_of(runner).prepare(given, 0)
    # A voxel of the input lies where the series has the same value.
    values = prepared.inputs[0, 0]
    index = np.argwhere(values.numpy() > 0)[::7]
    there = to_patient(np.linalg.inv(volume.grid.matrix), to_patient(prepared.placed.matrix, index.astype(float)))
    inside = ((there >= 0) & (there <= np.array(volume.grid.shape) - 1)).all(1)
    assert inside.mean() > 0.8
    seen, here = values.numpy()[tuple(index[inside].T)], map_coordinates(volume.array.astype(float), there[inside].T)
    assert np.corrcoef(seen, here)[0, 1] > 0.99
    reading = runner.run(given)
    hooks = sum(len(module._forward_pre_hooks) for module in runner._exact.steps.network.modules())  # type: ignore[attr-defined]
    made = explain(explainable_of(runner), given, reading, Wish(card=of, explanation=of.explanation))
    assert made.maps, made.notes
    (found,) = made.maps
    assert found.grid == volume.grid
    assert found.account is not None
    assert (found.account.model_digest, found.account.method) == ("e" * 64, "grad-cam")
    assert found.weights.max() == 1.0
    assert hooks == sum(len(module._forward_pre_hooks) for module in runner._exact.steps.network.modules())  # type: ignore[attr-defined]
    np.testing.assert_array_equal(runner.run(given).labels, reading.labels)  # type: ignore[arg-type]


def test_an_image_is_explained_on_its_rows_and_columns(tmp_path: Path):
    configs = ZOO / "inside_rgb" / "configs"
    if not configs.is_dir():
        pytest.skip("no such configuration")
    folder = model_folder(tmp_path, configs, Task.CLASSIFICATION)
    of = bundle_card(folder, Task.CLASSIFICATION)
    runner = loaded(folder, of)
    array = np.stack([textured((60, 90), seed=seed, high=255) for seed in range(3)], -1).astype(np.uint8)
    given = Given(images=(Image(array=array, sop_instance_uid="1.2.3"),))
    prepared = explainable_of(runner).prepare(given, 0)
    assert prepared.given.shape == (1, 60, 90)
    # The first pixel's centre and the last one's, of the input, lie in the image and at the right end of it.
    rows, columns = prepared.inputs.shape[2:]
    corners = to_patient(prepared.placed.matrix, np.array([[0.0, 0, 0], [0, rows - 1, columns - 1]]))
    assert np.all(corners[0, 1:] < (6, 6))
    assert np.all(corners[1, 1:] > (54, 84))
    values = torch.nn.functional.interpolate(prepared.inputs.transpose(2, 3), (60, 90), mode="bilinear")[0, 0].numpy()
    assert np.corrcoef(values.ravel(), array[..., 0].ravel())[0, 1] > 0.9
