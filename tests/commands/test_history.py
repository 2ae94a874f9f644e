from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from node.cli import app
from node.commands.fhir_servers import fhir_servers
from node.config import Settings
from node.domain.history import Fact
from node.domain.inquiry import Inquiry, InquiryState
from node.store import inquiries
from node.store.database import Database, open_database
from node.workflow.closing import close_due
from node.workflow.history import learn
from tests.fakes import PATIENT, STUDY, FakeClock, arrive, model, policy, slice_of
from tests.retrieve.records import SYSTEM, Records, serving
from tests.site import free_port

HEADER = "patient_id,issuer,birth_date,topic,value,coded\n"
ROW = "P1,A,19700101,problem,Lung cancer,SCT:363358000\n"


class Node:
    """A data folder with one closed study, and the commands on it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "models").mkdir()
        (folder / "rules").mkdir()
        (folder / "config.toml").write_text("")
        clock, db = FakeClock(), self.db()
        arrive(db, clock.now(), slice_of(1))
        close_due(db, clock.forward(601), policy(model()))
        db.close()

    def db(self) -> Database:
        return open_database(self.folder / "var", "test")

    def run(self, *words: str, code: int = 0) -> Result:
        done = CliRunner().invoke(app, [*words, "--config", str(self.folder / "config.toml")])
        assert done.exit_code == code, done.output
        return done

    def told(self) -> dict[str, list[dict[str, str]]]:
        found: dict[str, list[dict[str, str]]] = json.loads(self.run("history", STUDY, "--json").stdout)
        return found

    def file(self, *rows: str) -> str:
        path = self.folder / "facts.csv"
        path.write_text(HEADER + "".join(rows))
        return str(path)


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def test_a_table_is_taken_in_once_however_often(node: Node) -> None:
    said = [node.run("history", "import", node.file(ROW)).stdout for _ in range(2)]
    assert "1 fact(s) of 1 patient(s) kept" in said[0]
    assert ["1 waiting" in each for each in said] == [True, False]
    (fact,) = node.told()["history"]
    assert (fact["code"], fact["coded"], fact["source"]) == ("problem", "SCT:363358000", "table facts.csv")


def test_what_the_table_no_longer_says_is_taken_back(node: Node) -> None:
    node.run("history", "import", node.file(ROW))
    other = ROW.replace("P1,", "P2,")
    assert "1 patient(s) are no longer in it" in node.run("history", "import", "--dry-run", node.file(other)).stdout
    assert len(node.told()["history"]) == 1
    node.run("history", "import", node.file(other))
    assert node.told()["history"] == []


def test_one_wrong_row_keeps_all_out_unless_a_site_wants_the_others(node: Node) -> None:
    file = node.file(ROW, ROW.replace("problem", "problm"))
    said = node.run("history", "import", file, code=1)
    assert "facts.csv:3: topic: it is none that is known" in said.stdout
    assert node.told()["history"] == []
    document = json.loads(node.run("history", "import", file, "--sound-rows", "--json").stdout)
    assert (document["facts"], document["kept"]) == (1, True)
    assert [each["line"] for each in document["mistakes"]] == [3]
    assert document["study_instance_uids"] == [STUDY]


def test_a_dry_run_keeps_nothing(node: Node) -> None:
    assert (
        "1 fact(s) of 1 patient(s) would be kept" in node.run("history", "import", "--dry-run", node.file(ROW)).stdout
    )
    assert node.told()["history"] == []


def test_everything_is_told_with_source_doubt_and_what_was_asked(node: Node) -> None:
    db, clock = node.db(), FakeClock()
    terms = {"server": "RECORDS", "patient_id": "P1", "issuer": "A", "asked": clock.now()}
    with db.transaction():
        fact = Fact(code="allergy", value="Iodine\x1b[31m", source="fhir RECORDS", observed_at="2020-05")
        learn(db, clock.now(), policy(), PATIENT, [fact], origin="fhir RECORDS AllergyIntolerance")
        stranger = replace(PATIENT, birth_date="19700102")
        learn(db, clock.now(), policy(), stranger, [replace(fact, value="Latex")], origin="fhir OTHER")
        inquiries.record(db, Inquiry(resource="Condition", state=InquiryState.ANSWERED, **terms))
        failed = Inquiry(resource="Observation", state=InquiryState.FAILED, reason="has a fault (HTTP 500)", **terms)
        inquiries.record(db, failed)
    db.close()
    for words in (("history", STUDY), ("history", "--patient", "P1", "--issuer", "A")):
        said = node.run(*words).stdout
        assert "history     allergy: Iodine\\x1b[31m, 2020-05  [fhir RECORDS]" in said
        assert "unconfirmed allergy: Latex, 2020-05  [fhir RECORDS] not used: birth date differs" in said
        assert "RECORDS Condition asked at 2026-01-02 03:04 UTC, nothing known" in said
        assert "RECORDS Observation asked at 2026-01-02 03:04 UTC, failed: has a fault (HTTP 500)" in said


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ((), 2),
        ((STUDY, "--patient", "P1"), 2),
        (("--patient", "UNKNOWN"), 1),
        (("nothing",), 1),
    ],
)
def test_one_patient_has_to_be_named(node: Node, words: tuple[str, ...], code: int) -> None:
    done = CliRunner().invoke(app, ["history", "show", *words, "--config", str(node.folder / "config.toml")])
    assert done.exit_code == code


def test_of_a_patient_of_another_issuer_nothing_is_told(node: Node) -> None:
    node.run("history", "import", node.file(ROW))
    assert "nothing is known" in node.run("history", "--patient", "P1", "--issuer", "B").stdout


def test_status_says_how_each_server_answered_last(node: Node) -> None:
    section = '[[fhir]]\nname = "RECORDS"\nbase = "http://127.0.0.1:9/r4"\nidentifiers = { A = "urn:oid:1" }\n'
    (node.folder / "config.toml").write_text(section)
    db, clock = node.db(), FakeClock()
    for server in ("RECORDS", "FORGOTTEN"):
        for state, reason in ((InquiryState.ANSWERED, ""), (InquiryState.FAILED, "nobody answers soundly")):
            terms = {"server": server, "patient_id": "P1", "issuer": "A", "asked": clock.forward(1)}
            with db.transaction():
                inquiries.record(db, Inquiry(resource=f"{state}", state=state, reason=reason, **terms))
    db.close()
    said = node.run("status").stdout
    assert "fhir   RECORDS failed asked at 2026-01-02 03:04 UTC, failed: nobody answers soundly" in said
    assert "FORGOTTEN" not in said


@pytest.fixture
def server() -> Iterator[Records]:
    with serving() as running:
        yield running


def test_check_tries_each_server(server: Records, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("ours")
    terms = {"identifiers": {"A": SYSTEM}, "resources": ["Condition", "Procedure"]}
    servers = [
        {"name": "RECORDS", "base": server.base, "token_file": str(tmp_path / "token"), **terms},
        {"name": "AWAY", "base": f"http://127.0.0.1:{free_port()}/r4", **terms},
    ]
    found = list(fhir_servers(Settings.model_validate({"fhir": servers}), Path("config.toml")))
    assert [each.ok for each in found] == [True, False, False]
    assert found[0].found == "FHIR 4.0.1 Stub, answers searches; does not list Procedure"
    assert "in the clear" in found[1].problem
    assert (found[2].key, found[2].about) == ("fhir[1].base", "fhir")
    assert found[2].remedy
