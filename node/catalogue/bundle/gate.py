"""The gate: what of a bundle's configuration may be resolved before anybody has vouched for its code.

Resolving runs what is named: `{"_target_": "os.system"}` needs no expression, `_requires_` and `_desc_` are evaluated
like arguments, a disabled component's arguments are evaluated too, and an import runs wherever it stands. So all that
is given is judged, not only what seems to matter.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from node.catalogue.bundle import components, expression

#: Keys of a component that are no arguments (MONAI's `ConfigComponent`).
COMPONENT_KEYS = frozenset({"_target_", "_mode_", "_requires_", "_disabled_", "_desc_"})
#: "debug" would wait for somebody at a keyboard.
_MODES = frozenset({"default", "callable"})
#: Modules that MONAI gives to every expression anyway.
_HARMLESS_IMPORTS = frozenset({"import monai", "import numpy", "import numpy as np", "import torch"})
_IMPORT = re.compile(r"\$\s*(import|from)\b")
_KEY = re.compile(r"[\w.\- ]*")
_MACRO = re.compile(r"%\w+(::\w+)*")
#: `@##name`: of an outer level. Its place in the text is taken by the names of the levels.
_RELATIVE = re.compile(r"[@%](?:::)+")
#: Arguments that have a network fetch weights nobody has pinned.
_FETCHING = frozenset({"pretrained_url", "model_url"})
_MOST_NODES = 100_000
_LONGEST_SHOWN = 100


def complaints(configuration: Mapping[str, Any], own_code: bool = False) -> list[str]:
    """Return what the gate does not let through, a sentence each: where, and what; none if all of it is harmless.

    `configuration`: sections by name, as MONAI's parser is about to get them, and nothing else: all is judged. With
    `own_code`, which a person allowed, only what no bundle may do is left to complain about.
    """
    nodes = list(_nodes(configuration))
    if len(nodes) > _MOST_NODES:
        return [f"the configuration has more than {_MOST_NODES} parts"]
    relative = any(isinstance(value, str) and _RELATIVE.search(_normal(value)) for _, value in nodes)
    found: list[str] = []
    for place, value in nodes:
        problems = [*_never(value)]
        if not own_code:
            problems += _of_code(value)
        if relative and isinstance(value, dict):
            problems += [f"has the key {key!r} near a relative reference" for key in value if not _is_word(key)]
        found += [f"{place or 'the configuration'} {problem}" for problem in problems]
    return list(dict.fromkeys(found))


def _nodes(configuration: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Every value with its place, one more than allowed at most: aliases can make a small file endless."""
    pending: list[tuple[str, Any]] = [("", dict(configuration))]
    count = 0
    while pending and count <= _MOST_NODES:
        place, value = pending.pop()
        count += 1
        yield place, value
        if isinstance(value, dict | list):
            pairs = list(value.items() if isinstance(value, dict) else enumerate(value))
            prefix = f"{place[:_LONGEST_SHOWN]}::" if place else ""
            pending += [(f"{prefix}{key}", each) for key, each in reversed(pairs[: _MOST_NODES + 1])]


def _never(value: Any) -> Iterator[str]:
    """What no bundle may do, looked at or not."""
    if isinstance(value, dict):
        yield from _odd_keys(value)
        if "_target_" in value:
            mode = value.get("_mode_", "default")
            if not isinstance(mode, str) or mode not in _MODES:
                yield f"wants to be built in the mode {_shown(mode)}"
            yield from (
                f"fetches weights ({key}) that are pinned nowhere" for key in _FETCHING & value.keys() if value[key]
            )
    elif isinstance(value, str):
        if value.startswith("%") and not _MACRO.fullmatch(_normal(value)):
            yield f"takes in another file or something unclear ({_shown(value)})"
        ids = expression.references(value)
        if any(not each or each.endswith("::") for each in ids):
            yield f"refers to the whole configuration ({_shown(value)})"
        if expression.REFERENCES in value:
            yield f"names {expression.REFERENCES} ({_shown(value)})"
        if value.startswith("$") and "%::" in _normal(value):
            yield f"has a macro inside an expression ({_shown(value)})"
    elif not isinstance(value, list | int | float | bool | None):
        yield f"is a {type(value).__name__}, which no JSON file holds"


def _odd_keys(value: dict[Any, Any]) -> Iterator[str]:
    texts = [str(key) for key in value]
    for key, text in zip(value, texts, strict=True):
        if not isinstance(key, str | int) or not _KEY.fullmatch(text):
            yield f"has the key {_shown(key)}"
        elif text.startswith("_") and text.endswith("_") and text not in {*COMPONENT_KEYS, "_meta_"}:
            yield f"has the key {text}, which is no argument"
    if len(set(texts)) < len(texts):
        yield "has a key twice"


def _of_code(value: Any) -> Iterator[str]:
    """What needs a person who vouches for it."""
    if isinstance(value, dict) and "_target_" in value:
        target = value["_target_"]
        if not isinstance(target, str) or components.resolved(target) is None:
            yield f"builds {_shown(target)}"
    elif isinstance(value, str) and value.startswith("$"):
        if _IMPORT.match(value):
            if " ".join(value[1:].split()) not in _HARMLESS_IMPORTS:
                yield f"imports ({_shown(value)})"
            return
        yield from (f"{problem} ({_shown(value)})" for problem in expression.complaints(value))


def _normal(text: str) -> str:
    return text.replace("#", "::")


def _is_word(key: Any) -> bool:
    return re.fullmatch(r"\w+", str(key)) is not None


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else type(value).__name__ if isinstance(value, dict | list) else repr(value)
    text = text.encode("unicode_escape").decode()
    return text if len(text) <= _LONGEST_SHOWN else f"{text[: _LONGEST_SHOWN - 1]}…"
