from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from node.domain.model_card import Task
from node.imaging.pipelines import Given
from tests.imaging.bundles import ZOO, as_nifti, bundle_card, by_monai, loaded, model_folder, volume_of
from tests.imaging.series import Made

CT = {"intercept": -1024.0, "origin": (-30.0, -40.0, 16.0)}
AXIAL = Made(spacing=(1.5, 1.5), step_mm=3.0, **CT)
SAGITTAL = Made(spacing=(2.0, 1.5), step_mm=2.5, orientation=(0.0, 1.0, 0.0, 0.0, 0.0, -1.0), **CT)
FEET_FIRST = Made(spacing=(1.0, 1.25), step_mm=3.0, orientation=(-1.0, 0.0, 0.0, 0.0, 1.0, 0.0))

#: Bundle → how the series lies, its shape, and whether it comes through without a voxel moved.
CASES: dict[str, tuple[Made, tuple[int, int, int]]] = {
    "spleen_ct": (SAGITTAL, (20, 40, 36)),
    "whole_body_ct": (AXIAL, (14, 40, 44)),
    "prostate_mr": (FEET_FIRST, (10, 30, 28)),
    "short_axis_mr": (FEET_FIRST, (5, 52, 48)),
    "swin_abdomen_ct": (AXIAL, (16, 60, 64)),
    "template_yaml": (FEET_FIRST, (16, 32, 24)),
}


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    into = tmp_path_factory.mktemp("zoo")
    tasks = {"inside_rgb": Task.CLASSIFICATION, "nodule_ct": Task.DETECTION}
    return {
        path.name: model_folder(into, path / "configs", tasks.get(path.name, Task.SEGMENTATION))
        for path in sorted(ZOO.iterdir())
    }


@pytest.mark.parametrize("name", CASES)
def test_an_unmodified_bundle_reads_a_dicom_series_exactly_as_monai_reads_the_same_array(
    zoo: dict[str, Path], name: str, tmp_path: Path
):
    made, shape = CASES[name]
    volume = volume_of(tmp_path / "dicom", shape, made)
    reading = loaded(zoo[name], bundle_card(zoo[name])).run(Given(volumes={"": volume}))
    assert reading.labels is not None
    assert reading.labels.shape == volume.grid.shape
    assert reading.labels.dtype == np.uint8
    assert len(np.unique(reading.labels)) > 1
    file = "inference.yaml" if name == "template_yaml" else "inference.json"
    theirs = by_monai(zoo[name], [{"image": str(as_nifti(volume, tmp_path / "i.nii"))}], tmp_path / "out", file)[0]
    assert np.array_equal(np.rint(theirs[0].numpy().T), reading.labels)
    assert set(reading.timings) == {"prepare_s", "model_s", "finish_s"}
