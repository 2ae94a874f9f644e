"""A study with a crop around a hippocampus goes through a node with the shipped models: one reads one series of it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from node.catalogue import trust
from tests.journeys.test_first_light import segment_ml
from tests.site import ROOT, ArchiveProcess, Site, running, wait_until

SEG = "1.2.840.10008.5.1.4.1.1.66.4"
CROP = "HippoCrop"
MODELS = ("hippocampus-t1", "breast-us", "chest-xray-pneumonia")

pytestmark = pytest.mark.timeout(600)


class Slow(Site):
    """Three models load PyTorch three times: where others work too that takes its time."""

    def wait_ready(self) -> None:
        wait_until("all rooms ready", lambda: b"all rooms ready" in self.log.read_bytes(), limit_s=300)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("three")
    (folder / "models").mkdir()
    for name in MODELS:
        shutil.copytree(ROOT / "models" / name, folder / "models" / name)
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
