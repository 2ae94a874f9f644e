"""A card's document written as TOML: keys, then tables, then lists of tables, each with a gap before it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from node.errors import Failed

#: A line longer than this is broken where it is a table of tables.
_WIDTH = 120


def document_text(document: Mapping[str, Any], notes: Sequence[str] = ()) -> str:
    """Write `document`, with notes as comments on top.

    Raises:
        Failed: it holds what TOML has no form for.
    """
    lines = [f"# {note}" for note in notes] + ([""] if notes else [])
    plain = {key: value for key, value in document.items() if not _is_table(value) and not _are_tables(value)}
    lines += [f"{_key(key)} = {literal(value)}" for key, value in plain.items()]
    for key, value in document.items():
        if _is_table(value):
            lines += ["", f"[{_key(key)}]", *_rows(value)]
        elif _are_tables(value):
            for each in value:
                lines += ["", f"[[{_key(key)}]]", *_rows(each)]
    return "\n".join(lines) + "\n"


def literal(value: Any) -> str:
    """A value on one line.

    Raises:
        Failed: TOML has no form for it.
    """
    if isinstance(value, Mapping):
        inner = ", ".join(f"{_key(key)} = {literal(each)}" for key, each in value.items())
        return f"{{ {inner} }}" if inner else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(literal, value))}]"
    if value is None:
        raise Failed("a card has no form for nothing: leave the key out")
    # TOML's strings, numbers and booleans are JSON's, but for control characters that JSON leaves as they are.
    return json.dumps(value, ensure_ascii=False, allow_nan=False).replace("\x7f", "\\u007f")


def _rows(table: Mapping[str, Any]) -> list[str]:
    rows = []
    for key, value in table.items():
        row = f"{_key(key)} = {literal(value)}"
        if _are_tables(value) and len(row) > _WIDTH:
            row = "\n".join([f"{_key(key)} = [", *(f"    {literal(each)}," for each in value), "]"])
        rows.append(row)
    return rows


def _is_table(value: Any) -> bool:
    return isinstance(value, Mapping) and not _is_code(value)


def _is_code(value: Mapping[str, Any]) -> bool:
    """A coded term stays on the line of its key."""
    return set(value) == {"value", "scheme", "meaning"}


def _are_tables(value: Any) -> bool:
    return isinstance(value, list | tuple) and bool(value) and all(isinstance(each, Mapping) for each in value)


def _key(name: str) -> str:
    return name if name.isidentifier() and name.isascii() else json.dumps(name)
