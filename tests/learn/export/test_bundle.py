"""The bundle inside an exported model, run by MONAI alone from files, answers as the node does."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle.config_parser import ConfigParser
from monai.data.utils import decollate_batch, list_data_collate
from PIL import Image as Picture

from node.catalogue.bundle import complaints
from node.catalogue.bundle.metadata import described
from node.catalogue.intake import bring
from node.imaging.pipelines import Given
from node.learn.export import export
from node.learn.export.bundle import inference
from tests.learn.export import runs
from tests.learn.export.test_export import picture, read

torch.set_num_threads(1)
#: MONAI looks for every reader that it knows, and says which are not there.
pytestmark = [
    pytest.mark.filterwarnings("ignore:NvImgCodec"),
    pytest.mark.filterwarnings("ignore::FutureWarning:monai"),
]


def asked(bundle: Path, file: Path) -> torch.Tensor:
    """Load, prepare, infer and finish, as MONAI's evaluator does it, one step after the other."""
    parser = ConfigParser()
    parser.read_config(bundle / "configs" / "inference.json")
    parser["bundle_root"], parser["dataset_dir"], parser["output_dir"] = str(bundle), str(file.parent), str(bundle)
    parser["device"] = "$torch.device('cpu')"
    network = parser.get_parsed_content("network")
    parser.get_parsed_content("initialize")
    assert parser.get_parsed_content("files") == [str(file)]
    parts = {name: parser.get_parsed_content(name) for name in ("preprocessing", "inferer", "postprocessing")}
    batch = list_data_collate([parts["preprocessing"]({"image": str(file)})])
    with torch.no_grad():
        batch["pred"] = parts["inferer"](batch["image"], network.eval())
    found = parts["postprocessing"](decollate_batch(batch)[0])["pred"]
    assert isinstance(found, torch.Tensor)
    return found


@pytest.mark.parametrize(("flips", "members"), [((), 1), ((1,), 2)])
def test_a_segmentation_gives_the_same_labels(tmp_path: Path, flips: tuple[int, ...], members: int) -> None:
    folder = export(runs.outlined(tmp_path, flips=flips, members=members), tmp_path / "run" / "outlined")
    volume = runs.volume()
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ volume.grid.matrix[:, [2, 1, 0, 3]]
    file = tmp_path / "files" / "case.nii.gz"
    file.parent.mkdir()
    nib.save(nib.Nifti1Image(volume.array.T, affine), file)  # type: ignore[no-untyped-call, attr-defined]
    _, reading = read(folder, Given(volumes={"": volume}))
    found = asked(folder / "bundle", file)[0].numpy().T.astype(np.uint8)
    assert np.array_equal(found, reading.labels)
    (written,) = (folder / "bundle" / "case").glob("*.nii.gz")
    kept: Any = nib.load(written)  # type: ignore[attr-defined]
    assert np.array_equal(np.asarray(kept.dataobj).astype(np.uint8).squeeze().T, reading.labels)
    assert np.allclose(kept.affine, affine, atol=1e-4)


@pytest.mark.parametrize("views", [(), ((1.0, 1.0), (0.5, 2.0))])
def test_a_classifier_gives_the_same_shares(tmp_path: Path, views: tuple[tuple[float, float], ...]) -> None:
    trained = runs.classified(tmp_path)
    judging = replace(trained.recipe.evaluation, views=views)
    trained = replace(trained, recipe=replace(trained.recipe, evaluation=judging))
    folder = export(trained, tmp_path / "run" / "seen")
    file = tmp_path / "files" / "case.png"
    file.parent.mkdir()
    pixels = trained.cases[0].image
    assert pixels is not None
    Picture.fromarray(pixels).save(file)
    _, reading = read(folder, picture(trained))
    assert reading.logits is not None
    shares = np.exp(reading.logits[0]) / np.exp(reading.logits[0]).sum()
    assert asked(folder / "bundle", file).numpy() == pytest.approx(shares, abs=1e-5)


def test_the_bundle_can_be_brought_in_as_any_other(tmp_path: Path) -> None:
    folder = export(runs.outlined(tmp_path), tmp_path / "run" / "outlined")
    bundle = folder / "bundle"
    (tmp_path / "arrived").mkdir()
    assert bring(bundle, tmp_path / "arrived").name == "model.safetensors"
    told = described(bundle)
    assert (told.title, told.modality, told.outputs) == ("Something", "MR", ("Anterior part", "Posterior part"))
    metadata = json.loads((bundle / "configs" / "metadata.json").read_text())
    assert {"schema", "version", "changelog", "monai_version", "network_data_format", "intended_use"} <= metadata.keys()
    assert "CC-BY-4.0" in (bundle / "LICENSE").read_text()
    assert "python -m monai.bundle run" in (bundle / "docs" / "README.md").read_text()


def test_what_the_bundle_builds_for_a_study_is_nothing_that_anybody_has_to_vouch_for(tmp_path: Path) -> None:
    from node.catalogue.cards import read_card

    card = read_card(export(runs.classified(tmp_path), tmp_path / "run" / "seen"))
    content = inference(card)
    steps = [each for each in content["preprocessing"]["transforms"] if each["_target_"] != "LoadImaged"]
    kept = {"network_def": content["network_def"], "preprocessing": steps, "inferer": content["inferer"]}
    assert complaints(kept) == []
