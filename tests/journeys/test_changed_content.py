"""What comes again, comes changed, comes late, or is taken back: over the network, through the whole node."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    KeyObjectSelectionDocumentStorage,
    RLELossless,
)

from tests import jpeg_lossless
from tests.journeys.tiny_model import tiny_head, tiny_model_folder
from tests.site import ArchiveProcess, Site, running, wait_until

pytestmark = pytest.mark.timeout(600)


class Hospital:
    """A scanner, an archive that may send everything back, and the node between them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        models = tiny_model_folder(folder / "models")
        self.site = Site(folder / "site", models=models, model="tiny", quiet_s=2.0)
        self.archive = ArchiveProcess(folder / "archive", forward_to=f"127.0.0.1:{self.site.port}:MATINS")
        self.site.peer("SCANNER", roles=["source"], results_to=["PACS"])
        self.site.peer("OTHER", roles=["source"], results_to=["PACS"])
        self.site.peer("PACS", port=self.archive.port, roles=["destination"])
        # What it sends back calls with this title; nothing goes anywhere because of it.
        self.site.peer("ARCHIVE", roles=["source"], issuer="HOSPITAL")

    def read(self, study: str, *, revision: int = 1, results: int = 2) -> Any:
        """The study's story once that revision is read and so many results are sent."""

        def check() -> Any:
            story = self.site.story(study)
            # Older ones are superseded a moment after the newer are there, or are not yet.
            sent = [each for each in story["results"] if each["state"] in ("sent", "superseded")]
            return story if (story["revision"], story["state"], len(sent)) == (revision, "done", results) else None

        return wait_until(f"revision {revision} of {study}", check)

    def settled(self, study: str, *, versions: int, instances: int = 0) -> Any:
        """The study's story once so many instances have come again in other bytes, and a closing has looked at them.

        instances: how many there are with those that somebody else sends back.
        """

        def check() -> Any:
            story = self.site.story(study)
            after = [event["after"] for event in story["events"] if event["after"] in ("version", "late", "closed")]
            is_whole = after.count("version") == versions and story["instances"] >= instances
            return story if is_whole and after[-1] == "closed" else None

        return wait_until(f"the closing of {study}", check)


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hospital]:
    made = Hospital(tmp_path_factory.mktemp("hospital"))
    with running(made.site, made.archive):
        yield made


def runs(story: Any) -> int:
    """How often a model has begun to read the study."""
    return sum(event["about"] == "outcome" and event["after"] == "running" for event in story["events"])


def changed(files: list[Path], folder: Path, change: Callable[[Dataset], None]) -> list[Path]:
    """The same instances, each changed."""
    folder.mkdir(parents=True)
    for file in files:
        dataset = dcmread(file)
        change(dataset)
        dataset.save_as(folder / file.name, enforce_file_format=True)
    return sorted(folder.iterdir())


def accepted(site: Site, files: list[Path], *, calling: str) -> None:
    """Send, and see every instance acknowledged."""
    assert {answer.status for answer in site.send(files, calling=calling)} == {0}


def note(folder: Path, files: list[Path], code: str) -> Path:
    """A rejection note over these instances."""
    first = dcmread(files[0], stop_before_pixels=True)
    made = Dataset()
    for keyword in ("StudyInstanceUID", "PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyDate"):
        setattr(made, keyword, first[keyword].value)
    made.SOPClassUID = KeyObjectSelectionDocumentStorage
    made.SOPInstanceUID = f"{first.StudyInstanceUID}.77.{len(files)}"
    made.SeriesInstanceUID, made.Modality = f"{first.StudyInstanceUID}.77", "KO"
    title, study, series = Dataset(), Dataset(), Dataset()
    title.CodeValue, title.CodingSchemeDesignator, title.CodeMeaning = code, "DCM", "Rejected"
    made.ConceptNameCodeSequence = Sequence([title])
    series.SeriesInstanceUID, series.ReferencedSOPSequence = first.SeriesInstanceUID, Sequence()
    for file in files:
        header, named = dcmread(file, stop_before_pixels=True), Dataset()
        named.ReferencedSOPClassUID, named.ReferencedSOPInstanceUID = header.SOPClassUID, header.SOPInstanceUID
        series.ReferencedSOPSequence.append(named)
    study.StudyInstanceUID, study.ReferencedSeriesSequence = first.StudyInstanceUID, Sequence([series])
    made.CurrentRequestedProcedureEvidenceSequence = Sequence([study])
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    path = folder / f"note-{code}-{len(files)}.dcm"
    made.save_as(path, enforce_file_format=True)
    return path


def compressed(syntax: str) -> Callable[[Dataset], None]:
    return lambda dataset: dataset.compress(syntax, generate_instance_uid=False)


def implicit(dataset: Dataset) -> None:
    """As an archive hands it out: another encoding, and attributes of its own."""
    dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    dataset.InstitutionName, dataset.IssuerOfPatientID = "Hospital", "HOSPITAL"
    dataset.PatientName = "TINY^HEAD^^^"
    dataset.SpecificCharacterSet = "ISO_IR 192"


def test_an_archive_that_sends_everything_back_in_any_encoding_causes_no_run(
    hospital: Hospital, tmp_path: Path
) -> None:
    studies = {
        f"1.2.8.{number}": tiny_head(tmp_path / str(number), f"1.2.8.{number}", seed=number) for number in range(3)
    }
    for study, files in studies.items():
        accepted(hospital.site, files, calling="SCANNER")
        hospital.read(study)
    for study, files in studies.items():
        copies = {
            "jpeg": jpeg_lossless.compressed(files, tmp_path / f"{study} jpeg"),
            "ls": changed(files, tmp_path / f"{study} ls", compressed(JPEGLSLossless)),
            "j2k": changed(files, tmp_path / f"{study} j2k", compressed(JPEG2000Lossless)),
            "rle": changed(files, tmp_path / f"{study} rle", compressed(RLELossless)),
            "implicit": changed(files, tmp_path / f"{study} implicit", implicit),
            "same": files,
        }
        for copy in copies.values():
            accepted(hospital.site, copy, calling="ARCHIVE")
    for study in studies:
        story = hospital.settled(study, versions=5 * 12, instances=12 + 2)  # SEG and SR come back
        assert (story["revision"], story["instances"], runs(story)) == (1, 12 + 2, 1)
        assert [(each["state"], each["run_number"]) for each in story["outcomes"]] == [("result", 1)]
        assert {each["state"] for each in story["results"]} == {"sent"}
    assert len(hospital.archive.objects()) == 2 * len(studies)


@pytest.mark.interop
@pytest.mark.skipif(shutil.which("dcmcjpeg") is None, reason="dcmcjpeg is not installed (Debian: dcmtk)")
def test_what_another_toolkit_has_made_jpeg_lossless_is_the_same_study(hospital: Hospital, tmp_path: Path) -> None:
    files = tiny_head(tmp_path / "head", "1.2.8.50")
    (tmp_path / "jpeg").mkdir()
    for file in files:
        subprocess.run(["dcmcjpeg", "+e1", str(file), str(tmp_path / "jpeg" / file.name)], check=True, timeout=60)
    accepted(hospital.site, files, calling="SCANNER")
    hospital.read("1.2.8.50")
    accepted(hospital.site, sorted((tmp_path / "jpeg").iterdir()), calling="ARCHIVE")
    story = hospital.settled("1.2.8.50", versions=12)
    assert (story["revision"], runs(story)) == (1, 1)


def test_the_same_study_from_scanner_and_archive_at_once_is_one_run(hospital: Hospital, tmp_path: Path) -> None:
    files = tiny_head(tmp_path / "head", "1.2.8.60")
    copies = jpeg_lossless.compressed(files, tmp_path / "jpeg")
    with ThreadPoolExecutor(2) as senders:
        both = [
            senders.submit(accepted, hospital.site, files, calling="SCANNER"),
            senders.submit(accepted, hospital.site, copies[::-1], calling="ARCHIVE"),
        ]
        for each in both:
            each.result()
    hospital.read("1.2.8.60")
    story = hospital.settled("1.2.8.60", versions=12)
    (series,) = [each for each in story["series"] if each["modality"] == "MR"]
    assert (series["instances"], runs(story)) == (12, 1)
    assert [event["after"] for event in story["events"]].count("version") == 12


def test_other_bytes_with_other_pixels_are_the_next_revision_and_both_are_kept(
    hospital: Hospital, tmp_path: Path
) -> None:
    files = tiny_head(tmp_path / "head", "1.2.8.70")
    accepted(hospital.site, files, calling="SCANNER")
    hospital.read("1.2.8.70")

    def brighter(dataset: Dataset) -> None:
        dataset.PixelData = (dataset.pixel_array + np.uint16(40)).tobytes()

    accepted(hospital.site, changed(files[:1], tmp_path / "brighter", brighter), calling="SCANNER")
    story = hospital.read("1.2.8.70", revision=2, results=4)
    assert [(each["state"], each["revision"]) for each in story["outcomes"]] == [("result", 2)]
    done = hospital.site.command("export", "1.2.8.70", str(tmp_path / "out"), "--all")
    assert done.returncode == 0, done.stderr
    uids = [dcmread(path, stop_before_pixels=True).SOPInstanceUID for path in (tmp_path / "out").rglob("*.dcm")]
    assert uids.count("1.2.8.70.1.1") == 2


def test_a_late_slice_is_the_next_revision_and_a_late_document_is_none(hospital: Hospital, tmp_path: Path) -> None:
    files = tiny_head(tmp_path / "head", "1.2.8.80")
    accepted(hospital.site, files[:-1], calling="SCANNER")
    hospital.read("1.2.8.80")
    accepted(hospital.site, [note(tmp_path, files[:1], "113000")], calling="SCANNER")  # of interest: rejects nothing
    assert hospital.read("1.2.8.80")["revision"] == 1
    accepted(hospital.site, files[-1:], calling="OTHER")
    assert runs(hospital.read("1.2.8.80", revision=2, results=4)) == 2


def test_a_rejection_note_withdraws_and_what_remains_is_read_and_sent(hospital: Hospital, tmp_path: Path) -> None:
    files = tiny_head(tmp_path / "head", "1.2.8.90")
    accepted(hospital.site, files, calling="SCANNER")
    hospital.read("1.2.8.90")
    before = len(hospital.archive.objects())
    accepted(hospital.site, [note(tmp_path, files[:1], "113001")], calling="OTHER")  # which has sent none of it
    accepted(hospital.site, [note(tmp_path, files[-2:], "113037")], calling="SCANNER")
    story = hospital.read("1.2.8.90", revision=2)
    states = [
        (each["state"], each["reason"].startswith("withdrawn: Rejected for Patient Safety"))
        for each in story["results"]
    ]
    assert sorted(states) == [("sent", False)] * 2 + [("withdrawn", True)] * 2
    told = [(event["after"], event["reason"]) for event in story["events"] if event["about"] == "rejection"]
    assert [after for after, _ in told] == ["ignored", "in effect"]
    assert len(hospital.archive.objects()) == before + 2
    accepted(hospital.site, [note(tmp_path, files, "113039")], calling="SCANNER")
    last = hospital.read("1.2.8.90", revision=3, results=0)
    assert [each["state"] for each in last["outcomes"]] == ["not_applicable"]
    assert "Data Retention Policy Expired" in last["outcomes"][0]["reason"]
    assert {each["state"] for each in last["results"]} == {"withdrawn"}


def test_a_note_before_its_images_keeps_them_from_the_models(hospital: Hospital, tmp_path: Path) -> None:
    files = tiny_head(tmp_path / "head", "1.2.8.100")
    accepted(hospital.site, [note(tmp_path, files[-1:], "113001")], calling="SCANNER")
    accepted(hospital.site, files, calling="SCANNER")
    story = hospital.read("1.2.8.100")
    (series,) = [each for each in story["series"] if each["modality"] == "MR"]
    assert (series["instances"], series["readable"]) == (12, 11)


def test_a_person_takes_a_result_back(hospital: Hospital, tmp_path: Path) -> None:
    files = tiny_head(tmp_path / "head", "1.2.8.110")
    accepted(hospital.site, files, calling="SCANNER")
    hospital.read("1.2.8.110")
    done = hospital.site.command("withdraw", "1.2.8.110", "--reason", "motion")
    assert done.returncode == 0, done.stderr
    story = hospital.site.story("1.2.8.110")
    assert {each["state"] for each in story["results"]} == {"withdrawn"}
    assert story["reason"] == "withdrawn by a person: motion"
    accepted(hospital.site, jpeg_lossless.compressed(files, tmp_path / "jpeg"), calling="ARCHIVE")
    assert runs(hospital.settled("1.2.8.110", versions=12)) == 1
    assert hospital.site.command("force", "1.2.8.110").returncode == 0
    assert runs(hospital.read("1.2.8.110")) == 2
