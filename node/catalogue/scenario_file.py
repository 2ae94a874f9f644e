"""Scenarios of `matins simulate`: read from TOML with every mistake named, and written as TOML to be edited."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import MISSING, fields, is_dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from node.catalogue.scenario_checks import check_scenario
from node.catalogue.toml_file import read_document, validate
from node.domain.scenario import Duration, Scenario
from node.errors import Misconfigured

_SCENARIO: TypeAdapter[Scenario] = TypeAdapter(Scenario)
_EXAMPLES = Path(__file__).with_name("scenarios")


def read_scenario(file: Path) -> Scenario:
    """Read and check a scenario.

    Raises:
        Misconfigured: with the file, the key and the remedy.
    """
    scenario = validate(_SCENARIO, read_document(file), file)

    def complaint(key: str, problem: str, remedy: str) -> Misconfigured:
        return Misconfigured(file, key, problem, remedy)

    check_scenario(scenario, complaint)
    return scenario


def examples() -> tuple[str, ...]:
    """The names of the scenarios that come with Matins."""
    return tuple(sorted(file.stem for file in _EXAMPLES.glob("*.toml")))


def example(name: str) -> Scenario:
    """One of the scenarios that come with Matins.

    Raises:
        Misconfigured: there is none of that name.
    """
    if name not in examples():
        raise Misconfigured("--example", "", f'there is no example "{name}"', f"Name one of {', '.join(examples())}")
    return read_scenario(_EXAMPLES / f"{name}.toml")


def scenario_text(scenario: Scenario, notes: Sequence[str] = ()) -> str:
    """Write a scenario as TOML, with notes as comments on top; what is at its default is left out."""
    lines = [f"# {note}" for note in notes]
    tables: list[tuple[str, Any]] = []
    for key, value in _given(scenario):
        if is_dataclass(value):
            tables.append((f"[{key}]", value))
        elif isinstance(value, tuple):
            tables += [(f"[[{key}]]", each) for each in value]
        else:
            lines.append(f"{key} = {_literal(value)}")
    for heading, table in tables:
        lines += ["", heading, *(f"{key} = {_literal(value)}" for key, value in _given(table))]
    return "\n".join(lines) + "\n"


def _given(table: Any) -> Iterator[tuple[str, Any]]:
    """What a table holds, in the order of its keys, but what is at its default."""
    for field in fields(table):
        value = getattr(table, field.name)
        if field.default is MISSING or value != field.default:
            yield field.name, value


def _literal(value: Any) -> str:
    if isinstance(value, Duration):
        return "{ " + ", ".join(f"{key} = {_literal(each)}" for key, each in _given(value)) + " }"
    if isinstance(value, tuple):
        return f"[{', '.join(map(_literal, value))}]"
    # TOML's strings, numbers and booleans are JSON's; an exponent needs no point in either.
    return json.dumps(str(value) if isinstance(value, StrEnum) else value, ensure_ascii=False)
