"""A result explained because somebody asks, by the command, over a store as the room leaves it."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest

from node.commands import explaining
from node.commands.explaining import Asked
from node.errors import Failed
from node.imaging.explain.picture import write_overlay
from node.imaging.mask import read_mask
from node.imaging.saliency import read_saliency
from node.store import artifacts
from node.workflow.story import study_story
from tests.infer.conftest import Site

STUDY = "1.2.3.1"


@pytest.fixture
def read(site: Site) -> Site:
    """The tiny model has read a study."""
    outcome = site.waits(STUDY)
    site.step(site.room())
    assert site.outcome(outcome).state == "result", site.outcome(outcome).reason
    return site


def test_a_result_is_explained_and_kept(read: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(Failed, match="no result of another"):
        explaining.explain(read.settings, STUDY, Asked(model="another"), as_json=False)
    # The cost alone.
    explaining.explain(read.settings, STUDY, Asked(methods=["occlusion"], budget_s=1e6, dry_run=True), as_json=False)
    said = capsys.readouterr().out
    assert "65 forwards" in said
    assert "occlusion of Brain: 64 samples" in said
    outcome = read.db.row("SELECT id FROM outcome")
    assert outcome is not None
    kinds = [each.kind for each in artifacts.of_outcome(read.db, outcome["id"])]
    assert "saliency" not in kinds
    # TorchScript alone: gradients are refused, perturbation goes.
    asked = Asked(methods=["grad-cam", "occlusion"], budget_s=1e6, to=tmp_path / "maps")
    explaining.explain(read.settings, STUDY, asked, as_json=True)
    (told,) = json.loads(capsys.readouterr().out)["explained"]
    assert any("TorchScript" in note for note in told["notes"])
    (one,) = told["maps"]
    kept = {each.kind: each for each in artifacts.of_outcome(read.db, outcome["id"])}
    assert kept["saliency"].profile == "occlusion/Brain"
    found = read_saliency(read.db.folder / kept["saliency"].path)
    mask = read_mask(read.db.folder / kept["mask"].path)
    assert (found.weights.shape, found.sop_instance_uids) == (mask.labels.shape, mask.sop_instance_uids)
    assert found.account is not None
    assert found.account.model_digest == read.model.model_digest
    assert found.weights[mask.labels > 0].mean() > 2 * found.weights[mask.labels == 0].mean()
    image = nibabel.nifti1.Nifti1Image.load(one["file"])
    np.testing.assert_allclose(np.asarray(image.dataobj).transpose(2, 1, 0), found.weights, atol=1e-3)
    story = study_story(read.db, STUDY)
    assert story is not None
    (explained,) = story["outcomes"][0]["explanations"]
    assert explained["sentence"] == one["sentence"]
    assert explained["sentence"].startswith("occlusion of Brain: ")


def test_nothing_is_explained_where_it_does_not_fit(read: Site):
    with pytest.raises(Failed, match="occlusion of Brain was left out: it takes"):
        explaining.explain(read.settings, STUDY, Asked(methods=["occlusion"], budget_s=0.0), as_json=False)


def test_a_picture_has_red_where_the_map_weighs(tmp_path: Path):
    from PIL import Image

    image, weights = np.tile(np.arange(8, dtype=np.int16), (6, 1)), np.zeros((6, 8), np.float32)
    weights[2, 3] = 1
    write_overlay(image, weights, tmp_path / "one.png")
    with Image.open(tmp_path / "one.png") as opened:
        shown = np.asarray(opened).astype(int)
    assert shown.shape == (6, 8, 3)
    red = shown[..., 0] - shown[..., 2]
    assert np.argwhere(red > 20).tolist() == [[2, 3]]
