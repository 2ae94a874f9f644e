"""A study with a crop around a hippocampus goes through a node with three models: one reads one series, and says so.

Models that are shipped with their weights are taken as they are; of the others the card is, with weights made here: of
the hippocampus such that brighter is further forward.
"""

from __future__ import annotations

import shutil
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import torch
from pydicom import dcmread
from pydicom.dataset import Dataset
from safetensors.torch import save_file

from node.catalogue import trust
from node.domain.model_card import Task
from node.domain.preparation import Architecture, Preparation, Values
from node.imaging.formats import built
from node.learn.export import Making, Trained, export
from node.learn.recipe import Recipe
from node.learn.run import Member
from node.learn.split import Fold, Split
from tests.journeys.test_first_light import segment_ml
from tests.site import ROOT, ArchiveProcess, Site, running, wait_until

SEG = "1.2.840.10008.5.1.4.1.1.66.4"
CROP = "HippoCrop"
MODELS = ("hippocampus-t1", "breast-us", "chest-xray-pneumonia")
CLASSES = {
    "hippocampus-t1": ("anterior", "posterior"),
    "breast-us": ("benign", "malignant", "normal"),
    "chest-xray-pneumonia": ("normal", "pneumonia"),
}
#: Standard scores from which on a voxel is of the second, and of the first segment.
THRESHOLDS = (1.32, 1.45)

pytestmark = pytest.mark.timeout(600)


class Slow(Site):
    """Three models load PyTorch three times: where others work too that takes its time."""

    def wait_ready(self) -> None:
        wait_until("all rooms ready", lambda: b"all rooms ready" in self.log.read_bytes(), limit_s=300)


def untrained(name: str, folder: Path) -> Path:
    """A model made of a shipped card, whose weights nobody trained."""
    volumes = name == "hippocampus-t1"
    if volumes:
        arguments: dict[str, Any] = {"in_channels": 1, "out_channels": 3, "kernel_size": 1}
        network = Architecture(name="torch.nn.Conv3d", arguments=arguments)
        # The greatest of 0, 2·z - 2·b and z - a: background, anterior, posterior.
        low, high = THRESHOLDS
        state = {
            "weight": torch.tensor([0.0, 2.0, 1.0]).reshape(3, 1, 1, 1, 1),
            "bias": torch.tensor([0.0, -low - high, -low]),
        }
        preparation = Preparation(spacing_mm=(1.0, 1.0, 1.0), values=Values.ZSCORE, patch=(40, 56, 40))
    else:
        arguments = {"in_shape": [1, 28, 28], "classes": len(CLASSES[name]), "channels": [4], "strides": [4]}
        network = Architecture(name="Classifier", arguments=arguments)
        state = built(network).state_dict()
        preparation = Preparation(size=(28, 28), values=Values.ZSCORE)
    member = Member(folder=folder / "untrained" / name, seed=0, fold=0)
    member.folder.mkdir(parents=True)
    save_file({key: each.contiguous() for key, each in state.items()}, member.weights)
    task = Task.SEGMENTATION if volumes else Task.CLASSIFICATION
    recipe = Recipe(
        name=name, task=task, card="card.toml", classes=CLASSES[name], preparation=preparation, network=network
    )
    trained = Trained(
        recipe=recipe,
        beside=ROOT / "models" / name,
        dataset="nothing",
        members=(member,),
        split=Split(method="none", dataset_digest="", folds=(Fold(train=()),)),
        making=Making(command="none", made_on=date(2026, 1, 1), device="cpu", seconds=0.0),
    )
    return export(trained, folder / "models" / name)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("three")
    (folder / "models").mkdir()
    for name in MODELS:
        shipped = ROOT / "models" / name
        if (shipped / "model.toml").is_file():
            shutil.copytree(shipped, folder / "models" / name)
        else:
            untrained(name, folder)
        trust(folder / "models", name, folder / "models" / "models.lock")
    return folder / "models"


@pytest.fixture(scope="module")
def came(models: Path, test_data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, list[Dataset]]:
    """What the node tells of the study, and what the archive got."""
    folder = tmp_path_factory.mktemp("hippocampus")
    site = Slow(folder / "site", models=models, model=MODELS[0])
    site.model_settings = "".join(f'\n[models.{name}]\nmode = "live"\n' for name in MODELS[1:])
    archive = ArchiveProcess(folder / "pacs")
    site.peer("SCANNER", roles=["source"], results_to=["PACS"])
    site.peer("PACS", port=archive.port, roles=["destination"])
    files = sorted((test_data / "dicom" / "brain_tumor_progression_Study1").rglob("*.dcm"))
    study = dcmread(files[0], stop_before_pixels=True).StudyInstanceUID
    with running(site, archive):
        assert all(answer.status == 0 for answer in site.send(files, calling="SCANNER"))

        def done() -> bool:
            told = site.told(study)
            states = [each["state"] for each in (told or {}).get("outcomes", ())]
            assert "failed" not in states, told["outcomes"]
            return len(states) == len(MODELS) and not {"pending", "running"} & set(states)

        wait_until("all outcomes", done, limit_s=300)
        wait_until("SEG and SR at the archive", lambda: len(archive.objects()) >= 2, limit_s=120)
        story = site.story(study)
    return story, [dcmread(path) for path in archive.objects()]


def outcome(story: Any, model: str) -> Any:
    (found,) = (each for each in story["outcomes"] if each["model"] == model)
    return found


def series_named(test_data: Path, name: str) -> str:
    """Series Instance UID of the series with that description."""
    files = (test_data / "dicom" / "brain_tumor_progression_Study1").rglob("*.dcm")
    headers = (dcmread(path, stop_before_pixels=True) for path in files)
    return str(next(each.SeriesInstanceUID for each in headers if each.SeriesDescription == name))


def test_the_crop_is_read_and_the_other_series_are_left_out_with_a_reason(came: Any, test_data: Path) -> None:
    found = outcome(came[0], "hippocampus-t1")
    assert found["state"] == "result"
    told = {each["series_instance_uid"]: each for each in found["series"]}
    assert told[series_named(test_data, CROP)]["suits"]
    t1, flair = told[series_named(test_data, "T1pre_reg")], told[series_named(test_data, "FLAIR_reg")]
    assert not t1["suits"]
    assert "not a whole head" in t1["reason"]
    assert not flair["suits"]
    assert "not T1-weighted" in flair["reason"]


def test_segmentation_and_volumes_come_back_and_agree(came: Any, test_data: Path) -> None:
    story, results = came
    volumes = [
        each["value"] for each in story["findings"] if each["model"] == "hippocampus-t1" and each["unit"] == "mL"
    ]
    assert len(volumes) == 2
    assert all(0.4 <= value <= 4.0 for value in volumes)
    (segmentation,) = (each for each in results if each.SOPClassUID == SEG)
    assert [each.SegmentLabel for each in segmentation.SegmentSequence] == [
        "Anterior hippocampus",
        "Posterior hippocampus",
    ]
    assert {each.SegmentedPropertyTypeCodeSequence[0].CodeValue for each in segmentation.SegmentSequence} == {"5366008"}
    referenced = segmentation.ReferencedSeriesSequence[0].SeriesInstanceUID
    assert referenced == series_named(test_data, CROP)
    assert sum(volumes) == pytest.approx(segment_ml(segmentation), rel=0.01)
    assert len(results) == 2


@pytest.mark.parametrize("model", MODELS[1:])
def test_a_classifier_says_nothing_of_what_it_was_not_made_for(came: Any, model: str) -> None:
    story, _ = came
    found = outcome(story, model)
    assert found["state"] == "not_applicable"
    assert all(each["reason"].startswith("The modality is MR") for each in found["series"])
    assert [each for each in story["findings"] if each["model"] == model] == []
