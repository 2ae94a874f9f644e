"""`matins rules check`: what each rule reads, what can answer it, and whether it keeps to its own examples."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from node.cli import app

RULE = """
title = "Head"
because = "It is {modality}"
version = "1"
source = "Nobody 2026"
when = { any = [
  { field = "modality", op = "is", value = "MR" },
  { field = "history.medication", op = "coded", value = ["ATC:B01A*"] },
] }
then = { points = 10, cap = { group = "g", points = 8 } }

[[examples]]
title = "a magnet"
says = "fires"
facts = { modality = ["MR"] }
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    for folder in ("models", "rules"):
        (tmp_path / folder).mkdir()
    (tmp_path / "config.toml").write_text("")
    (tmp_path / "rules" / "head.toml").write_text(RULE)
    return tmp_path / "config.toml"


def check(config: Path, *more: str):
    return CliRunner().invoke(app, ["rules", "check", "--config", str(config), *more])


def test_each_rule_says_what_it_reads_and_whether_anything_can_answer_it(config: Path) -> None:
    result = check(config, "--json")
    assert result.exit_code == 0
    said = json.loads(result.stdout)
    (row,) = said["rules"]
    assert (row["rule"], row["state"], row["examples"]) == ("head", "in force", 1)
    assert row["fields"] == ["modality", "history.medication"]
    assert "nobody tells this node of: medication" in row["notes"][0]
    assert said["highest_score"] == 8.0
    assert len(said["digest"]) == 64


def test_a_rule_that_says_otherwise_than_its_example_fails_the_check(config: Path) -> None:
    rule = config.parent / "rules" / "head.toml"
    rule.write_text(RULE.replace('value = "MR"', 'value = "CT"'))
    result = check(config)
    assert result.exit_code == 1
    assert "a magnet" in result.output
    assert "Mend the rule, or the example" in result.output


def test_a_rule_without_a_model_is_dormant_and_no_mistake(config: Path) -> None:
    asked = '{ field = "finding.present", op = "is", value = true, code = "SCT:1386000" },'
    text = RULE.replace('{ field = "modality", op = "is", value = "MR" },', asked).replace("{modality}", "so")
    sleeping = 'requires = ["SCT:1386000"]\n' + text.partition("[[examples]]")[0]
    (config.parent / "rules" / "head.toml").write_text(sleeping)
    result = check(config)
    assert result.exit_code == 0
    assert "dormant: no model of this node finds SCT:1386000" in result.output
    assert "0 in force" in result.output
