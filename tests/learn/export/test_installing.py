"""What was exported is put among the models, locked, in the mode that it had; the version before can come back."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from typer.testing import CliRunner

from node.catalogue import load_models
from node.catalogue.lock import read_lock
from node.catalogue.versions import roll_back
from node.cli import app
from node.config import Settings, load_settings
from node.domain.model_card import Mode
from node.learn.export import export
from node.learn.export.installing import install
from node.learn.split import split_text
from node.workflow.policy import locks
from tests.learn.export import runs


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    for name in ("models", "rules"):
        (tmp_path / name).mkdir()
    text = '[data]\nfolder = "var"\n[catalogue]\nmodels_folder = "models"\nrules_folder = "rules"\n'
    (tmp_path / "config.toml").write_text(text)
    return load_settings(tmp_path / "config.toml")


def version(folder: Path, number: str) -> Path:
    """An exported model of that version."""
    source = folder / f"recipe-{number}"
    source.mkdir()
    card = (runs.HEAD + runs.TARGETS).replace('version = "2.1"', f'version = "{number}"')
    trained = runs.classified(source, card=card)
    (source / "split.json").write_text(split_text(trained.split))
    (source / "recipe.toml").write_text("# by hand\n")
    return export(dataclasses.replace(trained, cases=()), folder / f"run-{number}" / "seen")


def found(settings: Settings) -> dict[str, tuple[str, Mode, str]]:
    models = load_models(settings.catalogue.models_folder, locks(settings), {"seen": Mode.SHADOW})
    return {each.card.name: (each.card.version, each.mode, each.problem) for each in models}


def matins(folder: Path, *words: str, code: int = 0) -> str:
    done = CliRunner().invoke(app, [*words, "--config", str(folder / "config.toml")])
    assert done.exit_code == code, done.output
    return done.output


def test_it_runs_at_once_and_what_it_was_made_from_is_with_it(settings: Settings, tmp_path: Path) -> None:
    done = install(settings, version(tmp_path, "1"))
    assert found(settings) == {"seen": ("1", Mode.SHADOW, "")}
    assert not done.kept
    assert done.lock == settings.catalogue.models_folder / "models.lock"
    assert (done.folder / "recipe.toml").read_text() == "# by hand\n"
    assert {"split.json", "card.toml"} <= {path.name for path in done.folder.iterdir()}


def test_the_version_before_is_one_command_away(settings: Settings, tmp_path: Path) -> None:
    install(settings, version(tmp_path, "1"))
    assert install(settings, version(tmp_path, "2")).kept
    assert found(settings)["seen"] == ("2", Mode.SHADOW, "")
    known = locks(settings)
    roll_back(settings.catalogue.models_folder, "seen", known[0], known)
    assert found(settings)["seen"] == ("1", Mode.SHADOW, "")


def test_beside_the_one_in_place_it_waits_is_compared_and_takes_its_place(settings: Settings, tmp_path: Path) -> None:
    models = settings.catalogue.models_folder
    install(settings, version(tmp_path, "1"))
    install(settings, version(tmp_path, "2"), beside=True)
    assert found(settings) == {"seen": ("1", Mode.SHADOW, ""), "seen-next": ("2", Mode.OFF, "")}
    matins(tmp_path, "models", "shadow", "seen-next")
    refused = matins(tmp_path, "models", "live", "seen-next", code=1)
    assert "matins models promote seen-next" in refused
    told = matins(tmp_path, "models", "agreement", "seen-next")
    assert "seen-next 2 beside seen 1: 0 studies" in told
    wrong = matins(tmp_path, "models", "agreement", "seen", code=2)
    assert "shadow_of" in wrong
    promoted = matins(tmp_path, "models", "promote", "seen-next")
    assert "the version before is kept: `matins models rollback seen`" in promoted
    assert found(settings)["seen"] == ("2", Mode.SHADOW, "")
    assert 'mode = "off"' in (tmp_path / "config.toml").read_text()
    assert read_lock(models / "models.lock")["seen"].files == read_lock(models / "models.lock")["seen-next"].files
    matins(tmp_path, "models", "rollback", "seen")
    assert found(settings)["seen"] == ("1", Mode.SHADOW, "")


def test_a_version_that_waits_runs_nowhere_as_live(settings: Settings, tmp_path: Path) -> None:
    install(settings, version(tmp_path, "1"), beside=True)
    (model,) = load_models(settings.catalogue.models_folder, locks(settings), {"seen-next": Mode.LIVE})
    assert "matins models promote seen-next" in model.problem
    assert not model.runs


def test_what_was_changed_since_it_was_trusted_is_not_promoted(settings: Settings, tmp_path: Path) -> None:
    done = install(settings, version(tmp_path, "1"), beside=True)
    (done.folder / "recipe.toml").write_text("# changed\n")
    assert "models trust seen-next" in matins(tmp_path, "models", "promote", "seen-next", code=1)
    assert not (settings.catalogue.models_folder / "seen").exists()
