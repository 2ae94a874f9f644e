"""Models that somebody downloaded become results in the archive: brought in, trusted, set live, and asked.

One site, with an outliner of a CT organ, one of four MR series, a classifier of X-ray images, a detector of boxes, and
one whose weights were changed after somebody trusted it; their weights are random.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tomllib
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from typer.testing import CliRunner

from node.cli import app
from node.domain.model_card import Task
from tests.imaging.bundles import WEIGHTS, ZOO, model_folder
from tests.journeys import scans
from tests.site import ROOT, ArchiveProcess, Site, running, wait_until

SEG = "1.2.840.10008.5.1.4.1.1.66.4"
DCIODVFY = Path(sys.executable).parent / "dciodvfy"
CT, BLANK, MR, NO_FLAIR, CHEST = (f"1.2.826.0.1.3680043.10.1.{number}" for number in range(1, 6))
SERIES = ("t1 ax +c", "t1 ax", "t2 ax", "flair ax")
SAID = ("--set", "licence=MIT", "--set", "manufacturer=us", "--yes")
GATE = (
    '\n[[gates]]\nfigure = "most_common_share"\nat_most = 0.9\nbecause = "blank ({value} of the pixels are the same)"\n'
)
LABELS = "\n[parameters]\nlabels = [1, 2, 4]\n"
EXPLAINED = '\n[explanation]\nmethods = ["grad-cam"]\n'

pytestmark = pytest.mark.timeout(600)


class Hospital(Site):
    """A site whose settings are written once, and by `matins models live` from then on."""

    def __init__(self, folder: Path, models: Path) -> None:
        super().__init__(folder, models=models, model="bent")
        self.pacs = ArchiveProcess(folder.parent / "pacs")
        self.peer("SCANNER", roles=["source"], results_to=["PACS"])
        self.peer("PACS", port=self.pacs.port, roles=["destination"])
        self.stories: dict[str, Any] = {}

    def write_config(self) -> None:
        if not self.config.exists():
            super().write_config()

    def wait_ready(self) -> None:
        """Loading PyTorch once a model takes its time where others work too."""
        wait_until("all rooms ready", lambda: b"all rooms ready" in self.log.read_bytes(), limit_s=300)

    def matins(self, *arguments: str, code: int = 0) -> str:
        """A command, without a process of its own."""
        done = CliRunner().invoke(app, [*arguments, "--config", str(self.config)])
        assert done.exit_code == code, done.output
        return done.stdout

    def comes_in(self, bundle: Path, name: str, *answers: str, more: str = "") -> None:
        """As an administrator does it; `more` is what they write into the card."""
        self.matins("models", "add", str(bundle), "--name", name, *SAID, *answers)
        with (self.models / name / "model.toml").open("a") as card:
            card.write(more)
        self.matins("models", "trust", name)
        self.matins("models", "live", name)

    def outcome(self, study: str, model: str) -> Any:
        (found,) = (each for each in self.stories[study]["outcomes"] if each["model"] == model)
        return found

    def findings(self, study: str, model: str) -> list[Any]:
        return [each for each in self.stories[study]["findings"] if each["model"] == model]

    def results(self, study: str) -> list[Dataset]:
        """What the archive got of a study."""
        read = [dcmread(path) for path in self.pacs.objects()]
        return [dataset for dataset in read if dataset.StudyInstanceUID == study]

    def page(self, study: str, *, below: str = "") -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.web_port}{below}/studies/{study}", timeout=60) as answer:
            assert answer.status == 200
            return str(answer.read().decode())


def changed(bundle: str, into: Path, name: str, changes: dict[str, str]) -> Path:
    """A bundle's configurations with parts of their text changed."""
    folder = into / name / "configs"
    shutil.copytree(ZOO / bundle / "configs", folder)
    for file in folder.iterdir():
        text = file.read_text()
        for before, after in changes.items():
            text = text.replace(before, after)
        file.write_text(text)
    return folder


def detector(into: Path) -> Path:
    """Few windows: its network is the largest of all."""
    return changed("nodule_ct", into, "nodules", {'"pixdim": [1.0, 1.0, 1.5]': '"pixdim": [2.0, 2.0, 3.0]'})


def classifier(into: Path) -> Path:
    """One of grey images with two classes."""
    folder = changed("inside_rgb", into, "chest", {'"in_channels": 3': '"in_channels": 1', '"RGB"': '"magnitude"'})
    metadata = json.loads((folder / "metadata.json").read_text())
    data = metadata["network_data_format"]
    data["inputs"]["image"] |= {"modality": "DX", "num_channels": 1, "channel_def": {"0": "image"}}
    data["outputs"]["pred"] |= {"spatial_shape": [1, 2], "channel_def": {"0": "effusion", "1": "mass"}}
    (folder / "metadata.json").write_text(json.dumps(metadata))
    text = (folder / "inference.json").read_text()
    (folder / "inference.json").write_text(text.replace('"channel_dim": -1', '"channel_dim": "no_channel"'))
    return folder


def downloaded(into: Path) -> dict[str, Path]:
    """Name → the folder of a bundle, as it comes from the zoo."""
    configs = {
        "spleen": (ZOO / "spleen_ct" / "configs", Task.SEGMENTATION),
        "tumour": (ZOO / "brain_tumour_mr" / "configs", Task.SEGMENTATION),
        "nodules": (detector(into / "own"), Task.DETECTION),
        "chest": (classifier(into / "own"), Task.CLASSIFICATION),
    }
    return {name: model_folder(into, folder, task) / "bundle" for name, (folder, task) in configs.items()}


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hospital]:
    root = tmp_path_factory.mktemp("hospital")
    bundles = downloaded(root / "downloads")
    (root / "models").mkdir()
    site = Hospital(root / "site", root / "models")
    site.write_config()
    site.comes_in(bundles["spleen"], "spleen", more=GATE)
    site.comes_in(bundles["spleen"], "bent")
    site.comes_in(bundles["tumour"], "tumour", more=LABELS)
    nodule = ("--set", "outputs=nodule", "--set", "code.nodule=27925004 Nodule", "--set", "threshold.nodule=0.3")
    site.comes_in(bundles["nodules"], "nodules", *nodule)
    seen = ("--set", "threshold.effusion=0.01", "--set", "threshold.mass=0.99")
    site.comes_in(bundles["chest"], "chest", *seen, more=EXPLAINED)
    weights = site.models / "bent" / WEIGHTS
    weights.write_bytes(weights.read_bytes() + b"\0")
    with running(site, site.pacs):
        sent = studies(root / "dicom")
        for files in sent.values():
            assert all(answer.status == 0 for answer in site.send(files, calling="SCANNER"))
        for study in sent:
            wait_until(f"the results of {study}", lambda study=study: told(site, study), limit_s=300)
        yield site


def told(site: Hospital, study: str) -> bool:
    """Keep a study's story once it is done and all its results are sent."""
    site.stories[study] = story = json.loads(site.page(study, below="/api"))
    return story["state"] == "done" and all(result["state"] == "sent" for result in story["results"])


def studies(folder: Path) -> dict[str, Sequence[Path]]:
    shape = (10, 24, 24)
    four = scans.four_series(folder / "four", MR, SERIES)
    three = scans.four_series(folder / "three", NO_FLAIR, SERIES[:3])
    return {
        CT: scans.volume(folder / "ct", CT, "CT", scans.texture(shape, 1, 900, 1300)),
        BLANK: scans.volume(folder / "blank", BLANK, "CT", np.full(shape, 1024, np.int16)),
        MR: [path for files in four.values() for path in files],
        NO_FLAIR: [path for files in three.values() for path in files],
        CHEST: [scans.xray(folder / "dx", CHEST, scans.texture((80, 70), 3, 0, 4000))],
    }


def test_a_bundle_outlines_an_organ_and_says_its_volume(hospital: Hospital) -> None:
    (finding,) = hospital.findings(CT, "spleen")
    assert finding["code"]["code_meaning"] == "Spleen"
    (segmentation,) = (each for each in hospital.results(CT) if each.SOPClassUID == SEG)
    voxels = int(np.asarray(segmentation.pixel_array).astype(bool).sum())
    assert finding["value"] == pytest.approx(voxels * np.prod(scans.SPACING) / 1000)
    assert finding["sentence"].startswith("spleen: ")
    assert " mL" in finding["sentence"]
    numbers = [item for report in reports(hospital, CT) for item in content(report) if item.ValueType == "NUM"]
    volumes = [each for each in numbers if each.ConceptNameCodeSequence[0].CodeMeaning == "Volume"]
    assert float(volumes[0].MeasuredValueSequence[0].NumericValue) == pytest.approx(finding["value"], rel=0.001)


def test_four_series_are_read_together_each_in_its_role(hospital: Hospital) -> None:
    outcome = hospital.outcome(MR, "tumour")
    assert outcome["state"] == "result", outcome
    assert [each["role"] for each in outcome["series"]] == ["T1c", "T1", "T2", "FLAIR"]
    assert {each["segment_number"] for each in hospital.findings(MR, "tumour")} <= {1, 2, 3}
    (segmentation,) = (each for each in hospital.results(MR) if each.SOPClassUID == SEG)
    (source,) = segmentation.ReferencedSeriesSequence
    assert source.SeriesInstanceUID == f"{MR}.1"


def test_without_one_of_the_four_nothing_is_read_and_the_reason_names_it(hospital: Hospital) -> None:
    outcome = hospital.outcome(NO_FLAIR, "tumour")
    assert outcome["state"] == "not_applicable"
    assert "as FLAIR" in outcome["reason"]
    assert "Nothing in its name (t2 ax) says that it is FLAIR" in outcome["reason"]
    assert hospital.results(NO_FLAIR) == []


def test_a_classifier_of_single_images_decides_at_its_operating_points_and_shows_why(hospital: Hospital) -> None:
    seen, not_seen = hospital.findings(CHEST, "chest")
    assert (seen["present"], seen["operating_point"]) == (True, 0.01)
    assert (not_seen["present"], not_seen["operating_point"]) == (False, 0.99)
    assert seen["score"] + not_seen["score"] == pytest.approx(1.0)
    assert seen["probability"] is None
    assert not_seen["sentence"].startswith("No mass: looked for in series 1 (DX, 1 image)")
    (map_,) = hospital.outcome(CHEST, "chest")["explanations"]
    assert (map_["method"], map_["target"]) == ("grad-cam", "effusion")
    assert Path(map_["path"]).is_file()
    (report,) = hospital.results(CHEST)
    assert report.Modality == "SR"
    said = [str(item.TextValue) for item in content(report) if item.ValueType == "TEXT"]
    for finding in (seen, not_seen):
        assert any(finding["sentence"] in each for each in said), said
    numbers = [item.MeasuredValueSequence[0].NumericValue for item in content(report) if item.ValueType == "NUM"]
    coded = [item.ConceptCodeSequence[0].CodeMeaning for item in content(report) if item.ValueType == "CODE"]
    assert [each for each in coded if each in {"Present", "Absent"}] == ["Present", "Absent"]
    assert {"operating_point=0.01", "operating_point=0.99"} <= set(said)
    for number in (seen["score"], not_seen["score"]):
        assert any(float(each) == pytest.approx(number, abs=0.001) for each in numbers), numbers


def test_a_detector_s_boxes_lie_on_the_images_in_the_report(hospital: Hospital) -> None:
    found = hospital.findings(CT, "nodules")
    assert found
    uids = {f"{CT}.1.{number}" for number in range(1, 11)}
    for each in found:
        assert each["regions"]
        for region in each["regions"]:
            top, left, bottom, right = region["edges"]
            assert 0 <= top < bottom <= 24
            assert 0 <= left < right <= 24
            assert region["sop_instance_uid"] in uids
    assert len({each["tracking_uid"] for each in found}) == len(found)
    drawn = [item for report in reports(hospital, CT) for item in content(report) if item.ValueType == "SCOORD"]
    assert len(drawn) >= len(found)


def test_a_model_that_is_not_as_it_was_trusted_is_refused_by_name_and_never_started(hospital: Hospital) -> None:
    outcome = hospital.outcome(CT, "bent")
    assert outcome["state"] == "failed"
    assert "matins models trust bent" in outcome["reason"]
    assert hospital.findings(CT, "bent") == []
    ready = [json.loads(line) for line in hospital.log.read_text().splitlines() if "model_ready" in line]
    assert {each["model"] for each in ready} == {"spleen", "tumour", "nodules", "chest"}
    listed = {each["model"]: each for each in json.loads(hospital.matins("models", "list", "--json"))["models"]}
    assert {name for name, each in listed.items() if each["runs"]} == {"spleen", "tumour", "nodules", "chest"}
    assert "models.lock" in listed["bent"]["problem"]


def test_blank_pixels_are_refused_with_their_figure(hospital: Hospital) -> None:
    outcome = hospital.outcome(BLANK, "spleen")
    assert outcome["state"] == "not_applicable"
    assert outcome["reason"] == "blank (1 of the pixels are the same)"
    assert not any(each.SOPClassUID == SEG for each in hospital.results(BLANK))
    assert any("(at most 0.9)" in note for note in hospital.outcome(CT, "spleen")["notes"])


def test_every_object_passes_the_validator(hospital: Hospital) -> None:
    assert len(hospital.pacs.objects()) >= 7
    for path in hospital.pacs.objects():
        done = subprocess.run([str(DCIODVFY), "-new", str(path)], capture_output=True, text=True)
        assert [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("Error")] == [], path


def test_command_and_page_tell_all_of_it(hospital: Hospital) -> None:
    for study, story in hospital.stories.items():
        page, shown = " ".join(hospital.page(study).split()), hospital.matins("show", study)
        for outcome in story["outcomes"]:
            for note in outcome["notes"]:
                assert note in shown
        for finding in story["findings"]:
            assert finding["sentence"] in shown
            assert finding["sentence"].split(":")[0] in page
    assert "Explained by grad-cam" in page
    assert "not seen" in page


def test_the_page_on_models_says_what_was_done_here() -> None:
    page = (ROOT / "models" / "README.md").read_text()
    (typed,) = re.findall(r"^```console\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert [line.split()[1:4] for line in typed.splitlines()] == [
        ["matins", "models", "add"],
        ["matins", "models", "trust"],
        ["matins", "models", "live"],
        ["matins", "check"],
        ["matins", "serve"],
    ]
    (written,) = re.findall(r"^```text\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    tables = tomllib.loads(written)
    assert tables.pop("gates") == tomllib.loads(GATE)["gates"]
    assert tables == tomllib.loads(LABELS + EXPLAINED)


def test_the_doctor_tells_of_each_model(hospital: Hospital) -> None:
    told = json.loads(hospital.matins("check", "--no-warm", "--json", code=1))
    checks = {each["subject"]: each for each in told["checks"] if each["about"] == "model"}
    assert {name: each["ok"] for name, each in checks.items()} == {
        "bent": False,
        "chest": True,
        "nodules": True,
        "spleen": True,
        "tumour": True,
    }


def reports(hospital: Hospital, study: str) -> list[Dataset]:
    return [dataset for dataset in hospital.results(study) if dataset.Modality == "SR"]


def content(item: Dataset) -> Iterator[Dataset]:
    """Every content item below."""
    for each in item.get("ContentSequence", []):
        yield each
        yield from content(each)
