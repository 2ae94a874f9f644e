"""Real heads come in over the network and go back as SEG and SR, to the right archive and nowhere else."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import highdicom
import nibabel
import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from node.demo.archive import main as _archive  # noqa: F401  the archive is part of the product
from tests.site import ArchiveProcess, Site, running, wait_until

SEG = "1.2.840.10008.5.1.4.1.1.66.4"
SR = "1.2.840.10008.5.1.4.1.1.88.34"
DCIODVFY = Path(sys.executable).parent / "dciodvfy"

pytestmark = pytest.mark.timeout(600)


class Night:
    """One night with two scanners and two archives, the first of which forwards to us what it gets."""

    def __init__(self, site: Site, first: ArchiveProcess, second: ArchiveProcess) -> None:
        self.site, self.first, self.second = site, first, second
        self.studies: dict[str, str] = {}

    def results(self, archive: ArchiveProcess) -> dict[str, Dataset]:
        """SOP Class UID → dataset of what the archive got."""
        return {dataset.SOPClassUID: dataset for dataset in map(dcmread, archive.objects())}


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory, test_data: Path) -> Iterator[Night]:
    folder = tmp_path_factory.mktemp("night")
    site = Site(folder / "site")
    first = ArchiveProcess(folder / "first", forward_to=f"127.0.0.1:{site.port}:MATINS")
    second = ArchiveProcess(folder / "second")
    site.peer("SCANNER1", roles=["source"], results_to=["FIRST"])
    site.peer("SCANNER2", roles=["source"], results_to=["SECOND"])
    site.peer("FIRST", port=first.port, roles=["destination"])
    site.peer("SECOND", port=second.port, roles=["destination"])
    # The archive's forwarding calls with the title it was started with.
    site.peer("ARCHIVE", roles=["source"], results_to=["FIRST", "SECOND"])
    with running(site, first, second):
        tonight = Night(site, first, second)
        for name, scanner in (("studyforrest_T1w", "SCANNER1"), ("brain_tumor_progression_Study1", "SCANNER2")):
            files = sorted((test_data / "dicom" / name).rglob("*.dcm"))
            answers = site.send(files, calling=scanner)
            assert all(answer.status == 0 for answer in answers)
            tonight.studies[name] = dcmread(files[0], stop_before_pixels=True).StudyInstanceUID
        for archive in (first, second):
            wait_until("SEG and SR at the archive", lambda archive=archive: len(archive.objects()) >= 2)
        yield tonight


def volume_ml(report: Dataset) -> float:
    """The volume that an SR states."""
    numbers: list[float] = []

    def walk(items: list[Dataset]) -> None:
        for item in items:
            if item.ValueType == "NUM" and item.ConceptNameCodeSequence[0].CodeMeaning == "Volume":
                value = item.MeasuredValueSequence[0]
                assert value.MeasurementUnitsCodeSequence[0].CodeValue == "mL"
                numbers.append(float(value.NumericValue))
            walk(list(item.get("ContentSequence", [])))

    walk(list(report.ContentSequence))
    (number,) = numbers
    return number


def segment_ml(segmentation: Dataset) -> float:
    """The volume of a SEG, from its own pixels and geometry."""
    voxels = int(segmentation.pixel_array.sum())
    measures = segmentation.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    spacing = [float(each) for each in measures.PixelSpacing]
    positions = np.array(
        [
            frame.PlanePositionSequence[0].ImagePositionPatient
            for frame in segmentation.PerFrameFunctionalGroupsSequence
        ],
        dtype=float,
    )
    step = float(np.median(np.linalg.norm(np.diff(positions, axis=0), axis=1)))
    return voxels * spacing[0] * spacing[1] * step / 1000


def test_each_archive_gets_one_seg_and_one_sr_of_its_own_scanners_study(night: Night) -> None:
    for archive, name in ((night.first, "studyforrest_T1w"), (night.second, "brain_tumor_progression_Study1")):
        results = night.results(archive)
        assert sorted(results) == sorted([SEG, SR])
        assert len(archive.objects()) == 2
        assert {dataset.StudyInstanceUID for dataset in results.values()} == {night.studies[name]}


def test_the_volume_is_the_heads_and_the_same_in_sr_and_seg(night: Night) -> None:
    results = night.results(night.first)
    assert volume_ml(results[SR]) == pytest.approx(1825, rel=0.02)
    for archive in (night.first, night.second):
        results = night.results(archive)
        assert volume_ml(results[SR]) == pytest.approx(segment_ml(results[SEG]), rel=0.001)


def test_every_object_passes_the_validator(night: Night) -> None:
    for path in [*night.first.objects(), *night.second.objects()]:
        done = subprocess.run([str(DCIODVFY), "-new", str(path)], capture_output=True, text=True)
        errors = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("Error")]
        assert errors == [], path
        assert done.returncode == 0


def test_results_bear_the_sources_patient_and_say_that_they_are_research(night: Night, test_data: Path) -> None:
    source = dcmread(next((test_data / "dicom" / "studyforrest_T1w").glob("*.dcm")), stop_before_pixels=True)
    for dataset in night.results(night.first).values():
        for keyword in ("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyInstanceUID"):
            assert dataset.get(keyword, "") == source.get(keyword, ""), keyword
        assert dataset.ContentQualification == "RESEARCH"
        assert "RESEARCH" in dataset.SeriesDescription


def test_the_segment_lies_on_the_voxels_that_are_exported(night: Night, tmp_path: Path) -> None:
    uid = night.studies["studyforrest_T1w"]
    done = night.site.command("export", uid, str(tmp_path / "out"), "--findings")
    assert done.returncode == 0, done.stderr
    (mask_file,) = (tmp_path / "out").rglob("*.nii.gz")
    mask = nibabel.load(mask_file)
    ours = np.asarray(mask.dataobj) > 0
    seg = highdicom.seg.segread(next(p for p in night.first.objects() if dcmread(p).SOPClassUID == SEG))
    voxels = seg.get_volume(combine_segments=True)
    theirs = np.argwhere(voxels.array > 0)
    patient = theirs @ voxels.affine[:3, :3].T + voxels.affine[:3, 3]
    index = np.linalg.inv(mask.affine) @ np.c_[patient * [-1, -1, 1], np.ones(len(patient))].T
    rounded = np.rint(index[:3]).astype(int)
    assert np.abs(index[:3] - rounded).max() < 0.01
    assert len(theirs) == ours.sum()
    assert ours[tuple(rounded)].all()


def test_the_node_says_which_series_suits_and_why_each_other_does_not(night: Night) -> None:
    story = night.site.json("show", night.studies["brain_tumor_progression_Study1"])
    (outcome,) = story["outcomes"]
    assert outcome["state"] == "result"
    verdicts = {each["series_instance_uid"]: each for each in outcome["series"]}
    assert len(verdicts) == 3
    assert sorted(each["suits"] for each in verdicts.values()) == [False, False, True]
    for verdict in verdicts.values():
        assert len(verdict["reason"]) > 15
    against = " ".join(each["reason"] for each in verdicts.values() if not each["suits"])
    assert "FLAIR" in against


def test_results_that_come_back_are_filed_and_start_nothing(night: Night) -> None:
    uid = night.studies["studyforrest_T1w"]

    def came_back() -> bool:
        return len(night.site.uids()) >= 384 + 76 + 2

    wait_until("the archive's forwarding", came_back)
    wait_until("the study to be done", lambda: night.site.story(uid)["state"] == "done")
    story = night.site.story(uid)
    assert story["revision"] == 1
    assert len(story["outcomes"]) == 1
    assert len(story["results"]) == 2
    assert len(night.first.objects()) == 2


def test_the_worklist_shows_lane_score_and_reasons(night: Night) -> None:
    listed = night.site.json("worklist")["studies"]
    assert {each["study_instance_uid"] for each in listed} == set(night.studies.values())
    for study in listed:
        assert study["lane"] in {"STAT", "URGENT", "ROUTINE"}
        assert isinstance(study["score"], float | int)
        for reason in study["reasons"]:
            assert set(reason) >= {"rule", "points", "because"}


def test_the_running_listener_holds_no_heavy_library(night: Night) -> None:
    maps = Path(f"/proc/{night.site.rooms()['listen']}/maps").read_text()
    for name in ("torch", "monai", "highdicom"):
        assert f"site-packages/{name}" not in maps


@pytest.mark.interop
def test_another_toolkit_reads_the_same_voxels_from_the_seg(night: Night, tmp_path: Path) -> None:
    tool = shutil.which("segimage2itkimage", path=str(Path(sys.executable).parent))
    assert tool, "dcmqi is a development dependency"
    path = next(p for p in night.first.objects() if dcmread(p).SOPClassUID == SEG)
    command = [tool, "--outputType", "nifti", "--inputDICOM", str(path), "--outputDirectory", str(tmp_path)]
    subprocess.run(command, check=True, capture_output=True)
    (theirs_file,) = tmp_path.glob("*.nii.gz")
    done = night.site.command("export", night.studies["studyforrest_T1w"], str(tmp_path / "out"), "--findings")
    assert done.returncode == 0, done.stderr
    (ours_file,) = (tmp_path / "out").rglob("*.nii.gz")
    theirs, ours = nibabel.load(theirs_file), nibabel.load(ours_file)
    voxels = np.argwhere(np.asarray(theirs.dataobj) > 0)
    world = voxels @ theirs.affine[:3, :3].T + theirs.affine[:3, 3]
    index = (np.linalg.inv(ours.affine) @ np.c_[world, np.ones(len(world))].T)[:3]
    mask = np.asarray(ours.dataobj) > 0
    assert np.abs(index - np.rint(index)).max() < 0.05
    assert len(voxels) == mask.sum()  # with the next line: Dice 1.0
    assert mask[tuple(np.rint(index).astype(int))].all()
