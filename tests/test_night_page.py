"""`node/NIGHT.md` says what the settings, the tasks and the commands are."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from node.config import Settings
from node.config.night import NightSettings
from node.config.peer import Peer
from node.domain.night import NightlyTask, RunState
from node.workflow import nightly

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "node/NIGHT.md").read_text()


def test_every_key_stands_there_with_its_default() -> None:
    rows = dict(re.findall(r"^\| `([a-z_]+)` \| `([^`]+)` \|", PAGE, re.MULTILINE))
    defaults = {key: tomllib.loads(f"x = {value}")["x"] for key, value in rows.items()}
    assert defaults == NightSettings().model_dump()


def test_every_task_stands_there_with_its_hour() -> None:
    rows = re.findall(r"^\| `([a-z]+)` \| (when the window begins|at `morning`) \|", PAGE, re.MULTILINE)
    assert rows == [
        (task.value, "when the window begins" if task.is_of_the_evening else "at `morning`") for task in NightlyTask
    ]


def test_the_limits_are_those_of_the_code() -> None:
    assert f"after {nightly._MOST_ATTEMPTS} times it is `failed`" in PAGE
    assert f"ahead by {nightly._AHEAD_S / 3600:g} hours" in PAGE
    for state in (RunState.SKIPPED, RunState.UNTIMELY, RunState.FAILED):
        assert f"`{state.value}`" in PAGE


def test_the_sample_of_a_worklist_is_understood() -> None:
    sample = tomllib.loads(PAGE.partition("```toml\n")[2].partition("```")[0])
    (peer,) = [Peer.model_validate(each) for each in sample["peers"]]
    assert Settings(peers=(peer,)).peers[0].roles == ("modality_worklist",)


def test_the_options_that_it_names_are_there() -> None:
    from typer.testing import CliRunner

    from node.cli import app

    told = CliRunner().invoke(app, ["fetch", "--help"], terminal_width=200).stdout
    for option in ("--shadow", "--now", "--status", "--stop", "--resume"):
        assert option in PAGE
        assert option in told
