"""The gate on the published Model Zoo, read from a path: what it lets through without code of the bundle's own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from node.catalogue.bundle import sections
from node.catalogue.bundle.metadata import described

#: Of the snapshot of October 2024, what has a network and needs nobody's word.
PASSING = frozenset(
    {
        "brats_mri_segmentation",
        "breast_density_classification",
        "classification_template",
        "endoscopic_inbody_classification",
        "endoscopic_tool_segmentation",
        "lung_nodule_ct_detection",
        "mednist_gan",
        "pathology_nuclei_classification",
        "pathology_nuclei_segmentation_classification",
        "pathology_nuclick_annotation",
        "pathology_tumor_detection",
        "pediatric_abdominal_ct_segmentation",
        "prostate_mri_anatomy",
        "segmentation_template",
        "spleen_ct_segmentation",
        "swin_unetr_btcv_segmentation",
        "ventricular_short_axis_3label",
        "wholeBody_ct_segmentation",
    }
)


@pytest.fixture(scope="module")
def zoo() -> Path:
    folder = os.environ.get("MATINS_TEST_ZOO", "")
    if not folder:
        pytest.skip("MATINS_TEST_ZOO does not name the folder `models` of a checkout of the MONAI Model Zoo")
    return Path(folder)


def bundles(zoo: Path) -> list[Path]:
    return sorted(folder for folder in zoo.iterdir() if sections.configuration_file(folder))


def test_eighteen_of_the_published_bundles_need_no_code_of_their_own(zoo: Path) -> None:
    needed = {folder.name: sections.needs(folder) for folder in bundles(zoo)}
    # One has no network of that name, and so nothing that runs.
    passing = {name for name, found in needed.items() if not found and sections.runs(zoo / name)}
    assert passing >= PASSING
    for name in needed.keys() - passing:
        assert not sections.needs(zoo / name, own_code=True), name


def test_every_published_bundle_is_described(zoo: Path) -> None:
    found = {folder.name: described(folder) for folder in bundles(zoo)}
    assert all(each.title and each.version and each.licence for each in found.values())
    assert found["spleen_ct_segmentation"].outputs == ("spleen",)
    assert found["brats_mri_segmentation"].inputs == ("T1c", "T1", "T2", "FLAIR")
    assert len(found["wholeBody_ct_segmentation"].outputs) == 104
