from __future__ import annotations

import json
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from node.cli import app
from node.config import load_settings
from node.domain.night import NightlyTask
from node.domain.time import Instant
from node.store import nightly_runs
from node.store.database import open_database
from node.workflow import nightly
from node.workflow.policy import load_policy

CONFIG = """
[night]
timezone = "Europe/Berlin"
[[peers]]
name = "PACS"
ae_title = "ARCHIVE"
host = "127.0.0.1"
port = 4242
roles = ["archive"]
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    for name in ("models", "rules"):
        (tmp_path / name).mkdir()
    (tmp_path / "config.toml").write_text(CONFIG)
    return tmp_path / "config.toml"


def run(config: Path, *words: str) -> str:
    result = CliRunner().invoke(app, [*words, "--config", str(config)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture
def after_a_night(config: Path) -> Path:
    """A data folder whose clock room has seen the mornings of two days."""
    settings = load_settings(config)
    db = open_database(settings.data.folder, "clock")
    for day in (10, 11):
        now = Instant(datetime(2026, 1, day, 6, tzinfo=UTC), 86_400.0 * day, "boot")
        nightly.run_due(db, lambda now=now: now, load_policy(settings))  # type: ignore[misc]
    db.close()
    return config


def test_the_night_says_what_comes_and_what_was_done(after_a_night: Path) -> None:
    told = json.loads(run(after_a_night, "night", "--json"))
    assert [each["task"] for each in told["tasks"]] == [task.value for task in NightlyTask]
    last = {each["task"]: (each["last"]["day"], each["last"]["state"]) for each in told["tasks"]}
    assert last["digest"] == ("2026-01-11", "done")
    assert {(each["task"], each["day"]) for each in told["skipped"]} >= {("digest", "2026-01-10")}
    plain = run(after_a_night, "night")
    assert "skipped   digest of 2026-01-10: the node was set up after it" in plain
    assert "next" in plain


def test_the_digest_of_a_morning_is_printed(after_a_night: Path) -> None:
    told = json.loads(run(after_a_night, "digest", "--json"))
    assert told["day"] == "2026-01-11"
    assert told["failed"] == {"models": [], "results": [], "retrievals": [], "work": []}
    assert run(after_a_night, "digest", "--date", "2026-01-11").startswith("night to 2026-01-11: 0 studies came")


@pytest.mark.parametrize(("day", "code"), [("2026-01-10", 1), ("yesterday", 2)])
def test_a_morning_without_digest_is_told_so(after_a_night: Path, day: str, code: int) -> None:
    result = CliRunner().invoke(app, ["digest", "--date", day, "--config", str(after_a_night)])
    assert result.exit_code == code


def test_the_status_has_a_line_on_the_night(after_a_night: Path) -> None:
    assert "night  it is " in run(after_a_night, "status")


def test_studies_of_old_are_asked_for_by_their_days_stopped_and_gone_on_with(config: Path) -> None:
    words = ["fetch", "--since", "2025-06-01", "--until", "20250630", "--shadow", "--modality", "MR"]
    (made,) = json.loads(run(config, *words, "--json"))["backfills"]
    assert (made["archive"], made["since"], made["until"], made["modality"]) == ("PACS", "20250601", "20250630", "MR")
    assert (made["state"], made["days"], made["days_listed"], made["at_once"]) == ("running", 30, 0, False)
    assert "stopped" in run(config, "fetch", "--stop", "1")
    assert json.loads(run(config, "fetch", "--resume", "1", "--json"))["backfills"][0]["state"] == "running"
    assert "1  PACS 20250601-20250630 by night: running; 0 of 30 days listed, no study yet" in run(
        config, "fetch", "--status"
    )


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--shadow", "--accession", "A1"], 2),
        (["--shadow"], 2),
        (["--stop", "7"], 1),
        (["--since", "x", "--shadow"], 2),
    ],
)
def test_what_cannot_be_meant_is_refused(config: Path, words: list[str], code: int) -> None:
    assert CliRunner().invoke(app, ["fetch", *words, "--config", str(config)]).exit_code == code


def test_runs_are_told_by_their_day(after_a_night: Path) -> None:
    db = open_database(load_settings(after_a_night).data.folder, "test")
    found = nightly_runs.latest(db, NightlyTask.DIGEST)
    db.close()
    assert found is not None
    assert found.day == date(2026, 1, 11)
