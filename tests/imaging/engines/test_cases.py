from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest

from node.domain.geometry import to_patient
from node.errors import Misconfigured
from node.imaging.engines.cases import case_files, read_case

AFFINE = np.array([[-1.5, 0, 0, 10], [0, 0.5, 0, -20], [0, 0, 2.0, 30], [0, 0, 0, 1]])


def write(folder: Path, values: np.ndarray, name: str = "one.nii.gz") -> Path:
    folder.mkdir(exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(values, AFFINE), folder / name)
    return folder / name


def test_a_case_lies_where_its_affine_says(tmp_path: Path):
    values = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    (volume,) = read_case(write(tmp_path / "cases", values))
    assert volume.array.dtype == np.int16
    assert volume.grid.shape == (4, 3, 2)
    assert volume.array[3, 2, 1] == values[1, 2, 3]
    ras = (AFFINE @ [1, 2, 3, 1])[:3]
    assert to_patient(volume.grid.matrix, np.array([3.0, 2.0, 1.0])) == pytest.approx(ras * [-1, -1, 1])


def test_a_fourth_axis_holds_volumes_that_are_read_together(tmp_path: Path):
    values = np.random.default_rng(0).random((2, 3, 4, 2)).astype(np.float32)
    volumes = read_case(write(tmp_path / "cases", values))
    assert [volume.array[3, 2, 1] for volume in volumes] == pytest.approx(values[1, 2, 3].tolist())


def test_a_card_that_names_no_cases_has_none(tmp_path: Path):
    assert case_files(tmp_path, "") == []


@pytest.mark.parametrize("place", ["cases", "../elsewhere"])
def test_cases_that_are_not_there_or_not_the_models_own_are_named(tmp_path: Path, place: str):
    model = tmp_path / "model"
    model.mkdir()
    write(tmp_path / "elsewhere", np.zeros((2, 2, 2), np.int16))
    with pytest.raises(Misconfigured, match="validation"):
        case_files(model, place)


def test_a_file_that_is_no_image_is_named(tmp_path: Path):
    (tmp_path / "x.nii.gz").write_bytes(b"no image")
    with pytest.raises(Misconfigured, match="no NIfTI image"):
        read_case(tmp_path / "x.nii.gz")
