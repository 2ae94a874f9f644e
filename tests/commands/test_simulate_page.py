"""`node/SIMULATE.md`: what it says can be typed is typed, in its order, and its scenario is simulated."""

from __future__ import annotations

import re
import shlex
from dataclasses import fields, replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from node.catalogue.scenario_file import examples, read_scenario
from node.cli import app
from node.domain.scenario import Arrivals, Discipline, Disease, Kind, Room, Run, Scenario, SimulatedModel
from node.store.database import open_database
from node.triage.simulate.comparison import simulate
from node.triage.simulate.hindsight import FEWEST
from tests.fakes import FakeClock
from tests.workflow.nights import night

PAGE = Path(__file__).resolve().parents[2] / "node" / "SIMULATE.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def commands() -> list[list[str]]:
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    return [shlex.split(line, comments=True)[1:] for line in lines]


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("models", "rules"):
        (tmp_path / name).mkdir()
    (tmp_path / "config.toml").write_text(
        '[data]\nfolder = "var"\n[catalogue]\nmodels_folder = "models"\nrules_folder = "rules"\n'
    )
    monkeypatch.chdir(tmp_path)
    db = open_database(tmp_path / "var", "test")
    try:
        clock = FakeClock()
        night(db, clock).study(found=True)
    finally:
        db.close()
    monkeypatch.setattr("node.commands.simulating.SystemClock", lambda: clock)
    monkeypatch.setattr("node.commands.measuring.SystemClock", lambda: clock)
    return tmp_path


def test_what_the_page_types_works_in_its_order(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def smaller(scenario: Scenario, *rest: object) -> object:
        # How much is simulated is no matter of what can be typed.
        run = replace(scenario.run, studies=300, replications=2)
        return simulate(replace(scenario, run=run), *rest)  # type: ignore[arg-type]

    monkeypatch.setattr("node.commands.simulating.run_simulation", smaller)
    typed = commands()
    assert len(typed) > 8
    for words in typed:
        target = words[words.index(">") + 1] if ">" in words else ""
        result = CliRunner().invoke(app, words[: words.index(">")] if target else words)
        assert result.exit_code == 0, f"matins {shlex.join(words)}: {result.output}"
        if target:
            (site / target).write_text(result.stdout)
    assert (site / "waits.png").stat().st_size > 10_000


def test_the_scenario_of_the_page_is_sound_and_shows_every_table(tmp_path: Path) -> None:
    (text,) = blocks("toml")
    file = tmp_path / "scenario.toml"
    file.write_text(text)
    scenario = read_scenario(file)
    assert scenario.traffic < 1
    named = set(re.findall(r"^(\w+) =", text, re.MULTILINE)) | set(re.findall(r"`(\w+)[ `]", PAGE.read_text()))
    named |= set(re.findall(r"\w+", " ".join(re.findall(r"#.*", text))))
    for table in (Arrivals, Room, Kind, Disease, SimulatedModel, Discipline, Run):
        assert {field.name for field in fields(table)} <= named


def test_the_page_names_every_example_and_the_fewest_studies() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert all(f"--example {name}" in text for name in examples())
    assert f"fewer than {FEWEST} studies" in text
