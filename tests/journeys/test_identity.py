"""Whose study it is: two patients, a corrected patient, names in every script; over the network, by the whole node."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread

from tests.journeys.test_changed_content import accepted, changed
from tests.journeys.tiny_model import tiny_head, tiny_model_folder
from tests.site import ArchiveProcess, Site, running, wait_until

pytestmark = pytest.mark.timeout(600)


class Hospital:
    """Two scanners and an archive."""

    def __init__(self, folder: Path) -> None:
        self.site = Site(folder / "site", models=tiny_model_folder(folder / "models"), model="tiny")
        self.archive = ArchiveProcess(folder / "archive")
        for scanner in ("SCANNER", "OTHER"):
            self.site.peer(scanner, roles=["source"], results_to=["PACS"])
        self.site.peer("PACS", port=self.archive.port, roles=["destination"])

    def in_state(self, study: str, state: str, *results: str) -> Any:
        """The study's story once it is in that state, and its results in theirs."""

        def check() -> Any:
            story = self.site.told(study)
            found = sorted(each["state"] for each in story["results"]) if story else []
            return story if story and story["state"] == state and (not results or found == sorted(results)) else None

        return wait_until(f"{study} {state}", check)


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hospital]:
    made = Hospital(tmp_path_factory.mktemp("hospital"))
    with running(made.site, made.archive):
        yield made


def test_two_patients_in_one_study_are_held_and_nothing_leaves(hospital: Hospital, tmp_path: Path) -> None:
    one = tiny_head(tmp_path / "one", "1.2.9.1", patient_id="ONE")
    two = tiny_head(tmp_path / "two", "1.2.9.1", patient_id="TWO")
    before = len(hospital.archive.objects())
    accepted(hospital.site, one[:6], calling="SCANNER")
    accepted(hospital.site, two[6:], calling="OTHER")
    story = hospital.in_state("1.2.9.1", "held")
    assert "different patients: Patient ID differs" in story["reason"]
    assert (story["outcomes"], story["results"], story["findings"]) == ([], [], [])
    alerts = [event for event in story["events"] if event["about"] == "study" and event["after"] == "held"]
    assert [event["reason"] for event in alerts] == [story["reason"]]
    assert len(hospital.archive.objects()) == before
    accepted(hospital.site, one[6:], calling="OTHER")
    assert hospital.site.command("release", "1.2.9.1").returncode == 0
    assert hospital.in_state("1.2.9.1", "done", "sent", "sent")["patient_id"] == "ONE"


def test_a_patient_corrected_before_the_results_leave_gets_results_of_his_own(
    hospital: Hospital, tmp_path: Path
) -> None:
    files = tiny_head(tmp_path / "head", "1.2.9.2", patient_id="BEFORE")
    sent_before = {path.name for path in hospital.archive.objects()}
    hospital.archive.stop()
    try:
        accepted(hospital.site, files, calling="SCANNER")
        hospital.in_state("1.2.9.2", "done", "queued", "queued")

        def correct(dataset: Any) -> None:
            dataset.PatientID, dataset.PatientName = "AFTER", "Other^Name"

        accepted(hospital.site, changed(files, tmp_path / "corrected", correct), calling="OTHER")
        story = hospital.in_state("1.2.9.2", "held")
        assert "another patient than before" in story["reason"]
    finally:
        hospital.archive.start()
    hospital.in_state("1.2.9.2", "held", "held", "held")  # the gate, at the next try
    assert hospital.site.command("release", "1.2.9.2").returncode == 0
    hospital.in_state("1.2.9.2", "done", "superseded", "superseded", "sent", "sent")
    new = [dcmread(path) for path in hospital.archive.objects() if path.name not in sent_before]
    assert [(each.PatientID, each.PatientName) for each in new] == [("AFTER", "Other^Name")] * 2


@pytest.mark.parametrize(
    ("number", "character_set", "name"),
    [
        (1, ["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        (2, "GB18030", "Wang^XiaoDong=王^小东"),
        (3, "ISO_IR 144", "Люкceмбypг"),
        (4, ["", "ISO 2022 IR 149"], "Hong^Gildong=洪^吉洞=홍^길동"),
    ],
)
def test_a_name_goes_out_as_it_came_in(
    hospital: Hospital, tmp_path: Path, number: int, character_set: str | list[str], name: str
) -> None:
    study = f"1.2.9.3.{number}"

    def call(dataset: Any) -> None:
        dataset.SpecificCharacterSet, dataset.PatientName = character_set, name

    before = {path.name for path in hospital.archive.objects()}
    files = changed(tiny_head(tmp_path / "head", study), tmp_path / "named", call)
    accepted(hospital.site, files, calling="SCANNER")
    assert hospital.in_state(study, "done", "sent", "sent")["patient_name"] == name
    assert [str(dcmread(path).PatientName) for path in hospital.archive.objects() if path.name not in before] == [
        name
    ] * 2
    kept = hospital.site.command("export", study, str(tmp_path / "out"))
    assert kept.returncode == 0, kept.stderr
    exported = {dcmread(path).SOPInstanceUID: path for path in (tmp_path / "out").rglob("*.dcm")}
    for file in files:
        theirs, ours = dcmread(file), dcmread(exported[dcmread(file).SOPInstanceUID])
        assert ours.SpecificCharacterSet == theirs.SpecificCharacterSet
        assert ours.PatientName.original_string == theirs.PatientName.original_string


@pytest.mark.parametrize("character_set", [b"ISO_IR 192", b"ISO_IR 999"])
def test_a_name_that_nothing_explains_is_left_out_and_the_bytes_are_kept(
    hospital: Hospital, tmp_path: Path, character_set: bytes
) -> None:
    study = f"1.2.9.4.{character_set[-3:].decode()}"
    unreadable = "Λουκάς".encode("iso8859_7")

    def mark(dataset: Any) -> None:
        dataset.SpecificCharacterSet, dataset.PatientName = "ISO_IR 101", "NAMING"

    files = changed(tiny_head(tmp_path / "head", study), tmp_path / "named", mark)
    for file in files:
        whole = file.read_bytes().replace(b"ISO_IR 101", character_set).replace(b"NAMING", unreadable)
        file.write_bytes(whole)
    before = {path.name for path in hospital.archive.objects()}
    accepted(hospital.site, files, calling="SCANNER")
    story = hospital.in_state(study, "done", "sent", "sent")
    assert (story["patient_name"], story["patient_id"]) == ("", "TINY-1")
    assert [str(dcmread(path).PatientName) for path in hospital.archive.objects() if path.name not in before] == [
        ""
    ] * 2
    hospital.site.command("export", study, str(tmp_path / "out"))
    assert all(unreadable in path.read_bytes() for path in (tmp_path / "out").rglob("*.dcm"))
