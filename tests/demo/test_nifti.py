from __future__ import annotations

import gzip
import struct
from collections.abc import Callable
from importlib.metadata import distribution
from pathlib import Path

import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.demo import nifti
from node.errors import Misconfigured

TEMPLATES = [
    Path(str(file.locate()))
    for file in distribution("nilearn").files or []
    if file.name.startswith("mni_icbm152") and file.name.endswith(".nii.gz")
]


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_the_templates_read_as_nibabel_reads_them(path: Path) -> None:
    voxels, affine = nifti.read(path)
    judge = nibabel.load(path)
    np.testing.assert_array_equal(voxels, np.asanyarray(judge.dataobj))
    np.testing.assert_allclose(affine, judge.affine, atol=1e-5)


@settings(max_examples=25, deadline=None)
@given(
    shape=st.tuples(*[st.integers(1, 5)] * 3),
    code=st.sampled_from(["u1", "i1", "i2", "u2", "i4", "u4", "f4", "f8"]),
    order=st.sampled_from("<>"),
    scaling=st.sampled_from([None, (1.0, 0.0), (0.5, -3.0)]),
    suffix=st.sampled_from([".nii", ".nii.gz"]),
)
def test_any_type_byte_order_and_scaling_reads_as_nibabel_reads_it(
    tmp_path_factory: pytest.TempPathFactory,
    shape: tuple[int, int, int],
    code: str,
    order: str,
    scaling: tuple[float, float] | None,
    suffix: str,
) -> None:
    path = tmp_path_factory.mktemp("nifti") / f"image{suffix}"
    voxels = np.arange(np.prod(shape)).reshape(shape).astype(code)
    affine = np.array([[0, -2.0, 0.5, 7], [1.5, 0, 0, -3], [0, 0.25, 1, 9], [0, 0, 0, 1]])
    image = nibabel.Nifti1Image(voxels, affine, nibabel.Nifti1Header(endianness=order))
    image.set_data_dtype(np.dtype(order + code))
    content = bytearray(image.to_bytes())
    if scaling is not None:
        content[112:120] = struct.pack(order + "2f", *scaling)
    path.write_bytes(gzip.compress(content) if suffix == ".nii.gz" else content)
    judge = nibabel.load(path)
    found, found_affine = nifti.read(path)
    np.testing.assert_array_equal(found, np.asanyarray(judge.dataobj))
    np.testing.assert_allclose(found_affine, judge.affine, atol=1e-6)


def _small() -> bytearray:
    image = nibabel.Nifti1Image(np.zeros((2, 3, 4), np.uint8), np.eye(4))
    return bytearray(image.to_bytes())


def _patched(offset: int, layout: str, *values: float | bytes) -> Callable[[bytearray], bytes]:
    def patch(content: bytearray) -> bytes:
        struct.pack_into(layout, content, offset, *values)
        return bytes(content)

    return patch


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (lambda content: bytes(content[:-1]), "23 of 24 bytes"),
        (lambda content: bytes(content[:100]), "not a single-file NIfTI-1"),
        (lambda content: b"", "not a single-file NIfTI-1"),
        (_patched(344, "4s", b"ni1\0"), "not a single-file NIfTI-1"),
        (_patched(40, "<8h", 4, 2, 3, 4, 2, 1, 1, 1), "4 dimensions"),
        (_patched(40, "<8h", 3, 2, 0, 4, 1, 1, 1, 1), "impossible shape"),
        (_patched(40, "<8h", 3, 32767, 32767, 32767, 1, 1, 1, 1), "impossible shape"),
        (_patched(70, "<h", 128), "datatype 128"),
        (_patched(254, "<h", 0), "no sform"),
        (_patched(123, "B", 3), "not in millimetres"),
        (_patched(108, "<f", 100.0), "inside the header"),
        (_patched(108, "<f", float("nan")), "offset of the voxels"),
    ],
)
@pytest.mark.parametrize("packed", [True, False])
def test_a_damaged_file_is_named_with_what_is_wrong(
    tmp_path: Path, damage: Callable[[bytearray], bytes], complaint: str, packed: bool
) -> None:
    path = tmp_path / ("image.nii.gz" if packed else "image.nii")
    content = damage(_small())
    path.write_bytes(gzip.compress(content) if packed else content)
    with pytest.raises(Misconfigured, match=complaint) as caught:
        nifti.read(path)
    assert str(path) in str(caught.value)


def test_a_cut_or_foreign_compressed_file_is_named(tmp_path: Path) -> None:
    packed = gzip.compress(_small())
    for content in (packed[: len(packed) // 2], b"no gzip at all", packed[:20] + b"\xff" * 20 + packed[40:]):
        path = tmp_path / "image.nii.gz"
        path.write_bytes(content)
        with pytest.raises(Misconfigured, match=r"image\.nii\.gz"):
            nifti.read(path)


def test_an_absent_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match=r"absent\.nii"):
        nifti.read(tmp_path / "absent.nii")
