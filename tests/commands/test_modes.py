from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from node.catalogue.cards import read_card
from node.catalogue.lock import read_lock
from node.cli import app
from node.commands import modes
from node.commands.modes import with_mode
from node.domain.model_card import Mode
from tests.catalogue.bundles import configuration, write_bundle, write_model

CONFIG = """\
# a site's own
[data]
folder = "var"     # here
[catalogue]
models_folder = "models"
rules_folder = "rules"
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    (tmp_path / "rules").mkdir()
    (tmp_path / "config.toml").write_text(CONFIG)
    (tmp_path / "config.toml").chmod(0o640)
    write_model(tmp_path / "models")
    return tmp_path


def matins(site: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["models", *arguments, "--config", str(site / "config.toml")])


def said(result: Result) -> str:
    return " ".join((result.stdout + result.stderr).split())


def mode(site: Path) -> str:
    return str(tomllib.loads((site / "config.toml").read_text())["models"]["spleen"]["mode"])


def test_a_model_goes_from_trust_to_shadow_to_live_and_off(site: Path) -> None:
    assert matins(site, "trust", "spleen").exit_code == 0
    for each in ("shadow", "live", "off"):
        result = matins(site, each, "spleen")
        assert result.exit_code == 0, said(result)
        assert mode(site) == each
        (row,) = json.loads(matins(site, "list", "--json").stdout)["models"]
        assert (row["mode"], row["runs"], row["own_code"]) == (each, each != "off", False)
    assert (site / "config.toml").read_text().startswith(CONFIG)
    assert (site / "config.toml").stat().st_mode & 0o777 == 0o640
    assert sorted(path.name for path in site.iterdir()) == ["config.toml", "models", "rules"]


def test_what_cannot_run_is_not_put_on(site: Path) -> None:
    result = matins(site, "live", "spleen")
    assert result.exit_code == 1
    assert "matins models trust spleen" in said(result)
    assert (site / "config.toml").read_text() == CONFIG
    assert matins(site, "off", "spleen").exit_code == 0


def test_a_model_that_is_not_there_is_named(site: Path) -> None:
    result = matins(site, "off", "liver")
    assert result.exit_code == 2
    assert "There are: spleen" in said(result)


def test_settings_that_are_not_ours_to_write_say_what_to_write(site: Path, monkeypatch) -> None:
    def refuse(file: Path, content: bytes, *, mode: int) -> None:
        raise PermissionError(13, "Permission denied", str(file))

    monkeypatch.setattr(modes, "write_durably", refuse)
    result = matins(site, "off", "spleen")
    assert result.exit_code == 1
    assert '[models.spleen] mode = "off"' in said(result)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", '[models.a]\nmode = "live"\n'),
        ("x = 1", 'x = 1\n\n[models.a]\nmode = "live"\n'),
        ('[models.a]\nmode = "off" # why\n[b]\n', '[models.a]\nmode = "live" # why\n[b]\n'),
        ('[models."a"]\nearly = true\nmode="off"\n', '[models."a"]\nearly = true\nmode="live"\n'),
        ("[models.a] # why\nearly = true\n", '[models.a] # why\nmode = "live"\nearly = true\n'),
        ('[models.ab]\nmode = "off"\n', '[models.ab]\nmode = "off"\n\n[models.a]\nmode = "live"\n'),
        ('[models]\na = { mode = "off" }\n', None),
        ('models.a.mode = "off"\n', None),
        ('x = """\n[models.a]\nmode = "off"\n"""\n', None),
    ],
)
def test_only_the_mode_changes_or_nothing(before: str, after: str | None) -> None:
    assert with_mode(before, "a", Mode.LIVE) == after


def test_trust_shows_what_changed_since_the_last_time(site: Path) -> None:
    first = matins(site, "trust", "spleen").stdout
    assert "+ model.toml" in first
    assert "+ builds UNet" in first
    assert "+ weights:network" in first
    bundle = site / "models" / "spleen" / "bundle"
    (bundle / "LICENSE").unlink()
    (bundle / "scripts").mkdir()
    (bundle / "scripts" / "net.py").write_text("")
    changed = {**configuration(), "network_def": {"_target_": "scripts.net.Net", "size": "$open('x')"}}
    (bundle / "configs" / "inference.json").write_text(json.dumps(changed))
    lock = (site / "models" / "models.lock").read_text()
    result = matins(site, "trust", "spleen")
    assert result.exit_code == 1
    shown = result.stdout.splitlines()
    for line in (
        "+ bundle/scripts/net.py",
        "- bundle/LICENSE",
        "~ bundle/configs/inference.json",
        "+ builds scripts.net.Net",
        "+ evaluates $open('x')",
        "- builds UNet",
        "! bundle/configs/inference.json: network_def builds scripts.net.Net",
    ):
        assert line in shown
    assert "--allow-code" in result.stderr
    assert (site / "models" / "models.lock").read_text() == lock
    assert matins(site, "trust", "spleen", "--allow-code", "--dry-run").exit_code == 0
    assert (site / "models" / "models.lock").read_text() == lock
    assert matins(site, "trust", "spleen", "--allow-code").exit_code == 0
    assert read_lock(site / "models" / "models.lock")["spleen"].own_code


def test_code_is_not_allowed_where_there_is_none(site: Path) -> None:
    assert matins(site, "trust", "spleen", "--allow-code").exit_code == 0
    assert not read_lock(site / "models" / "models.lock")["spleen"].own_code


def test_a_version_that_was_replaced_comes_back_as_it_was_trusted(site: Path) -> None:
    card = site / "models" / "spleen" / "model.toml"
    card.write_text(card.read_text() + "# ours\n")
    assert matins(site, "trust", "spleen").exit_code == 0
    entry = read_lock(site / "models" / "models.lock")["spleen"]
    newer = write_bundle(site / "incoming", more={"version": "0.6.0"})
    (newer / "models" / "model.pt").write_bytes(b"better")
    result = matins(site, "add", str(newer), "--name", "spleen", "--replace", "--yes")
    assert result.exit_code == 0, said(result)
    assert "rollback spleen" in result.stdout
    assert read_card(site / "models" / "spleen").version == "0.6.0"
    assert card.read_text().endswith("# ours\n")
    assert matins(site, "live", "spleen").exit_code == 1
    assert matins(site, "trust", "spleen").exit_code == 0
    assert matins(site, "rollback", "spleen").exit_code == 0
    assert read_lock(site / "models" / "models.lock")["spleen"] == entry
    assert read_card(site / "models" / "spleen").version == "0.1"
    assert matins(site, "live", "spleen").exit_code == 0
    # And forth again: the newer one was trusted, too.
    assert matins(site, "rollback", "spleen").exit_code == 0
    assert read_card(site / "models" / "spleen").version == "0.6.0"
    assert sorted(path.name for path in (site / "models").iterdir()) == [".previous", "models.lock", "spleen"]


def test_a_version_that_nobody_trusted_is_not_kept(site: Path) -> None:
    newer = write_bundle(site / "incoming")
    assert matins(site, "add", str(newer), "--name", "spleen", "--replace", "--yes").exit_code == 0
    result = matins(site, "rollback", "spleen")
    assert result.exit_code == 2
    assert "no version before" in said(result)


def test_a_version_that_was_changed_where_it_was_kept_does_not_come_back(site: Path) -> None:
    assert matins(site, "trust", "spleen").exit_code == 0
    newer = write_bundle(site / "incoming")
    assert matins(site, "add", str(newer), "--name", "spleen", "--replace", "--yes").exit_code == 0
    kept = site / "models" / ".previous" / "spleen" / "model" / "bundle" / "models" / "model.pt"
    kept.write_bytes(b"tampered")
    before = (site / "models" / "spleen" / "bundle" / "configs" / "metadata.json").read_bytes()
    result = matins(site, "rollback", "spleen")
    assert result.exit_code == 2
    assert "not what was trusted" in said(result)
    assert (site / "models" / "spleen" / "bundle" / "configs" / "metadata.json").read_bytes() == before
