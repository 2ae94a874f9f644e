from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import PackageNotFoundError

import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.demo import template
from node.demo.template import Image
from node.domain.geometry import to_patient
from node.errors import Misconfigured

RESLICINGS = [template.sagittal, template.axial, template.coronal]


def numbered() -> Image:
    """A small image whose every voxel is told apart, on an oblique grid."""
    affine = np.array([[-1.0, 0.2, 0, 5], [0, -1.5, 0.1, -4], [0.3, 0, 2.0, 3], [0, 0, 0, 1]])
    return Image(np.arange(5 * 6 * 7).reshape(5, 6, 7), affine)


def places(image: Image) -> dict[int, tuple[float, ...]]:
    """Where in the patient each value lies."""
    index = np.argwhere(np.ones_like(image.voxels)).astype(float)
    return {
        int(value): tuple(np.round(point, 6) + 0.0)
        for value, point in zip(image.voxels.ravel(), to_patient(image.affine, index), strict=True)
    }


@pytest.mark.parametrize("reslicing", RESLICINGS, ids=lambda function: function.__name__)
def test_reslicing_leaves_every_voxel_where_it_is_in_the_patient(reslicing: Callable[[Image], Image]) -> None:
    assert places(reslicing(numbered())) == places(numbered())


@given(
    axes=st.permutations([0, 1, 2]),
    reverse=st.tuples(st.booleans(), st.booleans(), st.booleans()),
)
@settings(max_examples=30, deadline=None)
def test_any_reordering_leaves_every_voxel_where_it_is(axes: list[int], reverse: tuple[bool, bool, bool]) -> None:
    first, second, third = axes
    assert places(template.reordered(numbered(), (first, second, third), reverse)) == places(numbered())


@pytest.mark.parametrize(
    ("reslicing", "slices", "column_step", "row_step"),
    [
        # step of slice, of column within a row, of row: LPS
        (template.sagittal, (1, 0, 0), (0, 1, 0), (0, 0, -1)),
        (template.axial, (0, 0, 1), (1, 0, 0), (0, 1, 0)),
        (template.coronal, (0, 1, 0), (1, 0, 0), (0, 0, -1)),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_the_template_is_sliced_as_radiologists_look_at_it(
    brain: Image,
    reslicing: Callable[[Image], Image],
    slices: tuple[int, ...],
    column_step: tuple[int, ...],
    row_step: tuple[int, ...],
) -> None:
    affine = reslicing(brain).affine
    assert tuple(affine[:3, 0]) == slices
    assert tuple(affine[:3, 2]) == column_step
    assert tuple(affine[:3, 1]) == row_step


def test_the_template_lies_where_nibabel_says_turned_from_ras_to_lps(brain: Image) -> None:
    judge = nibabel.load(template._path("mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz"))
    np.testing.assert_array_equal(brain.voxels, np.asanyarray(judge.dataobj))
    ras = nibabel.affines.apply_affine(judge.affine, [10, 20, 30])
    lps = to_patient(brain.affine, np.array([10.0, 20.0, 30.0]))
    np.testing.assert_allclose(lps, ras * [-1, -1, 1])


def test_the_anatomy_is_the_right_way_round(brain: Image) -> None:
    """The cerebellum is posterior and inferior: low slices have their tissue behind the centre (LPS: y > 0)."""
    index = np.argwhere(brain.voxels[:, :, 20] > 60)
    low = np.column_stack([index, np.full(len(index), 20)]).astype(float)
    middle = np.argwhere(brain.voxels > 60).astype(float)
    assert to_patient(brain.affine, low)[:, 1].mean() > to_patient(brain.affine, middle)[:, 1].mean() + 15


def test_no_tilt_and_the_template_spacing_give_the_coronal_slices(brain: Image) -> None:
    tilted, straight = template.tilted_coronal(brain, 0.0, 1.0), template.coronal(brain)
    np.testing.assert_array_equal(tilted.voxels, straight.voxels)
    np.testing.assert_array_equal(tilted.affine, straight.affine)


def test_tilted_slices_show_what_lies_at_their_place(brain: Image) -> None:
    tilted = template.tilted_coronal(brain, 10.0, 1.2)
    generator = np.random.default_rng(1)
    index = np.column_stack([generator.integers(40, size - 40, 500) for size in tilted.voxels.shape])
    there = to_patient(tilted.affine, index.astype(float))
    source = to_patient(np.linalg.inv(brain.affine), there)
    low = np.floor(source + 1e-9).astype(int)
    around = np.array(
        [brain.voxels[tuple((low + shift).T)] for shift in np.ndindex(2, 2, 2)]  # the eight neighbours
    )
    values = tilted.voxels[tuple(index.T)]
    assert (values >= around.min(axis=0) - 1e-3).all()
    assert (values <= around.max(axis=0) + 1e-3).all()
    assert values.max() > 100


def test_tilting_keeps_the_whole_brain(brain: Image) -> None:
    tilted = template.tilted_coronal(brain, 10.0, 1.2)
    assert tilted.voxels.sum(dtype=float) * 1.2 == pytest.approx(float(brain.voxels.sum()), rel=1e-3)


def test_the_tissue_mask_lies_on_the_grid_of_the_template_and_inside_its_brain(brain: Image) -> None:
    tissue = template.grey_and_white_matter()
    assert tissue.voxels.dtype == np.bool_
    np.testing.assert_array_equal(tissue.affine, brain.affine)
    assert tissue.voxels.sum() / 1000 == pytest.approx(1730, abs=5)
    assert not (tissue.voxels & (brain.voxels == 0)).any()


def test_a_missing_package_is_named_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(template, "distribution", missing)
    with pytest.raises(Misconfigured, match="pip install --no-deps nilearn==0"):
        template.t1()
