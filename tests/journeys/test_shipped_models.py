"""Studies go through a node with the shipped models: each reads what it was made for, and nothing else."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from node.catalogue import trust
from tests.journeys import scans
from tests.journeys.test_first_light import segment_ml
from tests.site import ROOT, ArchiveProcess, Site, running, wait_until

SEG = "1.2.840.10008.5.1.4.1.1.66.4"
CROP = "HippoCrop"
BREAST = "1.2.826.0.1.3680043.10.1.21"
MODELS = ("hippocampus-t1", "breast-us", "chest-xray-pneumonia")

pytestmark = pytest.mark.timeout(600)


class Hospital(Site):
    """A node, a scanner and an archive."""

    def __init__(self, folder: Path, models: Path) -> None:
        super().__init__(folder / "site", models=models, model=MODELS[0])
        self.model_settings = "".join(f'\n[models.{name}]\nmode = "live"\n' for name in MODELS[1:])
        self.pacs = ArchiveProcess(folder / "pacs")
        self.peer("SCANNER", roles=["source"], results_to=["PACS"])
        self.peer("PACS", port=self.pacs.port, roles=["destination"])

    def wait_ready(self) -> None:
        """Three models load PyTorch three times: where others work too that takes its time."""
        wait_until("all rooms ready", lambda: b"all rooms ready" in self.log.read_bytes(), limit_s=300)

    def read(self, files: Sequence[Path], *, results: int) -> tuple[Any, list[Dataset]]:
        """Send a study; return what the node tells of it, and what came to the archive, so many at least."""
        study = dcmread(files[0], stop_before_pixels=True).StudyInstanceUID
        assert all(answer.status == 0 for answer in self.send(files, calling="SCANNER"))

        def done() -> bool:
            told = self.told(study)
            states = [each["state"] for each in (told or {}).get("outcomes", ())]
            assert "failed" not in states, told["outcomes"]
            return len(states) == len(MODELS) and not {"pending", "running"} & set(states)

        def came() -> list[Dataset]:
            found = [dcmread(path) for path in self.pacs.objects()]
            return [each for each in found if study == each.StudyInstanceUID]

        wait_until("all outcomes", done, limit_s=300)
        wait_until("results at the archive", lambda: len(came()) >= results, limit_s=120)
        return self.story(study), came()


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("three")
    (folder / "models").mkdir()
    for name in MODELS:
        shutil.copytree(ROOT / "models" / name, folder / "models" / name)
        trust(folder / "models", name, folder / "models" / "models.lock")
    return folder / "models"


@pytest.fixture(scope="module")
def hospital(models: Path, test_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hospital]:
    found = Hospital(tmp_path_factory.mktemp("shipped"), models)
    with running(found, found.pacs):
        yield found


@pytest.fixture(scope="module")
def came(hospital: Hospital, test_data: Path) -> tuple[Any, list[Dataset]]:
    """What the node tells of the study with a crop, and what the archive got of it."""
    return hospital.read(sorted((test_data / "dicom" / "brain_tumor_progression_Study1").rglob("*.dcm")), results=2)


@pytest.fixture(scope="module")
def breast(hospital: Hospital, test_data: Path) -> tuple[Any, list[Dataset]]:
    """Of an image of a breast with a malignant lesion."""
    with PIL.Image.open(test_data / "busi256" / "malignant" / "malignant (101).png") as picture:
        values = np.asarray(picture.convert("L"))
    return hospital.read([scans.ultrasound(hospital.folder / "us", BREAST, values, "BREAST")], results=1)


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


def test_a_breast_image_is_told_malignant_as_a_probability_with_where_the_model_looked(breast: Any) -> None:
    story, results = breast
    found = {each["code"]["code_meaning"]: each for each in story["findings"] if each["model"] == "breast-us"}
    malignant = found["Malignant"]
    assert malignant["present"]
    assert malignant["probability"] > malignant["operating_point"]
    assert {each["method"] for each in outcome(story, "breast-us")["explanations"]} == {"grad-cam"}
    assert all(Path(each["path"]).is_file() for each in outcome(story, "breast-us")["explanations"])
    assert "SR" in {each.Modality for each in results}
    for model in ("hippocampus-t1", "chest-xray-pneumonia"):
        assert outcome(story, model)["state"] == "not_applicable"
