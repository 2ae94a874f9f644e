"""What the READMEs say can be typed: commands with these options exist, settings load, files are where they say."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from node.cli import app
from node.config import Settings
from node.report.outputs import outputs
from node.supervisor import ROOMS

ROOT = Path(__file__).resolve().parents[1]
READMES = [
    "README.md",
    "node/README.md",
    "node/DESTINATIONS.md",
    "node/ROUTES.md",
    "node/NIGHT.md",
    "node/RANKING.md",
    "node/WORKLIST.md",
    "node/LEARNING.md",
    "models/README.md",
]


def blocks(language: str) -> Iterator[str]:
    for readme in READMES:
        yield from re.findall(rf"^```{language}\n(.*?)^```$", (ROOT / readme).read_text(), re.MULTILINE | re.DOTALL)


def settings_blocks() -> list[str]:
    """What is shown of settings; the tables of a card are another page's, and tested with it."""
    return [block for block in blocks("toml") if block.startswith("[node]")]


def typed(program: str) -> list[list[str]]:
    """Every command of `program` in a shell block, as words."""
    return words_of(program, [line for block in blocks("sh") for line in block.splitlines()])


def named(program: str) -> list[list[str]]:
    """Every command of `program` between backticks, as words."""
    texts = ((ROOT / readme).read_text() for readme in READMES)
    prose = (re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL) for text in texts)
    return words_of(program, [line for text in prose for line in re.findall(r"`([^`\n]+)`", text)])


def words_of(program: str, lines: list[str]) -> list[list[str]]:
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith(f"{program} ")]


@cache
def options_of(command: tuple[str, ...]) -> frozenset[str]:
    """The options that the help of a command lists; fails where there is no such command."""
    result = CliRunner().invoke(app, [*command, "--help"], terminal_width=300)
    assert result.exit_code == 0, f"there is no command `matins {' '.join(command)}`"
    return frozenset(re.findall(r"--[a-z-]+", result.stdout))


def split(words: list[str]) -> tuple[tuple[str, ...], list[str]]:
    """Divide words into the command's name and what follows it."""
    length = 2 if words[0] in {"accounts", "models", "routes", "rules"} else 1
    return tuple(words[:length]), words[length:]


def test_the_readme_shows_commands_and_settings_at_all() -> None:
    assert len(typed("matins")) > 15
    assert len(settings_blocks()) == 1


@pytest.mark.parametrize("words", typed("matins") + named("matins"), ids=" ".join)
def test_every_command_that_is_shown_can_be_typed(words: list[str]) -> None:
    command, rest = split(words)
    given = {word for word in rest if word.startswith("--")}
    assert given <= options_of(command)


@pytest.mark.parametrize("words", typed("matins"), ids=" ".join)
def test_every_command_that_is_shown_has_the_arguments_it_needs(words: list[str]) -> None:
    command, rest = split(words)
    parser = get_command(app)
    for name in command:
        parser = parser.commands[name]  # type: ignore[attr-defined]
    # The disc of the example is not in this machine.
    parser.make_context("matins", [str(ROOT) if word == "/mnt/disc" else word for word in rest])


@pytest.mark.parametrize("words", typed("make") + named("make"), ids=" ".join)
def test_every_target_that_is_shown_exists(words: list[str]) -> None:
    makefile = (ROOT / "Makefile").read_text()
    assert re.search(rf"^{words[0]}:", makefile, re.MULTILINE)


def test_the_settings_that_are_shown_load() -> None:
    (block,) = settings_blocks()
    settings = Settings.model_validate(tomllib.loads(block))
    for peer in settings.peers:
        assert set(peer.outputs) <= outputs().keys()
    assert all((ROOT / "models" / name).is_dir() for name in settings.models)


@pytest.mark.parametrize("readme", READMES)
def test_every_link_leads_to_a_file(readme: str) -> None:
    text = (ROOT / readme).read_text()
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        assert target.startswith("https://") or ((ROOT / readme).parent / target).exists(), target


def test_the_code_map_names_every_module_and_room() -> None:
    text = (ROOT / "node/README.md").read_text()
    for path in sorted((ROOT / "node").iterdir()):
        if path.name.startswith("__") and path.name != "__main__.py":
            continue
        if path.suffix == ".py" or (path / "__init__.py").exists():
            assert f"`{path.name}{'' if path.suffix else '/'}`" in text, f"{path.name} is not in the code map"
    for room in ROOMS:
        assert f"room `{room}`" in text


def test_the_page_is_where_the_readme_says() -> None:
    defaults = Settings().web
    assert f"http://{defaults.address}:{defaults.port}/" in (ROOT / "README.md").read_text()
