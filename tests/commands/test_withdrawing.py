"""What is taken back, told before and after; what stays is listed for whoever has to delete it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from node.cli import app
from node.domain.work import ResultState
from node.store import outbox, withdrawal_notes
from node.store.database import open_database
from tests import told

DIGEST = "m" * 8


class Folder:
    """A night whose one result was sent."""

    def __init__(self, folder: Path) -> None:
        self.config = told.write_config(folder)
        db, _, _ = told.night(folder / "var")
        self.data = db.folder
        db.close()

    def run(self, *arguments: str) -> Any:
        return CliRunner().invoke(app, ["withdraw", *arguments, "--config", str(self.config)])

    def json(self, *arguments: str) -> Any:
        done = self.run(*arguments, "--json")
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout)

    def takes_notes(self) -> None:
        peer = ('name = "PACS"', 'ae_title = "PACS"', 'host = "127.0.0.1"', "port = 104", 'roles = ["destination"]')
        lines = ("[[peers]]", *peer, 'rejection = "113037"')
        self.config.write_text(self.config.read_text() + "\n".join(lines))

    def states(self) -> list[ResultState]:
        db = open_database(self.data, "test")
        found = [row.state for row in outbox.of_study(db, told.READ)]
        db.close()
        return found


@pytest.fixture
def night(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def test_a_dry_run_says_what_would_be_and_does_nothing(night: Folder) -> None:
    before = night.states()
    told_plan = night.json(told.READ, "--dry-run")
    assert told_plan["dry_run"] is True
    [result] = told_plan["results"]
    assert (result["sop_instance_uid"], result["destination"], result["rejection"]) == ("2.25.7", "PACS", "")
    text = night.run("--model", f"brain@{DIGEST}", "--dry-run").stdout
    assert "cannot be undone" in text
    assert "2.25.7" in text
    assert "by a person there" in text
    assert night.states() == before


def test_what_is_at_an_archive_that_takes_no_notes_is_listed_for_its_administrator(night: Folder) -> None:
    done = night.run(told.READ)
    assert done.exit_code == 0
    assert "have them deleted there" in done.stdout
    assert "2.25.7" in done.stdout
    [left] = night.json("--remaining")["remaining"]
    assert (left["sop_instance_uid"], left["study_instance_uid"], left["model"]) == ("2.25.7", told.READ, "brain")


def test_an_archive_that_takes_notes_is_sent_one_and_nothing_remains(night: Folder) -> None:
    night.takes_notes()
    done = night.json(told.READ, "--reason", "motion")
    assert done["remaining"] == []
    assert any("rejection note: Rejected for Patient Safety Reasons" in line for line in done["studies"][0]["done"])
    db = open_database(night.data, "test")
    [note] = withdrawal_notes.of_study(db, told.READ)
    db.close()
    assert note.reason == "withdrawn by a person: motion"


def test_a_model_version_is_withdrawn_everywhere_only_when_somebody_says_yes(night: Folder) -> None:
    refused = night.run("--model", f"brain@{DIGEST}")
    assert refused.exit_code == 1
    assert "cannot be undone" in refused.stderr
    assert ResultState.WITHDRAWN not in night.states()
    done = night.run("--model", f"brain@{DIGEST}", "--yes")
    assert done.exit_code == 0, done.output
    assert set(night.states()) == {ResultState.WITHDRAWN}
    again = night.run("--model", f"brain@{DIGEST}", "--yes")
    assert (again.exit_code, "nothing of brain@" in again.stderr) == (1, True)


@pytest.mark.parametrize("model", ["brain", "brain@", "brain@mm", "@mmmmmmmm", "other@mmmmmmmm", "brain@nnnnnnnn"])
def test_another_model_or_none_is_never_meant(night: Folder, model: str) -> None:
    assert night.run("--model", model, "--yes").exit_code == 1
    assert ResultState.WITHDRAWN not in night.states()


def test_either_a_study_or_a_model_is_named(night: Folder) -> None:
    assert night.run().exit_code == 1
    assert night.run(told.READ, "--model", f"brain@{DIGEST}").exit_code == 1


def test_the_help_says_that_it_cannot_be_undone() -> None:
    assert "cannot be undone" in " ".join(CliRunner().invoke(app, ["withdraw", "--help"]).stdout.split())
