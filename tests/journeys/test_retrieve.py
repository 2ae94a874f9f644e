"""Studies are fetched from an archive by hand, and priors by themselves: the ones are read, the others not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread

from node.demo.sender import Address, send
from tests import prior_archive
from tests.journeys.tiny_model import tiny_head, tiny_model_folder
from tests.prior_archive import CURRENT
from tests.retrieve.test_dicomweb import MULTIPART, Web, attributes, multipart
from tests.site import ArchiveProcess, Site, running, wait_until

pytestmark = pytest.mark.timeout(300)

ASKED, PRIOR, TODAY, STRANGER = "1.2.826.0.1.1", "1.2.826.0.1.2", "1.2.826.0.1.3", "1.2.826.0.1.4"


def made(folder: Path, study: str, *, patient_id: str, **changes: str) -> list[Path]:
    """A head of `patient_id`, with other attributes where a test wants them."""
    paths = tiny_head(folder, study, patient_id=patient_id)
    for path in paths:
        dataset = dcmread(path)
        for keyword, value in changes.items():
            setattr(dataset, keyword, value)
        dataset.save_as(path, enforce_file_format=True)
    return paths


class Hospital:
    """A node, a scanner, and an archive that holds studies of old and gets results."""

    def __init__(self, folder: Path) -> None:
        models = tiny_model_folder(folder / "models")
        self.folder = folder
        self.site = Site(folder / "site", models=models, model="tiny")
        self.archive = ArchiveProcess(folder / "archive", knows=[f"127.0.0.1:{self.site.port}:MATINS"])
        self.pacs = ArchiveProcess(folder / "pacs")
        self.site.peer("SCANNER", roles=["source"], results_to=["PACS"])
        self.site.peer("ARCHIVE", port=self.archive.port, roles=["source", "archive"], results_to=["PACS"])
        self.site.peer("PACS", port=self.pacs.port, roles=["destination"])
        self.site.peers.append("[retrieve]\npriors = 2\nsilence_s = 20")

    def hold(self, paths: list[Path]) -> None:
        """Put a study into the archive, as a modality would."""
        answers = send(paths, Address("127.0.0.1", self.archive.port, "ARCHIVE"))
        assert all(answer.status == 0 for answer in answers)

    def results_of(self, study: str) -> list[Path]:
        return [
            path for path in self.pacs.objects() if dcmread(path, stop_before_pixels=True).StudyInstanceUID == study
        ]


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hospital]:
    folder = tmp_path_factory.mktemp("hospital")
    hospital = Hospital(folder)
    with running(hospital.site, hospital.archive, hospital.pacs):
        hospital.hold(made(folder / "asked", ASKED, patient_id="TINY-7", AccessionNumber="ACC-7", StudyDate="20200101"))
        hospital.hold(made(folder / "prior", PRIOR, patient_id="TINY-8", AccessionNumber="ACC-8", StudyDate="20250601"))
        other = {"PatientBirthDate": "19551224", "StudyDate": "20250701"}
        hospital.hold(made(folder / "stranger", STRANGER, patient_id="TINY-8", **other))
        yield hospital


def test_what_matches_is_listed_and_nothing_is_fetched_in_a_dry_run(hospital: Hospital) -> None:
    told = hospital.site.json("fetch", "--accession", "ACC-7", "--dry-run")
    (study,) = told["studies"]
    assert told["dry_run"]
    assert (study["study_instance_uid"], study["archive"]) == (ASKED, "ARCHIVE")
    assert study["number_of_study_related_instances"] == 12
    assert "state" not in study
    assert hospital.site.uids() == set()


def test_a_study_asked_for_by_hand_comes_through_the_door_and_is_read_and_its_results_are_sent(
    hospital: Hospital,
) -> None:
    done = hospital.site.run("fetch", "--accession", "ACC-7", "--wait")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "retrieved 12 of 12 instances" in done.stdout
    wait_until("the index", lambda: len(hospital.site.uids()) >= 12)
    held = hospital.site.json("instances")["instances"]
    assert {(each["study_instance_uid"], each["source"]) for each in held} == {(ASKED, "ARCHIVE")}
    wait_until("SEG and SR of what was asked for", lambda: len(hospital.results_of(ASKED)) == 2)
    story = hospital.site.story(ASKED)
    assert [each["state"] for each in story["outcomes"]] == ["result"]


def test_what_is_here_already_is_not_fetched_again(hospital: Hospital) -> None:
    wait_until("the first fetch", lambda: len(hospital.results_of(ASKED)) == 2)
    before = len(hospital.site.uids())
    told = hospital.site.json("fetch", "--study", ASKED, "--wait")
    assert told["studies"][0]["state"] == "retrieved"
    assert len(hospital.site.uids()) == before


def test_nothing_that_matches_ends_with_code_1_and_says_where_was_looked(hospital: Hospital) -> None:
    done = hospital.site.run("fetch", "--accession", "NOBODYS")
    assert done.returncode == 1
    assert "no study matches at ARCHIVE" in done.stderr


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--accession", "A*"], "takes for a pattern"),
        (["--study", "1.2..3"], "no whole UID"),
        ([], "not said what to fetch"),
        (["--accession", "A", "--since", "20260101"], "not said what to fetch"),
        (["--since", "yesterday"], "YYYYMMDD"),
        (["--accession", "A", "--from", "NOBODY"], "no archive is called NOBODY"),
    ],
)
def test_wrong_use_ends_with_code_2_before_anybody_is_asked(hospital: Hospital, options: list[str], words: str) -> None:
    done = hospital.site.run("fetch", *options)
    assert done.returncode == 2
    assert words in done.stderr


def test_a_prior_is_fetched_by_itself_and_raises_nothing_and_a_namesake_is_not(hospital: Hospital) -> None:
    today = made(hospital.folder / "today", TODAY, patient_id="TINY-8", AccessionNumber="ACC-9", StudyDate="20260101")
    answers = hospital.site.send(today, calling="SCANNER")
    assert all(answer.status == 0 for answer in answers)

    def prior_has_come() -> bool:
        story = hospital.site.told(PRIOR)
        return story is not None and story["revision"] == 1

    wait_until("the prior to come and close", prior_has_come)
    story = hospital.site.story(PRIOR)
    assert story["instances"] == 12
    assert story["lane"] == "ROUTINE"
    assert "result" not in [each["state"] for each in story["outcomes"]]
    assert hospital.results_of(PRIOR) == []
    assert hospital.site.command("show", STRANGER).returncode == 1
    events = hospital.site.story(TODAY)["events"]
    refused = [each for each in events if each["after"] == "not fetched"]
    assert [each["subject"] for each in refused] == [STRANGER]
    assert "birth date" in refused[0]["reason"]
    assert "19551224" not in refused[0]["reason"]


def test_a_prior_that_a_person_asks_for_is_read_after_all(hospital: Hospital) -> None:
    wait_until("the prior", lambda: hospital.site.told(PRIOR))
    done = hospital.site.run("fetch", "--study", PRIOR, "--wait")
    assert done.returncode == 0, done.stdout + done.stderr
    wait_until("SEG and SR of the prior", lambda: len(hospital.results_of(PRIOR)) == 2)


def known_of(story: Any) -> set[tuple[str, str, str, str]]:
    told = [each for each in story["history"] if each["code"] in ("report", "problem")]
    return {(each["code"], each["value"], each["coded"], each["standing"]) for each in told}


def test_of_all_that_an_archive_holds_under_an_id_the_facts_are_exactly_those_of_the_right_patient(
    hospital: Hospital, tmp_path: Path
) -> None:
    hospital.hold(prior_archive.everything(tmp_path))
    today = prior_archive.images_of(tmp_path, CURRENT, date="20260101")
    assert all(answer.status == 0 for answer in hospital.site.send(today, calling="SCANNER"))

    def read_back() -> bool:
        story = hospital.site.told(CURRENT)
        return story is not None and len(story["prior_documents"]) == 4

    wait_until("the reports of the prior to be read", read_back)
    story = hospital.site.story(CURRENT)
    assert known_of(story) == prior_archive.FACTS
    assert story["history_candidates"] == []
    standing = {each["study_instance_uid"]: each["standing"] for each in story["prior_candidates"]}
    assert standing == {
        prior_archive.RIGHT: "taken",
        prior_archive.OTHER_ISSUER: "candidate, unconfirmed",
        prior_archive.OTHER_BIRTH: "candidate, unconfirmed",
    }
    for stranger in (prior_archive.OTHER_ISSUER, prior_archive.OTHER_BIRTH):
        assert hospital.site.command("show", stranger).returncode == 1
    told = {each["kind"]: each for each in story["prior_documents"] if not each["findings"]}
    assert set(told) == {"report", "encapsulated document"}
    (nodule, outlined) = [each["findings"][0] for each in story["prior_documents"] if each["findings"]][::-1]
    assert [(each["value"], each["unit"]) for each in nodule["measurements"]] == [(8.5, "mm")]
    assert nodule["tracking_uid"] == outlined["tracking_uid"]
    assert nodule["segmentation_sop_instance_uid"] == f"{prior_archive.RIGHT}.81"
    shown = hospital.site.command("show", CURRENT).stdout
    assert "impression: Glioblastoma, resected." in shown
    assert "candidate, unconfirmed: birth date differs" in shown
    assert "19551224" not in hospital.site.log.read_text()


def test_a_report_of_a_prior_that_comes_late_is_known_of_the_study_that_waits(
    hospital: Hospital, tmp_path: Path
) -> None:
    wait_until("the prior", lambda: hospital.site.told(prior_archive.RIGHT))
    late = prior_archive.addendum(tmp_path)
    (answer,) = hospital.site.send([late], calling="ARCHIVE")
    assert answer.status == 0
    fact = ("report", "addendum: Recurrence at the margin.", "", "yes")
    wait_until("the addendum", lambda: fact in known_of(hospital.site.story(CURRENT)))
    assert known_of(hospital.site.story(CURRENT)) == {*prior_archive.FACTS, fact}


def test_a_study_comes_over_the_web_through_the_inbox_and_is_the_archives(tmp_path: Path) -> None:
    study = "1.2.826.0.1.9"
    paths = tiny_head(tmp_path / "head", study)
    web = Web().start()
    try:
        found = attributes(study=study, accession="WEB-1", count=str(len(paths)), modalities=["MR"])
        web.put("/studies", json.dumps([found]).encode())
        listed = [attributes(study=study, series=f"{study}.1", sop=f"{study}.1.{n + 1}") for n in range(len(paths))]
        web.put(f"/studies/{study}/instances", json.dumps(listed).encode())
        body = multipart(*(path.read_bytes() for path in paths))
        web.put(f"/studies/{study}", body, content_type=MULTIPART)
        site = Site(tmp_path / "site", models=tiny_model_folder(tmp_path / "models"), model="tiny")
        site.peer("WEBPACS", roles=["archive"], dicomweb=web.address)
        with running(site):
            done = site.run("fetch", "--accession", "WEB-1", "--wait")
            assert done.returncode == 0, done.stdout + done.stderr
            wait_until("the index", lambda: len(site.uids()) >= len(paths))
            held = site.json("instances")["instances"]
            assert {(each["study_instance_uid"], each["source"]) for each in held} == {(study, "WEBPACS")}
            assert len(held) == len(paths)
            wait_until("it to be read", lambda: site.story(study)["state"] == "done")
            assert [each["state"] for each in site.story(study)["outcomes"]] == ["result"]
        assert list((site.data / "inbox").iterdir()) == []
    finally:
        web.stop()


def test_what_is_asked_for_while_nobody_serves_is_said_to_wait(tmp_path: Path) -> None:
    study = "1.2.826.0.1.9"
    web = Web().start()
    try:
        web.put("/studies", json.dumps([attributes(study=study, accession="WEB-1")]).encode())
        site = Site(tmp_path / "site", models=tiny_model_folder(tmp_path / "models"), model="tiny")
        site.peer("WEBPACS", roles=["archive"], dicomweb=web.address)
        site.write_config()
        done = site.run("fetch", "--accession", "WEB-1")
        assert done.returncode == 0
        assert "the retrieve room does not run" in done.stdout
        assert site.run("fetch", "--accession", "WEB-1", "--wait").returncode == 1
    finally:
        web.stop()
