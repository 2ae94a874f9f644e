"""Mask → Segmentation → dcmqi, which knows nothing of us, and highdicom → the same voxels in the same places."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from highdicom.seg import segread
from numpy.typing import NDArray

from node.domain.geometry import to_patient
from node.report.composition import encode
from tests.report.gathered import gather
from tests.report.outputs.test_seg import nrrd_points, points_of
from tests.report.synthetic import build
from tests.report.test_source_kinds import VOLUMES

SEGIMAGE2ITKIMAGE = Path(sys.executable).with_name("segimage2itkimage")


def read_by_dcmqi(path: Path, folder: Path) -> NDArray[np.float64]:
    if not SEGIMAGE2ITKIMAGE.exists():
        pytest.skip(f"no {SEGIMAGE2ITKIMAGE}: pip install dcmqi==1.5.7")
    subprocess.run(
        [SEGIMAGE2ITKIMAGE, "--outputType", "nrrd", "--inputDICOM", path, "--outputDirectory", folder],
        check=True,
        capture_output=True,
        timeout=60,
    )
    [file] = folder.glob("*.nrrd")
    return nrrd_points(file)


def read_by_highdicom(path: Path) -> NDArray[np.float64]:
    volume = segread(path).get_volume(combine_segments=True)
    points: NDArray[np.float64] = to_patient(volume.affine, np.argwhere(volume.array).astype(float)).round(2)
    return points[np.lexsort(points.T)]


@pytest.mark.interop
@pytest.mark.parametrize("name", VOLUMES)
@pytest.mark.parametrize("kind", ["seg", "labelmap_seg"])
def test_two_other_readers_find_the_same_voxels_in_the_same_places(kind: str, name: str, tmp_path: Path) -> None:
    evidence = gather(tmp_path, VOLUMES[name].write(tmp_path), VOLUMES[name].card).evidence
    path = tmp_path / "seg.dcm"
    path.write_bytes(encode(build(evidence, kind)))
    expected = points_of(evidence.labels, evidence.lattice.matrix)
    assert len(expected) > 20
    np.testing.assert_allclose(read_by_dcmqi(path, tmp_path), expected, atol=0.021)
    np.testing.assert_allclose(read_by_highdicom(path), expected, atol=0.021)
