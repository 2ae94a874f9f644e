"""Recipes written as TOML: to be looked at, changed and trained again."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from typing import Any

from node.learn.recipe import Recipe


def recipe_text(recipe: Recipe, notes: Sequence[str] = ()) -> str:
    """Write a recipe, with notes as comments on top; what is at its default is left out."""
    # A control is nothing that a comment may have (TOML 1.0, Comment).
    plain = ("".join(each if each.isprintable() or each == "\n" else " " for each in note) for note in notes)
    lines = [f"# {line}" for note in plain for line in note.split("\n")]
    tables = []
    for key, value in _given(recipe):
        if is_dataclass(value):
            tables.append((key, list(_given(value))))
        else:
            lines.append(f"{key} = {_literal(value)}")
    for key, table in tables:
        # An empty table is not the same as none: what is left out is derived.
        lines += ["", f"[{key}]", *(f"{inner} = {_literal(value)}" for inner, value in table)]
    return "\n".join(lines) + "\n"


def value_text(value: Any) -> str:
    """Write a value of a recipe as TOML; of a table what is not at its default."""
    return _literal(value)


def _given(table: Any) -> Iterator[tuple[str, Any]]:
    """What a table holds, in the order of its keys, but what is at its default or left out."""
    for field in fields(table):
        value = getattr(table, field.name)
        default = field.default_factory() if field.default_factory is not MISSING else field.default
        if value is not None and value != default:
            yield field.name, value


def _literal(value: Any) -> str:
    if is_dataclass(value):
        value = dict(_given(value))
    if isinstance(value, Mapping):
        inner = ", ".join(f"{_key(key)} = {_literal(each)}" for key, each in value.items())
        return f"{{ {inner} }}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_literal, value))}]"
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    # TOML's strings, numbers and booleans are JSON's, but for one control that JSON writes plainly.
    text = json.dumps(value.value if isinstance(value, Enum) else value, ensure_ascii=False)
    return text.replace("\x7f", "\\u007f")


def _key(name: str) -> str:
    return name if name.isidentifier() and name.isascii() else _literal(name)
