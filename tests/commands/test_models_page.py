"""`models/README.md`: what it says can be typed is typed, in its order, on a bundle of the published form."""

from __future__ import annotations

import re
import shlex
import shutil
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from node.catalogue.cards import read_card
from node.cli import app
from node.domain.model_card import ModelCard, Task
from tests.catalogue.bundles import CARD, write_bundle

PAGE = Path(__file__).resolve().parents[2] / "models" / "README.md"
CONFIG = '[data]\nfolder = "var"\n[catalogue]\nmodels_folder = "models"\nrules_folder = "rules"\n'


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def commands() -> list[list[str]]:
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    return [shlex.split(line, comments=True)[1:] for line in lines]


@pytest.fixture
def site(tmp_path: Path, monkeypatch) -> Path:
    for name in ("models", "rules"):
        (tmp_path / name).mkdir()
    (tmp_path / "config.toml").write_text(CONFIG)
    write_bundle(tmp_path / "spleen_ct_segmentation")
    shutil.make_archive(str(tmp_path / "spleen_ct_segmentation"), "zip", tmp_path, "spleen_ct_segmentation")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_what_the_page_types_works_in_its_order(site: Path) -> None:
    modes = []
    for words in commands():
        result = CliRunner().invoke(app, words)
        assert result.exit_code == 0, f"matins {shlex.join(words)}: {result.output}"
        document = tomllib.loads((site / "config.toml").read_text())
        modes.append(document.get("models", {}).get("spleen", {}).get("mode"))
    assert [mode for mode in dict.fromkeys(modes) if mode] == ["shadow", "live", "off"]
    assert read_card(site / "models" / "spleen").title == "Spleen CT segmentation"


def test_the_tables_of_the_page_are_those_of_a_card(tmp_path: Path) -> None:
    folder = tmp_path / "single"
    folder.mkdir()
    tables, _ = blocks("toml")
    (folder / "model.toml").write_text(f"{CARD.format(name='single')}\n{tables}")
    card: ModelCard = read_card(folder)
    assert card.preparation.patch == (96, 96, 96)
    assert card.architecture is not None
    assert card.architecture.arguments["channels"] == [16, 32]


def test_the_classifier_of_the_page_is_a_card(tmp_path: Path) -> None:
    folder = tmp_path / "single"
    folder.mkdir()
    _, block = blocks("toml")
    # What it says of the model stands before the first table.
    head, table, rest = block.partition("\n[preparation]\n")
    text = CARD.format(name="single").replace('pipeline = "bundle"', 'pipeline = "network"')
    segments = text.index("[[segments]]")
    target = '[[targets]]\nindex = 0\nlabel = "Mass"\ncode = { value = "4147007", scheme = "SCT", meaning = "Mass" }\n'
    (folder / "model.toml").write_text(f"{head}\n{text[:segments]}{target}\n{table}{rest}")
    card = read_card(folder)
    assert card.task is Task.CLASSIFICATION
    assert not card.needs_volume
    assert (card.preparation.size, card.preparation.channels) == ((224, 224), 3)
    assert card.preparation.deviation == (0.229, 0.224, 0.225)
