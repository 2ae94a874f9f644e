from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from node.catalogue.scenario_file import examples, read_scenario
from node.cli import app
from node.store.database import open_database
from tests.fakes import FakeClock
from tests.workflow.nights import night

SCENARIO = """\
title = "Two orders"
[arrivals]
per_hour = 4.5
[[kinds]]
name = "CT"
reading = { mean_min = 10.0 }
urgent = 0.2
[[diseases]]
name = "disease"
prevalence = 0.1
[[models]]
name = "model"
disease = "disease"
auc = 0.95
specificity = 0.9
points = 80.0
[[disciplines]]
name = "Matins"
[[disciplines]]
name = "points alone"
points_per_minute = 0.0
[run]
studies = 1000
replications = 5
"""


@pytest.fixture
def scenario(tmp_path: Path) -> Path:
    file = tmp_path / "scenario.toml"
    file.write_text(SCENARIO)
    return file


@pytest.fixture
def site(tmp_path: Path) -> list[str]:
    for name in ("models", "rules"):
        (tmp_path / name).mkdir()
    (tmp_path / "config.toml").write_text(
        '[data]\nfolder = "var"\n[catalogue]\nmodels_folder = "models"\nrules_folder = "rules"\n'
    )
    return ["--config", str(tmp_path / "config.toml")]


def matins(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["simulate", *arguments])


def test_a_scenario_is_simulated_told_and_drawn(scenario: Path, tmp_path: Path) -> None:
    result = matins("--file", str(scenario), "--plot", str(tmp_path / "waits.png"))
    assert result.exit_code == 0, result.output
    assert "traffic 0.75, 5 times 1000 studies" in result.stdout
    row = next(line for line in result.stdout.splitlines() if line.startswith("diseased\tMatins\t"))
    # Mean, median, p95, p99, max and the difference, each with its interval.
    assert len(re.findall(r"±\d", row)) == 6
    assert "Matins: gained: diseased wait" in result.stdout
    assert re.search("points alone: (lost|no difference seen): others wait", result.stdout)
    assert (tmp_path / "waits.png").read_bytes().startswith(b"\x89PNG")


def test_a_folder_gets_a_picture_each(scenario: Path, tmp_path: Path) -> None:
    result = matins("--file", str(scenario), "--replications", "2", "--plot", str(tmp_path / "plots"), "--json")
    assert result.exit_code == 0, result.output
    plots = json.loads(result.stdout)["plots"]
    assert [Path(each).name for each in plots] == ["tails.png", "means.png"]
    assert all(Path(each).read_bytes().startswith(b"\x89PNG") for each in plots)


def test_the_json_has_every_figure_with_its_interval(scenario: Path) -> None:
    told = json.loads(matins("--file", str(scenario), "--seed", "4", "--json").stdout)
    assert (told["seed"], told["replications"], told["studies"]) == (4, 5, 1000)
    assert told["disciplines"] == ["Matins off", "Matins", "points alone"]
    groups = {each["group"] for each in told["figures"]}
    assert groups >= {"everybody", "diseased", "others", "disease, missed", "ordered URGENT", "flagged in error"}
    for each in told["figures"]:
        assert set(each["waits_min"]) == {"mean", "median", "p95", "p99", "max"}
        for figure in (*each["waits_min"].values(), *each["differences_min"].values(), each["turnaround_min"]):
            assert figure["low"] <= figure["value"] <= figure["high"]
            assert figure["count"] == 5
        assert len(each["curve_min"]) == len(told["curve_shares"])


def test_the_same_seed_prints_the_same_and_another_another(scenario: Path) -> None:
    first, again, other = (matins("--file", str(scenario), "--seed", seed).stdout for seed in ("1", "1", "2"))
    assert first == again != other


def test_a_dry_run_prints_a_scenario_that_can_be_edited(tmp_path: Path) -> None:
    for name in examples():
        result = matins("--example", name, "--dry-run")
        assert result.exit_code == 0, result.output
        file = tmp_path / "mine.toml"
        file.write_text(result.stdout)
        assert read_scenario(file).title
    assert "# traffic 0.8" in matins("--dry-run").stdout
    assert json.loads(matins("--dry-run", "--json").stdout)["scenario"]["title"]


def test_the_nodes_own_days_are_simulated(site: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    db = open_database(tmp_path / "var", "test")
    try:
        clock = FakeClock()
        made = night(db, clock)
        for number in range(4):
            made.study(found=number == 0)
    finally:
        db.close()
    monkeypatch.setattr("node.commands.simulating.SystemClock", lambda: clock)
    result = matins("--from-node", "7", "--dry-run", *site)
    assert result.exit_code == 0, result.output
    assert 'title = "This node, the last 7 days: 4 studies"' in result.stdout
    assert "# kinds: 15 minutes to read MR are a guess" in result.stdout
    run = matins("--from-node", "7", "--replications", "2", "--json", *site)
    assert run.exit_code == 0, run.output
    assert any("guess" in note for note in json.loads(run.stdout)["notes"])


def test_a_node_that_has_seen_nothing_says_so(site: list[str]) -> None:
    result = matins("--from-node", "7", *site)
    assert result.exit_code == 1
    assert "no study came in the last 7 days" in result.stderr
    result = matins("--measured", *site)
    assert result.exit_code == 0
    assert "nothing can be measured" in result.stdout


def test_what_was_measured_is_told_with_how_many_and_nothing_of_too_few(
    site: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    db = open_database(tmp_path / "var", "test")
    try:
        clock = FakeClock()
        made = night(db, clock)
        uids = [made.study(found=number < 4) for number in range(33)]
        db.execute("UPDATE revision SET closed_at = ?", (clock.now().iso,))
        for uid in uids:
            clock.forward(1)
            made.report(uid)
    finally:
        db.close()
    monkeypatch.setattr("node.commands.measuring.SystemClock", lambda: clock)
    result = matins("--measured", "--weeks", "1", *site)
    assert result.exit_code == 0, result.output
    rows = {line.split("\t")[1]: line.split("\t")[2:] for line in result.stdout.splitlines() if line.count("\t") > 2}
    assert rows["finding present"] == ["4", *["too few"] * 9]
    assert rows["everybody"][0] == "33"
    assert re.fullmatch(r"0\.3 \[0\.\d, 0\.\d\]", rows["everybody"][1])
    # Of thirty nobody knows what one in twenty waits.
    assert rows["everybody"][7:] == ["too few"] * 3
    weeks = json.loads(matins("--measured", "--weeks", "1", "--json", *site).stdout)["weeks"]
    assert weeks[-1]["studies"] == 33


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--example", "nothing"], "there is no example"),
        (["--example", "tail", "--file", "x.toml"], "stands beside"),
        (["--measured", "--example", "tail"], "Either simulate, or measure"),
        (["--file", "missing.toml"], "cannot be read"),
        (["--plot", "waits.gif"], "is no picture"),
        (["--plot", "nowhere/waits.png"], "there is no folder"),
    ],
)
def test_a_wrong_use_ends_with_two_and_the_remedy(
    arguments: list[str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = matins(*arguments)
    assert result.exit_code == 2
    assert says in result.stderr
