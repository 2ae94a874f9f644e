"""`worklist --all`, `pin`, `unpin` and `replay` as they are typed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from node.cli import app
from node.domain.report_state import ReportState
from node.store import events
from node.store.database import Database, open_database
from node.workflow import reported
from tests import told

RULE = """title = "T"
because = "It is a head"
version = "1"
source = "S"
[when]
field = "study_description"
op = "has"
value = "head"
[then]
points = 30
"""


class Site:
    """A data folder, and the commands on it."""

    def __init__(self, folder: Path) -> None:
        self.config = told.write_config(folder)
        self.data = folder / "var"
        db, self.clock, self.policy = told.night(self.data)
        db.close()

    def run(self, *arguments: str) -> Any:
        return CliRunner().invoke(app, [*arguments, "--config", str(self.config)])

    def said(self, *arguments: str) -> str:
        result = self.run(*arguments)
        assert result.exit_code == 0, result.output
        return str(result.stdout)

    def worklist(self, *arguments: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.said("worklist", "--json", *arguments))["studies"]
        return found

    @contextmanager
    def opened(self) -> Iterator[Database]:
        db = open_database(self.data, "test")
        try:
            yield db
        finally:
            db.close()


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_a_pin_puts_a_study_on_top_until_it_is_taken_back(site: Site) -> None:
    last = site.worklist()[-1]["study_instance_uid"]
    assert "pinned first by ada" in site.said("pin", last, "--why", "the surgeon waits", "--by", "ada")
    top = site.worklist()[0]
    assert top["study_instance_uid"] == last
    assert (top["pinned"]["by"], top["pinned"]["why"]) == ("ada", "the surgeon waits")
    assert "the surgeon waits" in site.said("worklist").splitlines()[1]
    site.said("unpin", last, "--by", "ada")
    assert site.worklist()[-1]["study_instance_uid"] == last
    assert "URGENT" in site.said("pin", last, "--lane", "URGENT", "--why", "x")
    with site.opened() as db:
        assert [each.after for each in events.latest(db, "pin")] == ["URGENT", "none", "first"]


def test_a_pin_is_either_first_or_a_lane_and_says_why(site: Site) -> None:
    assert site.run("pin", told.READ).exit_code == 2
    assert site.run("pin", told.READ, "--first", "--lane", "STAT", "--why", "x").exit_code == 2
    assert site.run("pin", told.READ, "--why", " ").exit_code == 1
    assert site.run("unpin", told.READ).exit_code == 1


def test_what_is_reported_is_listed_with_all_alone(site: Site) -> None:
    with site.opened() as db, db.transaction():
        reported.record(db, site.clock.now(), site.policy, told.READ, ReportState.FINAL, told_by="ada")
    assert told.READ not in {each["study_instance_uid"] for each in site.worklist()}
    (study,) = [each for each in site.worklist("--all") if each["study_instance_uid"] == told.READ]
    assert (study["report_state"], study["report_told_by"], study["wait_min"]) == ("final", "ada", None)


def test_a_study_is_replayed_by_rules_on_trial_and_ranked_anew_by_those_in_force(site: Site, tmp_path: Path) -> None:
    trial = tmp_path / "trial"
    trial.mkdir()
    (trial / "head.toml").write_text(RULE)
    assert site.run("replay", told.READ, "--rules", str(trial)).exit_code == 2, "rules on trial are not kept by this"
    text = site.said("replay", told.READ, "--rules", str(trial), "--dry-run")
    assert "from  ROUTINE 0, place 1 of 2" in text
    assert "to    ROUTINE 30, place 1 of 2" in text
    assert "It is a head" in text
    assert site.worklist()[0]["score"] == 0
    (tmp_path / "rules" / "head.toml").write_text(RULE)
    assert "kept" in site.said("replay", told.READ)
    assert {each["study_instance_uid"]: each["score"] for each in site.worklist()}[told.READ] == 30


def test_a_night_is_replayed_with_waits_and_reasons(site: Site, tmp_path: Path) -> None:
    (tmp_path / "rules" / "head.toml").write_text(RULE)
    found = json.loads(site.said("replay", "--night", "2026-01-02", "--json"))
    assert found["rules"] == {"from": "none", "to": "today's"}
    assert {row["study_instance_uid"] for row in found["studies"]} <= {told.READ, told.UNSUITED}
    assert "mean wait" in site.said("replay", "--night", "2026-01-02", "--rules", str(tmp_path / "rules"))


@pytest.mark.parametrize(
    "arguments",
    [
        ("replay",),
        ("replay", told.READ, "--night", "2026-01-02"),
        ("replay", "--night", "yesterday"),
        ("replay", "--night", "2026-01-02", "--rules", "/no/such/folder"),
    ],
)
def test_what_cannot_be_replayed_is_refused_with_the_remedy(site: Site, arguments: tuple[str, ...]) -> None:
    result = site.run(*arguments)
    assert result.exit_code == 2
    assert len(result.output.splitlines()) == 1
