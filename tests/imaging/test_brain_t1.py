"""The brain model on real heads: the published weights, the shipped card, and volumes known beforehand."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import nibabel
import numpy as np
import pytest

from node.catalogue import load_models
from node.domain.model_card import Mode
from node.domain.study import Series
from node.errors import Failed
from node.imaging import measure, pipelines
from node.imaging.pipelines import Fitting, Given, Runner
from node.imaging.volume import Volume, read_volume
from node.triage.suitability import choose, judge
from tests.conftest import ROOT
from tests.imaging.series import Slices, grid_of, real_series

MODELS = ROOT / "models"
(MODEL,) = [
    model
    for model in load_models(MODELS, [MODELS / "models.lock"], {"brain-t1": Mode.LIVE})
    if model.card.name == "brain-t1"
]
STUDY = "brain_tumor_progression_Study1"
T1, FLAIR, CROP = f"{STUDY}/34909-T1prereg-84610", f"{STUDY}/36459-FLAIRreg-76244", f"{STUDY}/13_HCropVolume"


@pytest.fixture(scope="module")
def runner() -> Runner:
    if MODEL.problem:
        pytest.skip(f"the brain model cannot run: {MODEL.problem}")
    return pipelines.named(MODEL.card.pipeline).load(
        Fitting(card=MODEL.card, folder=MODEL.folder, weights=MODEL.weights, device="cpu")
    )


def template(kind: str) -> tuple[np.ndarray, np.ndarray]:
    """A map of the MNI152 template (t1, gm, wm) as array and affine to LPS."""
    try:
        package = Path(str(metadata.distribution("nilearn").locate_file("nilearn")))
    except metadata.PackageNotFoundError:
        pytest.skip("no template: the package nilearn is not installed")
    image = nibabel.load(package / "datasets" / "data" / f"mni_icbm152_{kind}_tal_nlin_sym_09a_converted.nii.gz")
    return np.asarray(image.dataobj), np.diag([-1.0, -1.0, 1.0, 1.0]) @ image.affine


def volume_of(series: Slices, runner: Runner) -> float:
    volume = read_volume(series)
    (brain,) = measure.findings(MODEL.card, runner.run(Given(volumes={"": volume})).labels, volume.grid)
    return brain.measurements[0].value


def as_series(slices: Slices) -> Series:
    instances = tuple(instance for _, instance in slices)
    return Series(series_instance_uid=instances[0].series_instance_uid, instances=instances)


def test_the_template_has_the_known_volume_and_no_grey_or_white_matter_is_lost(runner: Runner):
    values, affine = template("t1")
    volume = Volume(values.astype(np.float32), grid_of(values.shape, affine), ())
    labels = runner.run(Given(volumes={"": volume})).labels
    assert measure.volume_ml(labels, volume.grid, 1) == pytest.approx(1974, rel=0.02)
    for kind in ("gm", "wm"):
        share, _ = template(kind)
        tissue = share > share.max() / 2
        assert (labels[tissue] == 1).mean() >= 0.999


def test_an_oblique_study_of_384_slices_has_the_known_volume(test_data: Path, runner: Runner):
    assert volume_of(real_series(test_data / "dicom" / "studyforrest_T1w"), runner) == pytest.approx(1825, rel=0.02)


@pytest.mark.soak
def test_a_real_study_has_the_same_mask_twice(test_data: Path, runner: Runner):
    """As every network of the pipeline does, which is tested on small ones."""
    volume = read_volume(real_series(test_data / "dicom" / "studyforrest_T1w"))
    labels = runner.run(Given(volumes={"": volume})).labels
    assert runner.run(Given(volumes={"": volume})).labels.tobytes() == labels.tobytes()


def test_thick_oblique_slices_still_give_a_brain(test_data: Path, runner: Runner):
    assert volume_of(real_series(test_data / "dicom" / T1), runner) == pytest.approx(1520, rel=0.05)


def test_a_crop_of_a_head_is_no_brain_if_it_gets_this_far(test_data: Path, runner: Runner):
    with pytest.raises(Failed, match=r"not plausible \(600 to 2600 mL\)"):
        volume_of(real_series(test_data / "dicom" / CROP), runner)


def test_of_three_series_the_t1_is_read_and_the_others_are_told_why_not(test_data: Path):
    named = {name: as_series(real_series(test_data / "dicom" / name)) for name in (T1, FLAIR, CROP)}
    choice = choose(list(named.values()), MODEL.card)
    assert choice.chosen == named[T1].series_instance_uid
    reasons = {verdict.series_instance_uid: verdict.reason for verdict in choice.verdicts if not verdict.suits}
    assert "inversion time of 2250 ms is that of FLAIR" in reasons[named[FLAIR].series_instance_uid]
    assert "covers only 32 mm" in reasons[named[CROP].series_instance_uid]


def test_a_series_without_echo_and_repetition_time_suits_by_its_name(test_data: Path):
    verdict = judge(as_series(real_series(test_data / "dicom" / "studyforrest_T1w")), MODEL.card)
    assert verdict.suits, verdict.reason
