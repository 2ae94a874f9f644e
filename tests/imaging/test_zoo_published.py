"""The published configurations themselves, read from a checkout of the Model Zoo, with random weights."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Picture

from node.domain.model_card import Task
from node.imaging.images import Image
from node.imaging.pipelines import Given
from tests.imaging.bundles import as_nifti, bundle_card, by_monai, loaded, model_folder, roles, textured, volume_of
from tests.imaging.series import Made

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1800)]

CT = Made(intercept=-1024.0, spacing=(1.5, 1.5), step_mm=3.0, origin=(-30.0, -40.0, 16.0))
MR = Made(spacing=(1.0, 1.0), step_mm=2.0, orientation=(-1.0, 0.0, 0.0, 0.0, 1.0, 0.0))
FINE = Made(spacing=(0.75, 0.75), step_mm=1.5)

#: Bundle → series and its (slice, row, column).
VOLUMES: dict[str, tuple[Made, tuple[int, int, int]]] = {
    "spleen_ct_segmentation": (CT, (24, 48, 40)),
    "wholeBody_ct_segmentation": (CT, (20, 48, 40)),
    "prostate_mri_anatomy": (FINE, (12, 36, 40)),
    "ventricular_short_axis_3label": (MR, (4, 120, 100)),
    "swin_unetr_btcv_segmentation": (CT, (20, 48, 40)),
    "segmentation_template": (MR, (16, 48, 40)),
    "pediatric_abdominal_ct_segmentation": (CT, (20, 48, 40)),
}
TUMOUR = ("T1c", "T1", "T2", "FLAIR")


@pytest.fixture
def zoo() -> Path:
    """The folder that holds the bundles' folders."""
    folder = os.environ.get("MATINS_TEST_ZOO", "")
    if not folder:
        pytest.skip("MATINS_TEST_ZOO does not name the folder `models` of a checkout of the MONAI Model Zoo")
    assert Path(folder).is_dir(), f"MATINS_TEST_ZOO names {folder}, and there is no such folder"
    return Path(folder)


def configs(zoo: Path, name: str) -> Path:
    folder = zoo / name / "configs"
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there")
    return folder


@pytest.mark.parametrize("name", VOLUMES)
def test_a_published_segmentation_gives_what_monai_gives(zoo: Path, tmp_path: Path, name: str):
    folder = model_folder(tmp_path, configs(zoo, name))
    made, shape = VOLUMES[name]
    volume = volume_of(tmp_path / "dicom", shape, made)
    reading = loaded(folder, bundle_card(folder)).run(Given(volumes={"": volume}))
    theirs = by_monai(folder, [{"image": str(as_nifti(volume, tmp_path / "image.nii"))}], tmp_path / "out")[0]
    assert reading.labels is not None
    assert len(np.unique(reading.labels)) > 1
    assert np.array_equal(np.rint(theirs[0].numpy().T), reading.labels)
    print(name, reading.notes, dict(reading.timings))


def test_the_published_tumour_segmentation_reads_four_series(zoo: Path, tmp_path: Path):
    folder = model_folder(tmp_path, configs(zoo, "brats_mri_segmentation"))
    volumes = {
        name: volume_of(tmp_path / name, (16, 48, 40), Made(spacing=(1.0, 1.0)), seed)
        for seed, name in enumerate(TUMOUR)
    }
    card = bundle_card(folder, segments=3, roles=roles(*TUMOUR), parameters={"labels": (1.0, 2.0, 4.0)})
    reading = loaded(folder, card).run(Given(volumes=volumes))
    files = [str(as_nifti(volumes[name], tmp_path / f"{name}.nii")) for name in TUMOUR]
    theirs = by_monai(folder, [{"image": files}], tmp_path / "out")[0][0].numpy().T
    assert reading.labels is not None
    assert np.array_equal(np.array([0, 1, 2, 4])[reading.labels], theirs)


def picture(rows: int, columns: int) -> np.ndarray:
    return np.stack([textured((rows, columns), plane, high=255) for plane in range(3)], axis=-1).astype(np.uint8)


def test_the_published_colour_segmentation_reads_an_image(zoo: Path, tmp_path: Path):
    folder = model_folder(tmp_path, configs(zoo, "endoscopic_tool_segmentation"))
    array = picture(120, 160)
    reading = loaded(folder, bundle_card(folder)).run(Given(images=(Image(array=array, sop_instance_uid="1.2"),)))
    Picture.fromarray(array).save(tmp_path / "image.png")
    theirs = by_monai(folder, [{"image": str(tmp_path / "image.png")}], tmp_path / "out")[0]
    assert reading.labels is not None
    assert np.array_equal(theirs[0].numpy().T, reading.labels[0])


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("endoscopic_inbody_classification", picture(120, 160)),
        ("classification_template", textured((128, 128)).astype(np.int16)),
    ],
)
def test_a_published_classification_gives_numbers(zoo: Path, tmp_path: Path, name: str, array: Any):
    folder = model_folder(tmp_path, configs(zoo, name), Task.CLASSIFICATION)
    card = bundle_card(folder, Task.CLASSIFICATION)
    reading = loaded(folder, card).run(Given(images=(Image(array=array, sop_instance_uid="1.2"),)))
    assert reading.logits is not None
    assert reading.logits.shape == (1, len(card.targets))


def test_the_published_detection_gives_boxes(zoo: Path, tmp_path: Path):
    folder = model_folder(tmp_path, configs(zoo, "lung_nodule_ct_detection"), Task.DETECTION)
    volume = volume_of(tmp_path / "dicom", (24, 64, 48), CT)
    reading = loaded(folder, bundle_card(folder, Task.DETECTION)).run(Given(volumes={"": volume}))
    assert reading.boxes
    assert any("feature pyramid without torchvision" in note for note in reading.notes)
