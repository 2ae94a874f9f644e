"""A bundle's JSON and YAML files as plain values, whatever somebody wrote into them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from node.errors import Misconfigured

#: Largest file that is read; the zoo's longest configuration has 40 kB.
MOST_BYTES = 4_000_000
#: Most values in one file, aliases of YAML written out.
MOST_VALUES = 100_000
_REMEDY = "Fetch the bundle again from where it was published"


def read(file: Path) -> dict[str, Any]:
    """Return the sections in `file`: texts, numbers, lists and mappings by text or number, each its own copy.

    Raises:
        Misconfigured: it cannot be read, is no JSON or YAML, holds a key twice, or more than anybody needs.
    """
    try:
        with file.open("rb") as stream:
            content = stream.read(MOST_BYTES + 1)
    except OSError as error:
        raise Misconfigured(file, "", f"cannot be read: {error.strerror}", "Check the path and its rights") from None
    if len(content) > MOST_BYTES:
        raise Misconfigured(file, "", f"is larger than {MOST_BYTES} bytes", _REMEDY)
    try:
        found = _parsed(content.decode("utf-8"), file.suffix)
        room = [MOST_VALUES]
        plain = _plain(found, room)
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        problem = "is nested too deeply" if isinstance(error, RecursionError) else " ".join(str(error).split())[:200]
        raise Misconfigured(file, "", f"cannot be read: no sound {file.suffix[1:]} file ({problem})", _REMEDY) from None
    if not isinstance(plain, dict):
        raise Misconfigured(file, "", "holds no sections", _REMEDY)
    return {str(name): section for name, section in plain.items()}


def _parsed(text: str, suffix: str) -> Any:
    if suffix == ".json":
        return json.loads(text, object_pairs_hook=_each_once)
    return yaml.load(text, _Loader)  # noqa: S506 a SafeLoader


def _each_once(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {key!r} is there twice")
        found[key] = value
    return found


class _Loader(yaml.SafeLoader):
    """Refuses a key that is there twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode) and key.value != "<<"]
        if len(set(keys)) < len(keys):
            raise ValueError(f"a key is there twice among {', '.join(map(str, keys))[:100]}")
        return super().construct_mapping(node, deep)


def _plain(value: Any, room: list[int]) -> Any:
    """A copy in which nothing is shared: what an alias of YAML stands for is written out, and counted."""
    room[0] -= 1
    if room[0] < 0:
        raise ValueError(f"holds more than {MOST_VALUES} values")
    if isinstance(value, dict):
        if len({str(key) for key in value}) < len(value):
            raise ValueError("two keys are one as text")
        # YAML has numbers as keys; a component may be given them.
        return {key if isinstance(key, int) else str(key): _plain(each, room) for key, each in value.items()}
    if isinstance(value, list):
        return [_plain(each, room) for each in value]
    if value is None or isinstance(value, str | int | float):
        return value
    # A date or bytes: YAML makes them of plain text.
    return str(value)
