"""The page of the recipes: every key of every table with its default, and examples that are recipes."""

from __future__ import annotations

import dataclasses
import json
import re
import tomllib
import typing
from pathlib import Path
from typing import Any

import pytest

from node.learn.recipe import Recipe, recipe_of
from tests.conftest import ROOT

PAGE = (ROOT / "node" / "RECIPES.md").read_text(encoding="utf-8")


def tables() -> dict[str, Any]:
    """The tables that are of recipes alone: name → what holds its keys."""
    found = {}
    for name, hint in typing.get_type_hints(Recipe).items():
        held = [each for each in typing.get_args(hint) if each is not type(None)] or [hint]
        if dataclasses.is_dataclass(held[0]) and held[0].__module__.startswith("node.learn"):
            found[name] = held[0]
    return found


def default_of(field: Any) -> str:
    value = field.default_factory() if field.default_factory is not dataclasses.MISSING else field.default
    value = getattr(value, "value", value)
    if value is dataclasses.MISSING or value in (None, (), ""):
        return ""
    if isinstance(value, tuple):
        return f"[{', '.join(json.dumps(each) for each in value)}]"
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)


@pytest.mark.parametrize("table", tables())
def test_every_key_of_a_table_is_told_with_its_default_and_no_other(table: str) -> None:
    (section,) = re.findall(rf"^## `\[{table}\]`\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    told = dict(re.findall(r"^\| `(\w+)` \| (?:`(.*?)`)? \| \S", section.replace("|  |", "| `` |"), re.MULTILINE))
    assert told == {field.name: default_of(field) for field in dataclasses.fields(tables()[table])}


def test_its_example_is_a_recipe() -> None:
    (example,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    assert recipe_of(tomllib.loads(example), Path("RECIPES.md")).name == "my-model"


def test_its_first_table_names_every_other_key() -> None:
    (example,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    plain = {each.name for each in dataclasses.fields(Recipe)} - tables().keys()
    assert plain <= tomllib.loads(example).keys()
