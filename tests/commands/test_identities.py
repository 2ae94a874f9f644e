from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from node.cli import app
from node.domain.patient import Patient
from node.store import hl7_messages
from node.store.database import open_database
from node.store.hl7_messages import MessageState
from node.workflow import merging
from tests.fakes import PATIENT, FakeClock, policy

CONFIG = """
[receive.hl7]
enabled = true
[[receive.hl7.senders]]
name = "RIS"
application = "RADIS"
addresses = ["127.0.0.1/32"]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("models", "rules"):
        (tmp_path / name).mkdir()
    (tmp_path / "config.toml").write_text(CONFIG)
    db, now = open_database(tmp_path / "var", "test"), FakeClock().now()
    with db.transaction():
        merging.merge(db, now, policy(), PATIENT, Patient(patient_id="P9", issuer="A"), told_by="hl7 RIS")
    db.close()
    return tmp_path


def run(folder: Path, *words: str) -> Result:
    return CliRunner().invoke(app, [*words, "--config", str(folder / "config.toml")])


def test_merges_are_listed_and_a_person_takes_one_back(folder: Path):
    [move] = json.loads(run(folder, "identity", "list", "--json").stdout)
    assert (move["patient_id"], move["survivor_id"], move["told_by"]) == ("P1", "P9", "hl7 RIS")
    assert "P9" in run(folder, "identity", "list").stdout
    assert run(folder, "identity", "separate", "P1", "--issuer", "B").exit_code == 1
    assert run(folder, "identity", "separate", "P1", "--issuer", "A").exit_code == 0
    assert json.loads(run(folder, "identity", "list", "--json").stdout) == []
    assert "no identifier" in run(folder, "identity", "list").stdout


def test_messages_that_could_not_be_used_are_told_by_status_and_check(folder: Path):
    db, clock = open_database(folder / "var", "test"), FakeClock()
    with db.transaction():
        hl7_messages.keep(
            db, clock.now(), sender="RIS", control_id="1", digest="1", kind="ADT^A43", content=b"",
            state=MessageState.NOT_UNDERSTOOD, reason="ADT A43 is not acted upon",
        )  # fmt: skip
    db.close()
    standing = json.loads(run(folder, "status", "--json").stdout)
    assert standing["hl7_messages"] == {"not understood": 1}
    assert [each["kind"] for each in standing["hl7_troubles"]] == ["ADT^A43"]
    assert "1 × ADT^A43 of RIS not understood" in run(folder, "status").stdout
    checks = [each for each in json.loads(run(folder, "check", "--json").stdout)["checks"] if each["about"] == "hl7"]
    assert [each["ok"] for each in checks] == [True]
    db = open_database(folder / "var", "test")
    db.execute("UPDATE hl7_message SET received_at = '2999-01-01T00:00:00.000000+00:00'")
    db.close()
    checks = [each for each in json.loads(run(folder, "check", "--json").stdout)["checks"] if each["about"] == "hl7"]
    assert [each["ok"] for each in checks] == [True, False]
    assert "A43" in checks[1]["problem"]
