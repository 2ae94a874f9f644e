"""Hard nights: whoever lies or hangs, the node receives and reads on, shows the fault, and says what it did not know.

One site, whose FHIR server and archive do what a test tells them; each test sends a study of its own while it lasts.
"""

from __future__ import annotations

import itertools
import json
import sqlite3
import time
import urllib.error
import urllib.request
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset, dcmread

from node.demo.worklist import worklist
from node.store import reading_list
from node.store.database import open_database
from tests.fakes import FakeClock
from tests.journeys.night.models import rules_folder
from tests.journeys.tiny_model import tiny_head, tiny_model_folder
from tests.retrieve.records import SYSTEM, Raw, Records, condition, patient, serving
from tests.retrieve.scripted import DONE, HANG_UP, Say, Scripted, pending
from tests.site import ROOT, Site, running, wait_until
from tests.workflow.nights import night

pytestmark = pytest.mark.timeout(600)

HERE, ELSEWHERE = "HOSPITAL-A", "HOSPITAL-B"
_ROOT = "1.2.826.0.1.3680043.10.11"
#: Speaks where somebody is known to have a cancer, and says where nobody knows.
_RULE = """
title = "Known cancer"
because = "A known cancer"
version = "1"
source = "a test"
when_missing = "flag"

[when]
field = "history.problem"
op = "coded"
value = ["SCT:363358000"]

[then]
points = 20
"""
_NOTHING = json.dumps({"resourceType": "Bundle", "type": "searchset"}).encode()


class HardSite(Site):
    """Two scanners of two hospitals, an archive and a FHIR server of the first."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / "site", models=tiny_model_folder(folder / "models"), model="tiny")
        self.rules = rules_folder(folder / "rules")
        for rule in self.rules.glob("*.toml"):
            rule.unlink()
        (self.rules / "known-cancer.toml").write_text(_RULE)

    def wait_ready(self) -> None:
        """Loading a model takes its time where others work too."""
        wait_until("all rooms ready", lambda: b"all rooms ready" in self.log.read_bytes(), limit_s=300)

    def write_config(self) -> None:
        super().write_config()
        self.config.write_text(self.config.read_text().replace(str(ROOT / "rules"), str(self.rules)))


@dataclass
class Hospital:
    """The site, and what its neighbours are told to answer."""

    site: HardSite
    records: Records
    archive: Scripted
    folder: Path
    #: Patient IDs of whom the FHIR server knows a cancer.
    known: dict[str, dict[str, Any]] = field(default_factory=dict)
    number: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def found(self, path: str) -> Raw:
        """A FHIR server that knows several patients."""
        for number in self.known:
            if f"%7C{number}&" in f"{path}&" or f"|{number}&" in f"{path}&":
                return _bundle(self.known[number])
        return 200, {}, _NOTHING

    def problems(self, path: str) -> Raw:
        """Each of them has the same cancer."""
        for number in self.known:
            if f"key-{number}" in path:
                return _bundle(condition(subject={"reference": f"Patient/key-{number}"}))
        return 200, {}, _NOTHING

    def scan(self, patient_id: str, *, calling: str = "SCANNER", name: str = "") -> Any:
        """Send a study; its story once the model has read it and every question has an end."""
        study = f"{_ROOT}.{next(self.number)}"
        files = tiny_head(self.folder / study, study, patient_id=patient_id, slices=8)
        for path in files:
            dataset = dcmread(path)
            dataset.PatientName, dataset.AccessionNumber = name or f"Hard^{patient_id or 'Unknown'}", study[-6:]
            dataset.save_as(path, enforce_file_format=True)
        assert all(answer.status == 0 for answer in self.site.send(files, calling=calling))

        story = self.later(study, "its result", lambda each: each["state"] == "done" and _result(each))
        assert [each["study_instance_uid"] for each in worklist(self.site.web_port)].count(study) == 1
        return story

    def later(self, study: str, what: str, check: Callable[[Any], Any]) -> Any:
        """The story of a study once `check` holds of it."""

        def look() -> Any:
            try:
                address = f"http://127.0.0.1:{self.site.web_port}/api/studies/{study}"
                with urllib.request.urlopen(address, timeout=60) as answer:
                    story = json.loads(answer.read())
            except urllib.error.HTTPError as error:
                error.close()
                return None
            return story if check(story) else None

        return wait_until(f"{study}: {what}", look)

    def asked_of_fhir(self) -> int:
        return len(self.records.asked)


def _result(story: Any) -> bool:
    return [each["state"] for each in story["outcomes"]] == ["result"]


def _bundle(resource: dict[str, Any]) -> Raw:
    entries = [{"resource": resource, "search": {"mode": "match"}}]
    return 200, {}, json.dumps({"resourceType": "Bundle", "type": "searchset", "entry": entries}).encode()


@pytest.fixture(scope="module")
def hospital(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hospital]:
    folder = tmp_path_factory.mktemp("hard")
    site, archive = HardSite(folder), Scripted(scripts=lambda _: [DONE]).start()
    with serving() as records:
        made = Hospital(site, records, archive, folder)
        records.wrong = {"Patient": made.found, "Condition": made.problems}
        site.peer("SCANNER", roles=["source"], issuer=HERE)
        site.peer("NORTH", roles=["source"], issuer=ELSEWHERE)
        site.peer("ARCHIVE", port=archive.port, roles=["archive"], issuer=HERE)
        site.peers.append("[retrieve]\npriors = 2\nsilence_s = 5\nanswer_s = 2")
        site.peers.append(
            f'[[fhir]]\nname = "RECORDS"\nbase = "{records.base}"\nidentifiers = {{ "{HERE}" = "{SYSTEM}" }}\n'
            'resources = ["Condition"]\nanswer_s = 1\nlimit_s = 3\nconnect_s = 1'
        )
        try:
            with running(site):
                yield made
        finally:
            records.over.set()
            archive.stop()


def knows(hospital: Hospital, number: str, **changes: Any) -> None:
    """Let the FHIR server know a patient, as of the test's data sets: born 1970, sex O."""
    hospital.known[number] = patient(number, key=f"key-{number}", gender="other", **changes)


def reasons(story: Any) -> dict[str, str]:
    return {each["rule"]: each["because"] for each in story["reasons"]}


def test_of_an_emergency_without_an_id_nobody_is_asked_anything(hospital: Hospital) -> None:
    knows(hospital, "E1")
    asked, queried = hospital.asked_of_fhir(), len(hospital.archive.asked)
    story = hospital.scan("", name="Unknown^Male")
    assert story["history"] == []
    assert {each["state"] for each in story["history_asked"]} <= {"not asked"}
    assert "not known" in reasons(story)["known-cancer"]
    # Whoever comes next is asked about: by then the first would have been.
    next_story = hospital.scan("E1")
    hospital.later(next_story["study_instance_uid"], "the cancer", lambda each: each["history"])
    assert all(
        "E1" in str(path) + str(keys) or "key-E1" in str(keys) for _, path, keys, _ in hospital.records.asked[asked:]
    )
    asked_of = wait_until("the archive was asked", lambda: hospital.archive.asked[queried:])
    assert [each.PatientID for each in asked_of] == ["E1"]


def test_two_hospitals_with_one_number_share_nothing(hospital: Hospital) -> None:
    knows(hospital, "TWO")
    here = hospital.scan("TWO")["study_instance_uid"]
    here_story = hospital.later(here, "the cancer", lambda each: each["score"] == 20)
    assert [each["source"] for each in here_story["history"]] == ["fhir RECORDS"]
    asked = hospital.asked_of_fhir()
    there = hospital.scan("TWO", calling="NORTH")
    assert (there["history"], there["history_candidates"]) == ([], [])
    assert (there["score"], "not known" in reasons(there)["known-cancer"]) == (0, True)
    assert hospital.asked_of_fhir() == asked
    assert [each["state"] for each in there["history_asked"]] == ["not asked"]


def newest_of_rules(site: Site) -> str:
    """What the node noted last of its rules."""
    with closing(sqlite3.connect(f"file:{site.data / 'matins.sqlite'}?mode=ro", uri=True, timeout=30)) as db:
        rows = db.execute("SELECT reason FROM event WHERE about = 'rules' ORDER BY id DESC LIMIT 1").fetchall()
    return str(rows[0][0]) if rows else ""


def test_a_wrong_rule_leaves_the_others_in_force_and_is_named(hospital: Hospital) -> None:
    knows(hospital, "RULE")
    wrong = hospital.site.rules / "wrong.toml"
    wrong.write_text(_RULE.replace('op = "coded"', 'op = "smells of"'))
    try:
        wait_until("the node to notice", lambda: "wrong.toml" in newest_of_rules(hospital.site))
        assert "wrong.toml" in hospital.site.command("status").stdout
        story = hospital.scan("RULE")
        hospital.later(story["study_instance_uid"], "the good rule", lambda each: "known-cancer" in reasons(each))
        done = hospital.site.command("rules", "check")
        assert done.returncode != 0
        assert "wrong.toml" in done.stdout + done.stderr
    finally:
        wrong.unlink()
    wait_until("it to be forgotten", lambda: "wrong.toml" not in newest_of_rules(hospital.site))
    assert "wrong.toml" not in hospital.site.command("status").stdout


def test_a_fhir_server_that_hangs_holds_up_nothing_and_what_it_knows_counts_once_it_is_back(hospital: Hospital) -> None:
    knows(hospital, "HANG")
    hung = hospital.records.wrong["Patient"]
    began = hospital.asked_of_fhir()

    def hangs(path: str) -> Raw | None:
        hospital.records.over.wait(30)
        return hung(path)

    hospital.records.wrong["Patient"] = hangs
    try:
        wait_story = hospital.scan("HANG")
        uid = wait_story["study_instance_uid"]
        assert wait_story["history"] == []
        assert "not known" in reasons(wait_story)["known-cancer"]
        wait_until("the server to be asked", lambda: hospital.asked_of_fhir() > began)
        hospital.later(uid, "the fault", lambda each: _fault(each["history_asked"]))
        assert "RECORDS" in hospital.site.command("status").stdout
    finally:
        hospital.records.wrong["Patient"] = hung
    hospital.later(uid, "what it knows", lambda each: each["score"] == 20)


def _fault(asked: Any) -> bool:
    return any(each["state"] in ("failed", "waiting") for each in asked)


@pytest.mark.parametrize("nonsense", ["hangs up", "answers another"])
def test_an_archive_that_answers_nonsense_is_named_and_the_study_is_read(hospital: Hospital, nonsense: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom sees what the archive does not
        junk = pending(StudyInstanceUID="not a uid", PatientID="*", StudyDate="yesterday", PatientBirthDate="?")
    scripts = {
        "hangs up": [HANG_UP],
        "answers another": [replace(junk, off_by=7), Say(status=0xFF00), junk, Say(status=0xBEEF)],
    }
    hospital.archive.scripts = lambda _: scripts[nonsense]
    try:
        story = hospital.scan(f"ARCH{len(nonsense)}")
        uid = story["study_instance_uid"]
        told = hospital.later(uid, "the fault", lambda each: _of_archive(each["events"]))
        assert any("ARCHIVE" in each for each in _of_archive(told["events"]))
    finally:
        hospital.archive.scripts = lambda _: [DONE]


def _of_archive(events: Any) -> list[str]:
    return [each["reason"] for each in events if "ARCHIVE" in each["reason"] and each["after"] != "claimed"]


def test_a_prior_and_a_record_of_somebody_else_under_the_same_number_are_shown_and_not_used(hospital: Hospital) -> None:
    knows(hospital, "SAME", birthDate="1955-12-24")

    def answer(identifier: Dataset) -> list[Any]:
        asked = {"PatientID": "SAME", "PatientBirthDate": "19551224", "PatientName": "Hard^SAME", "PatientSex": "O"}
        prior = {"StudyInstanceUID": f"{_ROOT}.900", "StudyDate": "20250601", "StudyTime": "120000"}
        return [pending(**asked, **prior, ModalitiesInStudy="MR"), DONE]

    hospital.archive.scripts = answer
    try:
        uid = hospital.scan("SAME")["study_instance_uid"]
        story = hospital.later(uid, "both", lambda each: each["history_candidates"] and _not_fetched(each))
    finally:
        hospital.archive.scripts = lambda _: [DONE]
    assert (story["history"], story["score"]) == ([], 0)
    assert "not known" in reasons(story)["known-cancer"]
    assert "birth date" in story["history_candidates"][0]["doubt"]
    assert ["birth date" in each for each in _not_fetched(story)] == [True]
    assert hospital.site.command("show", f"{_ROOT}.900").returncode == 1
    assert not hospital.archive.destinations


def _not_fetched(story: Any) -> list[str]:
    return [each["reason"] for each in story["events"] if each["after"] == "not fetched"]


@pytest.mark.parametrize(
    "step_s",
    [-7200.0, 86_400.0, -86_400.0 * 365],
)
def test_a_clock_that_is_set_in_the_night_reorders_nothing_and_studies_close_and_are_read(
    tmp_path: Path, step_s: float
) -> None:
    db, clock = open_database(tmp_path / "var", "test"), FakeClock()
    try:
        ward = night(db, clock)
        before = [ward.study(found=True), ward.study(requested_priority="STAT")]
        clock.wall = clock.wall.fromtimestamp(clock.wall.timestamp() + step_s, clock.wall.tzinfo)
        after = [ward.study(found=True), ward.study(requested_priority="STAT")]
        assert reading_list.unread(db) == [before[1], after[1], before[0], after[0]]
    finally:
        db.close()


def test_in_the_night_in_which_an_hour_comes_twice_the_first_stays_before_the_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    db, clock = open_database(tmp_path / "var", "test"), FakeClock()
    try:
        ward, came = night(db, clock), []
        clock.wall = clock.wall.replace(year=2026, month=10, day=24, hour=23, minute=30)
        for _ in range(4):
            came.append(ward.study())
            clock.forward(1800)
        local = [f"{clock.wall.fromisoformat(each['first_wall']).astimezone():%H}" for each in db.rows(_ARRIVED)]
        assert local.count("02") >= 3, local
        assert reading_list.unread(db) == came
    finally:
        db.close()
        monkeypatch.undo()
        time.tzset()


_ARRIVED = "SELECT first_wall FROM study ORDER BY queued_s"
